/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stages 1 and 4: which processes of the container use CUDA, and cuda-ckpt for them. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "gpu/procfd.h"
#include "gpu/procmaps.h"

#include "cuda-runc.h"

/* cuda-ckpt is beside us, whatever PATH says. Allocated. */
static char *ckpt_path(void)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len <= 0)
		return xstrdup("/usr/bin/cuda-ckpt");
	self[len] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	return xasprintf("%s/cuda-ckpt", self);
}

static const char *const no_options[][2] = { { NULL } };

/*
 * "cuda-ckpt VERB -q [OPTION...] -- PID...". options: pairs of a name and a value, those
 * without a value are left out; NULL-terminated. out: allocated. Exit status or -errno.
 */
static int ckpt(const char *verb, const char *const options[][2], const pid_t *pids,
		size_t n_pids, char **out)
{
	_cleanup_free_ char *path = ckpt_path();
	_cleanup_free_ char (*numbers)[16] = xcalloc(n_pids + 1, sizeof(*numbers));
	_cleanup_free_ const char **argv = NULL;
	size_t n = 0, n_options = 0;

	while (options[n_options][0])
		n_options++;
	argv = xcalloc(n_pids + 2 * n_options + 5, sizeof(*argv));
	argv[n++] = path;
	argv[n++] = verb;
	argv[n++] = "-q";	/* what it says is for the message of a failure */
	for (size_t i = 0; i < n_options; i++) {
		if (!options[i][1])
			continue;
		argv[n++] = options[i][0];
		argv[n++] = options[i][1];
	}
	argv[n++] = "--";
	for (size_t i = 0; i < n_pids; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%d", (int)pids[i]);
		argv[n++] = numbers[i];
	}
	return command_run(argv, 0, out);
}

static char *failure(const char *verb, int rc, char *out)
{
	const char *said = command_said(out);

	return rc < 0 ? xasprintf("cuda-ckpt: %s", strerror(-rc)) :
		*said ? xasprintf("cuda-ckpt %s: %s", verb, said) :
		xasprintf("cuda-ckpt %s: exit status %d", verb, rc);
}

int cuda_users(const struct job *job, pid_t **pids, size_t *n, char **why)
{
	size_t all = 0;

	if (runtime_pids(job, pids, &all, why) < 0)
		return -1;
	*n = 0;
	for (size_t i = 0; i < all; i++) {
		_cleanup_free_ char *library = NULL;
		int rc = procmaps_library((*pids)[i], "libcuda.so", &library);

		if (rc < 0 && rc != -ENOENT) {
			*why = xasprintf("/proc/%d/maps: %s", (int)(*pids)[i], strerror(-rc));
			free(*pids);
			*pids = NULL;
			return -1;
		}
		if (rc == 0 && library)
			(*pids)[(*n)++] = (*pids)[i];
	}
	return 0;
}

/* The record of one process in cuda-ckpt's output, "PID<TAB>STATE<TAB>...": its state,
 * allocated, or NULL. */
static char *find_state(const char *out, pid_t pid)
{
	_cleanup_free_ char *start = xasprintf("%d\t", (int)pid);

	for (const char *p = out; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (strncmp(p, start, strlen(start)) == 0)
			return xstrndup(p + strlen(start), strcspn(p + strlen(start), "\t\n"));
	return NULL;
}

struct user {
	pid_t pid;
	bool is_open;
};

static void see_user(const struct procfd *file, void *arg)
{
	struct user *u = arg;

	if (file->pid == u->pid && strncmp(file->target, "/dev/nvidia", 11) == 0 &&
	    strcmp(file->target, "/dev/nvidiactl") != 0)
		u->is_open = true;
}

/*
 * One that cuda-ckpt gave no state of. 0 when it has none: it has ended, or has the
 * library and no context, and so no GPU open; else -1 (why).
 */
static int ask_again(pid_t pid, char **state, char **why)
{
	_cleanup_free_ char *out = NULL;
	struct user user = { .pid = pid };
	int rc = ckpt("state", no_options, &pid, 1, &out);

	*state = find_state(out, pid);
	if (*state || rc == EX_NOINPUT)
		return 0;
	if (rc == EX_UNAVAILABLE) {
		procfd_walk(see_user, &user);
		if (!user.is_open)
			return 0;
	}
	*why = failure("state", rc, out);
	return -1;
}

/* 1 take it, 0 leave it, -1 (why). */
static int judge(pid_t pid, const char *state, bool running, char **why)
{
	if (strcmp(state, "running") == 0)
		return running;
	if (strcmp(state, "checkpointed") == 0)
		return !running;	/* suspended by somebody before: it stays so */
	if (strcmp(state, "locked") == 0 && !running)
		return 1;
	*why = strcmp(state, "locked") == 0 ?
		xasprintf("process %d: its CUDA state is locked; 'cuda-ckpt resume %d' before",
			  (int)pid, (int)pid) :
		xasprintf("process %d: its CUDA state is %s", (int)pid, state);
	return -1;
}

/* Keep of set, which has all users, those that are wanted. 0 or -1 (why). */
static int sift(struct cudaset *set, bool running, size_t *states, char **why)
{
	_cleanup_free_ char *out = NULL;
	int rc = ckpt("state", no_options, set->pids, set->n, &out);
	size_t all = set->n;

	set->n = 0;
	if (rc < 0) {
		*why = failure("state", rc, out);
		return -1;
	}
	for (size_t i = 0; i < all; i++) {
		pid_t pid = set->pids[i];
		_cleanup_free_ char *state = find_state(out, pid);
		int take = 0;

		if (!state && ask_again(pid, &state, why) < 0)
			return -1;
		if (state)
			take = judge(pid, state, running, why);
		if (take < 0)
			return -1;
		*states += state != NULL;
		if (take)
			set->pids[set->n++] = pid;
	}
	return 0;
}

int cuda_find(const struct job *job, bool running, struct cudaset *set, size_t *states,
	      char **why)
{
	*set = (struct cudaset){ 0 };
	*states = 0;
	if (cuda_users(job, &set->pids, &set->n, why) < 0)
		return -1;
	return set->n ? sift(set, running, states, why) : 0;
}

static int run(const char *verb, const char *const options[][2],
	       const struct cudaset *set, char **why)
{
	_cleanup_free_ char *out = NULL;
	int rc = ckpt(verb, options, set->pids, set->n, &out);

	if (rc == 0)
		return 0;
	*why = failure(verb, rc, out);
	return -1;
}

/* How long calls under way may take; NULL for cuda-ckpt's own. */
static const char *timeout(void)
{
	const char *ms = getenv("CUDA_RUNC_TIMEOUT");

	return ms && *ms ? ms : NULL;
}

int cuda_suspend(const struct cudaset *set, const char *record, char **why)
{
	return run("suspend", (const char *const[][2]){
		{ "--timeout", timeout() }, { "--record", record }, { NULL } }, set, why);
}

int cuda_resume(const struct cudaset *set, const char *gpu_map, const char *record,
		char **why)
{
	return run("resume", (const char *const[][2]){
		{ "--timeout", timeout() }, { "--gpu-map", gpu_map },
		{ "--record", record }, { NULL } }, set, why);
}

struct leftovers {
	const pid_t *pids;
	size_t n;
	char *text;
};

static void see(const struct procfd *file, void *arg)
{
	struct leftovers *l = arg;
	char *longer;

	if (strncmp(file->target, "/dev/nvidia", 11) != 0)
		return;
	for (size_t i = 0; i < l->n; i++) {
		if (l->pids[i] != file->pid)
			continue;
		longer = xasprintf("%s%sprocess %d has %s open", l->text ? l->text : "",
				   l->text ? ", " : "", (int)file->pid, file->target);
		free(l->text);
		l->text = longer;
		return;
	}
}

char *cuda_leftovers(const struct job *job)
{
	_cleanup_free_ char *why = NULL;
	_cleanup_free_ pid_t *pids = NULL;
	struct leftovers l = { 0 };

	if (runtime_pids(job, &pids, &l.n, &why) < 0)
		return NULL;
	l.pids = pids;
	procfd_walk(see, &l);
	return l.text;
}
