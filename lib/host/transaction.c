/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/journal.h"
#include "host/transaction.h"

static const int HELD_SIGNALS[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static volatile sig_atomic_t told_to_end;

static void note_signal(int sig)
{
	told_to_end = sig;
}

/* A signal ends the step under way at the latest, so that there is a way back. */
static void hold_signals(bool hold)
{
	static struct sigaction before[ARRAY_SIZE(HELD_SIGNALS)], pipe_before;
	struct sigaction sa = { .sa_handler = note_signal };

	for (size_t i = 0; i < ARRAY_SIZE(HELD_SIGNALS); i++)
		sigaction(HELD_SIGNALS[i], hold ? &sa : &before[i],
			  hold ? &before[i] : NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, hold ? &sa : &pipe_before, hold ? &pipe_before : NULL);
	if (hold)
		told_to_end = 0;
}

static bool is_folder(const char *path)
{
	_cleanup_free_ char *full = root_path("%s", path);
	struct stat st;

	return stat(full, &st) == 0;
}

/* Note the folders that path needs and that are not there, the parent first. */
static void note_folders(struct strlist *made, const char *path)
{
	_cleanup_free_ char *part = xstrdup(path);

	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!is_folder(part))
			strlist_add_new(made, part);
		*slash = '/';
	}
}

void transaction_add(struct transaction *t, const struct hostfile *now,
		     const struct hostfile *new)
{
	if (hostfile_equal(now, new))
		return;
	hostfiles_add(&t->from, now->path, now->data, now->mode);
	hostfiles_add(&t->to, now->path, new->data, new->mode);
	if (new->data)
		note_folders(&t->made, now->path);
}

void transaction_done(struct transaction *t)
{
	hostfiles_done(&t->from);
	hostfiles_done(&t->to);
	strlist_done(&t->made);
	strlist_done(&t->unmade);
	hostcmds_done(&t->cmds);
	t->begun = 0;
}

/* Remove folders that are empty, the last one first. */
static void remove_folders(const struct strlist *dirs)
{
	for (size_t i = dirs->n; i-- > 0;) {
		_cleanup_free_ char *full = root_path("%s", dirs->s[i]);

		rmdir(full);
	}
}

static void tell_failed(const struct transaction_report *report, const char *subject,
			int err, bool back)
{
	if (report->failed)
		report->failed(subject, err, back, report->arg);
}

/* Run command i: 0, -errno or its exit status, told. */
static int run_command(struct transaction *t, size_t i,
		       const struct transaction_report *report, bool back)
{
	_cleanup_free_ char *text = hostcmd_text(&t->cmds.argv[i]);
	int rc;

	if (report->command)
		report->command(text, back, report->arg);
	rc = hostcmd_run(&t->cmds.argv[i]);
	if (rc != 0)
		tell_failed(report, text, rc, back);
	return rc;
}

/* Put one file from what was seen to what is wanted: 0, -ESTALE or another -errno. */
static int put_file(const struct hostfile *seen, const struct hostfile *wanted)
{
	struct hostfile now;
	int rc = hostfile_read(seen->path, &now);

	if (rc == 0 && !hostfile_equal(&now, seen))
		rc = -ESTALE;
	hostfile_done(&now);
	return rc < 0 ? rc : hostfile_put(wanted);
}

/* Is what stands there, or that it cannot be a file of ours, somebody else's doing? */
static bool is_others(int rc, const struct hostfile *now, const struct hostfile *from)
{
	if (rc == 0)
		return !hostfile_equal(now, from);
	return rc == -ELOOP || rc == -EINVAL || rc == -EFBIG || rc == -ENOTDIR;
}

/*
 * Put everything back. Returns what failed first, 0 otherwise; the journal is
 * gone only then.
 */
static int go_back(struct transaction *t, const struct transaction_report *report)
{
	int first = 0;

	for (size_t i = t->to.n; i-- > 0;) {
		const char *path = t->to.f[i].path;
		struct hostfile now;
		int rc = hostfile_read(path, &now);

		if (rc == 0 && hostfile_equal(&now, &t->to.f[i])) {
			rc = hostfile_put(&t->from.f[i]);
			if (rc == 0 && report->file)
				report->file(&t->from.f[i], true, report->arg);
		} else if (is_others(rc, &now, &t->from.f[i])) {
			rc = 0;
			if (report->left)
				report->left(path, report->arg);
		}
		hostfile_done(&now);
		if (rc < 0) {
			tell_failed(report, path, rc, true);
			first = first ? first : rc;
		}
	}
	journal_clean_temporary(t);
	remove_folders(&t->made);
	for (size_t i = 0; i < t->begun; i++) {
		int rc = run_command(t, i, report, true);

		/* An ESP that is still not there has nothing to be put back. */
		if (rc != HOSTCMD_SKIPPED)
			first = first ? first : rc;
	}
	return first ? first : journal_remove();
}

/* The name of a folder that was just made has to outlast a loss of power, too. */
static int sync_parent(const char *full)
{
	_cleanup_free_ char *parent = xstrndup(full, (size_t)(strrchr(full, '/') - full));
	_cleanup_close_ int fd = open(*parent ? parent : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int make_folders(const struct strlist *dirs,
			const struct transaction_report *report)
{
	for (size_t i = 0; i < dirs->n; i++) {
		_cleanup_free_ char *full = root_path("%s", dirs->s[i]);
		int rc;

		/* Whatever the umask: others' files go there, too. */
		if (mkdir(full, 0755) == 0 ? chmod(full, 0755) == 0 : errno == EEXIST)
			rc = sync_parent(full);
		else
			rc = -errno;
		if (rc == 0)
			continue;
		tell_failed(report, dirs->s[i], rc, false);
		return rc;
	}
	return 0;
}

static int change_files(const struct transaction *t,
			const struct transaction_report *report)
{
	for (size_t i = 0; i < t->to.n; i++) {
		const char *path = t->to.f[i].path;
		int rc = told_to_end ? -EINTR : put_file(&t->from.f[i], &t->to.f[i]);

		if (rc < 0) {
			tell_failed(report, path, rc, false);
			return rc;
		}
		if (report->file)
			report->file(&t->to.f[i], false, report->arg);
	}
	return 0;
}

static int run_commands(struct transaction *t, const struct transaction_report *report)
{
	for (size_t i = 0; i < t->cmds.n; i++) {
		_cleanup_free_ char *text = hostcmd_text(&t->cmds.argv[i]);
		int rc = told_to_end ? -EINTR : 0;

		/* On disk before it begins: whoever heals runs it again. */
		t->begun = i + 1;
		if (rc == 0)
			rc = journal_write(t);
		if (rc < 0) {
			t->begun = i;
			tell_failed(report, text, rc, false);
			return rc;
		}
		rc = run_command(t, i, report, false);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int run(struct transaction *t, const struct transaction_report *report)
{
	int rc = make_folders(&t->made, report);

	if (rc == 0)
		rc = change_files(t, report);
	if (rc == 0)
		rc = run_commands(t, report);
	if (rc == 0 && told_to_end) {
		rc = -EINTR;
		tell_failed(report, "vfio-setup", rc, false);
	}
	return rc;
}

int transaction_run(struct transaction *t, const struct transaction_report *report,
		    int *back)
{
	int rc;

	*back = 0;
	t->begun = 0;
	hold_signals(true);
	rc = journal_write(t);
	if (rc < 0) {
		journal_remove();
		tell_failed(report, TRANSACTION_JOURNAL, rc, false);
	} else {
		rc = run(t, report);
		if (rc == 0) {
			/* From here on it is done, whatever happens to us. */
			rc = journal_remove();
			if (rc < 0)
				tell_failed(report, TRANSACTION_JOURNAL, rc, false);
		}
		if (rc != 0)
			*back = go_back(t, report);
		else
			remove_folders(&t->unmade);
	}
	hold_signals(false);
	return rc;
}

int transaction_heal(const struct transaction_report *report, struct strlist *made)
{
	struct transaction t;
	int rc = journal_read(&t);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	hold_signals(true);
	rc = go_back(&t, report);
	hold_signals(false);
	for (size_t i = 0; i < t.made.n; i++)
		strlist_add_new(made, t.made.s[i]);
	transaction_done(&t);
	if (rc > 0)
		return rc + 1;
	return rc < 0 ? rc : 1;
}
