/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faultcall [-a] KIND ERROR AT REPORT COMMAND... - run COMMAND with its AT-th call of a
 * kind made to fail; -a: with the AT-th of it and all it starts together. AT 0: none fails.
 * KIND: a name of kinds[]; its calls count together. The report is one line, "KIND FD PATH"
 * for the call that failed (FD -1, PATH - if there is none), empty if there was none; for
 * AT 0 "KIND COUNT" for each kind. AT "N+": the N-th and all after it, a line for each. Exits with COMMAND's code, 128 + N for signal N,
 * 124 after a minute, 77 if the kernel does not let it, 70 for its own faults.
 * FAULTS_PROGRAM: only processes of this name count.
 * FAULTS_NOT_BELOW: what is written below this folder does not count.
 * It is the kernel that asks us (seccomp_unotify(2)): nothing is traced, no call but these
 * is slower, and what COMMAND leaves running goes on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_KILLABLE (1UL << 5) /* SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV */
#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* has_fd: the call's first argument is a file that is open; has_name: the name of one. */
static const struct kind {
	const char *name;
	int has_fd;
	int has_name;
	int calls[6];
} kinds[] = {
	{ "write", 1, 0, { SYS_write, SYS_writev, SYS_pwrite64, SYS_pwritev, SYS_pwritev2 } },
	{ "sync", 1, 0, { SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_syncfs } },
#ifdef SYS_rename
	{ "rename", 0, 1, { SYS_rename, SYS_renameat, SYS_renameat2 } },
	{ "link", 0, 1, { SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat } },
	{ "mkdir", 0, 1, { SYS_mkdir, SYS_mkdirat, SYS_mknod, SYS_mknodat } },
	{ "spawn", 0, 0, { SYS_clone, SYS_clone3, SYS_fork, SYS_vfork } },
	{ "open", 0, 1, { SYS_open, SYS_openat, SYS_openat2, SYS_creat } },
	{ "readlink", 0, 1, { SYS_readlink, SYS_readlinkat } },
	{ "unlink", 0, 1, { SYS_unlink, SYS_unlinkat, SYS_rmdir } },
	{ "chmod", 0, 1, { SYS_chmod, SYS_fchmodat } },
	{ "chown", 0, 1, { SYS_chown, SYS_lchown, SYS_fchownat } },
	{ "pipe", 0, 0, { SYS_pipe, SYS_pipe2 } },
	{ "stat", 0, 1, { SYS_newfstatat, SYS_stat, SYS_lstat, SYS_statx } },
#else
	{ "rename", 0, 1, { SYS_renameat2 } },
	{ "link", 0, 1, { SYS_linkat, SYS_symlinkat } },
	{ "mkdir", 0, 1, { SYS_mkdirat, SYS_mknodat } },
	{ "spawn", 0, 0, { SYS_clone, SYS_clone3 } },
	{ "open", 0, 1, { SYS_openat, SYS_openat2 } },
	{ "readlink", 0, 1, { SYS_readlinkat } },
	{ "unlink", 0, 1, { SYS_unlinkat } },
	{ "chmod", 0, 1, { SYS_fchmodat } },
	{ "chown", 0, 1, { SYS_fchownat } },
	{ "pipe", 0, 0, { SYS_pipe2 } },
	{ "stat", 0, 1, { SYS_newfstatat, SYS_statx } },
#endif
	{ "read", 1, 0, { SYS_read, SYS_readv, SYS_pread64 } },
	{ "readdir", 1, 0, { SYS_getdents64 } },
	{ "fchmod", 1, 0, { SYS_fchmod } },
	{ "fchown", 1, 0, { SYS_fchown } },
	{ "flock", 1, 0, { SYS_flock } },
	{ "truncate", 1, 0, { SYS_ftruncate, SYS_fallocate } },
	{ "memfd", 0, 0, { SYS_memfd_create } },
};

static const struct {
	const char *name;
	int number;
} errors[] = {
	{ "EAGAIN", EAGAIN }, { "EINTR", EINTR },   { "EIO", EIO },	{ "EMFILE", EMFILE },
	{ "ENOSPC", ENOSPC }, { "EPERM", EPERM },   { "EROFS", EROFS }, { "EXDEV", EXDEV },
	{ "EACCES", EACCES }, { "ENOMEM", ENOMEM }, { "EDQUOT", EDQUOT },
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "faultcall: %s: %s\n", what, strerror(errno));
	_exit(70);
}

static const struct kind *kind_of(int call)
{
	for (size_t i = 0; i < KINDS; i++)
		for (size_t j = 0; j < 6 && (j == 0 || kinds[i].calls[j] > 0); j++)
			if (kinds[i].calls[j] == call)
				return &kinds[i];
	return NULL;
}

/* The kernel is to ask for these kinds of calls: all if only is NULL. */
static int listen_to(const struct kind *only)
{
	struct sock_filter code[256];
	struct sock_fprog prog;
	unsigned short n = 0;
	int fd;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < KINDS; i++) {
		if (only && only != &kinds[i])
			continue;
		for (size_t j = 0; j < 6 && (j == 0 || kinds[i].calls[j] > 0); j++) {
			code[n++] = (struct sock_filter)BPF_JUMP(
				BPF_JMP | BPF_JEQ | BPF_K,
				(uint32_t)kinds[i].calls[j], 0, 1);
			code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
								 SECCOMP_RET_USER_NOTIF);
		}
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (geteuid() != 0)
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prog = (struct sock_fprog){ .len = n, .filter = code };
	/* A signal must not break off a call that we are looking at (Linux 5.19). */
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			  SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE, &prog);
	if (fd >= 0 || errno != EINVAL)
		return fd;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
}

static void send_fd(int sock, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte = 0;
	struct iovec one = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &one,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != 1)
		die("sendmsg");
}

/* -1: the other end has closed. */
static int receive_fd(int sock)
{
	char room[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte;
	struct iovec one = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &one,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static _Noreturn void be_command(int sock, const struct kind *only, char **argv)
{
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = listen_to(only);
	if (fd < 0) {
		fprintf(stderr, "faultcall: this kernel does not let it: %s\n", strerror(errno));
		_exit(77);
	}
	send_fd(sock, fd);
	close(fd);
	close(sock);
	execvp(argv[0], argv);
	die(argv[0]);
}

static unsigned counts[KINDS];

struct watch {
	int listener;
	int report;
	int everyone; /* not just the command itself */
	int at;
	int goes_on; /* all after it, too */
	int error;
	pid_t pid;
	pid_t renamer; /* whose renameat2() has failed */
};

/* The file's name that the call was given; *at() calls have a folder first. */
static ssize_t name_of(const struct seccomp_notif *req, char *path, size_t size)
{
	const __u64 *args = req->data.args;
	int is_at = (uint32_t)args[0] == (uint32_t)AT_FDCWD || args[0] < 4096;
	uint64_t from = is_at ? args[1] : args[0];

	for (; size > 1; size /= 2) {
		ssize_t n = process_vm_readv((pid_t)req->pid, &(struct iovec){ path, size - 1 }, 1,
				     &(struct iovec){ (void *)(uintptr_t)from, size - 1 },
				     1, 0);
		if (n > 0)
			return n;
	}
	return -1;
}

/* To make a folder that is there is a question, no change: it may well fail. */
static int is_there(const struct seccomp_notif *req)
{
	char path[512], from[600];
	ssize_t n = name_of(req, path, sizeof(path) - 1);
	struct stat st;

	if (n <= 0)
		return 0;
	path[n] = '\0';
	if (path[0] == '/')
		snprintf(from, sizeof(from), "/proc/%u/root%s", req->pid, path);
	else if (req->data.args[0] < 4096)
		snprintf(from, sizeof(from), "/proc/%u/fd/%d/%s", req->pid,
			 (int)req->data.args[0], path);
	else
		snprintf(from, sizeof(from), "/proc/%u/cwd/%s", req->pid, path);
	return lstat(from, &st) == 0;
}

static ssize_t file_of(const struct seccomp_notif *req, char *path, size_t size)
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/%u/fd/%d", req->pid, (int)req->data.args[0]);
	return readlink(link, path, size - 1);
}

/* Nothing is full there, and a shell's programs do not look. */
static int cannot_fail(const struct watch *w, const struct seccomp_notif *req)
{
	const char *not_below = getenv("FAULTS_NOT_BELOW");
	char path[512];
	ssize_t n = file_of(req, path, sizeof(path));

	path[n < 0 ? 0 : n] = '\0';
	if (not_below && strncmp(path, not_below, strlen(not_below)) == 0)
		return 1;
	return strcmp(path, "/dev/null") == 0 || (w->everyone && strncmp(path, "pipe:", 5) == 0);
}

/* FAULTS_PROGRAM: only processes of this name. */
static int is_of_program(const struct seccomp_notif *req)
{
	const char *wanted = getenv("FAULTS_PROGRAM");
	char path[32], name[32] = "";
	int fd;

	if (!wanted)
		return 1;
	snprintf(path, sizeof(path), "/proc/%u/comm", req->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, name, sizeof(name) - 1) > 0)
		name[strcspn(name, "\n")] = '\0';
	close(fd);
	return strcmp(name, wanted) == 0;
}

static void report_hit(const struct watch *w, const struct kind *kind,
		       const struct seccomp_notif *req)
{
	char path[512];
	int fd = kind->has_fd ? (int)req->data.args[0] : -1;
	ssize_t n = -1;

	if (fd >= 0)
		n = file_of(req, path, sizeof(path));
	else if (kind->has_name)
		n = name_of(req, path, sizeof(path) - 1);
	if (n < 0) {
		path[0] = '-';
		n = 1;
	}
	path[n] = '\0';
	path[strcspn(path, "\n")] = '\0';
	/* A program that the command starts has standard output of its own. */
	if (fd >= 0 && fd <= 2 && (pid_t)req->pid != w->pid)
		fd += 1000;
	dprintf(w->report, "%s %d %s\n", kind->name, fd, path);
}

/* Is it the call that has to fail? */
static int is_one(struct watch *w, const struct kind *kind,
		  const struct seccomp_notif *req)
{
	int is_rename = strcmp(kind->name, "rename") == 0;

	if (!w->everyone && (pid_t)req->pid != w->pid)
		return 0;
	if (!is_of_program(req))
		return 0;
	if (strcmp(kind->name, "mkdir") == 0 && is_there(req))
		return 0;
	if (strcmp(kind->name, "write") == 0 && cannot_fail(w, req))
		return 0;
	/* mv(1) has a second try at it. */
	if (is_rename && (pid_t)req->pid == w->renamer)
		return 1;
	if (++counts[kind - kinds] < (unsigned)w->at || w->at == 0)
		return 0;
	if (counts[kind - kinds] > (unsigned)w->at && !w->goes_on)
		return 0;
	if (is_rename && req->data.nr == SYS_renameat2)
		w->renamer = (pid_t)req->pid;
	report_hit(w, kind, req);
	return 1;
}

/* One call: it goes on, or fails. */
static void answer(struct watch *w)
{
	struct seccomp_notif req = { 0 };
	struct seccomp_notif_resp resp = { 0 };
	const struct kind *kind;

	if (ioctl(w->listener, SECCOMP_IOCTL_NOTIF_RECV, &req) != 0)
		return;
	resp.id = req.id;
	resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	kind = kind_of(req.data.nr);
	if (kind && is_one(w, kind, &req)) {
		resp.flags = 0;
		resp.error = -w->error;
	}
	ioctl(w->listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

/* What runs on in the background has to be answered, too, for as long as it lives. */
static void serve_on(struct watch *w)
{
	struct pollfd p = { .fd = w->listener, .events = POLLIN };

	if (poll(&p, 1, 0) >= 0 && p.revents & POLLHUP)
		return;
	if (fork() != 0)
		return;
	setsid();
	for (int fd = 0; fd < 1024; fd++)
		if (fd != w->listener)
			close(fd);
	w->at = 0;
	while (poll(&p, 1, -1) >= 0 && p.revents & POLLIN)
		answer(w);
	_exit(0);
}

static int run(struct watch *w)
{
	struct pollfd p[2] = { { .fd = w->listener, .events = POLLIN },
			       { .events = POLLIN } };
	time_t end = time(NULL) + 60;
	int status;

	p[1].fd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	if (p[1].fd < 0)
		die("pidfd_open");
	while (poll(p, 2, 1000) >= 0) {
		if (p[0].revents & POLLIN)
			answer(w);
		else if (p[0].revents & POLLHUP)
			p[0].fd = -1;
		else if (p[1].revents)
			break;
		if (time(NULL) > end) {
			kill(w->pid, SIGKILL);
			waitpid(w->pid, NULL, 0);
			return 124;
		}
	}
	if (waitpid(w->pid, &status, 0) != w->pid)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	struct watch w = { .listener = -1 };
	const struct kind *only = NULL;
	int sock[2], rc;

	if (argc > 1 && strcmp(argv[1], "-a") == 0) {
		w.everyone = 1;
		argc--;
		argv++;
	}
	if (argc < 6)
		return 64;
	for (size_t i = 0; i < KINDS; i++)
		if (strcmp(kinds[i].name, argv[1]) == 0)
			only = &kinds[i];
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strcmp(errors[i].name, argv[2]) == 0)
			w.error = errors[i].number;
	w.at = atoi(argv[3]);
	w.goes_on = strchr(argv[3], '+') != NULL;
	if (w.at > 0 && (!only || w.error == 0))
		return 64;
	w.report = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (w.report < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) != 0)
		die(argv[4]);
	w.pid = fork();
	if (w.pid < 0)
		die("fork");
	if (w.pid == 0)
		be_command(sock[1], w.at > 0 ? only : NULL, argv + 5);
	close(sock[1]);
	w.listener = receive_fd(sock[0]);
	rc = run(&w);
	if (w.at == 0)
		for (size_t i = 0; i < KINDS; i++)
			dprintf(w.report, "%s %u\n", kinds[i].name, counts[i]);
	if (w.listener >= 0)
		serve_on(&w);
	return rc;
}
