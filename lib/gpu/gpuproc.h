/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that use a GPU: by the nodes they have open, by the CUDA library. */
#ifndef GPU_GPUPROC_H
#define GPU_GPUPROC_H

#include <stddef.h>
#include <sys/types.h>

#include "gpu/gpunode.h"

struct gpuproc {
	pid_t pid;
	char comm[16];
	char *owner;		/* owned; as cgroup_owner() */
	struct pciaddr *addrs;	/* owned, sorted: the functions behind the nodes */
	size_t n_addrs;
	char **nodes;		/* owned, sorted: "/dev/nvidia0", control nodes too */
	size_t n_nodes;
	char *cuda;		/* owned; "libcuda.so.580.65.06"; NULL without */
};

/*
 * nodes: GPU paths and whatever else is a row of it count (see vfionode_add()).
 * Look through /proc/PID/fd of every process (of this one only what we may see).
 * procs: allocated, sorted by pid. 0 or -errno. A process that ends meanwhile is left out.
 */
int gpuproc_list(const struct gpunodes *nodes, struct gpuproc **procs, size_t *n);

/*
 * Set cuda in what gpuproc_list() found, and add the processes that have CUDA's driver
 * library mapped and no node open: those whose state is in a checkpoint have closed
 * theirs. A mapping alone is no proof that the GPU is used. 0 or -errno.
 */
int gpuproc_add_cuda(struct gpuproc **procs, size_t *n);
void gpuproc_free(struct gpuproc *procs, size_t n);

#endif
