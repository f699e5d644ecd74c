/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drivers of PCI functions: take away, give, give back. */
#ifndef PCI_BIND_H
#define PCI_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

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
 * Returns 0; -ENODEV when the driver is not loaded (nothing is written then) or
 * did not take the function; -EBUSY when a process has its VFIO group open
 * (unbinding would hang until that lets go; nothing is written); or another -errno.
 * Source: Documentation/ABI/testing/sysfs-bus-pci, driver_override.
 */
int bind_function(const struct pciaddr *addr, const char *driver, const char *override);

/*
 * Let the kernel choose a driver: no driver_override, and away from a VFIO
 * driver. A function that has a host driver keeps it.
 * Returns 0 (also when no driver wants it), -ENODEV when a VFIO driver took it
 * again, -EBUSY as above, or another -errno.
 */
int bind_host(const struct pciaddr *addr);

/* A process that has the function's VFIO group or device open; 0 without one. */
pid_t bind_vfio_user(const struct pciaddr *addr);

/* Is this driver there to bind to? */
bool bind_driver_is_loaded(const char *driver);

/* "vfio-pci", or a variant of it such as "mlx5-vfio-pci". */
bool bind_is_vfio_driver(const char *driver);

/*
 * Keep records in a file, replaced atomically, and read them back:
 * a record of addr, driver and driver_override per function, last "#end N".
 * A file without its end is not believed.
 *
 * path: complete, see root_path().
 * Returns 0, -EBADMSG for a file that is cut short or not ours, or another -errno.
 */
int bind_records_write(const char *path, const struct bind_record *recs, size_t n);
int bind_records_read(const char *path, struct bind_record **recs, size_t *n);

/*
 * A run that was killed half-way left a file that says how the functions were
 * before it, and some of them bound to driver: for those the file is right and
 * recs, as they are seen now, are not. Takes the older word for them.
 */
void bind_records_keep(const char *path, const char *driver, struct bind_record *recs,
		       size_t n);

/*
 * Bind every function back as its record says: driver_override is written back
 * and the driver bound that had it. One that is bound right already is left
 * alone; a driver that is not there any more leaves the function to the kernel's
 * own choice (-ENODEV is reported all the same). Can be repeated.
 *
 * say_fn: told of each function that was changed (err 0) or could not be (err is
 * -ENOENT for one that is gone, else another -errno); may be NULL.
 * Returns 0, or the first failure other than a function that is gone.
 */
int bind_restore(const struct bind_record *recs, size_t n,
		 void (*say_fn)(const struct pciaddr *addr, int err, void *arg),
		 void *arg);

/*
 * Is the function the host's own: a mounted disk (or swap, or a disk under
 * md, LVM or ZFS in use) or a network card whose link is up, at it or below it?
 * *what says which ("disk sda is mounted on /"), allocated.
 */
bool bind_is_host_vital(const struct pciaddr *addr, char **what);

#endif
