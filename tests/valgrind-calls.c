/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pidfd_open(2) and openat2(2) for programs in a valgrind that does not know them, as
 * Debian 12's: a process outside of it makes the call and hands the descriptor over. And
 * stat(2) of /proc/self/exe, which is valgrind itself.
 * As a library (LD_PRELOAD) it starts itself as a program, which VALGRIND_CALLS names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One number, the error or 0, with the descriptor where there is one. */
union space {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

#ifdef PROGRAM
int main(int argc, char *argv[])
{
	int fd = -1, error = EINVAL;
	struct iovec number = { .iov_base = &error, .iov_len = sizeof(error) };
	union space space = { 0 };
	struct msghdr message = { .msg_iov = &number, .msg_iovlen = 1 };

	if (argc == 3)
		fd = (int)syscall(SYS_pidfd_open, atoi(argv[2]), 0);
	else if (argc == 7)
		fd = (int)syscall(SYS_openat2, atoi(argv[2]), argv[3],
				  &(struct open_how){ .flags = strtoull(argv[4], NULL, 0),
						      .mode = strtoull(argv[5], NULL, 0),
						      .resolve =
							      strtoull(argv[6], NULL, 0) },
				  sizeof(struct open_how));
	else
		return 1;
	error = fd < 0 ? errno : 0;
	if (fd >= 0) {
		message.msg_control = &space;
		message.msg_controllen = sizeof(space);
		space.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					       .cmsg_type = SCM_RIGHTS,
					       .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(&space.head), &fd, sizeof(fd));
	}
	return sendmsg(atoi(argv[1]), &message, 0) < 0;
}
#else
static int receive(int from, int cloexec)
{
	int fd = -1, error = ENOSYS;
	struct iovec number = { .iov_base = &error, .iov_len = sizeof(error) };
	union space space = { 0 };
	struct msghdr message = { .msg_iov = &number, .msg_iovlen = 1,
				  .msg_control = &space,
				  .msg_controllen = sizeof(space) };

	if (recvmsg(from, &message, cloexec ? MSG_CMSG_CLOEXEC : 0) <= 0)
		error = ENOSYS;
	else if (error == 0 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	errno = error;
	return fd;
}

/* argv[0] and argv[1] are filled in here; keep: a descriptor that it needs, or -1. */
static int outside(char *argv[], int keep, int cloexec)
{
	char socket[16];
	int pair[2], fd, error;
	pid_t pid;

	argv[0] = getenv("VALGRIND_CALLS");
	argv[1] = socket;
	if (!argv[0]) {
		errno = ENOSYS;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	snprintf(socket, sizeof(socket), "%d", pair[1]);
	pid = fork();
	if (pid == 0) {
		fcntl(pair[1], F_SETFD, 0);
		if (keep >= 0)
			fcntl(keep, F_SETFD, 0);
		execv(argv[0], argv);
		_exit(127);
	}
	close(pair[1]);
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	fd = receive(pair[0], cloexec);
	error = errno;
	close(pair[0]);
	errno = error;
	return fd;
}

static long next_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");

	return next(number, a, b, c, d, e, f);
}

/* The program itself, of which valgrind tells by readlink(2) alone. */
int stat(const char *path, struct stat *st)
{
	char self[4096];
	ssize_t len;

	if (strcmp(path, "/proc/self/exe") != 0)
		return fstatat(AT_FDCWD, path, st, 0);
	len = readlink(path, self, sizeof(self) - 1);
	if (len < 0)
		return -1;
	self[len] = '\0';
	return fstatat(AT_FDCWD, self, st, 0);
}

int pidfd_open(pid_t pid, unsigned flags)
{
	char number[16];
	char *argv[] = { NULL, NULL, number, NULL };
	int fd = (int)next_syscall(SYS_pidfd_open, pid, (long)flags, 0, 0, 0, 0);

	if (fd >= 0 || errno != ENOSYS)
		return fd;
	snprintf(number, sizeof(number), "%d", (int)pid);
	return outside(argv, -1, 1);
}

static long openat2(int root, const char *path, const struct open_how *how)
{
	char numbers[4][32];
	char *argv[] = { NULL, NULL, numbers[0], strdup(path), numbers[1], numbers[2],
			 numbers[3], NULL };
	int fd;

	snprintf(numbers[0], sizeof(numbers[0]), "%d", root);
	snprintf(numbers[1], sizeof(numbers[1]), "%llu", (unsigned long long)how->flags);
	snprintf(numbers[2], sizeof(numbers[2]), "%llu", (unsigned long long)how->mode);
	snprintf(numbers[3], sizeof(numbers[3]), "%llu", (unsigned long long)how->resolve);
	fd = outside(argv, root, (how->flags & O_CLOEXEC) != 0);
	free(argv[3]);
	return fd;
}

long syscall(long number, ...)
{
	long arg[6], rc;
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	rc = next_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	if (number == SYS_openat2 && rc < 0 && errno == ENOSYS)
		return openat2((int)arg[0], (const char *)arg[1],
			       (const struct open_how *)arg[2]);
	return rc;
}
#endif
