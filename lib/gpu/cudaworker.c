/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gpu/cudaworker-child.h"
#include "gpu/cudaworker.h"

static bool is_kept(int fd, int sock, const struct cudaworker_opts *opts)
{
	for (size_t i = 0; i < opts->n_keep; i++)
		if (opts->keep[i] == fd)
			return true;
	return fd == sock;
}

/* Our reader would wait for its end of a pipe that the worker holds, too. */
static void close_others(int sock, const struct cudaworker_opts *opts)
{
	int null = open("/dev/null", O_RDWR), first = 3, last = sock;

	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	for (size_t i = 0; i < opts->n_keep; i++)
		if (opts->keep[i] > last)
			last = opts->keep[i];
	for (; first <= last; first++)
		if (!is_kept(first, sock, opts))
			close(first);
	close_range((unsigned)last + 1, ~0U, 0);
}

static void set_signals(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int cudaworker_start(struct cudaworker *w, const pid_t *pids, size_t n,
		     const struct cudaworker_opts *opts)
{
	int sock[2], err;

	*w = (struct cudaworker)CUDAWORKER_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
		return -errno;
	w->child = fork();
	if (w->child < 0) {
		err = -errno;
		close(sock[0]);
		close(sock[1]);
		w->child = 0;
		return err;
	}
	if (w->child == 0) {
		setsid();
		set_signals();
		/* Who calls us with closed stdio gets numbers that stdio is to have. */
		if (sock[1] < 3)
			sock[1] = fcntl(sock[1], F_DUPFD, 3);
		close_others(sock[1], opts);
		cudaworker_serve(sock[1], pids, n, opts);
		_exit(0);
	}
	close(sock[1]);
	w->sock = sock[0];
	return 0;
}

int cudaworker_ask(struct cudaworker *w, enum cudaworker_op op, int index)
{
	struct cudaworker_request r = { .op = op, .index = index };

	if (w->sock < 0)
		return -EPIPE;
	return send(w->sock, &r, sizeof(r), MSG_NOSIGNAL) == (ssize_t)sizeof(r) ? 0 : -EPIPE;
}

int cudaworker_take(struct cudaworker *w, struct cudaworker_reply *reply, int *status)
{
	ssize_t len;

	if (w->sock < 0)
		return -EPIPE;
	len = recv(w->sock, reply, sizeof(*reply), MSG_DONTWAIT);
	if (len == (ssize_t)sizeof(*reply))
		return 1;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	close(w->sock);
	w->sock = -1;
	/* Its socket closes when it dies, a moment before it can be waited for. */
	if (waitpid(w->child, status, 0) != w->child)
		*status = 0;
	w->child = 0;
	return -EPIPE;
}

static bool has_ended(pid_t child)
{
	pid_t rc = waitpid(child, NULL, WNOHANG);

	return rc == child || (rc < 0 && errno == ECHILD);
}

void cudaworker_close(struct cudaworker *w, bool keep)
{
	if (w->sock < 0)
		return;
	if (keep)
		cudaworker_ask(w, CUDAWORKER_KEEP, -1);
	close(w->sock);
	w->sock = -1;
}

void cudaworker_end(struct cudaworker *w, bool keep, int wait_ms)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	cudaworker_close(w, keep);
	for (int ms = 0; w->child > 0 && !has_ended(w->child) && ms < wait_ms; ms++)
		nanosleep(&pause, NULL);
	w->child = 0;
}
