/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/spawn-parts.h"
#include "base/xalloc.h"

enum {
	KILL_AFTER = 5000,	/* ms from SIGTERM to SIGKILL */
	GIVE_UP_AFTER = 2000,	/* ms from SIGKILL to leaving it in the kernel */
	SYSTEMD_RUN_ARGS = 10,
};

int64_t spawn_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool spawn_has_systemd(void)
{
	struct stat st;

	return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}

/* A caller may have closed 0 to 2: keep our own descriptors off these numbers. */
static int above_stdio(int fd)
{
	int high, err;

	if (fd < 0 || fd > 2)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	err = errno;
	close(fd);
	errno = err;
	return high;
}

static int open_null(void)
{
	return above_stdio(open("/dev/null", O_RDWR | O_CLOEXEC));
}

static int make_pipe(int p[2])
{
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	p[0] = above_stdio(p[0]);
	p[1] = above_stdio(p[1]);
	return p[0] < 0 || p[1] < 0 ? -EMFILE : 0;
}

static void close_on_exec_from(unsigned first)
{
	if (close_range(first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	for (int fd = (int)first; fd < 4096; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void spawn_enter_init_mounts(void)
{
	struct stat own, init;
	int fd;

	if (stat("/proc/self/ns/mnt", &own) < 0 || stat("/proc/1/ns/mnt", &init) < 0
	    || (own.st_ino == init.st_ino && own.st_dev == init.st_dev))
		return;
	fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (setns(fd, CLONE_NEWNS) < 0)
		errno = 0;	/* better here than not at all */
	close(fd);
}

static void default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: only system calls from here on. */
static void child_exec(const struct spawn *s, const char *const argv[], int null, int out,
		       int err_fd)
{
	int err;

	if (s->group) {
		setsid();
		spawn_enter_init_mounts();
		if (chdir("/") < 0)
			_exit(127);
	}
	default_signals();
	dup2(null, 0);
	if (out >= 0) {
		dup2(out, 1);
		dup2(out, 2);
	}
	close_on_exec_from(3);
	if (s->opts.keep)
		fcntl(s->opts.keep, F_SETFD, 0);
	execv(argv[0], (char *const *)argv);
	err = errno;
	if (write(err_fd, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

static void init(struct spawn *s, const struct spawn_opts *opts)
{
	*s = (struct spawn){ .opts = *opts, .pidfd = -1, .out = -1, .deadline = INT64_MAX,
			     .result = -EINPROGRESS, .started = spawn_now() };
	if (opts->timeout)
		s->deadline = s->started + (int64_t)opts->timeout * 1000;
}

/* Who called us may have SIGCHLD ignored: then no child leaves a status. */
static void keep_statuses(void)
{
	struct sigaction now;

	if (sigaction(SIGCHLD, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
		signal(SIGCHLD, SIG_DFL);
}

/* out: where the child's output goes, -1 for our own. */
static int start(struct spawn *s, const char *const argv[], int null, int out)
{
	_cleanup_close_ int err_out = -1;
	int p[2], err = 0, rc;
	ssize_t n;

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 0);
	keep_statuses();
	rc = make_pipe(p);
	if (rc < 0)
		return rc;
	err_out = p[0];
	s->pid = fork();
	if (s->pid < 0) {
		rc = -errno;
		close(p[1]);
		return rc;
	}
	if (s->pid == 0)
		child_exec(s, argv, null, out, p[1]);
	close(p[1]);
	s->pidfd = above_stdio(pidfd_open(s->pid, 0));
	do
		n = read(err_out, &err, sizeof(err));	/* end of file: exec was done */
	while (n < 0 && errno == EINTR);
	if (n == sizeof(err) || s->pidfd < 0) {
		rc = n == sizeof(err) ? -err : -EMFILE;
		if (s->pidfd < 0)
			kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		return rc;
	}
	return 0;
}

int spawn_start(struct spawn *s, const char *const argv[], const struct spawn_opts *opts)
{
	_cleanup_close_ int null = open_null();
	_cleanup_close_ int out = -1;
	int p[2], rc;

	init(s, opts);
	if (null < 0)
		return -errno;
	if (!opts->pass && opts->line) {
		rc = make_pipe(p);
		if (rc < 0)
			return rc;
		s->out = p[0];
		out = p[1];
		fcntl(s->out, F_SETFL, O_NONBLOCK);
	}
	rc = start(s, argv, null, opts->pass ? -1 : out >= 0 ? out : null);
	if (rc < 0)
		spawn_done(s);
	return rc;
}

static int start_unit(struct spawn *s, const char *unit, const char *const argv[],
		      const struct spawn_opts *opts)
{
	_cleanup_free_ char *name = xasprintf("--unit=%s", unit);
	_cleanup_free_ char *limit = xasprintf("--property=RuntimeMaxSec=%u", opts->timeout);
	_cleanup_free_ const char **all = NULL;
	struct spawn_opts client = *opts;
	size_t n = 0, i;

	while (argv[n])
		n++;
	all = xcalloc(n + SYSTEMD_RUN_ARGS + 1, sizeof(*all));
	i = 0;
	all[i++] = "/usr/bin/systemd-run";
	all[i++] = "--quiet";
	all[i++] = "--collect";
	all[i++] = "--wait";
	all[i++] = name;
	/* what a guest's hookscript left running is not to be killed when qm is done */
	all[i++] = "--property=KillMode=process";
	all[i++] = "--property=TimeoutStopSec=5";
	all[i++] = "--property=SyslogIdentifier=vzdump-gpu-hook";
	if (opts->timeout) {
		all[i++] = limit;
		client.timeout += 15;	/* the unit's own limit ends the command first */
	}
	all[i++] = "--";
	memcpy(all + i, argv, n * sizeof(*all));
	client.pass = false;
	return spawn_start(s, all, &client);
}

/*
 * systemd-run --wait talks to systemd over the system bus, which a bare Debian may lack.
 */
static bool has_bus(void)
{
	return spawn_has_systemd() && access("/run/dbus/system_bus_socket", F_OK) == 0;
}

int spawn_start_detached(struct spawn *s, const char *unit, const char *const argv[],
			 const struct spawn_opts *opts)
{
	_cleanup_close_ int null = -1;
	int rc;

	if (has_bus()) {
		rc = start_unit(s, unit, argv, opts);
		if (rc != -ENOENT)
			return rc;
	}
	init(s, opts);
	s->group = true;
	null = open_null();
	if (null < 0)
		return -errno;
	/*
	 * a pipe would end the command with SIGPIPE when we are gone, a memory file does
	 * not
	 */
	if (opts->line) {
		s->out = above_stdio(memfd_create("output", MFD_CLOEXEC));
		s->memory = true;
	}
	rc = start(s, argv, null, s->out >= 0 ? s->out : null);
	if (rc < 0)
		spawn_done(s);
	return rc;
}

static void finish(struct spawn *s, int result)
{
	spawn_take_output(s, true);
	close(s->pidfd);
	s->pidfd = -1;
	s->result = s->signals ? -ETIMEDOUT : result;
}

static void reap(struct spawn *s)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG) < 0)
		finish(s, 127);
	else if (info.si_pid == s->pid)
		finish(s, info.si_code == CLD_EXITED ? info.si_status
						     : 128 + info.si_status);
}

static void check_limit(struct spawn *s, int64_t now)
{
	if (s->pidfd < 0 || now < s->deadline)
		return;
	if (s->signals == 2) {
		finish(s, -ETIMEDOUT);
		return;
	}
	kill(s->group ? -s->pid : s->pid, s->signals ? SIGKILL : SIGTERM);
	s->deadline = now + (s->signals ? GIVE_UP_AFTER : KILL_AFTER);
	s->signals++;
}

size_t spawn_serve(struct spawn *const s[], size_t n, int ms)
{
	_cleanup_free_ struct pollfd *fds = xcalloc(2 * n + 1, sizeof(*fds));
	int64_t now = spawn_now(), until = ms < 0 ? INT64_MAX : now + ms;
	size_t before = 0, left = 0;

	for (size_t i = 0; i < n; i++)
		before += s[i]->pidfd >= 0;
	do {
		int64_t next = until;

		for (size_t i = 0; i < n; i++) {
			bool live = s[i]->pidfd >= 0;

			fds[2 * i] =
				(struct pollfd){ .fd = s[i]->pidfd, .events = POLLIN };
			fds[2 * i + 1] = (struct pollfd){ .events = POLLIN,
				.fd = live && !s[i]->memory ? s[i]->out : -1 };
			if (live && s[i]->deadline < next)
				next = s[i]->deadline;
		}
		next = next == INT64_MAX ? -1 : next > now ? next - now : 0;
		if (poll(fds, 2 * n, next > 60000 ? 60000 : (int)next) < 0 &&
		    errno != EINTR)
			break;
		now = spawn_now();
		left = 0;
		for (size_t i = 0; i < n; i++) {
			if (s[i]->pidfd < 0)
				continue;
			if (fds[2 * i + 1].revents)
				spawn_take_output(s[i], false);
			if (fds[2 * i].revents)
				reap(s[i]);
			check_limit(s[i], now);
			left += s[i]->pidfd >= 0;
		}
	} while (left && left == before && now < until);
	return left;
}

int spawn_result(const struct spawn *s)
{
	return s->result;
}

void spawn_done(struct spawn *s)
{
	closep(&s->pidfd);
	closep(&s->out);
	free(s->text);
	s->pidfd = s->out = -1;
	s->text = NULL;
	s->len = s->room = 0;
}

int spawn_run(const char *const argv[], const struct spawn_opts *opts)
{
	struct spawn s, *const one[] = { &s };
	int rc = spawn_start(&s, argv, opts);

	if (rc < 0)
		return rc;
	while (spawn_serve(one, 1, -1))
		;
	rc = spawn_result(&s);
	spawn_done(&s);
	return rc;
}
