/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of mdev-ls --check: each adds lines in the order of the calls. */
#ifndef MDEV_LS_CHECK_H
#define MDEV_LS_CHECK_H

#include "host/hostcheck.h"
#include "mdev-ls.h"

/* Add a line; how (NULL: none) becomes the list's own. */
void check_tell(struct hostcheck *hc, enum hostcheck_level level, const char *topic,
		char *how, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Is a parent among those asked for? */
bool check_is_wanted(const struct view *view, size_t parent);

/* NVIDIA's daemons. */
void check_services(struct hostcheck *hc, const struct view *view);
/* VMs that are given, or have, more vGPUs than their kind allows. */
void check_one_per_vm(struct hostcheck *hc, const struct view *view);
/* Who starts the definitions that say auto. */
void check_boot(struct hostcheck *hc, const struct view *view);

#endif
