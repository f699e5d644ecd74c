/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of cuda-ckpt. */
#ifndef CUDA_CKPT_H
#define CUDA_CKPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/record.h"
#include "gpu/cudaproc.h"
#include "gpu/cudaselect.h"
#include "gpu/cudaunit.h"
#include "gpu/nvml.h"

enum verb {
	VERB_SUSPEND,
	VERB_RESUME,
	VERB_LOCK,
	VERB_CHECKPOINT,
	VERB_RESTORE,
	VERB_UNLOCK,
	VERB_STATE,
	VERB_CHECK,
};

struct ckpt_opts {
	enum verb verb;
	struct cudaselect sel;
	pid_t *pids;		/* owned; those of sel */
	uint32_t timeout_ms;
	struct cuda_gpu_pair *pairs;	/* owned */
	size_t n_pairs;
	const char *record;	/* file of GPU memory sizes, or NULL */
	bool force;
	bool reports;		/* a report was asked for */
	struct record_opts ropts;
};

/* The processes to work on, by what /proc says of them. */
struct ckpt_procs {
	struct cudaproc *list;	/* owned; sorted by pid */
	size_t n;
	bool in_job;		/* one of them says that its job is to be done in order */
};

/* cuda-ckpt-find.c */

/*
 * Find the processes of the selection that map the driver's library, and see that
 * each can be worked on. What is wrong is said. EX_OK, 1 when the selection has no
 * such process, or another exit code.
 */
int ckpt_find(const struct ckpt_opts *o, struct ckpt_procs *procs);
void ckpt_procs_done(struct ckpt_procs *procs);

/* "process 123 (python)"; a static buffer. Only the number when procs does not have it. */
const char *ckpt_name(const struct ckpt_procs *procs, pid_t pid);

/* Was the process named, rather than found? */
bool ckpt_is_named(const struct ckpt_opts *o, pid_t pid);

/* cuda-ckpt-words.c */

/* Say a member's error, or (m NULL) the unit's, with the way out. Returns the exit code. */
int ckpt_say_error(const struct ckpt_procs *procs, const struct cudaunit *u,
		   const struct cudaunit_member *m);

/* Say what is not as it was before, after a failure. */
void ckpt_say_left(const struct ckpt_procs *procs, const struct cudaunit *u);

/* "running", "unknown(7)"; a static buffer. */
const char *ckpt_state_text(int state);

/* "no libcuda.so.1 …", why cuda_open() failed; version: of the driver. */
void ckpt_say_no_driver(int err, int version);

/* Say what is wrong with a process that has a fault; the exit code. */
int ckpt_say_fault(const struct cudaproc *p, enum cudaproc_fault fault);

/* "1.5 GiB"; buf is returned. */
const char *ckpt_gib(uint64_t bytes, char buf[32]);

/* cuda-ckpt-memory.c */

struct ckpt_memory {
	struct nvml_question question;
	struct nvml nvml;
	bool is_known;		/* the library has answered */
	char *former;		/* owned; what --record's file held before; NULL: nothing */
};

/* Begin to ask how much GPU memory is in use and free. */
struct ckpt_memory *ckpt_memory_start(void);

/*
 * Is there room for what the stages move: in host memory, in the control groups, on
 * the GPUs? Sets vram of the members. EX_OK, or an exit code, said.
 */
int ckpt_memory_check(struct ckpt_memory *mem, const struct ckpt_opts *o,
		      const struct ckpt_procs *procs, struct cudaunit *u, unsigned stages);

void ckpt_memory_done(struct ckpt_memory *mem);

/* cuda-ckpt-record.c */

/* When the process began, as in its struct cudaproc; 0 when procs does not have it. */
uint64_t ckpt_start_of(const struct ckpt_procs *procs, pid_t pid);

/* Has it GPU memory, which a checkpoint moves? */
bool ckpt_will_lose(const struct cudaunit_member *m);

/*
 * Before checkpoints: write down what the GPUs will have to have again.
 * EX_OK or an exit code.
 */
int ckpt_memory_record(struct ckpt_memory *mem, const struct ckpt_opts *o,
		       const struct ckpt_procs *procs, const struct cudaunit *u);

/* After a suspend that was taken back: --record's file as it was before. */
void ckpt_memory_unrecord(const struct ckpt_memory *mem, const struct ckpt_opts *o);

/* Forget what was written down of processes that have their GPU memory. */
void ckpt_memory_forget(const struct ckpt_procs *procs, const struct cudaunit *u);

/* cuda-ckpt-report.c */

/*
 * For struct cudaunit_opts' tell: progress on a terminal, steps with -v.
 * arg: struct ckpt_procs.
 */
void ckpt_tell(enum cudaunit_stage stage, const struct cudaunit_member *m, int64_t ms,
	       void *arg);
void ckpt_tell_of(const struct cudaunit *u);	/* the unit that is told of */
void ckpt_tell_end(void);			/* the last line of progress is done */

/* The record of each stage of each member. */
void ckpt_report(struct record_writer *w, const struct cudaunit *u);
struct record_writer *ckpt_report_new(const struct record_opts *ropts);

/* cuda-ckpt-unit.c */

/*
 * A descriptor that becomes readable at SIGINT, SIGTERM and SIGHUP, which are
 * blocked; SIGPIPE is ignored.
 */
int ckpt_signals(void);

/* EX_OK on the running host; else EX_UNAVAILABLE, said: the driver knows no other root. */
int ckpt_refuse_root(void);

/* suspend, resume and the single stages. The exit code. */
int ckpt_run(const struct ckpt_opts *o);

/* state */
int ckpt_state(const struct ckpt_opts *o);

/* cuda-ckpt-check.c */
int ckpt_check(const struct ckpt_opts *o);

/* cuda-ckpt-action.c */

/* The other spelling: --action, --pid, --timeout, --force, --list-gpus. 0 or 1. */
int ckpt_action(const char *action, const char *pid, const char *timeout, bool force,
		bool lists_gpus);

#endif
