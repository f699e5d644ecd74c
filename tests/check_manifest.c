/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The manifest's text, and transactions that fail or are killed at every system call. */
#include "testroot.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "host/manifest.h"
#include "host/transaction.h"

/* --- calls that fail, or at which the process is killed -------------------- */

static unsigned calls, kill_at, fail_at;
static int fail_with;

static bool is_time(void)
{
	calls++;
	if (kill_at && calls == kill_at)
		kill(getpid(), SIGKILL);
	if (!fail_at || calls != fail_at)
		return false;
	errno = fail_with;
	return true;
}

#define WRAP(type, name, args, pass) \
	type __real_##name args; \
	type __wrap_##name args; \
	type __wrap_##name args { return is_time() ? -1 : __real_##name pass; }

WRAP(int, mkostemp, (char *path, int flags), (path, flags))
WRAP(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))

/* A file whose disk does not answer. */
static const char *unreadable;

int __real_lstat(const char *path, struct stat *st);
int __wrap_lstat(const char *path, struct stat *st);
int __wrap_lstat(const char *path, struct stat *st)
{
	if (!unreadable || !strstr(path, unreadable))
		return __real_lstat(path, st);
	errno = EIO;
	return -1;
}

/* --- a tree and a transaction on it ------------------------------------------ */

static char commands[64];

static void write_command(const char *name, int status)
{
	char *path = xasprintf("%s/%s", commands, name);
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "#!/bin/sh\necho %s \"$@\" >>'%s/log'\nexit %d\n", name, commands, status);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	free(path);
}

static void setup(void)
{
	calls = kill_at = fail_at = 0;
	testroot_setup();
	strcpy(commands, "/tmp/testcommands.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(commands));
	setenv("PVE_GPU_COMMANDS", commands, 1);
	write_command("first", 0);
	write_command("second", 0);
	testroot_file("/etc/kernel/cmdline", "root=x quiet");
	testroot_file("/etc/old.conf", "old\n");
	testroot_dir("/var/lib");
}

static void teardown(void)
{
	testroot_teardown();
	nftw(commands, testroot_rm, 16, FTW_DEPTH | FTW_PHYS);
}

/* Every path with kind and mode, every file's bytes; allocated. */
static char *tree(void)
{
	char *command = xasprintf("cd '%s' && find . -printf '%%p %%y %%m\\n' | sort && "
				  "find . -type f | sort | xargs cat", testroot);
	FILE *f = popen(command, "r");
	char *text = NULL;
	size_t room = 0;
	ssize_t len;

	ck_assert_ptr_nonnull(f);
	len = getdelim(&text, &room, '\0', f);
	ck_assert_int_gt(len, 0);
	ck_assert_int_eq(pclose(f), 0);
	free(command);
	return text;
}

static char *log_text(void)
{
	char *path = xasprintf("%s/log", commands), *text = NULL;
	FILE *f = fopen(path, "r");
	size_t room = 0;

	if (!f || getdelim(&text, &room, '\0', f) < 0) {
		free(text);
		text = xstrdup("");
	}
	if (f)
		fclose(f);
	unlink(path);
	free(path);
	return text;
}

static void change(struct transaction *t, const char *path, const char *text, mode_t mode)
{
	struct hostfile now, new = { .path = (char *)path, .data = (char *)text,
				     .mode = mode };

	new.len = text ? strlen(text) : 0;
	ck_assert_int_eq(hostfile_read(path, &now), 0);
	transaction_add(t, &now, &new);
	hostfile_done(&now);
}

static struct transaction make(const struct strlist *made)
{
	struct transaction t = { 0 };

	for (size_t i = 0; i < made->n; i++)
		strlist_add_new(&t.made, made->s[i]);
	change(&t, "/etc/modprobe.d/ours.conf", "new\nfile\n", 0644);
	change(&t, "/etc/a/b/script", "#!/bin/sh\n", 0755);
	change(&t, "/etc/kernel/cmdline", "root=x quiet ours", 0644);
	change(&t, "/etc/old.conf", NULL, 0);
	change(&t, MANIFEST_PATH, "manifest\n", 0600);
	hostcmds_add(&t.cmds, "/usr/sbin/first -u");
	hostcmds_add(&t.cmds, "/usr/sbin/second");
	return t;
}

static const struct transaction_report silent;

/* As the program does it: lock, transaction, unlock. */
static int apply(int *back)
{
	struct strlist made = { 0 };
	struct transaction t;
	int lock = transaction_lock(&made), rc;

	*back = 0;
	if (lock < 0) {
		strlist_done(&made);
		return lock;
	}
	t = make(&made);
	rc = transaction_run(&t, &silent, back);
	transaction_done(&t);
	transaction_unlock(lock, &made);
	strlist_done(&made);
	return rc;
}

static int heal(void)
{
	struct strlist made = { 0 };
	int lock = transaction_lock(&made), rc;

	ck_assert_int_ge(lock, 0);
	rc = transaction_heal(&silent, &made);
	transaction_unlock(lock, &made);
	strlist_done(&made);
	return rc;
}

START_TEST(test_done)
{
	char *start = tree(), *log;
	int back;

	ck_assert_int_eq(apply(&back), 0);
	log = log_text();
	ck_assert_str_eq(log, "first -u\nsecond\n");
	free(log);
	log = tree();
	ck_assert_ptr_nonnull(strstr(log, "./etc/modprobe.d/ours.conf f 644"));
	ck_assert_ptr_nonnull(strstr(log, "./etc/a/b/script f 755"));
	ck_assert_ptr_nonnull(strstr(log, "./var/lib/pve-gpu-utils d 700"));
	ck_assert_ptr_nonnull(strstr(log, "./var/lib/pve-gpu-utils/vfio-setup d 700"));
	ck_assert_ptr_nonnull(strstr(log, "vfio-setup/manifest f 600"));
	ck_assert_ptr_null(strstr(log, "old.conf"));
	ck_assert_ptr_null(strstr(log, "journal"));
	ck_assert_ptr_nonnull(strstr(log, "root=x quiet ours"));
	ck_assert(!transaction_is_pending());
	ck_assert_int_eq(heal(), 0);
	free(log);
	free(start);
}
END_TEST

/* A command fails: files are back, and what had begun ran once more. */
static const struct {
	const char *name, *log;
	int status;
} failing[] = {
	{ "first", "first -u\nfirst -u\n", 7 },
	{ "second", "first -u\nsecond\nfirst -u\nsecond\n", 1 },
};

START_TEST(test_command_fails)
{
	char *start = tree(), *now, *log;
	int back, rc;

	write_command(failing[_i].name, failing[_i].status);
	rc = apply(&back);
	ck_assert_int_eq(rc, failing[_i].status);
	ck_assert_int_eq(back, failing[_i].status);
	ck_assert(transaction_is_pending());
	log = log_text();
	ck_assert_str_eq(log, failing[_i].log);
	free(log);
	/* Still broken: the journal stays. Then it works again. */
	ck_assert_int_gt(heal(), 1);
	ck_assert(transaction_is_pending());
	write_command(failing[_i].name, 0);
	ck_assert_int_eq(heal(), 1);
	now = tree();
	ck_assert_str_eq(now, start);
	free(now);
	free(start);
}
END_TEST

/*
 * Every call fails in turn with errors of full and broken disks: all is as before, or
 * done.
 */
static const int errors[] = { ENOSPC, EROFS };

START_TEST(test_every_call_fails)
{
	char *start = tree(), *end;
	int back;

	ck_assert_int_eq(apply(&back), 0);
	end = tree();
	teardown();
	setup();
	for (unsigned n = 1;; n++) {
		char *now;
		int rc;

		calls = 0;
		fail_at = n;
		fail_with = errors[_i];
		rc = apply(&back);
		fail_at = 0;
		if (calls < n)
			break;
		if (back)
			ck_assert_int_eq(heal(), 1);
		now = tree();
		ck_assert_msg(strcmp(now, rc == 0 ? end : start) == 0,
			      "call %u, result %d:\n%s", n, rc, now);
		free(now);
		free(log_text());
		if (rc == 0) {
			teardown();
			setup();
		}
	}
	free(start);
	free(end);
}
END_TEST

/* Killed at every call, then at every call of the way back: the way back ends it. */
static bool apply_killed(unsigned n)
{
	pid_t pid = fork();
	int status, back;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		calls = 0;
		kill_at = n;
		apply(&back);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status);
}

static bool heal_killed(unsigned n)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		calls = 0;
		kill_at = n;
		heal();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status);
}

START_TEST(test_every_call_kills)
{
	char *start = tree(), *end, *now;
	int back;

	ck_assert_int_eq(apply(&back), 0);
	end = tree();
	teardown();
	setup();
	for (unsigned n = 1; apply_killed(n); n++) {
		bool was_pending = transaction_is_pending();

		if (was_pending && n % 5 == 0)
			for (unsigned k = 1; k < 40 && heal_killed(k); k++)
				;
		heal();
		ck_assert(!transaction_is_pending());
		now = tree();
		/* Killed with the journal gone already, it is done. */
		if (!was_pending && strstr(now, "/manifest f 600")) {
			ck_assert_msg(strcmp(now, end) == 0, "killed at call %u:\n%s", n, now);
			teardown();
			setup();
		} else {
			char *state = strstr(now, "./var/lib/pve-gpu-utils d 700\n");

			/*
			 * Killed before anything was written down: an empty folder may
			 * stay.
			 */
			if (state)
				memmove(state, strchr(state, '\n') + 1,
					strlen(strchr(state, '\n') + 1) + 1);
			ck_assert_msg(strcmp(now, start) == 0, "killed at call %u:\n%s", n, now);
		}
		free(now);
		free(log_text());
	}
	free(start);
	free(end);
}
END_TEST

/* Somebody else's change between the crash and the way back stays. */
START_TEST(test_changed_since)
{
	_cleanup_free_ char *text = NULL;
	struct hostfile now;

	write_command("first", 1);
	testroot_file("/etc/kernel/cmdline", "root=x quiet");
	{
		int back;

		ck_assert_int_eq(apply(&back), 1);
	}
	ck_assert(transaction_is_pending());
	testroot_file("/etc/kernel/cmdline", "root=y edited\n");
	write_command("first", 0);
	ck_assert_int_eq(heal(), 1);
	ck_assert_int_eq(hostfile_read("/etc/kernel/cmdline", &now), 0);
	ck_assert_str_eq(now.data, "root=y edited\n");
	hostfile_done(&now);
	text = tree();
	ck_assert_ptr_null(strstr(text, "ours.conf"));
}
END_TEST

/* What cannot be looked at now is not somebody else's: the next run puts it back. */
START_TEST(test_unreadable)
{
	_cleanup_free_ char *start = tree(), *now = NULL;
	int back;

	write_command("first", 1);
	ck_assert_int_eq(apply(&back), 1);
	write_command("first", 0);
	unreadable = "/etc/kernel/cmdline";
	ck_assert_int_eq(heal(), -EIO);
	ck_assert(transaction_is_pending());
	unreadable = NULL;
	ck_assert_int_eq(heal(), 1);
	now = tree();
	ck_assert_str_eq(now, start);
}
END_TEST

/* A file that changed after the plan was made is not written over. */
START_TEST(test_changed_between)
{
	struct strlist made = { 0 };
	int lock = transaction_lock(&made), back;
	struct transaction t = make(&made);
	struct hostfile now;

	testroot_file("/etc/kernel/cmdline", "root=z\n");
	ck_assert_int_eq(transaction_run(&t, &silent, &back), -ESTALE);
	ck_assert_int_eq(back, 0);
	ck_assert_int_eq(hostfile_read("/etc/kernel/cmdline", &now), 0);
	ck_assert_str_eq(now.data, "root=z\n");
	hostfile_done(&now);
	ck_assert_int_eq(hostfile_read("/etc/modprobe.d/ours.conf", &now), 0);
	ck_assert_ptr_null(now.data);
	hostfile_done(&now);
	transaction_done(&t);
	transaction_unlock(lock, &made);
	strlist_done(&made);
}
END_TEST

START_TEST(test_lock)
{
	struct strlist made = { 0 };
	int lock = transaction_lock(&made);

	ck_assert_int_ge(lock, 0);
	ck_assert_uint_eq(made.n, 2);
	ck_assert_str_eq(made.s[0], "/var/lib/pve-gpu-utils");
	ck_assert_int_eq(transaction_lock(&made), -EAGAIN);
	transaction_unlock(lock, &made);
	ck_assert_int_eq(access(testroot, F_OK), 0);
	lock = transaction_lock(&made);
	ck_assert_int_ge(lock, 0);
	transaction_unlock(lock, &made);
	strlist_done(&made);
}
END_TEST

static const char *const bad_journals[] = {
	"", "version\t1\n", "version\t2\n#end 1\n", "version\t1\nbegun\t9\n#end 2\n",
	"version\t1\nbegun\tx\n#end 2\n", "version\t1\nfile\t/etc/x\t644\tx\t-\t:\n#end 2\n",
	"version\t1\nwhat\n#end 2\n", "version\t1\nbegun\t0\n#end 1\n",
};

/* As the first run has made them. */
static void private_folders(void)
{
	static const char *const dirs[] = { "/var/lib/pve-gpu-utils", MANIFEST_DIR };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		char *full = testroot_path(dirs[i]);

		ck_assert_int_eq(chmod(full, 0700), 0);
		free(full);
	}
}

START_TEST(test_bad_journal)
{
	char *start, *now;

	testroot_file(TRANSACTION_JOURNAL, bad_journals[_i]);
	private_folders();
	start = tree();
	ck_assert_int_eq(heal(), -EBADMSG);
	now = tree();
	ck_assert_str_eq(now, start);
	free(now);
	free(start);
}
END_TEST

/* --- the manifest ------------------------------------------------------------ */

START_TEST(test_round_trip)
{
	struct manifest m = { 0 }, back;
	_cleanup_free_ char *text = NULL, *again = NULL, *cut = NULL;

	ck_assert_ptr_null(request_add(&m.request, 'g', "01:00.0"));
	ck_assert_ptr_null(request_add(&m.request, 'i', "10de:2204"));
	ck_assert_ptr_null(request_add(&m.request, 'c', "iommu=pt"));
	ck_assert_ptr_null(request_add(&m.request, 'b', "nouveau"));
	m.request.all_gpus = m.request.early = true;
	hostfiles_add(&m.files, "/etc/modprobe.d/x.conf", "a\tb\\c\n\nd\r\n", 0644);
	hostfiles_add(&m.files, "/etc/hook", "-", 0755);
	strlist_add(&m.words, "iommu=pt");
	strlist_add(&m.words, "-");
	m.before = (struct hostfile){ xstrdup("/etc/kernel/cmdline"), xstrdup("root=x"), 6, 0640 };
	m.after = (struct hostfile){ xstrdup("/etc/kernel/cmdline"), xstrdup("root=x iommu=pt"), 15,
				     0640 };
	strlist_add(&m.dirs, "/etc/a b");
	strlist_add(&m.cards, "0000:01:00.0 10de:2204 1043:87b3");
	text = manifest_format(&m);
	ck_assert_int_eq(manifest_parse(text, &back), 0);
	ck_assert(request_equal(&m.request, &back.request));
	ck_assert_uint_eq(back.files.n, 2);
	ck_assert_str_eq(back.files.f[0].data, "a\tb\\c\n\nd\r\n");
	ck_assert_str_eq(back.files.f[1].data, "-");
	ck_assert_uint_eq(back.files.f[1].mode, 0755);
	ck_assert(strlist_equal(&m.words, &back.words));
	ck_assert(strlist_equal(&m.dirs, &back.dirs));
	ck_assert(strlist_equal(&m.cards, &back.cards));
	ck_assert(hostfile_equal(&m.before, &back.before));
	ck_assert(hostfile_equal(&m.after, &back.after));
	again = manifest_format(&back);
	ck_assert_str_eq(text, again);
	manifest_done(&back);
	/* Cut anywhere, it is not believed. */
	for (size_t len = 0; len < strlen(text); len++) {
		free(cut);
		cut = xstrndup(text, len);
		ck_assert_int_eq(manifest_parse(cut, &back), -EBADMSG);
	}
	manifest_done(&m);
}
END_TEST

START_TEST(test_before_absent)
{
	struct manifest m = { 0 }, back;
	_cleanup_free_ char *text = NULL;

	m.before = (struct hostfile){ .path = xstrdup("/etc/kernel/cmdline") };
	m.after = (struct hostfile){ xstrdup("/etc/kernel/cmdline"), xstrdup("a"), 1, 0644 };
	text = manifest_format(&m);
	ck_assert_int_eq(manifest_parse(text, &back), 0);
	ck_assert_ptr_null(back.before.data);
	ck_assert_str_eq(back.after.data, "a");
	manifest_done(&back);
	manifest_done(&m);
}
END_TEST

static const char *const bad_manifests[] = {
	"", "#end 0\n", "version\t2\n#end 1\n", "version\t1\n#end 2\n", "version\t1\n",
	"version\t1\nfile\t/a\t644\tx\n#end 2\n", "version\t1\nfile\t/a\t-\t:x\n#end 2\n",
	"version\t1\nfile\t/a\t99999\t:x\n#end 2\n", "version\t1\noption\twhat\tx\n#end 2\n",
	"version\t1\nnew\tthing\n#end 2\n", "version\t1\ncmdline\tbefore\t-\t:\n#end 2\n",
	"version\t1\nword\t\\x\n#end 2\n", "version\t1\nword\t\n#end 2\n",
};

START_TEST(test_bad_manifest)
{
	struct manifest m;

	ck_assert_int_eq(manifest_parse(bad_manifests[_i], &m), -EBADMSG);
	ck_assert_uint_eq(m.files.n, 0);
}
END_TEST

START_TEST(test_read)
{
	struct manifest m;

	ck_assert_int_eq(manifest_read(&m), -ENOENT);
	testroot_file(MANIFEST_PATH, "version\t1\nword\ta\n#end 2\n");
	ck_assert_int_eq(manifest_read(&m), 0);
	ck_assert_uint_eq(m.words.n, 1);
	manifest_done(&m);
}
END_TEST

START_TEST(test_hostfile)
{
	struct hostfile f;

	testroot_data("/etc/nul", "a\0b", 3);
	ck_assert_int_eq(hostfile_read("/etc/nul", &f), -EINVAL);
	hostfile_done(&f);
	testroot_link("/etc/link", "old.conf");
	ck_assert_int_eq(hostfile_read("/etc/link", &f), -ELOOP);
	hostfile_done(&f);
	testroot_dir("/etc/dir");
	ck_assert_int_eq(hostfile_read("/etc/dir", &f), -EINVAL);
	hostfile_done(&f);
	ck_assert_int_eq(hostfile_read("/etc/none/x", &f), 0);
	ck_assert_ptr_null(f.data);
	hostfile_done(&f);
	testroot_file("/etc/marked", "#!/bin/sh\n" HOSTFILE_MARK "; x\n");
	ck_assert_int_eq(hostfile_read("/etc/marked", &f), 0);
	ck_assert(hostfile_is_marked(&f));
	hostfile_done(&f);
	testroot_file("/etc/foreign", "# mine\n" HOSTFILE_MARK "\n");
	ck_assert_int_eq(hostfile_read("/etc/foreign", &f), 0);
	ck_assert(!hostfile_is_marked(&f));
	hostfile_done(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("manifest");
	TCase *tc = tcase_create("transaction"), *text = tcase_create("manifest");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_done);
	tcase_add_loop_test(tc, test_command_fails, 0, (int)ARRAY_SIZE(failing));
	tcase_add_loop_test(tc, test_every_call_fails, 0, (int)ARRAY_SIZE(errors));
	tcase_add_test(tc, test_every_call_kills);
	tcase_add_test(tc, test_changed_since);
	tcase_add_test(tc, test_unreadable);
	tcase_add_test(tc, test_changed_between);
	tcase_add_test(tc, test_lock);
	tcase_add_loop_test(tc, test_bad_journal, 0, (int)ARRAY_SIZE(bad_journals));
	tcase_add_test(tc, test_hostfile);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(text, setup, teardown);
	tcase_add_test(text, test_round_trip);
	tcase_add_test(text, test_before_absent);
	tcase_add_loop_test(text, test_bad_manifest, 0, (int)ARRAY_SIZE(bad_manifests));
	tcase_add_test(text, test_read);
	suite_add_tcase(suite, text);
	return testroot_run(suite);
}
