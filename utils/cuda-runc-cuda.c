/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stages 1 and 4: which processes of the container use CUDA, and cuda-ckpt for them. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
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

/* argv of "cuda-ckpt VERB [OPTION VALUE] -- PID..."; numbers: where the pids' text goes. */
static const char **ckpt_argv(const char *ckpt, const char *verb, const char *option,
			      const char *value, const struct cudaset *set, char (*numbers)[16])
{
	const char **argv = xcalloc(set->n + 6, sizeof(*argv));
	size_t n = 0;

	argv[n++] = ckpt;
	argv[n++] = verb;
	if (option) {
		argv[n++] = option;
		argv[n++] = value;
	}
	argv[n++] = "--";
	for (size_t i = 0; i < set->n; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%d", (int)set->pids[i]);
		argv[n++] = numbers[i];
	}
	return argv;
}

/* out: allocated. Exit status or -errno. */
static int ckpt(const char *verb, const char *option, const char *value,
		const struct cudaset *set, char **out)
{
	_cleanup_free_ char *path = ckpt_path();
	_cleanup_free_ char (*numbers)[16] = xcalloc(set->n + 1, sizeof(*numbers));
	_cleanup_free_ const char **argv = ckpt_argv(path, verb, option, value, set, numbers);

	return command_run(argv, 0, out);
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

/* A record of cuda-ckpt: "PID<TAB>STATE..." */
static bool parse_state(char *line, pid_t *pid, const char **state)
{
	char *end;
	long number = strtol(line, &end, 10);

	if (end == line || *end != '\t' || number <= 0 || number > INT_MAX)
		return false;
	*pid = (pid_t)number;
	*state = end + 1;
	end[1 + strcspn(end + 1, "\t")] = '\0';
	return true;
}

/* It has the library and no context. */
static bool is_without(const char *state)
{
	return strcmp(state, "-") == 0 || strcmp(state, "none") == 0;
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
	if (strcmp(state, "locked") == 0) {
		*why = xasprintf("process %d: its CUDA state is locked; "
				 "'cuda-ckpt resume %d' before", (int)pid, (int)pid);
		return -1;
	}
	if (is_without(state))
		return 0;
	*why = xasprintf("process %d: its CUDA state is %s", (int)pid, state);
	return -1;
}

int cuda_find(const struct job *job, bool running, struct cudaset *set, size_t *states,
	      char **why)
{
	struct cudaset all = { 0 };
	_cleanup_free_ char *out = NULL, *said = NULL;
	int rc = cuda_users(job, &all.pids, &all.n, why), known = 0;

	*set = (struct cudaset){ 0 };
	*states = 0;
	if (rc < 0 || all.n == 0) {
		free(all.pids);
		return rc;
	}
	rc = ckpt("state", NULL, NULL, &all, &out);
	set->pids = all.pids;	/* at most as many */
	if (rc < 0) {
		*why = xasprintf("cuda-ckpt: %s", strerror(-rc));
		return -1;
	}
	said = xstrdup(out);
	for (char *line = out, *next; *line; line = next) {
		const char *state;
		pid_t pid;
		int take;

		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		if (!parse_state(line, &pid, &state))
			continue;
		known++;
		take = judge(pid, state, running, why);
		*states += !is_without(state);
		if (take < 0)
			return -1;
		if (take)
			set->pids[set->n++] = pid;
	}
	if (rc != 0 && known == 0) {
		*why = xasprintf("cuda-ckpt state: %s", command_said(said));
		return -1;
	}
	return 0;
}

static int run(const char *verb, const char *option, const char *value,
	       const struct cudaset *set, char **why)
{
	_cleanup_free_ char *out = NULL;
	int rc = ckpt(verb, option, value, set, &out);

	if (rc == 0)
		return 0;
	*why = rc < 0 ? xasprintf("cuda-ckpt: %s", strerror(-rc)) :
		xasprintf("cuda-ckpt %s: %s", verb, command_said(out));
	return -1;
}

int cuda_suspend(const struct cudaset *set, char **why)
{
	const char *timeout = getenv("CUDA_RUNC_TIMEOUT");

	if (timeout && !*timeout)
		timeout = NULL;
	return run("suspend", timeout ? "--timeout" : NULL, timeout, set, why);
}

int cuda_resume(const struct cudaset *set, const char *gpu_map, char **why)
{
	return run("resume", gpu_map ? "--gpu-map" : NULL, gpu_map, set, why);
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
