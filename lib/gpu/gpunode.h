/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GPU device nodes and the PCI functions behind them. */
#ifndef GPU_GPUNODE_H
#define GPU_GPUNODE_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pciaddr.h"

struct gpunode {
	char *path;		/* owned; "/dev/nvidia0", "/dev/dri/renderD128" */
	struct pciaddr addr;	/* the function behind it */
};

struct gpunodes {
	struct gpunode *nodes;	/* owned, sorted by path; one row per node and function (kfd: one per AMD GPU) */
	size_t n;
};

/*
 * Every GPU node of the host that stands for a PCI function: NVIDIA minors from
 * /proc/driver/nvidia/gpus, DRM cards and render nodes from /sys/class/drm
 * (by-path links as well), /dev/kfd as every function bound to amdgpu.
 * 0 or -errno; a host without any is 0 and n == 0.
 */
int gpunodes_read(struct gpunodes *out);
void gpunodes_done(struct gpunodes *g);

/* Order of two struct gpunode, for qsort(): by path, then by function. */
int gpunode_compare(const void *a, const void *b);

/* Is path a GPU node in the wide sense (control nodes such as /dev/nvidiactl too)? */
bool gpunode_is_gpu_path(const char *path);

#endif
