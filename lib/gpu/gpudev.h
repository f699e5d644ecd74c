/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device records: the host's GPUs and what sysfs says of them. */
#ifndef GPU_GPUDEV_H
#define GPU_GPUDEV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/record.h"
#include "pci/pcidev.h"
#include "pci/pciname.h"

enum { GPUDEV_UNKNOWN = -1 };

struct gpudev {
	struct pcidev dev;
	char *name;		/* owned; NULL when pci.ids has none */
	char *reset;		/* owned; "flr,bus" in the kernel's order, "none"; NULL unknown */
	char *mdev_types;	/* owned; "nvidia-63,nvidia-64", sorted; NULL without */
	int numvfs, totalvfs;	/* GPUDEV_UNKNOWN without SR-IOV */
	int boot_vga;		/* 1: the firmware's display; GPUDEV_UNKNOWN for no VGA device */
	int numa_node;		/* GPUDEV_UNKNOWN when the firmware gives none */
};

enum { GPUDEV_FIELDS = 12 };
extern const struct record_field gpudev_fields[GPUDEV_FIELDS];

/* Display controllers (base class 03) and processing accelerators (base class 12). */
bool gpudev_is_gpu(const struct pcidev *dev);

/*
 * What sysfs says of one function.
 *
 * dev: with PCIDEV_IDENT | PCIDEV_BIND; its driver is copied.
 * Attributes that cannot be read are unknown.
 * Source: Documentation/ABI/testing/sysfs-bus-pci (reset_method, sriov_*, boot_vga,
 * numa_node).
 */
void gpudev_read(const struct pcidev *dev, struct pcinames *names, struct gpudev *gpu);
void gpudev_done(struct gpudev *gpu);

void gpudev_put(struct record_writer *w, const struct gpudev *gpu);

#endif
