/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who uses PCI functions now: processes, and VMs that have them reserved. */
#ifndef PVE_INUSE_H
#define PVE_INUSE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pci/pciaddr.h"

struct inuse {
	struct pciaddr addr;
	pid_t pid;		/* 0: of a VM that starts, no process yet */
	char *text; /* owned; "in use by process 4711 (kvm) of qemu/101: NODE" */
};

/*
 * Processes that have a node of the functions open (gpuuser_list()), and valid
 * reservations of Proxmox VE (reservation_is_held()).
 *
 * except: a VM whose reservations do not count, 0 for none.
 * list: allocated, one per function and user; free with inuse_free(). 0 or -errno.
 */
int inuse_list(const struct pciaddr *addrs, size_t n, uint32_t except,
	       struct inuse **list, size_t *n_list);
void inuse_free(struct inuse *list, size_t n);

#endif
