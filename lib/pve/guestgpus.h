/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which functions of a VM are its GPUs, with what else is in their slots. */
#ifndef PVE_GUESTGPUS_H
#define PVE_GUESTGPUS_H

#include <stddef.h>
#include <stdint.h>

#include "pci/pciaddr.h"
#include "pci/pcidev.h"
#include "pci/snapshot.h"
#include "pve/assignment.h"
#include "pve/holder.h"

/*
 * The functions that PVE will pass to a VM that is about to start: of each hostpciN
 * the first alternative that the VM does not use yet and that nobody else has
 * reserved. None at all when PVE would refuse the start, or finds no free one.
 * What is an mdev or a vGPU is left out.
 *
 * a: assignment records, in their order; those of other guests are passed over.
 * r: PVE's reservations as they are now; the VM's own do not count.
 * addrs: allocated, sorted, each once; may be NULL when there are none. Returns how many.
 * Source: qemu-server, QemuServer/PCI.pm choose_hostpci_devices.
 */
size_t guestgpus_for_start(const struct assignment *a, size_t n, uint32_t vmid,
			   const struct reservation *r, size_t n_r,
			   struct pciaddr **addrs);

/* The functions that a running VM holds; mdevs and vGPUs left out. As above. */
size_t guestgpus_held(const struct assignment *a, size_t n, uint32_t vmid,
		      struct pciaddr **addrs);

/*
 * Functions that a run of pci-rescan took off the bus and that are still gone, in slots
 * that the VM is given: pci-rescan may bring them back. As above.
 * left: what such runs have left.
 */
size_t guestgpus_lost(const struct assignment *a, size_t n, uint32_t vmid,
		      const struct snapshot *left, size_t n_left, struct pciaddr **addrs);

/*
 * Of these functions, keep the display controllers that are no virtual functions, and
 * add what else is in their slots: audio, USB. Virtual functions, bridges and what is
 * the board's (pcidev_is_of_board()) are never added; a function that is gone is dropped.
 * devs: sorted, PCIDEV_IDENT and PCIDEV_BIND read. *addrs is replaced. Returns how many.
 */
size_t guestgpus_cards(const struct pcidev *devs, size_t n_devs, struct pciaddr **addrs,
		       size_t n);

#endif
