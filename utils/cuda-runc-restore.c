/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stages 3 and 4: the runtime's restore, then CUDA's state back to the GPU. */
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/cuda.h"

#include "cuda-runc.h"

#define GPU_MAP "cuda-runc/gpu-map"	/* the annotation */
enum { CONFIG_MAX = 16 << 20, POLL_MS = 50 };

/* The host's administrator has the last word: environment, then annotation. */
static int read_gpu_map(const json_t *config, char **map, char **why)
{
	const char *text = getenv("CUDA_RUNC_GPU_MAP");
	_cleanup_free_ struct cuda_gpu_pair *pairs = NULL;
	size_t n;
	int rc;

	*map = NULL;
	if (!text || !*text)
		text = json_string_value(json_object_get(
				json_object_get(config, "annotations"), GPU_MAP));
	if (!text || !*text)
		return 0;
	rc = cuda_gpu_map_parse(text, &pairs, &n);
	if (rc < 0) {
		*why = xasprintf("GPU map '%s': not a list of OLD=NEW UUIDs that names "
				 "each once", text);
		return -1;
	}
	*map = xstrdup(text);
	return 0;
}

/* Stage 4. 0 or -1 (why). */
static int resume(struct job *job, const struct note *note, const char *map,
		  const char *record, char **why)
{
	struct cudaset set = { 0 };
	size_t states = 0;
	int rc = cuda_find(job, false, &set, &states, why);

	if (rc == 0 && note->suspended && states == 0) {
		*why = xasprintf("%zu processes had CUDA state when the checkpoint was made, "
				 "none has now", note->suspended);
		rc = -1;
	}
	if (rc == 0 && interrupted()) {
		*why = xstrdup("stopped by a signal");
		rc = -1;
	}
	if (rc == 0 && set.n)
		rc = cuda_resume(&set, map, record, why);
	free(set.pids);
	return rc;
}

/* Blocked in CUDA for ever it would be of no use, and look alive. */
static void destroy(struct job *job, const char *reason)
{
	const struct call *call = job->call;
	_cleanup_free_ char *why = NULL, *kill_why = NULL;

	interrupts_ignore();
	runtime_do(job, (const char *[]){ "kill", "--all", call->id, "KILL", NULL }, NULL,
		   &kill_why);
	if (runtime_do(job, (const char *[]){ "delete", "--force", call->id, NULL }, NULL,
		       &why) < 0)
		complain(call, "restore of %s: %s; and it could not be deleted: %s", call->id,
			 reason, why);
	else
		complain(call, "restore of %s: %s; the container is deleted, its image is "
			 "as it was", call->id, reason);
}

/* In the foreground: is the container up, and CRIU gone? */
static bool is_restored(struct job *job)
{
	_cleanup_free_ char *why = NULL, *path = NULL, *text = NULL;
	const char *tracer;

	if (runtime_state(job, &why) < 0 || !job->container.is_running)
		return false;
	path = root_path("/proc/%d/status", (int)job->container.pid);
	text = readfile_string(path, CONFIG_MAX);
	tracer = text ? strstr(text, "\nTracerPid:\t") : NULL;
	return tracer && strncmp(tracer + 12, "0\n", 2) == 0;
}

/* Give the runtime the signals that are for it: it passes them to the container. */
static void relay(pid_t pid)
{
	static const struct timespec now;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sig = sigtimedwait(&set, NULL, &now);
	if (sig > 0)
		kill(pid, sig);
}

/* Stage 3 and, when it is over or the container is up, stage 4. Exit status. */
static int follow(struct job *job, struct running *run, const struct note *note,
		  const char *map, const char *record)
{
	_cleanup_free_ char *why = NULL;
	bool up = false, told = false;
	int rc;

	while ((rc = runtime_wait(run, job->call->detach || up ? 100 : POLL_MS)) == -1) {
		if (up) {
			relay(run->pid);
			continue;
		}
		if (!told && interrupted())
			kill(run->pid, SIGTERM);
		told = told || interrupted();
		if (job->call->detach || told || !is_restored(job))
			continue;
		up = true;
		if (resume(job, note, map, record, &why) < 0) {
			destroy(job, why);
			while (runtime_wait(run, 100) == -1)
				;
			return 1;
		}
	}
	if (rc != 0 || up)
		return rc;
	if (!job->call->detach || resume(job, note, map, record, &why) == 0)
		return 0;
	destroy(job, why);
	return 1;
}

static json_t *read_config(const char *bundle)
{
	_cleanup_free_ char *path = xasprintf("%s/config.json", bundle), *text = NULL;

	text = readfile_string(path, CONFIG_MAX);
	return text ? json_loads(text, 0, NULL) : NULL;
}

int restore_run(struct job *job)
{
	const struct call *call = job->call;
	json_t *config = read_config(call->bundle);
	_cleanup_free_ char *map = NULL, *why = NULL, *image = NULL, *record = NULL;
	_cleanup_close_ int options = -1;
	struct note note = { 0 };
	struct running run = { 0 };
	bool is_relative;
	int rc;

	/* The runtime looks for a relative one in the bundle, but for its default here. */
	is_relative = call->image_path && *call->image_path && *call->image_path != '/';
	image = is_relative ? xasprintf("%s/%s", call->bundle, call->image_path) :
		xstrdup(call->image_path ? call->image_path : "");
	record = image_record(image);
	rc = note_read(image, &note, &why);
	if (rc >= 0 && read_gpu_map(config, &map, &why) < 0)
		rc = -1;
	if (rc > 0 && mounts_prepare(&note.mounts, call->bundle, config, &why) < 0)
		rc = -1;
	if (rc > 0) {
		options = criu_config(&note, true, &why);
		if (options < 0)
			rc = -1;
	}
	if (rc >= 0)
		rc = runtime_start(job, options, &run, &why);
	json_decref(config);
	if (rc < 0)
		complain(call, "restore of %s: %s", call->id, why);
	/* An image that is somebody else's has none. */
	rc = rc < 0 ? 1 : follow(job, &run, &note, map,
				 access(record, R_OK) == 0 ? record : NULL);
	note_done(&note);
	return rc;
}
