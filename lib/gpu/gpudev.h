/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device records: the host's GPUs and what sysfs says of them. */
#ifndef GPU_GPUDEV_H
#define GPU_GPUDEV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/record.h"
#include "pci/pciname.h"
#include "pci/topology.h"

enum { GPUDEV_FIELDS = 12 };
extern const struct record_field gpudev_fields[GPUDEV_FIELDS];

/* Display controllers (base class 03) and processing accelerators (base class 12). */
bool gpudev_is_gpu(const struct pcidev *dev);

/*
 * How a function can be reset, allocated: "flr,bus" in the order in which the kernel
 * tries it, or "none".
 * Source: Documentation/ABI/testing/sysfs-bus-pci, reset_method.
 */
char *gpudev_reset(const struct topofn *fn);

/* Types of mediated devices: "nvidia-63,nvidia-64", sorted, allocated; NULL without. */
char *gpudev_mdev_types(const struct pcidev *dev);

/* Write a function's record. */
void gpudev_put(struct record_writer *w, const struct topofn *fn, struct pcinames *names);

#endif
