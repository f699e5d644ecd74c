/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drivers of PCI functions: take away, give, give back. */
#ifndef PCI_BIND_H
#define PCI_BIND_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pciaddr.h"

struct bind_record {		/* how one function was bound */
	struct pciaddr addr;
	char *driver;		/* owned; NULL = none */
	char *override;		/* owned; driver_override, NULL = none */
};

/*
 * How the functions of addr's IOMMU group (without bridges; addr alone when it
 * has no group) are bound now.
 * 0, -ENOENT (no such function), or another -errno.
 */
int bind_record_group(const struct pciaddr *addr, struct bind_record **recs, size_t *n);
void bind_records_free(struct bind_record *recs, size_t n);

/*
 * Bind one function: driver_override first, then unbind, then drivers_probe,
 * then driver_override as `override` says, verified by re-reading the driver link.
 *
 * driver: NULL leaves the function without a driver.
 * Returns 0, -ENODEV when the driver is not loaded or did not take the function, or another -errno.
 * Source: Documentation/ABI/testing/sysfs-bus-pci, driver_override.
 */
int bind_function(const struct pciaddr *addr, const char *driver, const char *override);

/*
 * Is the function the host's own: a mounted disk (or swap, or a disk under
 * md, LVM or ZFS in use) or a network card whose link is up, at it or below it?
 * *what says which ("disk sda is mounted on /"), allocated.
 */
bool bind_is_host_vital(const struct pciaddr *addr, char **what);

#endif
