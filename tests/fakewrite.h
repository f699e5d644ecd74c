/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attributes of a test root with something behind them: linked with -Wl,--wrap=write,
 * what is written there goes to a function of the test's, in whichever process it is.
 */
#ifndef FAKEWRITE_H
#define FAKEWRITE_H

#include "testroot.h"

/*
 * What was written to the file fd, which is at path, without its newline. The errno
 * that the write is to fail with, or 0. Before it is set, all is written as it is.
 */
static int (*fakewrite)(int fd, const char *path, const char *value);

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	char link[32], path[512], value[128];
	ssize_t n;
	int err;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (!fakewrite || n < 0 || !*testroot ||
	    strncmp(path, testroot, strlen(testroot)) != 0)
		return __real_write(fd, data, len);
	path[n] = '\0';
	snprintf(value, sizeof(value), "%.*s", (int)len, (const char *)data);
	value[strcspn(value, "\n")] = '\0';
	err = fakewrite(fd, path, value);
	if (err) {
		errno = err;
		return -1;
	}
	return (ssize_t)len;
}

#endif
