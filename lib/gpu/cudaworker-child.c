/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "gpu/cudaworker-child.h"

struct target {
	pid_t pid;
	bool locked, checkpointed, restored;	/* by this worker, and not taken back */
};

struct server {
	int sock;
	struct cuda cuda;
	int open;		/* of cuda_open() */
	bool is_ready;		/* cuInit is done */
	bool rewind;
	const struct cudaworker_opts *opts;
	struct target *targets;	/* owned */
	size_t n;
	pthread_mutex_t lock;	/* of under_way */
	pthread_cond_t idle;
	size_t under_way;
};

struct job {
	struct server *server;
	struct cudaworker_request request;
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int do_lock(struct server *s, struct target *t)
{
	struct cuda_lock_args args = { .timeout_ms = s->opts->timeout_ms };
	int result = s->cuda.lock(t->pid, &args);

	t->locked = t->locked || result == CUDA_OK;
	return result;
}

static int do_checkpoint(struct server *s, struct target *t)
{
	struct cuda_checkpoint_args args = { 0 };
	int result = s->cuda.checkpoint(t->pid, &args);

	/* To take back a restore made here is no checkpoint of ours. */
	if (result == CUDA_OK && !t->restored)
		t->checkpointed = true;
	if (result == CUDA_OK)
		t->restored = false;
	return result;
}

static int do_restore(struct server *s, struct target *t)
{
	struct cuda_restore_args args = {
		.gpu_pairs = s->opts->n_pairs ? s->opts->pairs : NULL,
		.gpu_pairs_count = (uint32_t)s->opts->n_pairs,
	};
	int result = s->cuda.restore(t->pid, &args);

	if (result == CUDA_OK && !t->checkpointed)
		t->restored = true;
	if (result == CUDA_OK)
		t->checkpointed = false;
	return result;
}

static int do_unlock(struct server *s, struct target *t)
{
	struct cuda_unlock_args args = { 0 };
	int result = s->cuda.unlock(t->pid, &args);

	if (result == CUDA_OK)
		t->locked = t->restored = false;
	return result;
}

static int do_state(struct server *s, struct target *t, struct cudaworker_reply *r)
{
	/* The thread first: of a job's coordinator the state alone says too much. */
	int result = s->cuda.get_restore_tid(t->pid, &r->tid);

	return result == CUDA_OK ? s->cuda.get_state(t->pid, &r->state) : result;
}

static int do_init(struct server *s, struct cudaworker_reply *r)
{
	int result = s->is_ready ? CUDA_OK : s->cuda.init(0);

	s->is_ready = result == CUDA_OK;
	if (s->is_ready && s->cuda.device_count)
		result = s->cuda.device_count(&r->state);
	return result;
}

static int do_gpu(struct server *s, struct cudaworker_reply *r)
{
	int device = 0, result;

	if (!s->cuda.device_get || !s->cuda.device_uuid)
		return CUDA_NOT_SUPPORTED;
	result = s->cuda.device_get(&device, r->index);
	return result == CUDA_OK ? s->cuda.device_uuid(&r->uuid, device) : result;
}

static int call(struct server *s, struct cudaworker_reply *r)
{
	struct target *t = r->index >= 0 && (size_t)r->index < s->n ? &s->targets[r->index]
								    : NULL;

	if (r->op == CUDAWORKER_INIT)
		return do_init(s, r);
	if (r->op == CUDAWORKER_GPU)
		return do_gpu(s, r);
	if (!t)
		return CUDA_INVALID_VALUE;
	switch (r->op) {
	case CUDAWORKER_STATE:		return do_state(s, t, r);
	case CUDAWORKER_LOCK:		return do_lock(s, t);
	case CUDAWORKER_CHECKPOINT:	return do_checkpoint(s, t);
	case CUDAWORKER_RESTORE:	return do_restore(s, t);
	case CUDAWORKER_UNLOCK:		return do_unlock(s, t);
	default:			return CUDA_INVALID_VALUE;
	}
}

static void answer(struct server *s, const struct cudaworker_request *request)
{
	struct cudaworker_reply r = {
		.op = request->op,
		.index = request->index,
		.open = s->open,
		.version = s->cuda.version,
		.state = -1,
	};
	int64_t start = now_ns();

	/* A driver that is too old can still be started, and say its GPUs. */
	if (s->open == -ENOSYS &&
	    (request->op == CUDAWORKER_INIT || request->op == CUDAWORKER_GPU))
		r.open = 0;
	if (r.open == 0)
		r.result = call(s, &r);
	r.ns = now_ns() - start;
	/* Nobody left to tell: the next recv() sees it. */
	(void)send(s->sock, &r, sizeof(r), MSG_NOSIGNAL);
}

static void *run_job(void *arg)
{
	struct job *job = arg;
	struct server *s = job->server;

	answer(s, &job->request);
	free(job);
	pthread_mutex_lock(&s->lock);
	s->under_way--;
	pthread_cond_signal(&s->idle);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void start_job(struct server *s, const struct cudaworker_request *request)
{
	struct job *job = xcalloc(1, sizeof(*job));
	pthread_attr_t attr;
	pthread_t thread;

	*job = (struct job){ .server = s, .request = *request };
	pthread_mutex_lock(&s->lock);
	s->under_way++;
	pthread_mutex_unlock(&s->lock);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* No thread to be had: one after the other is as right, only slower. */
	if (pthread_create(&thread, &attr, run_job, job) != 0)
		run_job(job);
	pthread_attr_destroy(&attr);
}

/* index: -1 = all. A call of those is not under way. */
static void forget(struct server *s, int index)
{
	for (size_t i = 0; i < s->n; i++)
		if (index < 0 || (size_t)index == i)
			s->targets[i].locked = s->targets[i].checkpointed =
				s->targets[i].restored = false;
}

/* Put one target back as it was before this worker, as far as its state asks for it. */
static void take_back(struct server *s, struct target *t)
{
	struct cudaworker_reply r = { .state = -1 };

	if (!t->locked && !t->checkpointed && !t->restored)
		return;
	if (do_state(s, t, &r) != CUDA_OK)
		return;
	if (r.state == CUDA_CHECKPOINTED && t->checkpointed &&
	    do_init(s, &r) == CUDA_OK && do_restore(s, t) == CUDA_OK)
		r.state = CUDA_LOCKED;
	if (r.state != CUDA_LOCKED)
		return;
	if (t->restored && s->rewind)
		do_checkpoint(s, t);
	else if (t->locked || t->restored)
		do_unlock(s, t);
}

void cudaworker_serve(int sock, const pid_t *pids, size_t n,
		      const struct cudaworker_opts *opts)
{
	struct server s = { .sock = sock, .opts = opts, .n = n };
	struct cudaworker_request request;
	int unused;

	s.targets = xcalloc(n ? n : 1, sizeof(*s.targets));
	for (size_t i = 0; i < n; i++)
		s.targets[i].pid = pids[i];
	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.idle, NULL);
	s.open = cuda_open(&s.cuda);
	/* Not to keep a file system busy, should a call hang; if not, it is. */
	unused = chdir("/");
	(void)unused;
	while (recv(sock, &request, sizeof(request), 0) == (ssize_t)sizeof(request)) {
		if (request.op == CUDAWORKER_KEEP)
			forget(&s, request.index);
		else if (request.op == CUDAWORKER_REWIND)
			s.rewind = true;
		else if (opts->threads && request.op != CUDAWORKER_INIT)
			start_job(&s, &request);
		else
			answer(&s, &request);
	}
	pthread_mutex_lock(&s.lock);
	while (s.under_way)
		pthread_cond_wait(&s.idle, &s.lock);
	pthread_mutex_unlock(&s.lock);
	if (opts->is_kept && atomic_load(opts->is_kept))
		forget(&s, -1);
	for (size_t i = 0; i < n; i++)
		take_back(&s, &s.targets[i]);
	free(s.targets);
}
