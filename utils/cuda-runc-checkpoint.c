/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stages 1 and 2: CUDA's state into host memory, then the runtime's checkpoint. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/xalloc.h"

#include "cuda-runc.h"

enum { ORPHANS_LIMIT = 300 };	/* tenths of a second that a left CRIU gets to end */

struct stage {
	struct job *job;
	bool was_paused;
	bool is_paused;		/* as we know it */
	struct cudaset set;	/* what we have suspended */
	bool in_doubt;		/* cuda-ckpt failed: it takes back itself, if it could */
	size_t users;		/* processes with CUDA's library */
	bool had_note;		/* an earlier checkpoint's is in the same place */
	struct note note;
};

static int verb(const struct stage *s, const char *name, char **why)
{
	return runtime_do(s->job, (const char *[]){ name, s->job->call->id, NULL }, NULL,
			  why);
}

/* Of what was to be suspended, that which is not running. */
static bool settle(struct stage *s, char **why)
{
	struct cudaset found = { 0 };
	size_t states, n = 0;
	int rc = cuda_find(s->job, false, &found, &states, why);

	for (size_t i = 0; rc == 0 && i < found.n; i++)
		for (size_t k = 0; k < s->set.n; k++)
			if (found.pids[i] == s->set.pids[k])
				found.pids[n++] = found.pids[i];
	if (rc == 0) {
		free(s->set.pids);
		s->set.pids = TAKE_PTR(found.pids);
		s->set.n = n;
	}
	free(found.pids);
	return rc == 0;
}

/* Everything that was done, back. What cannot be is said, with what is left to do. */
static bool take_back(struct stage *s)
{
	const struct call *call = s->job->call;
	_cleanup_free_ char *why = NULL;
	bool good = true;
	int rc;

	interrupts_ignore();
	rc = runtime_state(s->job, &why);
	if (rc == -1 || (rc == 0 && !s->job->container.is_running)) {
		complain(call, "container %s is no longer there", call->id);
		return false;
	}
	/* When it cannot be told, it is as we know it. */
	if (rc == 0)
		s->is_paused = s->job->container.is_paused;
	free(why);
	why = NULL;
	if (s->set.n && s->is_paused) {
		if (verb(s, "resume", &why) < 0) {
			complain(call, "container %s stays paused, its CUDA state suspended: %s; "
				 "'cuda-ckpt resume --container %s' when it runs",
				 call->id, why, call->id);
			return false;
		}
		s->is_paused = false;
	}
	if ((s->set.n && s->in_doubt && !settle(s, &why)) ||
	    (s->set.n && cuda_resume(&s->set, NULL, NULL, &why) < 0)) {
		complain(call, "container %s: its CUDA state stays suspended: %s; "
			 "try 'cuda-ckpt resume --container %s'", call->id, why, call->id);
		good = false;
	}
	if (s->is_paused == s->was_paused)
		return good;
	free(why);
	why = NULL;
	if (verb(s, s->was_paused ? "pause" : "resume", &why) == 0)
		return good;
	complain(call, "container %s stays %s: %s", call->id,
		 s->was_paused ? "running" : "paused", why);
	return false;
}

/* Stage 1. The driver's calls hang in a frozen container: thaw it, freeze it again. */
static int suspend(struct stage *s, char **why)
{
	_cleanup_free_ char *record = image_record(s->job->call->image_path);
	struct cudaset found = { 0 };
	int rc;

	if (s->users == 0)
		return 0;
	if (s->was_paused) {
		if (verb(s, "resume", why) < 0)
			return -1;
		s->is_paused = false;
	}
	rc = cuda_find(s->job, true, &found, &s->note.suspended, why);
	if (rc == 0 && found.n && !interrupted()) {
		rc = image_make(s->job->call->image_path, why);
		if (rc == 0)
			rc = cuda_suspend(&found, record, why);
		s->in_doubt = rc < 0;
		s->set.pids = TAKE_PTR(found.pids);
		s->set.n = found.n;
	}
	free(found.pids);
	if (rc < 0 || !s->was_paused)
		return rc;
	rc = verb(s, "pause", why);
	s->is_paused = rc == 0;
	return rc;
}

/* Is there anything to tell CRIU and the restore? */
static bool is_noted(const struct stage *s)
{
	return s->note.suspended || s->note.mounts.n;
}

/* A runtime that was told to stop leaves CRIU behind: it has to let go of all. */
static void wait_for_orphans(void)
{
	for (int i = 0; i < ORPHANS_LIMIT; i++) {
		pid_t pid;

		do
			pid = waitpid(-1, NULL, WNOHANG);
		while (pid > 0);
		if (pid < 0)
			return;
		poll(NULL, 0, 100);
	}
}

/* Stage 2: exit status, or -1 when it did not start (why). */
static int dump(struct stage *s, char **why)
{
	_cleanup_close_ int options = -1;
	struct running run = { 0 };
	bool told = false;
	int rc;

	if (is_noted(s)) {
		options = criu_config(&s->note, false, why);
		if (options < 0)
			return -1;
	}
	if (runtime_start(s->job, options, &run, why) < 0)
		return -1;
	while ((rc = runtime_wait(&run, 100)) == -1) {
		if (!told && interrupted())
			kill(run.pid, SIGTERM);
		told = told || interrupted();
	}
	wait_for_orphans();
	return rc;
}

/* The caller is told of the last error only: the runtime's has to be in it. */
static void explain(const struct stage *s, int rc, const char *said,
		    const char *leftovers)
{
	const struct call *call = s->job->call;
	_cleanup_free_ char *text = said ? xstrdup(said) : xasprintf("failed with %d", rc);

	if (leftovers)
		complain(call, "checkpoint of %s: %s; %s, which CRIU cannot save (NVML, or a "
			 "process without CUDA that inherited it)", call->id, text, leftovers);
	else if (s->set.n)
		complain(call, "checkpoint of %s: %s; its CUDA state is resumed", call->id,
			 text);
}

/* From stage 1 to the end; 0 or the exit status. */
static int checkpoint(struct stage *s)
{
	const struct call *call = s->job->call;
	_cleanup_free_ char *why = NULL, *leftovers = NULL, *said = NULL;
	size_t size = log_size(call);
	int rc = suspend(s, &why);

	if (rc == 0 && interrupted())
		rc = -1;
	if (rc == 0 && is_noted(s)) {
		leftovers = cuda_leftovers(s->job);
		rc = image_make(call->image_path, &why);
		if (rc == 0)
			rc = note_write(call->image_path, &s->note, &why);
	}
	if (rc == 0) {
		/* Of an earlier checkpoint, whose images are replaced. */
		image_clear(call->image_path, !is_noted(s), s->set.n == 0);
		rc = dump(s, &why);
	}
	if (rc == 0 && !call->leave_running)
		return 0;
	if (rc < 0)
		complain(call, "checkpoint of %s: %s", call->id,
			 why ? why : "stopped by a signal; all is as it was");
	if (rc > 0)
		said = log_error_since(call, size);
	/* An earlier one that is as good as it was keeps its note. */
	if (rc != 0 && !s->had_note)
		image_clear(call->image_path, true, true);
	if (!take_back(s))
		return rc > 0 ? rc : 1;
	if (rc > 0)
		explain(s, rc, said, leftovers);
	return rc < 0 ? 1 : rc;
}

int checkpoint_run(struct job *job)
{
	struct stage s = { .job = job };
	_cleanup_free_ char *why = NULL;
	_cleanup_free_ pid_t *pids = NULL;
	struct running run = { 0 };
	int rc;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	rc = runtime_state(job, &why);
	if (rc == -2) {
		complain(job->call, "checkpoint of %s: %s", job->call->id, why);
		return 1;
	}
	/* What is no container that runs is the runtime's to refuse. */
	if (rc < 0 || !job->container.is_running) {
		free(why);
		why = NULL;
		if (runtime_start(job, -1, &run, &why) < 0) {
			complain(job->call, "%s", why);
			return 1;
		}
		while ((rc = runtime_wait(&run, 1000)) == -1)
			;
		return rc;
	}
	s.was_paused = s.is_paused = job->container.is_paused;
	s.had_note = image_has_note(job->call->image_path);
	if (cuda_users(job, &pids, &s.users, &why) < 0 ||
	    mounts_find(job, &s.note.mounts, &why) < 0) {
		complain(job->call, "checkpoint of %s: %s", job->call->id, why);
		return 1;
	}
	rc = checkpoint(&s);
	note_done(&s.note);
	free(s.set.pids);
	return rc;
}
