/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stages of a unit, and the way back. */
#include <time.h>

#include "gpu/cudaunit-parts.h"

enum {
	TRIES = 3,		/* of what must succeed: the way back, the last unlocks */
	PAUSE = 200,		/* ms between two of them */
};

static const struct {
	enum cudaworker_op op;
	int from;		/* enum cuda_state that it begins in */
} steps[] = {
	[CUDAUNIT_LOCK] = { CUDAWORKER_LOCK, CUDA_RUNNING },
	[CUDAUNIT_CHECKPOINT] = { CUDAWORKER_CHECKPOINT, CUDA_LOCKED },
	[CUDAUNIT_RESTORE] = { CUDAWORKER_RESTORE, CUDA_CHECKPOINTED },
	[CUDAUNIT_UNLOCK] = { CUDAWORKER_UNLOCK, CUDA_LOCKED },
};

static void pause_ms(int ms)
{
	const struct timespec t = { .tv_nsec = (long)ms * 1000000 };

	nanosleep(&t, NULL);
}

static bool has_failed(const struct cudaunit_member *m)
{
	return m->error != CUDAUNIT_OK && m->error != CUDAUNIT_GONE;
}

/* Forget a failure that is about to be tried again. */
static void forgive(struct cudaunit *u)
{
	u->culprit = NULL;
	u->error = CUDAUNIT_OK;
	u->detail = 0;
}

/*
 * Take through a stage all that stand before it and that wants() picks (NULL: all).
 * true when none failed. Forward it stops at the first failure, or when asked to, as
 * far as the calls have not been made yet; backward it goes on.
 */
static bool run_stage(struct cudaunit *u, enum cudaunit_stage stage,
		      bool (*wants)(const struct cudaunit_member *m))
{
	bool is_good = true, forward = !u->taking_back && stage != CUDAUNIT_UNLOCK;

	if (u->opts.tell)
		u->opts.tell(stage, NULL, 0, u->opts.arg);
	for (size_t i = 0; i < u->n; i++) {
		struct cudaunit_member *m = &u->members[i];

		if (m->hung || m->dir < 0 || m->state != steps[stage].from ||
		    (wants && !wants(m)))
			continue;
		cudaunit_ask(u, m, steps[stage].op);
		if (!u->opts.sequential)
			continue;
		cudaunit_wait(u, steps[stage].op, true);
		if (forward && (m->error || cudaunit_is_stopped(u)))
			break;
	}
	cudaunit_wait(u, steps[stage].op, true);
	for (size_t i = 0; i < u->n; i++)
		if (u->members[i].error != CUDAUNIT_OK)
			is_good = false;
	return is_good;
}

static bool must_lose_gpu(const struct cudaunit_member *m)
{
	return m->initial == CUDA_CHECKPOINTED;
}

static bool must_have_gpu(const struct cudaunit_member *m)
{
	return m->initial == CUDA_RUNNING || m->initial == CUDA_LOCKED;
}

static bool must_run(const struct cudaunit_member *m)
{
	return m->initial == CUDA_RUNNING;
}

static bool is_any(const struct cudaunit_member *m)
{
	return m->dir >= 0 && m->error != CUDAUNIT_GONE;
}

static bool stands_before(const struct cudaunit *u, enum cudaunit_stage stage,
			  bool (*wants)(const struct cudaunit_member *m))
{
	for (size_t i = 0; i < u->n; i++)
		if (!u->members[i].hung && u->members[i].state == steps[stage].from &&
		    wants(&u->members[i]))
			return true;
	return false;
}

static void go_back(struct cudaunit *u, enum cudaunit_stage stage,
		    bool (*wants)(const struct cudaunit_member *m))
{
	for (int i = 0; i < TRIES && stands_before(u, stage, wants); i++) {
		if (i)
			pause_ms(PAUSE);
		if (stage == CUDAUNIT_RESTORE && cudaunit_await_restorer(u) < 0)
			continue;
		run_stage(u, stage, wants);
		if (stands_before(u, stage, wants))
			cudaunit_ask_states(u, has_failed);
	}
}

/* Bring all back to how they were, by what the driver says that they are now. */
static void take_back(struct cudaunit *u)
{
	u->taking_back = true;
	u->taken_back = true;
	if (u->restorer.sock >= 0)
		cudaworker_ask(&u->restorer, CUDAWORKER_REWIND, 0);
	cudaunit_ask_states(u, is_any);
	go_back(u, CUDAUNIT_RESTORE, must_have_gpu);
	go_back(u, CUDAUNIT_CHECKPOINT, must_lose_gpu);
	go_back(u, CUDAUNIT_UNLOCK, must_run);
	for (size_t i = 0; i < u->n; i++) {
		const struct cudaunit_member *m = &u->members[i];

		if (m->error == CUDAUNIT_GONE || m->dir < 0)
			continue;
		if (m->hung || m->state != m->initial)
			u->taken_back = false;
	}
}

/* One stage forward; false when it is to be taken back. */
static bool go_forward(struct cudaunit *u, enum cudaunit_stage stage)
{
	bool is_good;

	if (cudaunit_is_stopped(u))
		return false;
	if (stage == CUDAUNIT_RESTORE && stands_before(u, stage, is_any) &&
	    cudaunit_await_restorer(u) < 0)
		return false;
	is_good = run_stage(u, stage, NULL);
	if (!is_good && stage == CUDAUNIT_RESTORE && !cudaunit_is_stopped(u) &&
	    u->error == CUDAUNIT_REFUSED) {
		/* Once more: memory that another process had may be free by now. */
		pause_ms(PAUSE);
		cudaunit_ask_states(u, has_failed);
		if (stands_before(u, stage, is_any) && cudaunit_await_restorer(u) == 0) {
			forgive(u);
			is_good = run_stage(u, stage, NULL);
		}
	}
	return is_good && !cudaunit_is_stopped(u);
}

/* Has one not come through the unlock? What an error says of it does not count here. */
static bool is_any_left(const struct cudaunit *u)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->members[i].hung || u->members[i].state != CUDA_RUNNING)
			return true;
	return false;
}

/* From here on all go on: one that waits in a lock is of no use to anybody. */
static int unlock_all(struct cudaunit *u)
{
	for (int i = 0; !run_stage(u, CUDAUNIT_UNLOCK, NULL) && i < TRIES - 1; i++) {
		pause_ms(PAUSE);
		cudaunit_ask_states(u, has_failed);
		if (!stands_before(u, CUDAUNIT_UNLOCK, is_any))
			break;
		forgive(u);
	}
	if (!is_any_left(u)) {
		forgive(u);
		for (size_t i = 0; i < u->n; i++)
			u->members[i].failure.error = CUDAUNIT_OK;
		return 0;
	}
	for (size_t i = 0; i < u->n && !u->culprit; i++) {
		if (u->members[i].error == CUDAUNIT_OK)
			continue;
		u->culprit = &u->members[i];
		u->error = u->culprit->error;
		u->detail = u->culprit->detail;
		u->at = CUDAUNIT_UNLOCK;
	}
	return -1;
}

int cudaunit_run(struct cudaunit *u, unsigned stages)
{
	bool is_good = true;

	forgive(u);
	for (size_t i = 0; i < u->n; i++)
		u->members[i].error = u->members[i].failure.error = CUDAUNIT_OK;
	if (stages & 1U << CUDAUNIT_LOCK)
		is_good = go_forward(u, CUDAUNIT_LOCK);
	if (is_good && stages & 1U << CUDAUNIT_LOCK && stages & 1U << CUDAUNIT_CHECKPOINT &&
	    u->opts.is_whole && !u->opts.is_whole(u->opts.arg)) {
		u->error = CUDAUNIT_CHANGED;
		is_good = false;
	}
	if (is_good && stages & 1U << CUDAUNIT_CHECKPOINT)
		is_good = go_forward(u, CUDAUNIT_CHECKPOINT);
	if (is_good && stages & 1U << CUDAUNIT_RESTORE)
		is_good = go_forward(u, CUDAUNIT_RESTORE);
	if (!is_good) {
		if (u->error == CUDAUNIT_OK)
			u->error = CUDAUNIT_STOPPED;
		take_back(u);
		return -1;
	}
	if (stages & 1U << CUDAUNIT_UNLOCK)
		return unlock_all(u);
	return 0;
}
