/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VFIO's nodes of GPUs and vGPUs: what a virtual machine opens. */
#ifndef GPU_VFIONODE_H
#define GPU_VFIONODE_H

#include "gpu/gpunode.h"

/*
 * Add to g, as further rows, "/dev/vfio/GROUP" and "/dev/vfio/devices/vfioN" of every
 * GPU, virtual functions too, and those of every mediated device, whose addr is its
 * parent's. The rows stay sorted. 0 or -errno; a host without PCI or mdevs has none.
 * Source: Documentation/driver-api/vfio.rst, vfio-mediated-device.rst.
 */
int vfionode_add(struct gpunodes *g);

#endif
