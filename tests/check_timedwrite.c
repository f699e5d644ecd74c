/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fakekernel.h"

#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sysfs.h"
#include "pci/timedwrite.h"

/* kill(2) as the library calls it; a child in state D does not obey. */
static bool kill_is_dead;

int __real_kill(pid_t pid, int sig);
int __wrap_kill(pid_t pid, int sig);

int __wrap_kill(pid_t pid, int sig)
{
	return kill_is_dead && sig == SIGKILL ? 0 : __real_kill(pid, sig);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

START_TEST(writes_are_made_and_kept)
{
	struct timedwriter w = { .limit = 10000, .lock = -1 };
	_cleanup_free_ char *path = testroot_path("/sys/a/remove"),
			    *none = testroot_path("/sys/a/none");

	testroot_file("/sys/a/remove", "");
	ck_assert_ptr_null(timedwrite_last(&w));
	ck_assert_int_eq(timedwrite(&w, path, "1\n"), 0);
	ck_assert_int_eq(timedwrite(&w, none, "1"), -ENOENT);
	ck_assert_uint_eq(w.n, 2);
	ck_assert_str_eq(w.done[0].path, path);
	ck_assert_str_eq(w.done[0].value, "1");
	ck_assert_int_eq(w.done[0].result, 0);
	ck_assert_int_eq(w.done[0].left, 0);
	ck_assert_int_ge(w.done[0].us, 0);
	ck_assert_int_eq(w.done[1].result, -ENOENT);
	ck_assert_int_eq(timedwrite_total(&w), w.done[0].us + w.done[1].us);
	ck_assert_ptr_eq(timedwrite_last(&w), &w.done[1]);
	ck_assert_str_eq(fake->log, "remove=1 ");
	timedwrite_done(&w);
	ck_assert_uint_eq(w.n, 0);
	ck_assert_uint_eq(w.limit, 10000);
}
END_TEST

START_TEST(kernel_refuses)
{
	struct timedwriter w = { .lock = -1 };	/* without a limit */
	_cleanup_free_ char *path = testroot_path("/sys/a/reset");

	testroot_file("/sys/a/reset", "");
	fake->reset_errno = ENOTTY;
	ck_assert_int_eq(timedwrite(&w, path, "1"), -ENOTTY);
	timedwrite_done(&w);
}
END_TEST

START_TEST(dry_run_prints)
{
	struct timedwriter w = { .lock = -1 };
	_cleanup_free_ char *path = testroot_path("/sys/a/reset"), *want = NULL;
	_cleanup_fclose_ FILE *old = stdout;
	char *text = NULL;
	size_t len;

	testroot_file("/sys/a/reset", "");
	stdout = open_memstream(&text, &len);
	sysfs_dry_run = true;
	ck_assert_int_eq(timedwrite(&w, path, "1\n"), 0);
	sysfs_dry_run = false;
	fclose(stdout);
	stdout = TAKE_PTR(old);
	want = xasprintf("echo 1 > %s\n", path);
	ck_assert_str_eq(text, want);
	free(text);
	ck_assert_int_eq(fake->writes, 0);
	ck_assert_uint_eq(w.n, 1);
	ck_assert_int_eq(w.done[0].us, 0);
	timedwrite_done(&w);
}
END_TEST

START_TEST(a_write_that_hangs_is_given_up)
{
	struct timedwriter w = { .limit = 100, .lock = -1 };
	_cleanup_free_ char *path = testroot_path("/sys/a/remove");
	int64_t start = now_ms();

	testroot_file("/sys/a/remove", "");
	fake->hang_at = 1;
	root_set("");
	ck_assert_int_eq(timedwrite(&w, path, "1"), -ETIMEDOUT);
	ck_assert_int_ge(now_ms() - start, 100);
	ck_assert_int_lt(now_ms() - start, 30000);
	ck_assert_int_eq(w.done[0].left, 0);		/* SIGKILL was enough */
	ck_assert_int_ge(w.done[0].us, 100000);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	fake->hang_at = 0;
	w.limit = 30000;
	ck_assert_int_eq(timedwrite(&w, path, "1"), 0);	/* the next one goes on */
	timedwrite_done(&w);
}
END_TEST

START_TEST(a_child_that_cannot_be_killed_is_left)
{
	struct timedwriter w = { .limit = 50, .lock = -1 };
	_cleanup_free_ char *path = testroot_path("/sys/a/remove");
	int64_t start = now_ms();
	int ends[2];
	char byte;
	pid_t left;

	testroot_file("/sys/a/remove", "");
	fake->hang_at = 1;
	ck_assert_int_eq(pipe(ends), 0);
	kill_is_dead = true;
	ck_assert_int_eq(timedwrite(&w, path, "1"), -ETIMEDOUT);
	kill_is_dead = false;
	ck_assert_int_lt(now_ms() - start, 30000);
	left = w.done[0].left;
	ck_assert_int_gt(left, 0);
	/* Nobody who reads what we write waits for it. */
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	root_set("");
	while (timedwrite_state(left) == 'R' || fake->writes == 0)
		poll(NULL, 0, 5);
	ck_assert_int_eq(timedwrite_state(left), 'S');
	kill(left, SIGKILL);
	ck_assert_int_eq(waitpid(left, NULL, 0), left);
	ck_assert_int_eq(timedwrite_state(left), 0);
	timedwrite_done(&w);
}
END_TEST

/* The lock is the one thing that it keeps, so that the next run knows of it. */
START_TEST(the_lock_outlasts_us)
{
	_cleanup_free_ char *path = testroot_path("/sys/a/remove"),
			    *file = testroot_path("/run/lock");
	int told[2], go[2], mine;
	char byte;
	pid_t pid;

	testroot_file("/sys/a/remove", "");
	testroot_file("/run/lock", "");
	fake->hang_at = 1;
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ck_assert_int_eq(pipe(told), 0);
	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		struct timedwriter w = { .limit = 50 };

		w.lock = open(file, O_RDONLY | O_CLOEXEC);
		flock(w.lock, LOCK_EX);
		kill_is_dead = true;
		timedwrite(&w, path, "1");
		close(w.lock);
		__real_write(told[1], "x", 1);
		_exit(read(go[0], &byte, 1) == 1 && timedwrite_last(&w)->left ? 7 : 1);
	}
	ck_assert_int_eq(read(told[0], &byte, 1), 1);
	mine = open(file, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(flock(mine, LOCK_EX | LOCK_NB), -1);
	/* It dies with its parent; then the lock is free. */
	ck_assert_int_eq(__real_write(go[1], "x", 1), 1);
	ck_assert_int_gt(waitpid(pid, &pid, 0), 0);
	ck_assert_int_eq(WEXITSTATUS(pid), 7);
	ck_assert_int_gt(waitpid(-1, NULL, 0), 0);
	ck_assert_int_eq(flock(mine, LOCK_EX | LOCK_NB), 0);
	close(mine);
}
END_TEST

START_TEST(a_killed_parent_leaves_no_write_behind)
{
	_cleanup_free_ char *path = testroot_path("/sys/a/remove");
	pid_t pid;

	testroot_file("/sys/a/remove", "");
	fake->hang_at = 1;
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	pid = fork();
	if (pid == 0) {
		struct timedwriter w = { .lock = -1 };

		timedwrite(&w, path, "1");
		_exit(0);
	}
	while (fake->writes == 0)
		poll(NULL, 0, 5);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	/* Its child, now ours, died of it, too. */
	ck_assert_int_gt(waitpid(-1, &pid, 0), 0);
	ck_assert(WIFSIGNALED(pid) && WTERMSIG(pid) == SIGKILL);
}
END_TEST

static int caught;

static void on_signal(int sig)
{
	caught = sig;
}

/* ^C goes to the whole group: we note it, the write is made. */
START_TEST(signals_do_not_cut_a_write)
{
	struct timedwriter w = { .lock = -1 };
	_cleanup_free_ char *path = testroot_path("/sys/a/remove");
	struct sigaction sa = { .sa_handler = on_signal };
	bool in_time = false;
	pid_t pid;

	testroot_file("/sys/a/remove", "");
	fake->hang_at = 1;
	ck_assert_int_eq(setpgid(0, 0), 0);
	ck_assert_int_eq(sigaction(SIGINT, &sa, NULL), 0);
	/* Once more where the signal came when the time was up already. */
	for (w.limit = 200; !in_time && w.limit <= 10000; w.limit *= 4) {
		fake->writes = caught = 0;
		pid = fork();
		if (pid == 0) {
			setpgid(0, 0);
			while (fake->writes == 0)
				poll(NULL, 0, 5);
			killpg(getppid(), SIGINT);
			_exit(0);
		}
		/* The child lived on until its limit, the signal notwithstanding. */
		ck_assert_int_eq(timedwrite(&w, path, "1"), -ETIMEDOUT);
		in_time = caught == SIGINT;
		ck_assert_int_ge(timedwrite_last(&w)->us, w.limit * 1000);
		fake->writes = 1;
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	}
	ck_assert(in_time);
	timedwrite_done(&w);
}
END_TEST

START_TEST(state_letters)
{
	testroot_file("/proc/41/stat", "41 (a) b) R (x) D 1 41 41 0\n");
	testroot_file("/proc/42/stat", "nonsense\n");
	ck_assert_int_eq(timedwrite_state(41), 'D');
	ck_assert_int_eq(timedwrite_state(42), 0);
	ck_assert_int_eq(timedwrite_state(43), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("timedwrite");
	TCase *tc = tcase_create("timedwrite");

	tcase_add_checked_fixture(tc, fake_setup, testroot_teardown);
	tcase_add_test(tc, writes_are_made_and_kept);
	tcase_add_test(tc, kernel_refuses);
	tcase_add_test(tc, dry_run_prints);
	tcase_add_test(tc, a_write_that_hangs_is_given_up);
	tcase_add_test(tc, a_child_that_cannot_be_killed_is_left);
	tcase_add_test(tc, the_lock_outlasts_us);
	tcase_add_test(tc, a_killed_parent_leaves_no_write_behind);
	tcase_add_test(tc, signals_do_not_cut_a_write);
	tcase_add_test(tc, state_letters);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
