/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that makes CUDA checkpoint calls for us: a call may hang or crash,
 * the library does not survive a fork(2), and whoever makes a call must never be
 * killed in the middle of it, or the driver and the target lose each other.
 *
 * A worker whose parent is gone without cudaworker_end(..., true), or has given up
 * on it, finishes the call under way, takes back what it did, and exits.
 */
#ifndef GPU_CUDAWORKER_H
#define GPU_CUDAWORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gpu/cuda.h"

enum cudaworker_op {
	CUDAWORKER_STATE,	/* state and restore thread of a process */
	CUDAWORKER_LOCK,
	CUDAWORKER_CHECKPOINT,
	CUDAWORKER_RESTORE,	/* needs INIT in this worker */
	CUDAWORKER_UNLOCK,
	CUDAWORKER_INIT,	/* cuInit; index is ignored; state = number of GPUs */
	CUDAWORKER_GPU,		/* UUID of the GPU of this index, after INIT */
	CUDAWORKER_KEEP,	/* what was done stays, of all when index is -1; no reply */
	CUDAWORKER_REWIND,	/* to take back a restore is to checkpoint again; no reply */
};

struct cudaworker_reply {
	enum cudaworker_op op;
	int index;		/* of the process in the worker's list, or of the GPU */
	int open;		/* of cuda_open(): not 0, no call was made */
	int version;		/* of the driver; 0 = not known */
	int result;		/* CUresult */
	int state;		/* STATE: enum cuda_state; INIT: number of GPUs */
	int tid;		/* STATE: restore thread */
	int64_t ns;		/* the call alone */
	struct cuda_uuid uuid;	/* GPU */
};

struct cudaworker_opts {
	uint32_t timeout_ms;	/* of LOCK; 0 = none */
	bool threads;		/* a thread for each request: several are under way at once */
	struct cuda_gpu_pair *pairs;	/* of RESTORE; NULL = the same GPUs */
	size_t n_pairs;
	const int *keep;	/* descriptors that stay open in the worker */
	size_t n_keep;
	const atomic_bool *is_kept;	/* in shared memory: once true, KEEP of all; or NULL */
};

struct cudaworker {
	pid_t child;		/* 0 = none */
	int sock;		/* -1 = none; poll(2) it for replies */
};

/* Nothing started yet: for cudaworker_end() to be right. */
#define CUDAWORKER_NONE { .child = 0, .sock = -1 }

/*
 * Start a worker for n processes. It has no descriptor of ours but opts->keep, leads
 * a session of its own and ignores the terminal's signals.
 * opts and pids are copied by the fork. 0 or -errno.
 */
int cudaworker_start(struct cudaworker *w, const pid_t *pids, size_t n,
		     const struct cudaworker_opts *opts);

/* Ask for one call. 0, or -errno (-EPIPE: it has ended). */
int cudaworker_ask(struct cudaworker *w, enum cudaworker_op op, int index);

/*
 * Take one reply that is there. 1; 0 when there is none yet; -EPIPE when the worker
 * has ended, *status is then waitpid(2)'s.
 */
int cudaworker_take(struct cudaworker *w, struct cudaworker_reply *reply, int *status);

/* Tell it to end; keep as for cudaworker_end(), which is to follow. */
void cudaworker_close(struct cudaworker *w, bool keep);

/*
 * Let it go. keep: what it did stays; else it takes that back, unless told
 * CUDAWORKER_KEEP before. Waits up to wait_ms for its end; after that it goes on alone.
 */
void cudaworker_end(struct cudaworker *w, bool keep, int wait_ms);

#endif
