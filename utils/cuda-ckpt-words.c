/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt: what is wrong, in words, with the way out */
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "cuda-ckpt.h"

const char *ckpt_gib(uint64_t bytes, char buf[32])
{
	snprintf(buf, 32, "%.2f GiB", (double)bytes / (1 << 30));
	return buf;
}

const char *ckpt_state_text(int state)
{
	static char text[32];
	const char *word = cuda_state_word(state);

	if (word)
		return word;
	snprintf(text, sizeof(text), "unknown(%d)", state);
	return text;
}

void ckpt_say_no_driver(int err, int version)
{
	switch (err) {
	case -ENOENT:
		say("libcuda.so.1 is not there: install NVIDIA's driver (570 or newer) here");
		break;
	case -ELIBBAD:
		say("libcuda.so.1 is not the library of NVIDIA's driver");
		break;
	case -ENOSYS:
		say("the driver is of CUDA %d.%d: checkpoints need 12.8 (driver 570) or newer",
		    version / 1000, version % 1000 / 10);
		break;
	default:
		say("the CUDA driver does not say its version: is the kernel module of the same version loaded?");
	}
}

int ckpt_say_fault(const struct cudaproc *p, enum cudaproc_fault fault)
{
	int pid = (int)p->pid;

	switch (fault) {
	case CUDAPROC_THREAD:
		say("%d is a thread of process %d: name the process", pid, (int)p->tgid);
		return EX_NOINPUT;
	case CUDAPROC_ZOMBIE:
		say("process %d (%s) has ended; its parent has not taken note yet", pid,
		    p->comm);
		return EX_NOINPUT;
	case CUDAPROC_FOREIGN:
		say("process %d (%s) is of user %u: root is needed", pid, p->comm,
		    (unsigned)p->uid);
		return EX_NOPERM;
	case CUDAPROC_NO_CUDA:
		say("process %d (%s) does not use CUDA: libcuda is not mapped", pid, p->comm);
		return EX_UNAVAILABLE;
	case CUDAPROC_FROZEN:
		say("process %d (%s) is frozen, where the driver's calls would hang; thaw it first: %s",
		    pid, p->comm, p->thaw);
		return EX_TEMPFAIL;
	case CUDAPROC_STOPPED:
		say("process %d (%s) is stopped, where the driver's calls would hang; let it go on first: kill -CONT %d",
		    pid, p->comm, pid);
		return EX_TEMPFAIL;
	case CUDAPROC_TRACED:
		say("process %d (%s) is stopped by its tracer, process %d, where the driver's calls would hang",
		    pid, p->comm, (int)p->tracer);
		return EX_TEMPFAIL;
	default:
		return EX_OK;
	}
}

static const struct {
	int at;			/* enum cudaunit_stage; -1 = any */
	int result;
	int code;
	const char *hint;
} hints[] = {
	{ CUDAUNIT_LOCK, CUDA_NOT_READY, EX_TEMPFAIL,
	  "its GPU work was not done in time: a longer --timeout, or all processes of its job at once (--tree, --cgroup)" },
	{ CUDAUNIT_CHECKPOINT, CUDA_OUT_OF_MEMORY, EX_TEMPFAIL,
	  "host memory for what is on its GPUs is needed" },
	{ CUDAUNIT_RESTORE, CUDA_OUT_OF_MEMORY, EX_TEMPFAIL,
	  "its GPUs must have as much free memory as it had" },
	{ CUDAUNIT_RESTORE, CUDA_INVALID_VALUE, EX_UNAVAILABLE,
	  "a GPU map must name all of its GPUs; memory that processes share does not come back" },
	{ -1, CUDA_OPERATING_SYSTEM, EX_UNAVAILABLE,
	  "if root in the host's pid namespace is told so, only ending the process helps" },
	{ -1, CUDA_ILLEGAL_STATE, EX_UNAVAILABLE, "cuda-ckpt state says which it is in" },
	{ -1, CUDA_NOT_SUPPORTED, EX_UNAVAILABLE, "cuda-ckpt check says more" },
	{ -1, CUDA_NOT_PERMITTED, EX_UNAVAILABLE,
	  "it uses what cannot be checkpointed: cuda-ckpt check says more" },
	{ -1, CUDA_INVALID_VALUE, EX_UNAVAILABLE, "it has no CUDA, or has ended" },
	{ -1, CUDA_NOT_INITIALIZED, EX_UNAVAILABLE, "it has no CUDA context" },
};

static int say_refused(const char *who, enum cudaunit_stage at, int result)
{
	const char *stage = cudaunit_stage_word(at), *text = cuda_result_text(result);

	for (size_t i = 0; i < ARRAY_SIZE(hints); i++) {
		if (hints[i].result != result || (hints[i].at >= 0 && hints[i].at != (int)at))
			continue;
		say("%s: %s: CUDA error %d (%s): %s", who, stage, result, text,
		    hints[i].hint);
		return hints[i].code;
	}
	say("%s: %s: CUDA error %d (%s)", who, stage, result, text);
	return EX_UNAVAILABLE;
}

int ckpt_say_error(const struct ckpt_procs *procs, const struct cudaunit *u,
		   const struct cudaunit_member *m)
{
	bool has_failed = m && m->failure.error != CUDAUNIT_OK;
	enum cudaunit_error error = has_failed ? m->failure.error : m ? m->error : u->error;
	int detail = has_failed ? m->failure.detail : m ? m->detail : u->detail;
	enum cudaunit_stage at = has_failed ? m->failure.at : m ? m->at : u->at;
	const char *who = m ? ckpt_name(procs, m->pid) : "the unit";
	const char *stage = cudaunit_stage_word(at);

	switch (error) {
	case CUDAUNIT_OK:
		return EX_OK;
	case CUDAUNIT_GONE:
		say("%s: has ended", who);
		return EX_NOINPUT;
	case CUDAUNIT_BUSY:
		say("%s: another cuda-ckpt is at work on it, or was left with a call that hangs",
		    who);
		return EX_TEMPFAIL;
	case CUDAUNIT_NO_LIBRARY:
		ckpt_say_no_driver(detail, u->version);
		return EX_UNAVAILABLE;
	case CUDAUNIT_NO_INIT:
		say("cuInit: CUDA error %d (%s)", detail, cuda_result_text(detail));
		return EX_UNAVAILABLE;
	case CUDAUNIT_REFUSED:
		return say_refused(who, at, detail);
	case CUDAUNIT_CRASHED:
		if (detail)
			say("%s: %s: the driver's library crashed (%s)", who, stage,
			    strsignal(detail));
		else
			say("%s: %s: the driver's library ended the worker", who, stage);
		return EX_OSERR;
	case CUDAUNIT_HUNG:
		if (m)
			say("%s: %s: the driver does not answer; the call is left to itself", who,
			    stage);
		else
			say("cuInit: the driver does not answer");
		return EX_TEMPFAIL;
	case CUDAUNIT_STOPPED:
		say("stopped by a signal");
		return EX_TEMPFAIL;
	case CUDAUNIT_CHANGED:
		say("another process has begun to use CUDA meanwhile: try again");
		return EX_TEMPFAIL;
	case CUDAUNIT_SYSTEM:
		errno = -detail;
		say_errno("%s: %s", who, stage);
		return detail == -EACCES || detail == -EPERM ? EX_NOPERM : EX_OSERR;
	}
	return EX_SOFTWARE;
}

static const char *way_out(int state)
{
	switch (state) {
	case CUDA_LOCKED:	return "cuda-ckpt unlock";
	case CUDA_CHECKPOINTED:	return "cuda-ckpt resume";
	default:		return NULL;
	}
}

void ckpt_say_left(const struct ckpt_procs *procs, const struct cudaunit *u)
{
	for (size_t i = 0; i < u->n; i++) {
		const struct cudaunit_member *m = &u->members[i];
		const char *who = ckpt_name(procs, m->pid), *way = way_out(m->state);

		if (m->error == CUDAUNIT_GONE)
			continue;
		if (m->hung)
			say("%s: should the call return, what it did is taken back; until then the process is busy",
			    who);
		else if (m->state != m->initial && way)
			say("%s is left %s: %s %d", who, ckpt_state_text(m->state), way,
			    (int)m->pid);
		else if (m->state != m->initial && m->state != CUDA_RUNNING)
			say("%s is left in state %s", who, ckpt_state_text(m->state));
	}
}
