/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt: the spelling --action … --pid N, with its own messages and exit 0 or 1 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "cuda-ckpt.h"

enum {
	TIMEOUT = 5000,		/* ms, this spelling's own default */
	WAIT = 60000,		/* ms for cuInit */
};

static const struct action {
	const char *word;
	unsigned stages;
	const char *begin;	/* with one %d; NULL: silent */
	const char *done;
} actions[] = {
	{ "lock", 1U << CUDAUNIT_LOCK, NULL, "Process locked" },
	{ "checkpoint", 1U << CUDAUNIT_CHECKPOINT, NULL, "VRAM checkpointed to RAM" },
	{ "restore", 1U << CUDAUNIT_RESTORE, NULL, "VRAM restored from RAM" },
	{ "unlock", 1U << CUDAUNIT_UNLOCK, NULL, "Process unlocked" },
	{ "full-checkpoint", 1U << CUDAUNIT_LOCK | 1U << CUDAUNIT_CHECKPOINT,
	  "Performing full checkpoint (lock + VRAM\342\206\222RAM)",
	  "Full checkpoint complete - VRAM is now in host RAM" },
	{ "full-restore", 1U << CUDAUNIT_RESTORE | 1U << CUDAUNIT_UNLOCK,
	  "Performing full restore (RAM\342\206\222VRAM + unlock)",
	  "Full restore complete - process is running" },
	{ "state", 0, NULL, NULL },
};

static const char *const calls[] = {
	[CUDAUNIT_LOCK] = "cuCheckpointProcessLock",
	[CUDAUNIT_CHECKPOINT] = "cuCheckpointProcessCheckpoint",
	[CUDAUNIT_RESTORE] = "cuCheckpointProcessRestore",
	[CUDAUNIT_UNLOCK] = "cuCheckpointProcessUnlock",
	[CUDAUNIT_STAGES] = "cuCheckpointProcessGetState",
};

/* The lines that its users know, then, as every program here, why and what to do. */
static int fail(const struct action *a, const struct cudaunit *u, enum cudaunit_stage at,
		const struct cudaunit_member *m)
{
	bool has_failed = m && m->failure.error != CUDAUNIT_OK;
	enum cudaunit_error error = has_failed ? m->failure.error : m ? m->error : u->error;
	int detail = has_failed ? m->failure.detail : m ? m->detail : u->detail;
	bool is_cuda = error == CUDAUNIT_REFUSED || error == CUDAUNIT_NO_INIT;
	const char *call = error == CUDAUNIT_NO_INIT ? "cuInit"
			   : a->stages ? calls[at] : "cuCheckpointProcessGetState";

	if (a->begin)
		fprintf(stderr, "Failed: %s failed", cudaunit_stage_word(at));
	else
		fprintf(stderr, "Failed to %s", a->stages ? a->word : "get state");
	if (is_cuda)
		fprintf(stderr, ": CUDA error %d: %s failed\n", detail, call);
	else
		fputs("\n", stderr);
	ckpt_say_error(NULL, u, m);
	return 1;
}

/* The stage that a process in this state would fail; CUDAUNIT_STAGES for none. */
static enum cudaunit_stage misfit(unsigned stages, int state)
{
	if (stages & 1U << CUDAUNIT_LOCK)
		return state == CUDA_RUNNING ? CUDAUNIT_STAGES : CUDAUNIT_LOCK;
	if (stages & 1U << CUDAUNIT_CHECKPOINT)
		return state == CUDA_LOCKED ? CUDAUNIT_STAGES : CUDAUNIT_CHECKPOINT;
	if (stages & 1U << CUDAUNIT_RESTORE)
		return state == CUDA_CHECKPOINTED ? CUDAUNIT_STAGES : CUDAUNIT_RESTORE;
	if (stages & 1U << CUDAUNIT_UNLOCK)
		return state == CUDA_LOCKED ? CUDAUNIT_STAGES : CUDAUNIT_UNLOCK;
	return CUDAUNIT_STAGES;
}

/* Is there room for what is moved? EX_OK, or an exit code, said. */
static int check_memory(const struct action *a, const struct ckpt_procs *procs,
			struct cudaunit *u, bool force)
{
	const struct ckpt_opts o = { .force = force };
	struct ckpt_memory *mem = ckpt_memory_start();
	int level = msg_level, code;

	/* Its users know no warnings, only errors. */
	msg_level = -1;
	code = ckpt_memory_check(mem, &o, procs, u, a->stages);
	if (code == EX_OK && a->stages & 1U << CUDAUNIT_CHECKPOINT)
		code = ckpt_memory_record(mem, &o, procs, u);
	msg_level = level;
	ckpt_memory_done(mem);
	return code;
}

static int run(const struct action *a, const struct ckpt_procs *procs, struct cudaunit *u,
	       bool force)
{
	struct cudaunit_member *m = &u->members[0];
	enum cudaunit_stage at;

	if (m->error != CUDAUNIT_OK)
		return fail(a, u, CUDAUNIT_STAGES, m);
	if (!a->stages) {
		puts(ckpt_state_text(m->state));
		return 0;
	}
	at = misfit(a->stages, m->state);
	if (at != CUDAUNIT_STAGES) {
		/* As the driver would say it, had it been asked. */
		m->error = CUDAUNIT_REFUSED;
		m->detail = CUDA_ILLEGAL_STATE;
		m->at = at;
		return fail(a, u, at, m);
	}
	if (a->stages & (1U << CUDAUNIT_CHECKPOINT | 1U << CUDAUNIT_RESTORE) &&
	    check_memory(a, procs, u, force) != EX_OK)
		return 1;
	if (a->begin) {
		printf("%s for PID %d...\n", a->begin, (int)m->pid);
		fflush(stdout);
	}
	if (cudaunit_run(u, a->stages) < 0) {
		fail(a, u, u->at, u->culprit);
		ckpt_say_left(NULL, u);
		ckpt_memory_forget(procs, u);
		return 1;
	}
	ckpt_memory_forget(procs, u);
	puts(a->done);
	return 0;
}

static int run_action(const struct action *a, pid_t pid, uint32_t timeout, bool force)
{
	struct cudaunit_opts opts = {
		.timeout_ms = timeout,
		.restores = a->stages & 1U << CUDAUNIT_RESTORE,
		.stop_fd = ckpt_signals(),
	};
	struct cudaunit u;
	struct cudaproc p;
	const struct ckpt_procs procs = { .list = &p, .n = 1 };
	enum cudaproc_fault fault;
	int rc = cudaproc_read(pid, &p);

	if (rc < 0) {
		errno = -rc;
		if (rc == -ENOENT)
			say("process %d: no such process", (int)pid);
		else
			say_errno("process %d", (int)pid);
		return 1;
	}
	fault = cudaproc_fault(&p);
	if (fault != CUDAPROC_FIT) {
		ckpt_say_fault(&p, fault);
		cudaproc_done(&p);
		return 1;
	}
	if (cudaunit_open(&u, &pid, 1, &opts) < 0) {
		fputs("Failed to initialize CUDA\n", stderr);
		rc = ckpt_say_error(NULL, &u, NULL);
	} else if (cudaproc_start(pid) != p.start) {
		/* Its number is another process's by now. */
		say("process %d: has ended", (int)pid);
		rc = EX_NOINPUT;
	} else {
		rc = run(a, &procs, &u, force);
	}
	cudaunit_done(&u);
	cudaproc_done(&p);
	return rc ? 1 : 0;
}

/* One call of a worker: 0 and *reply, or 1, said. */
static int ask(struct cudaworker *w, enum cudaworker_op op, int index,
	       struct cudaworker_reply *reply)
{
	struct pollfd p = { .fd = w->sock, .events = POLLIN };
	int status;

	*reply = (struct cudaworker_reply){ 0 };
	if (cudaworker_ask(w, op, index) == 0 && poll(&p, 1, WAIT) == 0) {
		say("cuInit: the driver does not answer");
		return 1;
	}
	if (cudaworker_take(w, reply, &status) != 1) {
		say("the driver's library crashed");
		return 1;
	}
	if (reply->open == 0)
		return 0;
	ckpt_say_no_driver(reply->open, reply->version);
	return 1;
}

static int list_gpus(void)
{
	static const struct cudaworker_opts opts = { 0 };
	struct cudaworker w = CUDAWORKER_NONE;
	struct cudaworker_reply r;
	int n, code = 0;

	if (cudaworker_start(&w, NULL, 0, &opts) < 0) {
		say_errno("fork");
		return 1;
	}
	if (ask(&w, CUDAWORKER_INIT, 0, &r) != 0 || r.result != CUDA_OK) {
		if (r.open == 0)
			fprintf(stderr, "Failed to initialize CUDA: CUDA error %d: cuInit failed\n",
				r.result);
		cudaworker_end(&w, true, 0);
		return 1;
	}
	n = r.state;
	printf("Found %d GPU(s):\n", n);
	for (int i = 0; i < n && code == 0; i++) {
		code = ask(&w, CUDAWORKER_GPU, i, &r);
		if (code)
			break;
		if (r.result != CUDA_OK) {
			fprintf(stderr, "  GPU %d: error: CUDA error %d\n", i, r.result);
			continue;
		}
		printf("  GPU %d: GPU-", i);
		for (size_t k = 0; k < sizeof(r.uuid.bytes); k++)
			printf("%02x", r.uuid.bytes[k]);
		putchar('\n');
	}
	cudaworker_end(&w, true, 2000);
	return code;
}

int ckpt_action(const char *action, const char *pid_text, const char *timeout_text,
		bool force, bool lists_gpus)
{
	unsigned long timeout = TIMEOUT;
	pid_t pid;
	char *end;

	if (lists_gpus)
		return list_gpus();
	if (timeout_text) {
		errno = 0;
		timeout = strtoul(timeout_text, &end, 10);
		if (*timeout_text < '0' || *timeout_text > '9' || *end || errno ||
		    timeout > UINT32_MAX) {
			say("%s: not a number of milliseconds", timeout_text);
			return 1;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (strcmp(actions[i].word, action) != 0)
			continue;
		if (!pid_text) {
			fputs("Error: --pid is required\n", stderr);
			return 1;
		}
		if (cudaproc_parse_pid(pid_text, &pid) < 0) {
			say("%s: not a process id", pid_text);
			return 1;
		}
		return run_action(&actions[i], pid, (uint32_t)timeout, force);
	}
	say("%s: no such action (lock, checkpoint, restore, unlock, state, full-checkpoint, full-restore)",
	    action);
	return 1;
}
