/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/hostrecord.h"
#include "host/journal.h"
#include "host/manifest.h"

enum {
	JOURNAL_MAX = 16 * 1024 * 1024,
	LOCK_TRIES = 30,
	LOCK_EVERY = 100,	/* ms */
};

static const char *const STATE_PARENTS[] = { "/var", "/var/lib",
					     "/var/lib/pve-gpu-utils" };

int journal_write(const struct transaction *t)
{
	struct hostrecord_writer w;
	_cleanup_free_ char *begun = xasprintf("%zu", t->begun), *text = NULL;
	struct hostfile f = { .path = (char *)TRANSACTION_JOURNAL, .mode = 0600 };

	hostrecord_start(&w);
	hostrecord_put(&w, "version", "1");
	hostrecord_put(&w, "begun", begun);
	for (size_t i = 0; i < t->to.n; i++) {
		_cleanup_free_ char *from_mode = hostrecord_mode(&t->from.f[i]);
		_cleanup_free_ char *from_data = hostrecord_data(&t->from.f[i]);
		_cleanup_free_ char *to_mode = hostrecord_mode(&t->to.f[i]);
		_cleanup_free_ char *to_data = hostrecord_data(&t->to.f[i]);

		hostrecord_put(&w, "file", t->to.f[i].path, from_mode, from_data, to_mode,
			       to_data);
	}
	for (size_t i = 0; i < t->made.n; i++)
		hostrecord_put(&w, "dir", t->made.s[i]);
	for (size_t i = 0; i < t->cmds.n; i++)
		hostrecord_put_list(&w, "command", (const char *const *)t->cmds.argv[i].s,
				    t->cmds.argv[i].n);
	f.data = text = hostrecord_end(&w);
	f.len = strlen(text);
	return hostfile_put(&f);
}

static int take_file(struct transaction *t, char *const fields[])
{
	struct hostfile from = { 0 }, to = { 0 };
	bool good = fields[1] && hostrecord_take_file(fields[2], fields[3], &from)
		    && hostrecord_take_file(fields[4], fields[5], &to);

	if (good) {
		hostfiles_add(&t->from, fields[1], from.data, from.mode);
		hostfiles_add(&t->to, fields[1], to.data, to.mode);
	}
	free(from.data);
	free(to.data);
	return good ? 0 : -EBADMSG;
}

static int take_begun(struct transaction *t, const char *text)
{
	char *end;

	t->begun = text ? strtoul(text, &end, 10) : 0;
	return text && end != text && !*end ? 0 : -EBADMSG;
}

static int take_command(struct transaction *t, char *const fields[], size_t n)
{
	struct strlist argv = { 0 };

	for (size_t i = 1; i < n; i++)
		strlist_add(&argv, fields[i] ? fields[i] : "-");
	if (argv.n && *argv.s[0] == '/')
		hostcmds_add_argv(&t->cmds, &argv);
	strlist_done(&argv);
	return 0;
}

static int take_record(void *arg, char *const fields[], size_t n)
{
	struct transaction *t = arg;
	const char *kind = fields[0];

	if (strcmp(kind, "version") == 0)
		return n == 2 && fields[1] && strcmp(fields[1], "1") == 0 ? 0 : -EBADMSG;
	if (strcmp(kind, "begun") == 0)
		return n == 2 ? take_begun(t, fields[1]) : -EBADMSG;
	if (strcmp(kind, "file") == 0)
		return n == 6 ? take_file(t, fields) : -EBADMSG;
	if (strcmp(kind, "command") == 0)
		return take_command(t, fields, n);
	if (strcmp(kind, "dir") != 0 || n != 2 || !fields[1])
		return -EBADMSG;
	strlist_add(&t->made, fields[1]);
	return 0;
}

int journal_read(struct transaction *t)
{
	_cleanup_free_ char *path = root_path(TRANSACTION_JOURNAL);
	_cleanup_free_ char *text = readfile_string(path, JOURNAL_MAX);
	int rc;

	*t = (struct transaction){ 0 };
	if (!text)
		return -errno;
	rc = hostrecord_read(text, take_record, t);
	if (rc == 0 && t->begun > t->cmds.n)
		rc = -EBADMSG;
	if (rc < 0)
		transaction_done(t);
	return rc;
}

int journal_remove(void)
{
	const struct hostfile none = { .path = (char *)TRANSACTION_JOURNAL };

	return hostfile_put(&none);
}

bool transaction_is_pending(void)
{
	_cleanup_free_ char *path = root_path(TRANSACTION_JOURNAL);

	return access(path, F_OK) == 0;
}

/* atomicfile_write()'s: ".NAME.XXXXXX" beside the file. */
static void clean_beside(const char *path)
{
	_cleanup_free_ char *dir = xstrdup(path), *pattern = NULL;
	char *slash = strrchr(dir, '/');
	glob_t found;

	*slash = '\0';
	pattern = root_path("%s/.%s.??????", dir, slash + 1);
	if (glob(pattern, GLOB_PERIOD, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		unlink(found.gl_pathv[i]);
	globfree(&found);
}

void journal_clean_temporary(const struct transaction *t)
{
	for (size_t i = 0; i < t->to.n; i++)
		clean_beside(t->to.f[i].path);
	clean_beside(TRANSACTION_JOURNAL);
}

static bool is_there(const char *path)
{
	_cleanup_free_ char *full = root_path("%s", path);

	return access(full, F_OK) == 0;
}

/* The command of a run that was killed may be about to end: it has the lock, too. */
static int lock_soon(int fd)
{
	for (int tries = LOCK_TRIES; flock(fd, LOCK_EX | LOCK_NB) < 0; tries--) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (tries == 0)
			return -EAGAIN;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_EVERY * 1000000L }, NULL);
	}
	return 0;
}

/* The folder itself is locked: no file of our own is left when all is undone. */
static int lock_folder(const char *full)
{
	_cleanup_free_ char *parent = root_path("/var/lib/pve-gpu-utils");
	_cleanup_close_ int fd = -1;
	struct stat locked, there;
	int out;

	for (;;) {
		int rc = atomicfile_state_dir(parent);

		if (rc == 0)
			rc = atomicfile_state_dir(full);
		if (rc < 0)
			return rc;
		fd = open(full, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		rc = lock_soon(fd);
		if (rc < 0)
			return rc;
		/* Whoever had it before may have removed it. */
		if (fstat(fd, &locked) == 0 && stat(full, &there) == 0
		    && locked.st_ino == there.st_ino && locked.st_dev == there.st_dev)
			break;
		close(fd);
		fd = -1;
	}
	out = fd;
	fd = -1;
	return out;
}

/* Remove those that are empty, the last one first. */
static void remove_empty(const struct strlist *dirs)
{
	for (size_t i = dirs->n; i-- > 0;) {
		_cleanup_free_ char *full = root_path("%s", dirs->s[i]);

		rmdir(full);
	}
}

int transaction_lock(struct strlist *made)
{
	_cleanup_free_ char *full = root_path(MANIFEST_DIR);
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(STATE_PARENTS); i++)
		if (!is_there(STATE_PARENTS[i]))
			strlist_add(made, STATE_PARENTS[i]);
	if (!is_there(MANIFEST_DIR))
		strlist_add(made, MANIFEST_DIR);
	fd = lock_folder(full);
	if (fd < 0 && fd != -EAGAIN)
		remove_empty(made);
	if (fd >= 0 && !transaction_is_pending()) {
		clean_beside(TRANSACTION_JOURNAL);
		clean_beside(MANIFEST_PATH);
	}
	return fd;
}

void transaction_unlock(int fd, const struct strlist *dirs)
{
	_cleanup_free_ char *state = root_path(MANIFEST_DIR);

	rmdir(state);
	remove_empty(dirs);
	if (fd < 0)
		return;
	flock(fd, LOCK_UN);	/* whatever a command left running */
	close(fd);
}
