/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "pve/guardian.h"
#include "pve/leftover.h"
#include "pve/state.h"

enum {
	LOOK_EVERY = 5,		/* s while the job is alive */
	TRY_EVERY = 2,		/* s after its end */
	LINGER = 3,		/* s that all has to be quiet after the worker's end */
	TRY_EVERY_MAX = 60,	/* s between starts that keep failing */
};

static int lock_file(const char *name, mode_t mode, unsigned wait)
{
	_cleanup_free_ char *path = root_path("%s", name);
	int64_t until = spawn_now() + (int64_t)wait * 1000;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode), err;

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK || spawn_now() >= until) {
			err = errno == EWOULDBLOCK ? EAGAIN : errno;
			close(fd);
			return -err;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 100000000L }, NULL);
	}
	return fd;
}

int guardian_lock_hook(unsigned wait)
{
	return lock_file(STATE_DIR "/hook.lock", 0600, wait);
}

int guardian_lock_vzdump(unsigned wait)
{
	return lock_file("/run/vzdump.lock", 0644, wait);
}

/*
 * After a power loss: nothing of the backup is left but what the disk keeps.
 * -ENOENT when nobody is to be started.
 */
static int begin_boot(const struct config *cfg, struct state_file *f)
{
	leftover_forget_drivers();
	if (cfg->boot_restart != CONFIG_BOOT_NO)
		return 0;
	for (size_t i = 0; i < f->n; i++) {
		const struct state_entry *e = &f->entries[i];
		int rc;

		if (!state_is_backup(e))
			say_warn("%s was stopped for a backup when the host went down: stays down (boot-restart = no)",
				 e->name);
		rc = state_journal_remove(e->name, e->reason);
		if (rc < 0) {
			errno = -rc;
			say_errno("%s cannot be taken out of the journal", e->name);
			return rc;
		}
	}
	return -ENOENT;
}

static int recover_dry(const struct restart_opts *o, const struct state_file *f,
		       bool same_boot, struct restart_result *result)
{
	if (!same_boot && o->config->boot_restart == CONFIG_BOOT_NO)
		return 0;
	leftover_clear(f, true);
	return restart_run(f, o, result);
}

int guardian_recover(const struct restart_opts *opts, bool boot,
		     struct restart_result *result)
{
	_cleanup_(state_done) struct state_file f = { 0 };
	struct restart_opts o = *opts;
	bool same_boot;
	int rc, first = 0;

	*result = (struct restart_result){ 0 };
	rc = restart_journal(&f, opts->dry_run);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	same_boot = rc < 0 || state_is_this_boot(&f);
	if (rc == 0 && same_boot && state_is_alive(f.job_pid, f.job_start))
		return 0;
	if (!same_boot) {
		o.onboot_only = opts->config->boot_restart == CONFIG_BOOT_ONBOOT;
		o.last = boot;
	}
	if (opts->dry_run)
		return rc == 0 ? recover_dry(&o, &f, same_boot, result) : 0;
	if (!same_boot) {
		rc = begin_boot(opts->config, &f);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
	}
	if (rc == 0) {
		first = leftover_clear(&f, false);
		state_done(&f);
		rc = restart_journal(&f, false);	/* without what was cleared */
	}
	if (boot)
		leftover_forget_drivers();
	else if (leftover_drivers(opts->config, NULL, rc == 0 ? &f : NULL) < 0 &&
		 first == 0)
		first = -EAGAIN;
	if (rc == 0) {
		rc = restart_run(&f, &o, result);
		if (rc < 0)
			return rc;
	}
	return first ? first : result->failed || result->held_up ? -EAGAIN : 0;
}

/* Nobody of ours may be down for longer than max-wait, however long the backup takes. */
static void start_overdue(const struct restart_opts *opts)
{
	_cleanup_close_ int lock = -1;
	_cleanup_(state_done) struct state_file f = { 0 };
	_cleanup_free_ char *path = state_journal_path();
	struct restart_opts o = *opts;
	struct restart_result result;
	static int64_t not_before;
	bool overdue = false;

	if (state_read(path, &f) < 0 || spawn_now() < not_before)
		return;
	for (size_t i = 0; i < f.n; i++)
		overdue |= !state_is_backup(&f.entries[i]) &&
			   f.entries[i].since + (int64_t)opts->config->max_wait * 60 <=
				   time(NULL);
	if (!overdue)
		return;
	lock = guardian_lock_hook(0);
	if (lock < 0)
		return;
	state_done(&f);
	if (state_read(path, &f) < 0)
		return;
	o.overdue_only = true;
	restart_run(&f, &o, &result);
	if (result.failed)
		not_before = spawn_now() + TRY_EVERY_MAX * 1000L;
}

static bool is_empty(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			return false;
	return true;
}

/*
 * Is there nothing left for us, or has another job, with its own guardian, taken it over?
 */
static bool is_settled(void)
{
	_cleanup_free_ char *journal = state_journal_path(),
			    *drivers = state_drivers_dir();
	_cleanup_(state_done) struct state_file f = { 0 };
	int rc = state_read(journal, &f);

	if (rc == 0)
		return state_is_this_boot(&f) && state_is_alive(f.job_pid, f.job_start);
	return rc == -ENOENT && is_empty(drivers);
}

static bool next_job_runs(pid_t worker)
{
	uint64_t start;
	pid_t pid;

	return state_vzdump_worker(&pid, &start) == 0 && pid != worker &&
	       state_is_alive(pid, start);
}

/* The package may be gone by now, and we the last one who knows of these files. */
static void tidy(void)
{
	static const char *const names[] = { "state", "journal.lock", "hook.lock",
					     "vzdump.conf.script" };
	_cleanup_free_ char *dir = root_path(STATE_DIR);
	_cleanup_free_ char *journal = state_journal_path();
	_cleanup_free_ char *drivers = state_drivers_dir();
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	static const char gone[] = " (deleted)";
	size_t len = sizeof(gone) - 1;

	if (n < (ssize_t)len)
		return;
	self[n] = '\0';
	if (strcmp(self + n - len, gone) != 0)
		return;
	self[(size_t)n - len] = '\0';
	if (access(self, F_OK) == 0 || access(journal, F_OK) == 0)
		return;		/* upgraded, or there is something left to be known */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, names[i]);

		unlink(path);
	}
	rmdir(drivers);		/* empty by now, or there is something left to be known */
	rmdir(dir);
}

static void watch(pid_t worker, const struct restart_opts *opts)
{
	uint64_t start = 0;
	pid_t named;
	_cleanup_close_ int fd = -1;

	/* open first, compare then: the number may be somebody else's by now */
	fd = pidfd_open(worker, 0);
	if (state_vzdump_worker(&named, &start) < 0 || named != worker)
		start = 0;
	while (fd >= 0 && state_is_alive(worker, start)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, LOOK_EVERY * 1000) != 0)
			break;
		start_overdue(opts);
	}
}

/* One look after the worker's end: true when there is no more for us to do. */
static bool look_after(pid_t worker, struct restart_opts *o, int64_t ended,
		       int64_t *until, struct restart_result *result, int *rc)
{
	/* the same order as in a job, whose hook runs under vzdump's lock */
	_cleanup_close_ int vzdump = guardian_lock_vzdump(0);
	_cleanup_close_ int hook = -1;

	if (vzdump == -EAGAIN)
		return next_job_runs(worker) && is_settled();
	/* a hook that outlived its job may still be about to stop somebody */
	hook = guardian_lock_hook(0);
	if (hook == -EAGAIN)
		return false;
	if (is_settled())
		return spawn_now() >= ended + LINGER * 1000L;
	if (!*until)
		*until = spawn_now() + (int64_t)o->config->max_wait * 60000;
	o->last = spawn_now() >= *until;
	*rc = guardian_recover(o, false, result);
	return *rc == -ECANCELED || o->last;
}

int guardian_run(pid_t worker, const struct restart_opts *opts)
{
	unsigned pause = TRY_EVERY;
	struct restart_opts o = *opts;
	int64_t ended, until = 0;
	int rc = 0;

	spawn_enter_init_mounts();
	watch(worker, opts);
	ended = spawn_now();
	for (;;) {
		struct restart_result result = { 0 };

		if (look_after(worker, &o, ended, &until, &result, &rc))
			break;
		pause = !result.failed ? TRY_EVERY
			: pause * 2 < TRY_EVERY_MAX ? pause * 2 : TRY_EVERY_MAX;
		sleep(pause);
	}
	tidy();
	return rc;
}
