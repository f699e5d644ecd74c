/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The unit with a driver of the test's own: its calls are in every worker, its state is
 * shared.
 */
#include "testroot.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "gpu/cudaunit.h"

enum { N = 3, EVENTS = 256 };
enum { LOCK, CHECKPOINT, RESTORE, UNLOCK, INIT, OPS };

struct driver {			/* shared by this process and all workers */
	pid_t pids[N];
	atomic_int state[N];
	int fault[OPS][N];	/* CUresult; -1 crash, -2 hang until it is 0; INIT: of [0] */
	atomic_int once[OPS][N];	/* the fault goes away after so many; 0: stays */
	int sleep_ms;
	bool no_library;
	atomic_int n_events, now, most;	/* calls that change something; at once */
	struct {
		int op, i;
	} events[EVENTS];
};

static struct driver *driver;
static uint32_t timeout = 10000;	/* ms: long, for a busy machine */

static void pause_ms(int ms)
{
	const struct timespec t = { .tv_sec = ms / 1000,
				    .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static int index_of(int pid)
{
	for (int i = 0; i < N; i++)
		if (driver->pids[i] == pid)
			return i;
	return -1;
}

static int fault_of(int op, int i)
{
	int fault = driver->fault[op][i];

	if (!fault)
		return 0;
	if (driver->once[op][i] && atomic_fetch_sub(&driver->once[op][i], 1) == 1)
		driver->fault[op][i] = 0;
	if (fault == -1)
		raise(SIGKILL);
	while (fault == -2 && *(volatile int *)&driver->fault[op][i] == -2)
		pause_ms(10);
	return fault > 0 ? fault : 0;
}

static int step(int op, int pid, int from, int to)
{
	int i = index_of(pid), n, fault, now;

	if (i < 0)
		return CUDA_INVALID_VALUE;
	n = atomic_fetch_add(&driver->n_events, 1);
	driver->events[n % EVENTS].op = op;
	driver->events[n % EVENTS].i = i;
	now = atomic_fetch_add(&driver->now, 1) + 1;
	if (now > atomic_load(&driver->most))
		atomic_store(&driver->most, now);
	pause_ms(driver->sleep_ms);
	fault = fault_of(op, i);
	if (!fault && atomic_load(&driver->state[i]) != from)
		fault = CUDA_ILLEGAL_STATE;
	if (!fault)
		atomic_store(&driver->state[i], to);
	atomic_fetch_sub(&driver->now, 1);
	return fault;
}

static int fake_init(unsigned flags)
{
	(void)flags;
	return fault_of(INIT, 0);
}

static int fake_state(int pid, int *state)
{
	int i = index_of(pid);

	if (i < 0)
		return CUDA_INVALID_VALUE;
	*state = atomic_load(&driver->state[i]);
	return CUDA_OK;
}

static int fake_tid(int pid, int *tid)
{
	*tid = pid + 1;
	return index_of(pid) < 0 ? CUDA_INVALID_VALUE : CUDA_OK;
}

static int fake_lock(int pid, struct cuda_lock_args *args)
{
	if (!args->timeout_ms)
		return CUDA_UNKNOWN;
	return step(LOCK, pid, CUDA_RUNNING, CUDA_LOCKED);
}

static int fake_checkpoint(int pid, struct cuda_checkpoint_args *args)
{
	return args->reserved[0] ? CUDA_INVALID_VALUE
				 : step(CHECKPOINT, pid, CUDA_LOCKED, CUDA_CHECKPOINTED);
}

static int fake_restore(int pid, struct cuda_restore_args *args)
{
	return args->gpu_pairs_count ? CUDA_INVALID_VALUE
				     : step(RESTORE, pid, CUDA_CHECKPOINTED, CUDA_LOCKED);
}

static int fake_unlock(int pid, struct cuda_unlock_args *args)
{
	return args->reserved[0] ? CUDA_INVALID_VALUE
				 : step(UNLOCK, pid, CUDA_LOCKED, CUDA_RUNNING);
}

int __wrap_cuda_open(struct cuda *cuda);
int __wrap_cuda_open(struct cuda *cuda)
{
	*cuda = (struct cuda){
		.version = 13000,
		.init = fake_init,
		.get_state = fake_state,
		.get_restore_tid = fake_tid,
		.lock = fake_lock,
		.checkpoint = fake_checkpoint,
		.restore = fake_restore,
		.unlock = fake_unlock,
	};
	return driver->no_library ? -ENOENT : 0;
}

/* The driver is shared: whoever returned 0 must not write that there. */
static void start_target(int i)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	driver->pids[i] = pid;
}

static void setup(void)
{
	driver = mmap(NULL, sizeof(*driver), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(driver != MAP_FAILED);
	for (int i = 0; i < N; i++)
		start_target(i);
}

static void teardown(void)
{
	for (int i = 0; i < N; i++) {
		kill(driver->pids[i], SIGKILL);
		waitpid(driver->pids[i], NULL, 0);
	}
}

static const unsigned suspend = 1U << CUDAUNIT_LOCK | 1U << CUDAUNIT_CHECKPOINT;
static const unsigned resume = 1U << CUDAUNIT_RESTORE | 1U << CUDAUNIT_UNLOCK;

static void open_unit(struct cudaunit *u, bool sequential, int stop_fd)
{
	const struct cudaunit_opts opts = {
		.timeout_ms = timeout, .sequential = sequential, .stop_fd = stop_fd,
	};

	ck_assert_int_eq(cudaunit_open(u, driver->pids, N, &opts), 0);
	for (size_t i = 0; i < N; i++) {
		ck_assert_int_eq(u->members[i].error, CUDAUNIT_OK);
		ck_assert_int_eq(u->members[i].tid, driver->pids[i] + 1);
	}
}

static void all_are(int state)
{
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(atomic_load(&driver->state[i]), state);
}

static void set_all(int state)
{
	for (int i = 0; i < N; i++)
		atomic_store(&driver->state[i], state);
}

/* No call of a stage begins before all of the one before it have. */
static void comes_before(int first, int second)
{
	bool seen = false;

	for (int i = 0; i < atomic_load(&driver->n_events); i++) {
		seen |= driver->events[i].op == second;
		ck_assert(!seen || driver->events[i].op != first);
	}
	ck_assert(seen);
}

START_TEST(test_round)
{
	bool sequential = _i;
	struct cudaunit u;

	driver->sleep_ms = 20;
	open_unit(&u, sequential, -1);
	ck_assert_int_eq(u.version, 13000);
	ck_assert_int_eq(cudaunit_run(&u, suspend), 0);
	all_are(CUDA_CHECKPOINTED);
	comes_before(LOCK, CHECKPOINT);
	ck_assert_int_eq(cudaunit_run(&u, resume), 0);
	all_are(CUDA_RUNNING);
	comes_before(RESTORE, UNLOCK);
	ck_assert_int_eq(atomic_load(&driver->n_events), 4 * N);
	if (sequential)
		ck_assert_int_eq(atomic_load(&driver->most), 1);
	for (size_t i = 0; i < N; i++)
		for (int k = 0; k < CUDAUNIT_STAGES; k++) {
			ck_assert(u.members[i].stage[k].done);
			ck_assert_int_ge(u.members[i].stage[k].ns, 19000000);
		}
	cudaunit_done(&u);
	/* What was done stays done. */
	pause_ms(100);
	all_are(CUDA_RUNNING);
}
END_TEST

static const struct {
	unsigned stages;
	int op, fault, once;
	enum cudaunit_error error;	/* OK: it succeeds after all */
	int detail;
	int state;		/* of all, afterwards */
} faults[] = {
	{ 1U << CUDAUNIT_LOCK, LOCK, 999, 0, CUDAUNIT_REFUSED, 999, CUDA_RUNNING },
	{ 3, LOCK, 600, 0, CUDAUNIT_REFUSED, 600, CUDA_RUNNING },
	{ 3, CHECKPOINT, 2, 0, CUDAUNIT_REFUSED, 2, CUDA_RUNNING },
	{ 3, LOCK, -1, 1, CUDAUNIT_CRASHED, SIGKILL, CUDA_RUNNING },
	{ 3, CHECKPOINT, -1, 1, CUDAUNIT_CRASHED, SIGKILL, CUDA_RUNNING },
	{ 12, RESTORE, 2, 0, CUDAUNIT_REFUSED, 2, CUDA_CHECKPOINTED },
	{ 12, RESTORE, 2, 1, CUDAUNIT_OK, 0, CUDA_RUNNING },
	{ 12, RESTORE, -1, 1, CUDAUNIT_CRASHED, SIGKILL, CUDA_CHECKPOINTED },
	{ 12, UNLOCK, 999, 2, CUDAUNIT_OK, 0, CUDA_RUNNING },
	{ 12, UNLOCK, -1, 1, CUDAUNIT_OK, 0, CUDA_RUNNING },
	{ 12, INIT, 100, 0, CUDAUNIT_NO_INIT, 100, CUDA_CHECKPOINTED },
	{ 1U << CUDAUNIT_RESTORE, RESTORE, 1, 0, CUDAUNIT_REFUSED, 1, CUDA_CHECKPOINTED },
};

START_TEST(test_fault)
{
	int i = faults[_i].op == INIT ? 0 : 1;
	struct cudaunit u;

	if (faults[_i].stages & resume)
		set_all(CUDA_CHECKPOINTED);
	driver->fault[faults[_i].op][i] = faults[_i].fault;
	atomic_store(&driver->once[faults[_i].op][i], faults[_i].once);
	open_unit(&u, false, -1);
	ck_assert_int_eq(cudaunit_run(&u, faults[_i].stages), faults[_i].error ? -1 : 0);
	ck_assert_int_eq(u.error, faults[_i].error);
	if (faults[_i].error) {
		ck_assert_int_eq(u.detail, faults[_i].detail);
		ck_assert(u.taken_back);
		ck_assert(faults[_i].op == INIT || u.culprit);
	}
	all_are(faults[_i].state);
	cudaunit_done(&u);
	pause_ms(50);
	all_are(faults[_i].state);
}
END_TEST

/* The call that hangs returns: wait until nobody works on any of them any more. */
static void let_go(int op, int i)
{
	const struct cudaunit_opts opts = { .timeout_ms = timeout, .stop_fd = -1 };
	bool is_busy = true;

	driver->fault[op][i] = 0;
	for (int tries = 0; is_busy && tries < 600; tries++) {
		struct cudaunit u;

		pause_ms(tries ? 100 : 0);
		ck_assert_int_eq(cudaunit_open(&u, driver->pids, N, &opts), 0);
		is_busy = false;
		for (size_t k = 0; k < N; k++)
			is_busy |= u.members[k].error == CUDAUNIT_BUSY;
		cudaunit_done(&u);
	}
	ck_assert(!is_busy);
}

/*
 * Given up, the others taken back; when the call returns at last it is taken back, too.
 */
START_TEST(test_hang)
{
	struct cudaunit u, other;
	const struct cudaunit_opts opts = { .timeout_ms = timeout, .stop_fd = -1 };

	driver->fault[LOCK][1] = -2;
	open_unit(&u, false, -1);
	u.opts.timeout_ms = 2000;
	ck_assert_int_eq(cudaunit_run(&u, suspend), -1);
	ck_assert_int_eq(u.error, CUDAUNIT_HUNG);
	ck_assert_ptr_eq(u.culprit, &u.members[1]);
	ck_assert(u.members[1].hung && !u.taken_back);
	cudaunit_done(&u);
	ck_assert_int_eq(cudaunit_open(&other, driver->pids, N, &opts), 0);
	ck_assert_int_eq(other.members[0].error, CUDAUNIT_OK);
	ck_assert_int_eq(other.members[1].error, CUDAUNIT_BUSY);
	cudaunit_done(&other);
	let_go(LOCK, 1);
	all_are(CUDA_RUNNING);
	ck_assert_int_eq(cudaunit_open(&other, driver->pids, N, &opts), 0);
	ck_assert_int_eq(other.members[1].error, CUDAUNIT_OK);
	cudaunit_done(&other);
}
END_TEST

/*
 * The restorer's hung call returns: it leaves the others alone, which others may have by
 * now.
 */
START_TEST(test_restorer_hangs)
{
	struct cudaunit u;

	open_unit(&u, false, -1);
	ck_assert_int_eq(cudaunit_run(&u, suspend), 0);
	cudaunit_done(&u);
	open_unit(&u, false, -1);
	u.opts.timeout_ms = 1000;
	driver->fault[RESTORE][1] = -2;
	ck_assert_int_eq(cudaunit_run(&u, resume), -1);
	ck_assert_int_eq(u.error, CUDAUNIT_HUNG);
	cudaunit_done(&u);
	ck_assert_int_eq(atomic_load(&driver->state[0]), CUDA_CHECKPOINTED);
	atomic_store(&driver->state[0], CUDA_LOCKED);
	let_go(RESTORE, 1);
	ck_assert_int_eq(atomic_load(&driver->state[0]), CUDA_LOCKED);
	ck_assert_int_eq(atomic_load(&driver->state[1]), CUDA_CHECKPOINTED);
	ck_assert_int_eq(atomic_load(&driver->state[2]), CUDA_CHECKPOINTED);
}
END_TEST

START_TEST(test_stop)
{
	struct cudaunit u;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	open_unit(&u, false, fds[0]);
	ck_assert_int_eq(cudaunit_run(&u, suspend), -1);
	ck_assert_int_eq(u.error, CUDAUNIT_STOPPED);
	ck_assert(u.taken_back && !u.culprit);
	ck_assert_int_eq(atomic_load(&driver->n_events), 0);
	cudaunit_done(&u);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* Who asks for it dies: its workers let all run again. */
START_TEST(test_killed)
{
	pid_t child = fork();

	if (child == 0) {
		const struct cudaunit_opts opts = { .timeout_ms = timeout,
						    .stop_fd = -1 };
		struct cudaunit u;

		if (cudaunit_open(&u, driver->pids, N, &opts) == 0 &&
		    cudaunit_run(&u, suspend) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(child, &_i, 0), child);
	ck_assert(WIFSIGNALED(_i));
	for (int i = 0; i < 600 &&
	     (atomic_load(&driver->state[0]) || atomic_load(&driver->state[1]) ||
				   atomic_load(&driver->state[2])); i++)
		pause_ms(100);
	all_are(CUDA_RUNNING);
}
END_TEST

static int closes_left;		/* of workers, before we are killed; 0: we are not */

void __real_cudaworker_close(struct cudaworker *w, bool keep);
void __wrap_cudaworker_close(struct cudaworker *w, bool keep);
void __wrap_cudaworker_close(struct cudaworker *w, bool keep)
{
	if (closes_left && --closes_left == 0)
		raise(SIGKILL);
	__real_cudaworker_close(w, keep);
}

/*
 * He dies when it is done and the workers are being let go: it is done for all, or none.
 */
START_TEST(test_killed_at_the_end)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		const struct cudaunit_opts opts = { .timeout_ms = timeout,
						    .stop_fd = -1 };
		struct cudaunit u;

		if (cudaunit_open(&u, driver->pids, N, &opts) < 0 ||
		    cudaunit_run(&u, suspend) < 0)
			_exit(1);
		closes_left = _i;
		cudaunit_done(&u);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	pause_ms(300);
	all_are(CUDA_CHECKPOINTED);
}
END_TEST

START_TEST(test_gone)
{
	struct cudaunit u;
	const struct cudaunit_opts opts = { .timeout_ms = timeout, .stop_fd = -1 };

	kill(driver->pids[2], SIGKILL);
	waitpid(driver->pids[2], NULL, 0);
	ck_assert_int_eq(cudaunit_open(&u, driver->pids, N, &opts), 0);
	ck_assert_int_eq(u.members[2].error, CUDAUNIT_GONE);
	cudaunit_drop(&u, 2);
	ck_assert_int_eq(cudaunit_run(&u, suspend), 0);
	ck_assert_int_eq(cudaunit_run(&u, resume), 0);
	cudaunit_done(&u);
	start_target(2);
	ck_assert_int_eq(cudaunit_open(&u, driver->pids, N, &opts), 0);
	kill(driver->pids[2], SIGKILL);
	waitpid(driver->pids[2], NULL, 0);
	atomic_store(&driver->n_events, 0);
	ck_assert_int_eq(cudaunit_run(&u, suspend), -1);
	ck_assert_int_eq(u.error, CUDAUNIT_GONE);
	ck_assert_ptr_eq(u.culprit, &u.members[2]);
	/* Its number may be another's by now. */
	for (int i = 0; i < atomic_load(&driver->n_events); i++)
		ck_assert_int_ne(driver->events[i].i, 2);
	cudaunit_done(&u);
	driver->no_library = true;
	ck_assert_int_eq(cudaunit_open(&u, driver->pids, 2, &opts), -1);
	ck_assert_int_eq(u.error, CUDAUNIT_NO_LIBRARY);
	ck_assert_int_eq(u.detail, -ENOENT);
	cudaunit_done(&u);
	start_target(2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cudaunit");
	TCase *tc = tcase_create("cudaunit");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_round, 0, 2);
	tcase_add_loop_test(tc, test_fault, 0, ARRAY_SIZE(faults));
	tcase_add_test(tc, test_hang);
	tcase_add_test(tc, test_restorer_hangs);
	tcase_add_test(tc, test_stop);
	tcase_add_test(tc, test_killed);
	tcase_add_loop_test(tc, test_killed_at_the_end, 1, N + 1);
	tcase_add_test(tc, test_gone);
	suite_add_tcase(s, tc);
	return testroot_run(s);
}
