/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signs that a process's CUDA state cannot be checkpointed, or the process not dumped. */
#ifndef GPU_CUDASIGNS_H
#define GPU_CUDASIGNS_H

#include <stddef.h>
#include <sys/types.h>

enum cudasigns_bit {
	CUDASIGNS_JOB = 1 << 0,		/* CUDA_CHECKPOINT_JOB_FILE in its environment */
	CUDASIGNS_IPC = 1 << 1,		/* CUDA's or NCCL's shared files are mapped */
	CUDASIGNS_FABRIC = 1 << 2,	/* an IMEX channel is open */
	CUDASIGNS_MIG = 1 << 3,		/* an instance's capability is open, or named */
	CUDASIGNS_MPS = 1 << 4,		/* the pipe of MPS is in its environment */
	CUDASIGNS_UVM = 1 << 5,		/* writable mappings of /dev/nvidia-uvm */
	CUDASIGNS_NVML = 1 << 6,	/* libnvidia-ml is mapped */
	CUDASIGNS_RDMA = 1 << 7,	/* /dev/gdrdrv, /dev/infiniband */
	CUDASIGNS_PROFILER = 1 << 8,	/* CUPTI is mapped, or the process is traced */
};

struct cudasigns {
	pid_t pid;
	unsigned bits;		/* enum cudasigns_bit */
	char **nodes;		/* owned, sorted, each once: /dev/nvidia*, open or mapped */
	size_t n_nodes;
};

/*
 * Look through what the process has open and mapped, and its environment.
 * A sign is no proof. Free with cudasigns_done().
 * Returns 0, -ENOENT (it has ended), -EACCES or another -errno.
 * Source: CUDA Driver API, "CUDA Checkpointing"; proc_pid_fd(5), proc_pid_maps(5).
 */
int cudasigns_read(pid_t pid, struct cudasigns *s);
void cudasigns_done(struct cudasigns *s);

#endif
