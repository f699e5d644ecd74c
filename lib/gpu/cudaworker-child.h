/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker's own side; private to cudaworker*.c. */
#ifndef GPU_CUDAWORKER_CHILD_H
#define GPU_CUDAWORKER_CHILD_H

#include "gpu/cudaworker.h"

struct cudaworker_request {
	enum cudaworker_op op;
	int index;
};

/* Serve requests until the parent closes its end, then take back what is not to be kept. */
void cudaworker_serve(int sock, const pid_t *pids, size_t n,
		      const struct cudaworker_opts *opts);

#endif
