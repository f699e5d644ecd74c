/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/spawn.h"
#include "base/xalloc.h"

static char *lines;

static void collect(const char *line, void *arg)
{
	char *more = xasprintf("%s%s|", lines ? lines : "", line);

	ck_assert_str_eq(arg, "arg");
	free(lines);
	lines = more;
}

static int sh(const char *script, unsigned timeout)
{
	char arg[] = "arg";
	const char *argv[] = { "/bin/sh", "-c", script, NULL };
	struct spawn_opts opts = { .timeout = timeout, .line = collect, .arg = arg };

	free(lines);
	lines = NULL;
	return spawn_run(argv, &opts);
}

static const struct {
	const char *script;
	int result;
	const char *lines;
} cases[] = {
	{ "exit 0", 0, NULL },
	{ "exit 7", 7, NULL },
	{ "exit 255", 255, NULL },
	{ "kill -9 $$", 128 + SIGKILL, NULL },
	{ "echo one; echo two >&2; printf three", 0, "one|two|three|" },
	{ "echo; echo x", 0, "|x|" },
	{ "cat; echo end", 0, "end|" },				/* stdin is empty */
	{ "ls /proc/self/fd | wc -l", 0, "4|" },		/* 0 1 2 and ls's own */
	{ "trap", 0, NULL },
	{ "sleep 100 & echo up", 0, "up|" },			/* a grandchild holds the pipe */
	{ "test -n \"$PATH\" && echo yes", 0, "yes|" },
};

START_TEST(run_gives_status_and_lines)
{
	int extra = open("/dev/zero", O_RDONLY);	/* not close-on-exec */

	signal(SIGPIPE, SIG_IGN);
	unsetenv("PATH");
	ck_assert_int_eq(sh(cases[_i].script, 60), cases[_i].result);
	if (cases[_i].lines)
		ck_assert_pstr_eq(lines, cases[_i].lines);
	else
		ck_assert_ptr_null(lines);
	close(extra);
	free(lines);
}
END_TEST

START_TEST(default_signals)
{
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(sh("kill -PIPE $$; echo alive", 60), 128 + SIGPIPE);
}
END_TEST

/* As "trap '' CHLD" of a shell leaves it. */
START_TEST(ignored_children)
{
	signal(SIGCHLD, SIG_IGN);
	ck_assert_int_eq(sh("exit 7", 60), 7);
	ck_assert_int_eq(sh("exec sleep 100", 1), -ETIMEDOUT);
	free(lines);
}
END_TEST

START_TEST(exec_fails)
{
	const char *argv[] = { "/nonexistent/program", NULL };
	struct spawn_opts opts = { 0 };

	ck_assert_int_eq(spawn_run(argv, &opts), -ENOENT);
	argv[0] = "/etc/passwd";
	ck_assert_int_eq(spawn_run(argv, &opts), -EACCES);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);	/* nothing is left */
}
END_TEST

START_TEST(time_limit)
{
	static const char *const scripts[] = {
		"echo begin; exec sleep 100",
		"trap '' TERM; echo begin; while :; do sleep 0.2; done",
	};

	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		int64_t begin;
		unsigned limit = 1;

		/* A shell that has not come to its first line says nothing of the limit. */
		for (begin = spawn_now(); ; limit *= 2, begin = spawn_now()) {
			ck_assert_int_eq(sh(scripts[i], limit), -ETIMEDOUT);
			if (lines || limit >= 16)
				break;
		}
		ck_assert_pstr_eq(lines, "begin|");
		ck_assert_int_lt(spawn_now() - begin, 40000);
		if (i == 1)
			ck_assert_int_ge(spawn_now() - begin, limit * 1000 + 4500);
	}
	free(lines);
}
END_TEST

/* Slower than any writer. */
static void count(const char *line, void *arg)
{
	ck_assert_uint_le(strlen(line), 200);	/* the last one may be cut */
	usleep(500);
	(*(size_t *)arg)++;
}

/* Output without an end, of the command or of what it leaves behind. */
static const struct {
	const char *script;
	unsigned timeout;
	int result;
} endless[] = {
	{ "exec yes $(printf %0200d 0)", 1, -ETIMEDOUT },
	{ "yes $(printf %0200d 0) & sleep 0.3", 100, 0 },
};

START_TEST(endless_output)
{
	const char *argv[] = { "/bin/sh", "-c", endless[_i].script, NULL };
	size_t n = 0;
	struct spawn_opts opts = { .timeout = endless[_i].timeout, .line = count, .arg = &n };
	int64_t begin = spawn_now();

	ck_assert_int_eq(spawn_run(argv, &opts), endless[_i].result);
	while (n == 0 && endless[_i].result && (opts.timeout *= 2) <= 16) {
		begin = spawn_now();	/* it had not begun yet */
		ck_assert_int_eq(spawn_run(argv, &opts), endless[_i].result);
	}
	ck_assert_int_lt(spawn_now() - begin, 40000);
	ck_assert_uint_gt(n, 0);
}
END_TEST

START_TEST(several_at_once)
{
	const char *slow[] = { "/bin/sleep", "1000", NULL };
	const char *fast[] = { "/bin/sh", "-c", "exit 2", NULL };
	struct spawn_opts opts = { .timeout = 100 };
	struct spawn a, b, *both[] = { &a, &b };

	ck_assert_int_eq(spawn_start(&a, slow, &opts), 0);
	ck_assert_int_eq(spawn_start(&b, fast, &opts), 0);
	ck_assert_uint_eq(spawn_serve(both, 2, 30000), 1);
	ck_assert_int_eq(spawn_result(&a), -EINPROGRESS);
	ck_assert_int_eq(spawn_result(&b), 2);
	ck_assert_uint_eq(spawn_serve(both, 2, 1), 1);
	kill(a.pid, SIGKILL);
	ck_assert_uint_eq(spawn_serve(both, 2, 30000), 0);
	ck_assert_int_eq(spawn_result(&a), 128 + SIGKILL);
	spawn_done(&a);
	spawn_done(&b);
}
END_TEST

START_TEST(detached_reports)
{
	char arg[] = "arg";
	const char *argv[] = { "/bin/sh", "-c", "echo failed; exit 3", NULL };
	struct spawn_opts opts = { .timeout = 60, .line = collect, .arg = arg };
	struct spawn s, *one[] = { &s };

	if (spawn_has_systemd())
		return;		/* cannot make units from a unit test */
	lines = NULL;
	ck_assert_int_eq(spawn_start_detached(&s, "pve-gpu-test", argv, &opts), 0);
	ck_assert_int_eq(getsid(s.pid), s.pid);
	while (spawn_serve(one, 1, -1))
		;
	ck_assert_int_eq(spawn_result(&s), 3);
	ck_assert_str_eq(lines, "failed|");
	spawn_done(&s);
	free(lines);
}
END_TEST

/*
 * The caller and its whole group are killed; the command ends its work, and our pipe is
 * free.
 */
START_TEST(detached_survives)
{
	char file[] = "/tmp/check_spawn.XXXXXX", byte;
	_cleanup_free_ char *script = NULL;
	int fd = mkstemp(file), p[2], ready[2];
	pid_t pid;

	if (spawn_has_systemd())
		return;
	ck_assert_int_ge(fd, 0);
	close(fd);
	script = xasprintf("echo output; sleep 1; echo output; echo done >%s", file);
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		const char *argv[] = { "/bin/sh", "-c", script, NULL };
		struct spawn_opts opts = { .line = collect };
		struct spawn s;

		setpgid(0, 0);
		close(p[0]);
		dup2(p[1], 1);
		dup2(p[1], 2);
		if (spawn_start_detached(&s, "pve-gpu-test", argv, &opts) < 0)
			_exit(1);
		if (write(ready[1], "", 1) == 1)
			sleep(100);
		_exit(0);
	}
	close(p[1]);
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(read(p[0], &byte, 1), 0);	/* nobody holds our output */
	close(p[0]);
	fd = open(file, O_RDONLY);
	for (int i = 0; i < 300 && read(fd, &byte, 1) == 0; i++)
		usleep(200000);
	ck_assert_int_eq(byte, 'd');
	close(fd);
	unlink(file);
}
END_TEST

START_TEST(closed_stdio)
{
	const char *argv[] = { "/bin/sh", "-c", "echo x", NULL };
	char arg[] = "arg";
	struct spawn_opts opts = { .timeout = 60, .line = collect, .arg = arg };
	int in = dup(0), rc;

	lines = NULL;
	close(0);
	rc = spawn_run(argv, &opts);
	dup2(in, 0);
	close(in);
	ck_assert_int_eq(rc, 0);
	ck_assert_str_eq(lines, "x|");
	free(lines);
}
END_TEST

START_TEST(long_line)
{
	ck_assert_int_eq(sh("head -c 1000000 /dev/zero | tr '\\0' a", 60), 0);
	ck_assert_uint_gt(strlen(lines), 1000000);
	free(lines);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("spawn");
	TCase *tcase = tcase_create("spawn");

	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, run_gives_status_and_lines, 0, ARRAY_SIZE(cases));
	tcase_add_test(tcase, default_signals);
	tcase_add_test(tcase, ignored_children);
	tcase_add_test(tcase, exec_fails);
	tcase_add_test(tcase, time_limit);
	tcase_add_loop_test(tcase, endless_output, 0, ARRAY_SIZE(endless));
	tcase_add_test(tcase, several_at_once);
	tcase_add_test(tcase, detached_reports);
	tcase_add_test(tcase, detached_survives);
	tcase_add_test(tcase, closed_stdio);
	tcase_add_test(tcase, long_line);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
