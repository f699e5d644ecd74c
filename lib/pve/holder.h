/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a running VM holds. */
#ifndef PVE_HOLDER_H
#define PVE_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pci/pciaddr.h"

struct holding {
	int hostpci;		/* N of QEMU's id=hostpciN[.J]; -1 unknown */
	struct pciaddr addr;	/* the function, or the parent of the mdev */
	char *mdev_type;	/* owned; NULL for a function */
	char uuid[37];		/* of the mdev; "" for a function */
};

/*
 * Functions and mdevs on the command line of the running QEMU with this pid.
 * 0 (n may be 0), -ESRCH when it is gone, or another -errno.
 */
int holder_cmdline(pid_t pid, struct holding **h, size_t *n);
/* The same from the words of a command line, each ended by NUL. */
void holder_parse_cmdline(const char *text, size_t len, struct holding **h, size_t *n);
void holdings_free(struct holding *h, size_t n);

struct reservation {
	struct pciaddr addr;
	uint32_t vmid;
	int64_t until;		/* time: form, epoch seconds; -1 for the pid: form */
	pid_t pid;		/* pid: form; 0 for the time: form */
};

/*
 * /run/qemu-server/pci-id-reservations, sorted by address; lines that PVE
 * ignores are left out.
 * 0 (n == 0 when there is no file) or -errno. One read: PVE replaces it by rename.
 */
int reservations_read(struct reservation **r, size_t *n);
/* PVE's own test: time in the future, or pid and the VM runs with just that pid. */
bool reservation_is_held(const struct reservation *r);

/*
 * Has the VM let go of all it held: no reservation in its name, no mdev with
 * its PVE UUID, no vGPU type set on its NVIDIA VFs (given in vfs)? *what names
 * the first that is left, allocated; NULL when true.
 */
bool holder_is_released(uint32_t vmid, const struct pciaddr *vfs, size_t n_vfs,
			char **what);

#endif
