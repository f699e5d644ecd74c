/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of vfio-bind. They print. */
#ifndef VFIO_BIND_H
#define VFIO_BIND_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/bind.h"

struct opts {
	const char *to;		/* a driver, or "host"; NULL: another form */
	const char *record;
	const char *restore;
	bool one;
	bool force;
};

struct functions {
	struct bind_record *recs;	/* owned; as they are bound now */
	size_t n, room;
};

/*
 * Of those that change (all of them without --to): has the host its disk or network
 * there, has a process a node of one open that a host driver serves? Said; with --force
 * as a warning. EX_OK, or EX_UNAVAILABLE; EX_TEMPFAIL, or EX_OSERR when the processes
 * cannot be seen.
 */
int check_vital(const struct functions *f, const struct opts *o);
int check_users(const struct functions *f, const struct opts *o);

#endif
