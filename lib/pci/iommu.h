/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PCI_IOMMU_H
#define PCI_IOMMU_H

#include <stddef.h>

#include "pci/pciaddr.h"

/*
 * Read the functions of an IOMMU group.
 *
 * group: kernel number, as in /sys/kernel/iommu_groups.
 * addrs: allocated, sorted by address, *n long; the caller frees. Untouched on failure.
 * Returns 0, -ENOENT when there is no such group, or another -errno.
 * Source: Documentation/ABI/testing/sysfs-kernel-iommu_groups.
 */
int iommu_group_read(int group, struct pciaddr **addrs, size_t *n);

/* Group of a function; -1 without an IOMMU or for a function that is not there. */
int iommu_group_of(const struct pciaddr *addr);

#endif
