/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Do the guests' hostpciN settings fit what this host has? */
#ifndef PVE_GUESTCHECK_H
#define PVE_GUESTCHECK_H

#include <stdbool.h>

/* One answer: what and how become the receiver's own; how may be NULL. */
typedef void guestcheck_line(bool good, char *what, char *how, void *arg);

/*
 * Look at every VM of this node as it would start now: functions that are not
 * there, mappings that no longer fit. With none of these, one good line; where
 * there is no Proxmox VE, none at all.
 * Returns 0 or -errno of reading.
 */
int guestcheck_run(guestcheck_line *line, void *arg);

#endif
