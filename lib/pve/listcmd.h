/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line that pve-hostpci-ls and lxc-gpu-ls share. */
#ifndef PVE_LISTCMD_H
#define PVE_LISTCMD_H

#include "pve/assignment.h"
#include "pve/guest.h"

struct listcmd {
	enum guest_kind kind;
	const char *usage;	/* the whole text of --help */
	int (*resolve)(const struct assignment_query *q,
		       void (*each)(const struct assignment *a, void *arg), void *arg);
};

/*
 * Parse options and operands, print the records, say what is wrong. Returns the exit
 * status.
 */
int listcmd_main(const struct listcmd *cmd, int argc, char *argv[]);

#endif
