/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to the workers of a unit, and their replies. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "gpu/cudaunit-parts.h"

enum {
	TICK = 100,			/* ms between two looks at what goes on */
	GRACE_MIN = 1000,		/* ms that a call may take beyond what it was told */
	STALL = 6,			/* timeouts without progress of a copy */
	SLOWEST = 256 * 1024 * 1024,	/* bytes a second that a copy makes at least */
};

static enum cudaunit_stage stage_of(enum cudaworker_op op)
{
	switch (op) {
	case CUDAWORKER_CHECKPOINT:	return CUDAUNIT_CHECKPOINT;
	case CUDAWORKER_RESTORE:	return CUDAUNIT_RESTORE;
	case CUDAWORKER_LOCK:		return CUDAUNIT_LOCK;
	case CUDAWORKER_UNLOCK:		return CUDAUNIT_UNLOCK;
	default:			return CUDAUNIT_STAGES;
	}
}

/* The time at which a member's call is given up. */
static int64_t deadline(const struct cudaunit *u, const struct cudaunit_member *m,
			enum cudaworker_op op)
{
	int64_t limit = u->opts.timeout_ms, grace = limit / 2;

	if (limit == 0)
		return INT64_MAX;
	if (grace < GRACE_MIN)
		grace = GRACE_MIN;
	if (op != CUDAWORKER_CHECKPOINT && op != CUDAWORKER_RESTORE)
		return m->asked + limit + grace;
	/* A copy shows in the target's memory; how long it takes is not for us to say. */
	limit = limit * STALL + grace;
	if (m->vram != UINT64_MAX)
		limit += (int64_t)(m->vram / SLOWEST) * 1000;
	return m->moved + limit;
}

static void set_error(struct cudaunit *u, struct cudaunit_member *m, enum cudaworker_op op,
		      enum cudaunit_error error, int detail)
{
	m->error = error;
	m->detail = detail;
	m->at = stage_of(op);
	if (error == CUDAUNIT_OK || u->taking_back)
		return;
	m->failure.error = error;
	m->failure.detail = detail;
	m->failure.at = m->at;
	if (u->culprit)
		return;
	u->culprit = m;
	u->error = error;
	u->detail = detail;
	u->at = m->at;
}

static void set_state(struct cudaunit_member *m, const struct cudaworker_reply *r)
{
	switch (r->op) {
	case CUDAWORKER_STATE:
		m->state = r->state;
		m->tid = r->tid;
		break;
	case CUDAWORKER_LOCK:
	case CUDAWORKER_RESTORE:
		m->state = CUDA_LOCKED;
		break;
	case CUDAWORKER_CHECKPOINT:
		m->state = CUDA_CHECKPOINTED;
		break;
	case CUDAWORKER_UNLOCK:
		m->state = CUDA_RUNNING;
		break;
	default:
		break;
	}
}

static void finish(struct cudaunit *u, struct cudaunit_member *m, enum cudaworker_op op,
		   enum cudaunit_error error, int detail, bool tells)
{
	/* Whatever it was told of a process that has ended, that is why. */
	if (error == CUDAUNIT_REFUSED && cudaunit_rss(m->dir) == 0) {
		error = CUDAUNIT_GONE;
		m->state = -1;
	}
	m->is_asked = false;
	set_error(u, m, op, error, detail);
	if (tells && u->opts.tell)
		u->opts.tell(stage_of(op), m, cudaunit_now() - m->asked, u->opts.arg);
}

static void take_reply(struct cudaunit *u, struct cudaunit_member *m,
		       const struct cudaworker_reply *r, bool tells)
{
	enum cudaunit_stage stage = stage_of(r->op);

	if (r->version)
		u->version = r->version;
	if (!m->is_asked)
		return;		/* of a call that was given up */
	if (r->open) {
		finish(u, m, r->op, CUDAUNIT_NO_LIBRARY, r->open, tells);
		return;
	}
	if (r->result != CUDA_OK) {
		finish(u, m, r->op, CUDAUNIT_REFUSED, r->result, tells);
		return;
	}
	set_state(m, r);
	if (r->op != CUDAWORKER_STATE) {
		uint64_t rss = cudaunit_rss(m->dir);

		m->rss = rss ? rss : m->rss;
		m->stage[stage].done = true;
		m->stage[stage].ns = r->ns;
		m->stage[stage].bytes = m->rss > m->rss_start ? m->rss - m->rss_start
							      : m->rss_start - m->rss;
	}
	finish(u, m, r->op, CUDAUNIT_OK, 0, tells);
}

static int crash_detail(int status)
{
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void take_from_worker(struct cudaunit *u, struct cudaunit_member *m,
			     enum cudaworker_op op, bool tells)
{
	struct cudaworker_reply r;
	int status = 0, rc;

	while ((rc = cudaworker_take(&m->worker, &r, &status)) == 1)
		take_reply(u, m, &r, tells);
	if (rc == -EPIPE && m->is_asked)
		finish(u, m, op, CUDAUNIT_CRASHED, crash_detail(status), tells);
}

static void take_from_restorer(struct cudaunit *u, enum cudaworker_op op, bool tells)
{
	struct cudaworker_reply r;
	int status = 0, rc;

	while ((rc = cudaworker_take(&u->restorer, &r, &status)) == 1)
		for (size_t i = 0; i < u->n; i++)
			if (r.op == CUDAWORKER_RESTORE && r.index == u->members[i].slot)
				take_reply(u, &u->members[i], &r, tells);
	if (rc != -EPIPE)
		return;
	u->restorer_ready = false;
	for (size_t i = 0; i < u->n; i++)
		if (u->members[i].is_asked)
			finish(u, &u->members[i], op, CUDAUNIT_CRASHED, crash_detail(status),
			       tells);
}

void cudaunit_ask(struct cudaunit *u, struct cudaunit_member *m, enum cudaworker_op op)
{
	bool restores = op == CUDAWORKER_RESTORE;
	struct cudaworker *w = restores ? &u->restorer : &m->worker;
	int rc = 0;

	m->error = CUDAUNIT_OK;
	if (!u->taking_back && op != CUDAWORKER_STATE)
		m->failure.error = CUDAUNIT_OK;
	m->asked = m->moved = cudaunit_now();
	m->rss = m->rss_start = cudaunit_rss(m->dir);
	m->is_asked = true;
	/* Its number may be another process's by now: the driver must not hear it. */
	if (m->rss == 0) {
		m->state = -1;
		finish(u, m, op, CUDAUNIT_GONE, 0, op != CUDAWORKER_STATE);
		return;
	}
	if (!restores && w->sock < 0)
		rc = cudaunit_start_worker(u, m);
	if (rc < 0) {
		finish(u, m, op, CUDAUNIT_SYSTEM, rc, op != CUDAWORKER_STATE);
		return;
	}
	/* Should it fail, the worker has died, which is seen when its reply is waited for. */
	cudaworker_ask(w, op, restores ? m->slot : 0);
}

bool cudaunit_is_stopped(struct cudaunit *u)
{
	struct pollfd p = { .fd = u->opts.stop_fd, .events = POLLIN };

	if (!u->stopped && p.fd >= 0 && poll(&p, 1, 0) == 1)
		u->stopped = true;
	return u->stopped;
}

/* Look after the copies; give up what is late. Returns ms until the next look. */
static int look_after(struct cudaunit *u, enum cudaworker_op op, bool tells)
{
	int64_t now = cudaunit_now(), next = now + TICK;

	for (size_t i = 0; i < u->n; i++) {
		struct cudaunit_member *m = &u->members[i];
		int64_t end;

		if (!m->is_asked)
			continue;
		if (op == CUDAWORKER_CHECKPOINT || op == CUDAWORKER_RESTORE) {
			uint64_t rss = cudaunit_rss(m->dir);

			if (rss && rss != m->rss) {
				m->rss = rss;
				m->moved = now;
			}
		}
		end = deadline(u, m, op);
		if (end <= now) {
			m->hung = true;
			finish(u, m, op, CUDAUNIT_HUNG, 0, tells);
		} else if (end < next) {
			next = end;
		}
	}
	return (int)(next - now) + 1;
}

static bool is_any_due(const struct cudaunit *u)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->members[i].is_asked)
			return true;
	return false;
}

void cudaunit_wait(struct cudaunit *u, enum cudaworker_op op, bool tells)
{
	_cleanup_free_ struct pollfd *fds = xcalloc(u->n + 2, sizeof(*fds));
	bool restores = op == CUDAWORKER_RESTORE;
	int64_t start = cudaunit_now();

	while (is_any_due(u)) {
		int wait = look_after(u, op, tells);
		nfds_t n = 0;

		for (size_t i = 0; i < u->n && !restores; i++)
			if (u->members[i].is_asked)
				fds[n++] = (struct pollfd){ .fd = u->members[i].worker.sock,
							    .events = POLLIN };
		if (restores)
			fds[n++] = (struct pollfd){ .fd = u->restorer.sock, .events = POLLIN };
		/* Only to be noted soon: what is under way cannot be stopped. */
		if (!u->stopped && u->opts.stop_fd >= 0)
			fds[n++] = (struct pollfd){ .fd = u->opts.stop_fd, .events = POLLIN };
		if (poll(fds, n, wait) < 0 && errno != EINTR)
			return;
		cudaunit_is_stopped(u);
		if (restores)
			take_from_restorer(u, op, tells);
		for (size_t i = 0; i < u->n && !restores; i++)
			if (u->members[i].is_asked)
				take_from_worker(u, &u->members[i], op, tells);
		if (tells && u->opts.tell)
			u->opts.tell(stage_of(op), NULL, cudaunit_now() - start, u->opts.arg);
	}
}

void cudaunit_ask_states(struct cudaunit *u, bool (*wants)(const struct cudaunit_member *m))
{
	for (size_t i = 0; i < u->n; i++) {
		struct cudaunit_member *m = &u->members[i];

		if (m->hung || !wants(m))
			continue;
		cudaunit_ask(u, m, CUDAWORKER_STATE);
		/* One after the other where the driver wants that. */
		if (u->opts.sequential)
			cudaunit_wait(u, CUDAWORKER_STATE, false);
	}
	cudaunit_wait(u, CUDAWORKER_STATE, false);
}
