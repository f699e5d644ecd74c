/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/timedwrite.h"

enum {
	GRACE = 300,	/* ms from SIGKILL until a child in state D counts as unkillable */
	GRACES = 30,	/* for one that only waits for a busy host to let it die */
};

struct outcome {		/* told by the child through shared memory */
	atomic_bool is_over;
	int result;
	int64_t us;
};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/*
 * Nothing of ours stays open in a child that may be there for ever, as a reader's pipe.
 */
static void close_all_but(int keep)
{
	if (keep > 0)
		close_range(0, (unsigned)keep - 1, 0);
	close_range(keep < 0 ? 0 : (unsigned)keep + 1, UINT_MAX, 0);
}

static void __attribute__((noreturn)) child(const char *path, const char *value, int keep,
					    pid_t parent, struct outcome *o)
{
	size_t len = strlen(value);
	int64_t start;
	ssize_t n;
	int fd;

	/* Without us nobody waits for the write, and the next run must not meet it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	close_all_but(keep);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		o->result = -errno;
	} else {
		start = now_us();
		n = write(fd, value, len);
		o->result = n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
		o->us = now_us() - start;
	}
	atomic_store(&o->is_over, true);
	_exit(0);
}

/* Wait until the child has ended, up to ms (-1: no limit). */
static bool has_ended(int pidfd, int64_t ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int64_t end = now_us() + ms * 1000;

	for (;;) {
		int64_t left = ms < 0 ? -1 : (end - now_us() + 999) / 1000;
		int rc;

		if (ms >= 0 && left < 0)
			left = 0;
		rc = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
		if (rc > 0)
			return true;
		if (rc == 0 && (ms < 0 || now_us() >= end))
			return false;
		if (rc < 0 && errno != EINTR)
			return false;
	}
}

static bool can_die(pid_t pid)
{
	char state = timedwrite_state(pid);

	return state && state != 'D';
}

/* See the child to its end, or leave it behind. */
static int serve(pid_t pid, unsigned limit, const struct outcome *o, pid_t *left)
{
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	bool ended;

	/* Without a descriptor to poll there is no limit to keep. */
	if (pidfd < 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return atomic_load(&o->is_over) ? o->result : -EINTR;
	}
	ended = has_ended(pidfd, limit ? (int64_t)limit : -1);
	if (!ended) {
		kill(pid, SIGKILL);
		ended = has_ended(pidfd, GRACE);
		for (int i = 1; i < GRACES && !ended && can_die(pid); i++)
			ended = has_ended(pidfd, GRACE);
	}
	if (ended)
		waitpid(pid, NULL, 0);
	else
		*left = pid;
	if (atomic_load(&o->is_over))
		return o->result;
	return limit ? -ETIMEDOUT : -EINTR;
}

/* The write itself: its result, time and a child that is left. */
static int write_in_child(const struct timedwriter *w, const char *path,
			  const char *value, int64_t *us, pid_t *left)
{
	struct outcome *o = mmap(NULL, sizeof(*o), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t start = now_us();
	pid_t parent = getpid(), pid;
	sigset_t all, old;
	int rc;

	if (o == MAP_FAILED)
		return -errno;
	atomic_init(&o->is_over, false);
	/* The child never takes them off again: ^C goes to the whole process group. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		child(path, value, w->lock, parent, o);
	rc = pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (rc == 0) {
		rc = serve(pid, w->limit, o, left);
		*us = atomic_load(&o->is_over) ? o->us : now_us() - start;
	}
	munmap(o, sizeof(*o));
	return rc;
}

int timedwrite(struct timedwriter *w, const char *path, const char *value)
{
	struct timedwrite *d;
	size_t len = strlen(value);

	w->done = xgrow(w->done, w->n, &w->room, sizeof(*w->done));
	d = &w->done[w->n++];
	*d = (struct timedwrite){
		.path = xstrdup(path),
		.value = xstrndup(value, len - (len && value[len - 1] == '\n')),
	};
	if (!sysfs_announce(path, value))
		d->result = write_in_child(w, path, value, &d->us, &d->left);
	return d->result;
}

const struct timedwrite *timedwrite_last(const struct timedwriter *w)
{
	return w->n ? &w->done[w->n - 1] : NULL;
}

int64_t timedwrite_total(const struct timedwriter *w)
{
	int64_t us = 0;

	for (size_t i = 0; i < w->n; i++)
		us += w->done[i].us;
	return us;
}

void timedwrite_done(struct timedwriter *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->done[i].path);
		free(w->done[i].value);
	}
	free(w->done);
	w->done = NULL;
	w->n = w->room = 0;
}

char timedwrite_state(pid_t pid)
{
	_cleanup_free_ char *path = root_path("/proc/%d/stat", (int)pid);
	char text[SYSFS_MAX];
	const char *end;

	if (sysfs_read(path, text, sizeof(text)) < 0)
		return 0;
	/* The name before it may hold anything, a parenthesis too. */
	end = strrchr(text, ')');
	return end && end[1] == ' ' ? end[2] : 0;
}
