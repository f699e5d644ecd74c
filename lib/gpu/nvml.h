/* SPDX-License-Identifier: GPL-2.0-or-later */
/* GPU memory, by NVIDIA's management library. */
#ifndef GPU_NVML_H
#define GPU_NVML_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gpu/cuda.h"

struct nvml_gpu {
	struct cuda_uuid uuid;
	uint64_t total, free;	/* bytes */
};

struct nvml_use {		/* one process's memory of one GPU */
	pid_t pid;		/* as the initial pid namespace counts */
	size_t gpu;		/* index into gpus */
	uint64_t bytes;		/* UINT64_MAX: the driver does not say */
};

struct nvml {
	struct nvml_gpu *gpus;	/* owned */
	size_t n_gpus;
	struct nvml_use *uses;	/* owned */
	size_t n_uses;
};

/* A question under way, in a process of its own: the library opens nodes and may hang. */
struct nvml_question {
	pid_t child;
	int fd;
};

/*
 * Ask libnvidia-ml.so.1 for all GPUs and all processes that compute on them.
 * nvml_start(): 0 or -errno. nvml_finish(): waits up to timeout_ms (0 = no limit);
 * 0 and *nvml to be freed with nvml_done(); -ENOENT when there is no such library,
 * -ENOTSUP when it does not answer, -ETIMEDOUT, or another -errno.
 * Source: NVML API, nvmlDeviceGetMemoryInfo, nvmlDeviceGetComputeRunningProcesses_v3.
 */
int nvml_start(struct nvml_question *q);
int nvml_finish(struct nvml_question *q, int timeout_ms, struct nvml *nvml);
void nvml_done(struct nvml *nvml);

/* Memory of a process on all GPUs; UINT64_MAX when nothing is known of it. */
uint64_t nvml_bytes_of(const struct nvml *nvml, pid_t pid);

#endif
