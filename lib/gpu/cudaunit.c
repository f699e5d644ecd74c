/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "gpu/cudaunit-parts.h"

enum {
	WORKER_END = 200,	/* ms that an idle worker is given to end */
	RESTORER_END = 2000,	/* the same with the driver to tidy up */
	INIT_MIN = 60000,	/* ms that cuInit is given, whatever the limit of the calls is */
};

const char *cudaunit_stage_word(enum cudaunit_stage stage)
{
	static const char *const words[] = {
		[CUDAUNIT_LOCK] = "lock",
		[CUDAUNIT_CHECKPOINT] = "checkpoint",
		[CUDAUNIT_RESTORE] = "restore",
		[CUDAUNIT_UNLOCK] = "unlock",
		[CUDAUNIT_STAGES] = "state",
	};

	return (size_t)stage < ARRAY_SIZE(words) ? words[stage] : "?";
}

int64_t cudaunit_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t cudaunit_rss(int dir)
{
	_cleanup_close_ int fd = openat(dir, "statm", O_RDONLY | O_CLOEXEC);
	unsigned long long size, resident;
	char text[128];
	ssize_t len;

	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	/* A zombie has no memory at all. */
	if (sscanf(text, "%llu %llu", &size, &resident) != 2 || size == 0)
		return 0;
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) + 1;
}

int cudaunit_start_worker(struct cudaunit *u, struct cudaunit_member *m)
{
	const struct cudaworker_opts opts = {
		.timeout_ms = u->opts.timeout_ms,
		.keep = &m->lock,
		.n_keep = 1,
		.is_kept = u->is_kept,
	};

	cudaworker_end(&m->worker, false, 0);
	return cudaworker_start(&m->worker, &m->pid, 1, &opts);
}

static void set_system_error(struct cudaunit_member *m, int err)
{
	m->error = err == ENOENT || err == ESRCH ? CUDAUNIT_GONE : CUDAUNIT_SYSTEM;
	m->detail = -err;
}

/*
 * The process's folder: that process's or nobody's. In it a file that only those can
 * open who may work on the process: locked, no other run touches it.
 */
static void open_member(struct cudaunit_member *m)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", (int)m->pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		set_system_error(m, errno);
		return;
	}
	m->dir = fd;
	m->lock = openat(fd, "environ", O_RDONLY | O_CLOEXEC);
	if (m->lock < 0) {
		set_system_error(m, errno);
		return;
	}
	if (flock(m->lock, LOCK_EX | LOCK_NB) == 0)
		return;
	if (errno == EWOULDBLOCK)
		m->error = CUDAUNIT_BUSY;
	else
		set_system_error(m, errno);
}

static bool is_open(const struct cudaunit_member *m)
{
	return m->dir >= 0 && m->error == CUDAUNIT_OK;
}

/* Its cuInit is begun, so that it is done when it is needed. */
static void start_restorer(struct cudaunit *u)
{
	_cleanup_free_ int *locks = xcalloc(u->n ? u->n : 1, sizeof(*locks));
	struct cudaworker_opts opts = {
		.timeout_ms = u->opts.timeout_ms,
		.threads = true,
		.pairs = u->opts.pairs,
		.n_pairs = u->opts.n_pairs,
		.keep = locks,
		.is_kept = u->is_kept,
	};

	if (u->restorer.sock >= 0)
		return;
	u->restorer_ready = false;
	for (size_t i = 0; i < u->n; i++)
		if (u->members[i].lock >= 0)
			locks[opts.n_keep++] = u->members[i].lock;
	/* Should it fail: asked again, and said, when it is needed. */
	if (cudaworker_start(&u->restorer, u->pids, u->n_pids, &opts) == 0)
		cudaworker_ask(&u->restorer, CUDAWORKER_INIT, 0);
}

int cudaunit_open(struct cudaunit *u, const pid_t *pids, size_t n,
		  const struct cudaunit_opts *opts)
{
	*u = (struct cudaunit){
		.opts = *opts,
		.n = n,
		.members = xcalloc(n ? n : 1, sizeof(*u->members)),
		.restorer = CUDAWORKER_NONE,
	};
	u->is_kept = mmap(NULL, sizeof(*u->is_kept), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (u->is_kept == MAP_FAILED)
		u->is_kept = NULL;
	u->pids = xcalloc(n ? n : 1, sizeof(*u->pids));
	u->n_pids = n;
	for (size_t i = 0; i < n; i++) {
		u->pids[i] = pids[i];
		u->members[i] = (struct cudaunit_member){
			.pid = pids[i],
			.slot = (int)i,
			.dir = -1,
			.lock = -1,
			.initial = -1,
			.state = -1,
			.at = CUDAUNIT_STAGES,
			.vram = UINT64_MAX,
			.worker = CUDAWORKER_NONE,
		};
		open_member(&u->members[i]);
	}
	if (opts->restores)
		start_restorer(u);
	/* Nobody to blame yet: what is wrong with one is for the caller to judge. */
	u->taking_back = true;
	cudaunit_ask_states(u, is_open);
	u->taking_back = false;
	for (size_t i = 0; i < n; i++) {
		struct cudaunit_member *m = &u->members[i];

		m->initial = m->state;
		if (m->error != CUDAUNIT_NO_LIBRARY)
			continue;
		u->error = m->error;
		u->detail = m->detail;
		return -1;
	}
	return 0;
}

static void close_member(struct cudaunit_member *m, int wait_ms)
{
	/*
	 * A worker may live on for a moment, or hang: only in the latter case is the
	 * lock, which it shares with us, to stay.
	 */
	if (m->lock >= 0 && !m->hung)
		flock(m->lock, LOCK_UN);
	/* What hangs in the restorer is for the restorer to finish, not for this one, too. */
	cudaworker_close(&m->worker, !m->hung || m->at == CUDAUNIT_RESTORE);
	cudaworker_end(&m->worker, true, m->hung ? 0 : wait_ms);
	if (m->dir >= 0)
		close(m->dir);
	if (m->lock >= 0)
		close(m->lock);
	m->dir = m->lock = -1;
}

void cudaunit_drop(struct cudaunit *u, size_t i)
{
	close_member(&u->members[i], WORKER_END);
	memmove(&u->members[i], &u->members[i + 1], (u->n - i - 1) * sizeof(*u->members));
	u->n--;
	u->culprit = NULL;
}

static int no_restorer(struct cudaunit *u, enum cudaunit_error error, int detail)
{
	if (u->taking_back)
		return -1;
	u->error = error;
	u->detail = detail;
	u->at = CUDAUNIT_RESTORE;
	return -1;
}

int cudaunit_await_restorer(struct cudaunit *u)
{
	int64_t limit = u->opts.timeout_ms ? 6 * (int64_t)u->opts.timeout_ms : -1;
	int64_t end;
	struct cudaworker_reply r = { 0 };
	int status = 0, rc;

	if (u->restorer_ready)
		return 0;
	/* Seconds with many GPUs, and without it no way back. */
	if (limit >= 0 && limit < INIT_MIN)
		limit = INIT_MIN;
	end = cudaunit_now() + limit;
	start_restorer(u);
	if (u->restorer.sock < 0)
		return no_restorer(u, CUDAUNIT_SYSTEM, -EAGAIN);
	while ((rc = cudaworker_take(&u->restorer, &r, &status)) == 0) {
		struct pollfd p = { .fd = u->restorer.sock, .events = POLLIN };
		int64_t left = end - cudaunit_now();

		if (limit >= 0 && left <= 0) {
			/* It touches none of the processes: it may go on alone. */
			cudaworker_end(&u->restorer, true, 0);
			return no_restorer(u, CUDAUNIT_HUNG, 0);
		}
		poll(&p, 1, limit < 0 || left > 1000 ? 1000 : (int)left + 1);
	}
	if (rc < 0)
		return no_restorer(u, CUDAUNIT_CRASHED,
				   WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	if (r.open || r.result != CUDA_OK) {
		cudaworker_end(&u->restorer, true, 0);
		return no_restorer(u, r.open ? CUDAUNIT_NO_LIBRARY : CUDAUNIT_NO_INIT,
				   r.open ? r.open : r.result);
	}
	u->restorer_ready = true;
	return 0;
}

void cudaunit_done(struct cudaunit *u)
{
	bool hung = false;

	for (size_t i = 0; i < u->n; i++)
		hung |= u->members[i].hung;
	/* One word to all of them: killed among the words to each, we would leave half. */
	if (!hung && u->is_kept)
		atomic_store(u->is_kept, true);
	hung = false;
	/* All are told to end, then waited for, so that they end at the same time. */
	for (size_t i = 0; i < u->n; i++) {
		struct cudaunit_member *m = &u->members[i];

		hung |= m->hung && m->at == CUDAUNIT_RESTORE;
		/* A restorer that hangs with one is to leave the others alone for good. */
		if (!m->hung && u->restorer.sock >= 0)
			cudaworker_ask(&u->restorer, CUDAWORKER_KEEP, m->slot);
		cudaworker_close(&m->worker, !m->hung || m->at == CUDAUNIT_RESTORE);
	}
	cudaworker_close(&u->restorer, !hung);
	for (size_t i = 0; i < u->n; i++)
		close_member(&u->members[i], WORKER_END);
	/* One that was not needed may still be in its cuInit. */
	cudaworker_end(&u->restorer, !hung, hung || !u->restorer_ready ? 0 : RESTORER_END);
	if (u->is_kept)
		munmap(u->is_kept, sizeof(*u->is_kept));
	u->is_kept = NULL;
	free(u->members);
	free(u->pids);
	u->pids = NULL;
	u->members = NULL;
	u->n = 0;
}
