/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI functions of this host, read through libpci under the root. */
#ifndef PCI_PCIDEV_H
#define PCI_PCIDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pci/pciaddr.h"

struct pcidev {
	struct pciaddr addr;
	uint32_t class;		/* 24 bit: base class, subclass, programming interface */
	uint16_t vendor, device;
	uint16_t subvendor, subdevice;	/* 0 when the function has none */
	char *driver;		/* owned; NULL when none is bound */
	int iommu_group;	/* -1 without an IOMMU */
	bool is_bridge;		/* has a pci_bus directory, as PVE tells bridges apart */
	bool is_vf;
	struct pciaddr physfn;	/* of a VF */
	bool has_mdev;		/* mdev_supported_types/ or nvidia/ exists: PVE's "mdev" flag */
};

/* What pcidev_list() is to read beside the address. */
enum {
	PCIDEV_ADDR = 0,
	PCIDEV_IDENT = 1 << 0,	/* class, vendor, device, subvendor, subdevice */
	PCIDEV_BIND = 1 << 1,	/* driver, and all that is below it in pcidev */
};

/*
 * All functions of the host, sorted by address.
 * devs: allocated, n long; free with pcidev_free().
 * Returns 0, -ENOENT when there is no sysfs PCI bus (no functions then), or another
 * -errno.
 */
int pcidev_list(unsigned what, struct pcidev **devs, size_t *n);
void pcidev_free(struct pcidev *devs, size_t n);

/* Binary search in a sorted list; NULL when absent. */
const struct pcidev *pcidev_find(const struct pcidev *devs, size_t n,
				 const struct pciaddr *addr);

/* Read what is missing in one listed function. 0, -ENOENT (gone) or another -errno. */
int pcidev_fill(struct pcidev *dev, unsigned what);

/*
 * Is mate, in the same slot as a GPU, the board's rather than the card's? AMD's
 * processors have USB controllers, the security processor and the board's sound
 * beside their display: AMD's (1022) beside ATI's (1002), in IOMMU groups of
 * their own. In the GPU's own group it goes where the GPU goes.
 */
bool pcidev_is_of_board(const struct pcidev *mate, const struct pcidev *gpu);

#endif
