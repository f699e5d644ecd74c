/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes whose CUDA state is locked, checkpointed, restored and unlocked as one
 * unit: each stage for all of them at once, and what was done is taken back when
 * any of it fails. Nothing here prints.
 *
 * Lock, checkpoint and unlock are called in one worker per process, without cuInit;
 * restore in one worker with one cuInit and a thread per process.
 */
#ifndef GPU_CUDAUNIT_H
#define GPU_CUDAUNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gpu/cudaworker.h"

enum cudaunit_stage {
	CUDAUNIT_LOCK,
	CUDAUNIT_CHECKPOINT,
	CUDAUNIT_RESTORE,
	CUDAUNIT_UNLOCK,
	CUDAUNIT_STAGES,	/* in at: none of them, its state was asked for */
};

enum cudaunit_error {
	CUDAUNIT_OK,
	CUDAUNIT_GONE,		/* the process has ended */
	CUDAUNIT_BUSY,		/* another cuda-ckpt is at work on it */
	CUDAUNIT_NO_LIBRARY,	/* detail: of cuda_open() */
	CUDAUNIT_NO_INIT,	/* cuInit failed; detail: CUresult */
	CUDAUNIT_REFUSED,	/* the driver said no; detail: CUresult */
	CUDAUNIT_CRASHED,	/* the driver's library crashed; detail: signal */
	CUDAUNIT_HUNG,		/* no answer in time */
	CUDAUNIT_STOPPED,	/* stop_fd became readable; member is NULL */
	CUDAUNIT_CHANGED,	/* is_whole() said no; member is NULL */
	CUDAUNIT_SYSTEM,	/* detail: -errno */
};

struct cudaunit_member {
	pid_t pid;
	int slot;		/* its index in the restorer's list */
	int dir;		/* /proc/PID; -1 */
	int lock;		/* its environ, locked by us; -1 */
	int initial;		/* enum cuda_state before anything was done; -1 not known */
	int state;		/* now, as far as known; -1 */
	int tid;		/* its restore thread; 0 not known */
	enum cudaunit_error error;	/* of its last call */
	int detail;
	enum cudaunit_stage at;	/* where that was */
	struct {		/* what went wrong on the way, before anything was taken back */
		enum cudaunit_error error;
		int detail;
		enum cudaunit_stage at;
	} failure;
	bool hung;		/* a call is under way that we do not wait for any more */
	uint64_t vram;		/* in: bytes on GPUs, for time limits; UINT64_MAX unknown */
	struct {
		bool done;
		int64_t ns;	/* the call alone */
		uint64_t bytes;	/* by which its host memory grew or shrank */
	} stage[CUDAUNIT_STAGES];
	struct cudaworker worker;
	bool is_asked;		/* a reply is due */
	int64_t asked, moved;	/* ms: when, and when its memory last changed */
	uint64_t rss, rss_start;	/* bytes, now and when it was asked */
};

struct cudaunit_opts {
	uint32_t timeout_ms;	/* of lock; others' limits derive from it; 0 = no limits */
	bool sequential;	/* one after the other, in the order of the pids */
	bool restores;		/* there will be restores: cuInit is begun at once */
	int stop_fd;		/* readable: stop and take back; -1 = none */
	struct cuda_gpu_pair *pairs;	/* GPU map of restores, or NULL */
	size_t n_pairs;
	/* Asked between lock and checkpoint: is the unit still all that belongs to it? */
	bool (*is_whole)(void *arg);
	/*
	 * Told what goes on. stage begins (m NULL, ms 0), several times a second (m NULL,
	 * ms since it began), a member's call ended (m; m->error says how).
	 */
	void (*tell)(enum cudaunit_stage stage, const struct cudaunit_member *m, int64_t ms,
		     void *arg);
	void *arg;
};

struct cudaunit {
	struct cudaunit_member *members;	/* owned; sorted by pid */
	size_t n;
	struct cudaunit_opts opts;
	int version;		/* of the driver; 0 = not known */
	bool stopped;		/* stop_fd was readable */
	bool taking_back;
	bool taken_back;	/* after a failure: all are as they were before */
	enum cudaunit_error error;	/* the first */
	int detail;
	enum cudaunit_stage at;
	struct cudaunit_member *culprit;	/* NULL: none of them in particular */
	struct cudaworker restorer;
	bool restorer_ready;	/* its cuInit is done */
	atomic_bool *is_kept;	/* owned, shared with all workers; NULL: no memory for it */
	pid_t *pids;		/* owned; of all slots, also of those dropped */
	size_t n_pids;
};

/*
 * Lock out other runs, start the workers, ask for every state (initial, state, tid).
 * What was found wrong is in each member's error (REFUSED with INVALID_VALUE or
 * NOT_INITIALIZED: it has no CUDA); nothing of the processes was changed.
 * Returns 0, or -1 with u->error when the driver cannot be used at all.
 */
int cudaunit_open(struct cudaunit *u, const pid_t *pids, size_t n,
		  const struct cudaunit_opts *opts);

/* Leave out a member, before anything is run. */
void cudaunit_drop(struct cudaunit *u, size_t i);

/*
 * Take the unit through the stages that are in the set (1 << CUDAUNIT_LOCK | ...):
 * a member passes a stage only when its state is the one that the stage begins in.
 * Locks and checkpoints go before restores and unlocks; unlocks come after all restores.
 *
 * Returns 0, or -1 with error, detail, at and culprit set and taken_back saying
 * whether all are as they were. Once the unlocks have begun it goes on to the end:
 * a failed one is tried again, and nothing is taken back.
 */
int cudaunit_run(struct cudaunit *u, unsigned stages);

/* Let the workers go. What was done stays done, unless a worker was given up on. */
void cudaunit_done(struct cudaunit *u);

/* "lock", ...; "state" for CUDAUNIT_STAGES */
const char *cudaunit_stage_word(enum cudaunit_stage stage);

#endif
