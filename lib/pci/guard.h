/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What speaks against resetting or removing PCI functions. */
#ifndef PCI_GUARD_H
#define PCI_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pciaddr.h"
#include "pci/topology.h"

enum guard_act {
	GUARD_RESET,	/* the functions stay on the bus */
	GUARD_REMOVE,	/* they are removed and found again by a rescan */
};

struct guard_finding {
	const char *name;	/* static; one of guard_names(), for --force */
	struct pciaddr addr;	/* the function that it is about */
	char *text;		/* owned; "0000:03:00.0 has 4 virtual functions" */
};

/*
 * The names, in the order of the findings; NULL at the end:
 *	dead		config space reads all ones, here or at a bridge above
 *	boot-vga	the display that the firmware started
 *	igpu		Intel's display on the root bus: a reset may hang the host
 *	is-vf		a virtual function would be removed: no rescan finds it again
 *	vfs		a function has virtual functions
 *	mdev		a function, or a virtual function of it, has mediated devices
 *	vgpu		an NVIDIA vGPU type is set, here or at a virtual function
 *	vital		the host needs it: bind_is_host_vital()
 *	disk, nic, usb	one that is not among fns would be hit
 *	other		any other function that is not among fns would be hit
 */
const char *const *guard_names(void);

/*
 * Look for all of that. None of these passes by itself: programs give EX_UNAVAILABLE
 * (holders, which do pass, are gpuuser.h's and holder.h's).
 *
 * fns: n indices of t: what the caller means to act on.
 * bridge: index of the bridge at or below which everything is hit; -1: fns only.
 * A bridge's functions are hit whether they are among fns or not.
 * found: allocated, *n_found long, in the order of the names, then by address; free
 * with guard_free(). 0 or -errno.
 */
int guard_check(const struct topology *t, enum guard_act act, const int *fns, size_t n,
		int bridge, struct guard_finding **found, size_t *n_found);
void guard_free(struct guard_finding *found, size_t n);

/* Is the name in a list "boot-vga,disk"? "all" has every name. */
bool guard_is_forced(const char *list, const char *name);

/* The first word of a list that is neither "all" nor a name, allocated; NULL: all are. */
char *guard_unknown_name(const char *list);

#endif
