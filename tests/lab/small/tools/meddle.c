/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a program: something happens at one of its steps. A step is
 * one write to sysfs (by the program or a child of it), one rename, one unlink.
 *
 * MEDDLE_TRACE  file that gets a line for every step begun: its path. It also counts them.
 * MEDDLE_AT     number of the step, from 1; or a word that the step's path ends in
 * MEDDLE_SIGNAL the program gets this signal just before that step. With 9 its
 *               child that was to take the step dies too, unless MEDDLE_ORPHAN is set:
 *               then the step is taken all the same, half a second later. MEDDLE_GROUP:
 *               its whole process group gets it, as from a terminal.
 * MEDDLE_RUN    this command of the shell runs just before that step
 * MEDDLE_AFTER  and this one just after it
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { SYSFS_MAGIC = 0x62656572 };

static pid_t program;

__attribute__((constructor)) static void remember(void)
{
	program = getpid();
}

static ssize_t real_write(int fd, const void *buf, size_t n)
{
	static ssize_t (*f)(int, const void *, size_t);

	if (!f)
		f = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	return f(fd, buf, n);
}

/* Put the step into the trace; its number. */
static int count(const char *path)
{
	const char *trace = getenv("MEDDLE_TRACE");
	char line[PATH_MAX + 1], buf[4096];
	int fd, n = 0;
	ssize_t len;

	if (!trace)
		return 0;
	fd = open(trace, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return 0;
	len = snprintf(line, sizeof(line), "%s\n", path);
	real_write(fd, line, (size_t)len);
	lseek(fd, 0, SEEK_SET);
	while ((len = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < len; i++)
			n += buf[i] == '\n';
	close(fd);
	return n;
}

static int is_meant(const char *path)
{
	const char *at = getenv("MEDDLE_AT");
	int n = count(path);

	if (!at)
		return 0;
	if (*at >= '0' && *at <= '9')
		return n == atoi(at);
	return strlen(path) >= strlen(at) && strcmp(path + strlen(path) - strlen(at), at) == 0;
}

static void run(const char *variable)
{
	const char *command = getenv(variable);
	char *all;

	if (!command || asprintf(&all, "unset LD_PRELOAD; %s", command) < 0)
		return;
	if (system(all) != 0)
		_exit(99);
	free(all);
}

static void before(void)
{
	const char *number = getenv("MEDDLE_SIGNAL");

	run("MEDDLE_RUN");
	if (!number)
		return;
	kill(getenv("MEDDLE_GROUP") ? -program : program, atoi(number));
	if (atoi(number) != SIGKILL)
		return;
	if (!getenv("MEDDLE_ORPHAN"))
		raise(SIGKILL);
	usleep(500000);
}

ssize_t write(int fd, const void *buf, size_t n)
{
	char link[64], path[PATH_MAX];
	struct statfs fs;
	ssize_t len;
	int meant;

	if (fstatfs(fd, &fs) < 0 || fs.f_type != SYSFS_MAGIC)
		return real_write(fd, buf, n);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	meant = is_meant(path);
	if (meant)
		before();
	len = real_write(fd, buf, n);
	if (meant)
		run("MEDDLE_AFTER");
	return len;
}

static void file_step(const char *path)
{
	if (is_meant(path))
		before();
}

int rename(const char *from, const char *to)
{
	int (*f)(const char *, const char *) =
		(int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");

	file_step(to);
	return f(from, to);
}

int renameat(int fromdir, const char *from, int todir, const char *to)
{
	int (*f)(int, const char *, int, const char *) =
		(int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");

	file_step(to);
	return f(fromdir, from, todir, to);
}

int unlink(const char *path)
{
	int (*f)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");

	file_step(path);
	return f(path);
}

int unlinkat(int dir, const char *path, int flags)
{
	int (*f)(int, const char *, int) =
		(int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");

	file_step(path);
	return f(dir, path, flags);
}
