/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt: suspend, resume, the single stages, state */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "cuda-ckpt.h"

enum {
	DO_LOCK = 1 << CUDAUNIT_LOCK,
	DO_CHECKPOINT = 1 << CUDAUNIT_CHECKPOINT,
	DO_RESTORE = 1 << CUDAUNIT_RESTORE,
	DO_UNLOCK = 1 << CUDAUNIT_UNLOCK,
};

static const unsigned stages_of[] = {
	[VERB_SUSPEND] = DO_LOCK | DO_CHECKPOINT,
	[VERB_RESUME] = DO_RESTORE | DO_UNLOCK,
	[VERB_LOCK] = DO_LOCK,
	[VERB_CHECKPOINT] = DO_CHECKPOINT,
	[VERB_RESTORE] = DO_RESTORE,
	[VERB_UNLOCK] = DO_UNLOCK,
	[VERB_STATE] = 0,
};

struct run {
	const struct ckpt_opts *o;
	struct ckpt_procs procs;
	struct cudaunit unit;
};

int ckpt_signals(void)
{
	sigset_t set;

	/* A report that nobody reads is an error of its own, not the end in the middle. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Why a state does not fit a verb, with the way out; NULL when it fits. */
static const char *misfit(enum verb verb, int state)
{
	if (state == CUDA_FAILED)
		return "its CUDA state is broken for good: only ending it helps";
	if (state == CUDA_CHECKPOINTING || state == CUDA_RESTORING)
		return "another program is at work on it";
	if (state != CUDA_RUNNING && state != CUDA_LOCKED && state != CUDA_CHECKPOINTED)
		return "this version knows no such state";
	switch (verb) {
	case VERB_LOCK:
		return state == CUDA_LOCKED ? "nothing to do"
		       : state == CUDA_CHECKPOINTED ? "resume it first" : NULL;
	case VERB_CHECKPOINT:
		return state == CUDA_RUNNING ? "lock it first, or use suspend"
		       : state == CUDA_CHECKPOINTED ? "nothing to do" : NULL;
	case VERB_RESTORE:
		return state != CUDA_CHECKPOINTED ? "there is nothing to restore" : NULL;
	case VERB_UNLOCK:
		return state == CUDA_RUNNING ? "nothing to do"
		       : state == CUDA_CHECKPOINTED ? "restore it first, or use resume" : NULL;
	default:
		return NULL;
	}
}

static bool has_no_cuda(const struct cudaunit_member *m)
{
	return m->error == CUDAUNIT_REFUSED &&
	       (m->detail == CUDA_INVALID_VALUE || m->detail == CUDA_NOT_INITIALIZED);
}

/* It may have been stopped or frozen since we looked. EX_OK or an exit code, said. */
static int say_new_fault(pid_t pid)
{
	struct cudaproc p;
	int code;

	if (cudaproc_read(pid, &p) < 0)
		return EX_OK;
	code = ckpt_say_fault(&p, cudaproc_fault(&p));
	cudaproc_done(&p);
	return code;
}

/* One member as the driver found it; EX_OK or an exit code, said. */
static int check_member(struct run *r, const struct cudaunit_member *m)
{
	const char *why;
	int code;

	if (has_no_cuda(m)) {
		say("%s has libcuda mapped, but does not use CUDA",
		    ckpt_name(&r->procs, m->pid));
		return EX_UNAVAILABLE;
	}
	if (m->error == CUDAUNIT_HUNG) {
		code = say_new_fault(m->pid);
		if (code != EX_OK)
			return code;
		say("%s: the driver gets no answer from it: is it stopped, or in a call that hangs?",
		    ckpt_name(&r->procs, m->pid));
		return EX_TEMPFAIL;
	}
	if (m->error != CUDAUNIT_OK)
		return ckpt_say_error(&r->procs, &r->unit, m);
	if (r->o->verb == VERB_STATE)
		return EX_OK;
	why = misfit(r->o->verb, m->state);
	if (!why)
		return EX_OK;
	say("%s is %s: %s", ckpt_name(&r->procs, m->pid), ckpt_state_text(m->state), why);
	return m->state == CUDA_CHECKPOINTING || m->state == CUDA_RESTORING ? EX_TEMPFAIL
									   : EX_UNAVAILABLE;
}

/* What was found, not named, and is none of CUDA's is none of ours. EX_OK or an exit code. */
static int check_members(struct run *r)
{
	int code = EX_OK;

	for (size_t i = r->unit.n; i-- > 0; ) {
		struct cudaunit_member *m = &r->unit.members[i];
		bool is_found = !ckpt_is_named(r->o, m->pid) || r->o->sel.tree;

		if (is_found && (has_no_cuda(m) || m->error == CUDAUNIT_GONE))
			cudaunit_drop(&r->unit, i);
	}
	for (size_t i = 0; i < r->unit.n; i++) {
		int one = check_member(r, &r->unit.members[i]);

		if (code == EX_OK)
			code = one;
	}
	if (code == EX_OK && r->unit.n == 0) {
		say_info("no process of the selection uses CUDA");
		return 1;
	}
	return code;
}

/* Has nobody begun to use CUDA since the unit was put together? */
static bool is_whole(void *arg)
{
	struct run *r = arg;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;

	if (cudaselect_list(&r->o->sel, &pids, &n) < 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		struct cudaproc p;
		bool is_new = true;

		for (size_t k = 0; k < r->procs.n && is_new; k++)
			is_new = r->procs.list[k].pid != pids[i];
		if (!is_new || cudaproc_read(pids[i], &p) < 0)
			continue;
		is_new = cudaproc_fault(&p) == CUDAPROC_FIT;
		cudaproc_done(&p);
		if (is_new)
			return false;
	}
	return true;
}

static void tell(enum cudaunit_stage stage, const struct cudaunit_member *m, int64_t ms,
		 void *arg)
{
	struct run *r = arg;

	ckpt_tell(stage, m, ms, &r->procs);
}

/* Those whose number is another process's by now. The unit holds on to what it opened. */
static void find_replaced(struct run *r)
{
	for (size_t i = 0; i < r->unit.n; i++) {
		struct cudaunit_member *m = &r->unit.members[i];

		for (size_t k = 0; k < r->procs.n; k++)
			if (r->procs.list[k].pid == m->pid && m->error == CUDAUNIT_OK &&
			    r->procs.list[k].start != cudaproc_start(m->pid))
				m->error = CUDAUNIT_GONE;
	}
}

/* Start the workers, ask the driver. EX_OK or an exit code, said. */
static int open_unit(struct run *r, int stop_fd)
{
	const struct ckpt_opts *o = r->o;
	const struct cudaunit_opts opts = {
		.timeout_ms = o->timeout_ms,
		.sequential = r->procs.in_job,
		.restores = stages_of[o->verb] & DO_RESTORE,
		.stop_fd = stop_fd,
		.pairs = o->pairs,
		.n_pairs = o->n_pairs,
		.is_whole = is_whole,
		.tell = tell,
		.arg = r,
	};
	_cleanup_free_ pid_t *pids = xcalloc(r->procs.n ? r->procs.n : 1, sizeof(*pids));

	for (size_t i = 0; i < r->procs.n; i++)
		pids[i] = r->procs.list[i].pid;
	if (r->procs.in_job)
		say_info("CUDA_CHECKPOINT_JOB_FILE is set: one after the other");
	if (cudaunit_open(&r->unit, pids, r->procs.n, &opts) < 0)
		return ckpt_say_error(&r->procs, &r->unit, NULL);
	ckpt_tell_of(&r->unit);
	find_replaced(r);
	return check_members(r);
}

static bool is_all_done(const struct run *r)
{
	const int end = r->o->verb == VERB_SUSPEND ? CUDA_CHECKPOINTED : CUDA_RUNNING;

	for (size_t i = 0; i < r->unit.n; i++)
		if (r->unit.members[i].state != end)
			return false;
	return true;
}

/* After a failure: what failed, and what it left. */
static int say_failure(struct run *r)
{
	struct cudaunit *u = &r->unit;
	int code = ckpt_say_error(&r->procs, u, u->culprit), more;

	for (size_t i = 0; i < u->n; i++) {
		struct cudaunit_member *m = &u->members[i];

		if (m == u->culprit || m->failure.error == CUDAUNIT_OK)
			continue;
		more = ckpt_say_error(&r->procs, u, m);
		if (code == EX_OK)
			code = more;
	}
	if (u->taken_back)
		say_warn("what was done is taken back");
	else
		ckpt_say_left(&r->procs, u);
	return code;
}

static int go(struct run *r, unsigned stages, struct ckpt_memory *mem)
{
	const struct ckpt_opts *o = r->o;
	int code = EX_OK;

	if (o->n_pairs && r->unit.version < CUDA_VERSION_GPU_MAP) {
		say("--gpu-map needs a driver of CUDA 13.0 (580) or newer; this one is of %d.%d",
		    r->unit.version / 1000, r->unit.version % 1000 / 10);
		return EX_UNAVAILABLE;
	}
	if ((o->verb == VERB_SUSPEND || o->verb == VERB_RESUME) && is_all_done(r)) {
		say_info("nothing to do");
		return EX_OK;
	}
	if (mem)
		code = ckpt_memory_check(mem, o, &r->procs, &r->unit, stages);
	if (code == EX_OK && stages & DO_CHECKPOINT)
		code = ckpt_memory_record(mem, o, &r->procs, &r->unit);
	if (code != EX_OK)
		return code;
	if (cudaunit_run(&r->unit, stages) < 0) {
		ckpt_tell_end();
		code = say_failure(r);
		/* What is left suspended still needs what is in it. */
		if (o->record && stages & DO_CHECKPOINT && r->unit.taken_back)
			ckpt_memory_unrecord(mem, o);
	}
	ckpt_tell_end();
	ckpt_memory_forget(&r->procs, &r->unit);
	return code;
}

int ckpt_refuse_root(void)
{
	if (root_is_host())
		return EX_OK;
	say("the driver knows the processes of this host only, not those below %s", root_dir());
	return EX_UNAVAILABLE;
}

int ckpt_run(const struct ckpt_opts *o)
{
	struct run r = { .o = o, .unit = { .restorer = CUDAWORKER_NONE } };
	unsigned stages = stages_of[o->verb];
	struct record_writer *w = NULL;
	struct ckpt_memory *mem = NULL;
	int code, stop_fd;

	if (o->reports) {
		w = ckpt_report_new(&o->ropts);
		if (!w)
			return msg_usage_error();
	}
	code = ckpt_find(o, &r.procs);
	if (code == EX_OK)
		code = ckpt_refuse_root();
	if (code == EX_OK) {
		stop_fd = ckpt_signals();
		if (stages & (DO_CHECKPOINT | DO_RESTORE))
			mem = ckpt_memory_start();
		code = open_unit(&r, stop_fd);
		if (code == EX_OK)
			code = go(&r, stages, mem);
		if (w)
			ckpt_report(w, &r.unit);
		ckpt_memory_done(mem);
		cudaunit_done(&r.unit);
		if (stop_fd >= 0)
			close(stop_fd);
	}
	record_writer_free(w);
	ckpt_procs_done(&r.procs);
	return code;
}

static void put_state(struct record_writer *w, const struct run *r,
		      const struct cudaunit_member *m)
{
	char pid[16], tid[16];
	const char *comm = NULL;

	for (size_t i = 0; i < r->procs.n; i++)
		if (r->procs.list[i].pid == m->pid)
			comm = r->procs.list[i].comm;
	snprintf(pid, sizeof(pid), "%d", (int)m->pid);
	snprintf(tid, sizeof(tid), "%d", m->tid);
	record_put(w, (const char *const[]){ pid, ckpt_state_text(m->state),
		   m->tid ? tid : NULL, comm });
}

int ckpt_state(const struct ckpt_opts *o)
{
	static const struct record_field fields[] = {
		{ "pid", RECORD_NUMBER }, { "state", RECORD_STRING },
		{ "tid", RECORD_NUMBER }, { "comm", RECORD_STRING },
	};
	struct record_writer *w = record_stdout(fields, ARRAY_SIZE(fields), &o->ropts);
	struct run r = { .o = o, .unit = { .restorer = CUDAWORKER_NONE } };
	int code, more = EX_OK;

	if (!w)
		return msg_usage_error();
	code = ckpt_find(o, &r.procs);
	if (r.procs.n)
		more = ckpt_refuse_root();
	/* What is wrong with one is no reason to be silent of the others. */
	if (r.procs.n && more == EX_OK) {
		more = open_unit(&r, -1);
		for (size_t i = 0; i < r.unit.n; i++)
			if (r.unit.members[i].error == CUDAUNIT_OK)
				put_state(w, &r, &r.unit.members[i]);
		cudaunit_done(&r.unit);
	}
	record_writer_free(w);
	ckpt_procs_done(&r.procs);
	return code == EX_OK ? more : code;
}
