/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes of this host that keep PCI functions from being reset or removed. */
#ifndef GPU_GPUUSER_H
#define GPU_GPUUSER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "pci/pciaddr.h"

struct gpuuser {		/* one open file of a process */
	pid_t pid;
	char comm[16];
	char *owner;		/* owned; as cgroup_owner(): "qemu/100", "-" */
	char *what;		/* owned; "/dev/dri/card0", "anon_inode:[vfio-device]" */
	struct pciaddr addr;	/* the function */
	bool is_certain;	/* false: a VFIO device that may be another function's */
};

/*
 * Open nodes of the functions: the VFIO group and device, DRM, accel, NVIDIA's,
 * /dev/kfd, sound, frame buffer, i2c adapters (an open one blocks the driver's removal)
 * and mei. Nodes are compared by device number, on a root other than the host by name.
 *
 * Which function an "anon_inode:[vfio-device]" is cannot be read from the link:
 * fdinfo says it (vfio-device-syspath, Linux 6.18); else it is one of the VFIO groups and
 * devices that the same process has open; of a process without any it may be every
 * function that is bound to VFIO (is_certain false).
 *
 * addrs: n functions; name their virtual functions, too, where these count.
 * users: allocated, sorted by pid, what, addr, each once; free with gpuuser_free(). Only
 * root sees all processes; this process and those that end meanwhile are left out.
 * 0 or -errno.
 */
int gpuuser_list(const struct pciaddr *addrs, size_t n, struct gpuuser **users,
		 size_t *n_users);
void gpuuser_free(struct gpuuser *users, size_t n);

#endif
