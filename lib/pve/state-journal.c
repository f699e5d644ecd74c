/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal of who was stopped for a backup job. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/state.h"

enum { BAD_NAMES = 100 };	/* journal.bad, journal.bad2, … */

int state_lock(void)
{
	_cleanup_free_ char *dir = root_path(STATE_DIR);
	_cleanup_free_ char *path = root_path(STATE_DIR "/journal.lock");
	_cleanup_close_ int fd = -1;
	struct stat st;
	int rc, out;

	for (;;) {
		rc = atomicfile_state_dir(dir);
		if (rc < 0)
			return rc;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		while (flock(fd, LOCK_EX) < 0)
			if (errno != EINTR)
				return -errno;
		/* a lock file that was tidied away meanwhile locks out nobody */
		if (fstat(fd, &st) == 0 && st.st_nlink > 0)
			break;
		close(fd);
		fd = -1;
	}
	out = fd;
	fd = -1;
	return out;
}

static bool same_kind(const char *a, const char *b)
{
	size_t la = strcspn(a ? a : "", ":"), lb = strcspn(b ? b : "", ":");

	return la == lb && (la == 0 || strncmp(a, b, la) == 0);
}

static struct state_entry copy_entry(const struct state_entry *e)
{
	struct state_entry c = *e;

	c.name = xstrdup(e->name);
	c.node = e->node ? xstrdup(e->node) : NULL;
	c.reason = e->reason ? xstrdup(e->reason) : NULL;
	c.title = c.lock = NULL;
	return c;
}

int state_journal_add(const struct state_entry *e)
{
	_cleanup_free_ char *path = state_journal_path();
	_cleanup_close_ int lock = state_lock();
	_cleanup_(state_done) struct state_file f = { 0 };
	size_t i;
	int rc;

	if (lock < 0)
		return lock;
	rc = state_read(path, &f);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	f.journal = true;
	/* pids of another boot mean nothing in this one, whose stamp it now gets */
	if (rc == 0 && !state_is_this_boot(&f))
		for (i = 0; i < f.n; i++)
			f.entries[i].pid = 0, f.entries[i].start_time = 0;
	rc = state_stamp(&f);
	if (rc < 0)
		return rc;
	if (!state_is_alive(f.job_pid, f.job_start)) {
		f.job_pid = 0;
		f.job_start = 0;
		if (state_vzdump_worker(&f.job_pid, &f.job_start) < 0
		    || !state_is_alive(f.job_pid, f.job_start)) {
			f.job_pid = 0;
			f.job_start = 0;
		}
	}
	for (i = 0; i < f.n; i++)
		if (strcmp(f.entries[i].name, e->name) == 0
		    && same_kind(f.entries[i].reason, e->reason))
			break;
	/* told to stop before, and down only now: that it ran is not to be forgotten */
	if (i < f.n && f.entries[i].running && !e->running)
		return state_write(path, &f);
	if (i < f.n)
		state_entry_done(&f.entries[i]);
	else
		f.entries = xreallocarray(f.entries, ++f.n, sizeof(*f.entries));
	f.entries[i] = copy_entry(e);
	return state_write(path, &f);
}

int state_journal_remove(const char *name, const char *reason)
{
	_cleanup_free_ char *path = state_journal_path();
	_cleanup_close_ int lock = state_lock();
	_cleanup_(state_done) struct state_file f = { 0 };
	size_t kept = 0;
	int rc;

	if (lock < 0)
		return lock;
	rc = state_read(path, &f);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	for (size_t i = 0; i < f.n; i++) {
		struct state_entry *e = &f.entries[i];

		if (strcmp(e->name, name) == 0
		    && (!reason || (e->reason && strcmp(e->reason, reason) == 0)))
			state_entry_done(e);
		else
			f.entries[kept++] = *e;
	}
	if (kept == f.n && kept > 0)
		return 0;
	f.n = kept;
	return kept ? state_write(path, &f) : atomicfile_unlink(path);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev
	       && x.st_ino == y.st_ino;
}

int state_journal_set_aside(const struct state_file *believed, char **to)
{
	_cleanup_free_ char *path = state_journal_path();
	_cleanup_close_ int lock = state_lock();
	int i;

	*to = NULL;
	if (lock < 0)
		return lock;
	for (i = 1; i < BAD_NAMES; i++) {
		free(*to);
		*to = i == 1 ? xasprintf("%s.bad", path) : xasprintf("%s.bad%d", path, i);
		/* the same file: somebody was broken off here before */
		if (link(path, *to) == 0 || (errno == EEXIST && is_same_file(path, *to)))
			break;
		if (errno != EEXIST)
			return -errno;
	}
	if (i == BAD_NAMES)
		return -EEXIST;
	return believed->n ? state_write(path, believed) : atomicfile_unlink(path);
}
