/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that have a GPU node open. */
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
};

/*
 * Look through /proc/PID/fd of every process (of this one only what we may see).
 * procs: allocated, sorted by pid. 0 or -errno. A process that ends meanwhile is left out.
 */
int gpuproc_list(const struct gpunodes *nodes, struct gpuproc **procs, size_t *n);
void gpuproc_free(struct gpuproc *procs, size_t n);

#endif
