/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/sysfs.h"
#include "base/text.h"
#include "base/xalloc.h"

bool sysfs_dry_run;

int sysfs_read(const char *path, char *buf, size_t size)
{
	/* A FIFO in the way, below a root of somebody's making, holds nobody up. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = read(fd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -ENAMETOOLONG;
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return (int)n;
}

int sysfs_read_u64(const char *path, uint64_t *value)
{
	unsigned long long v;
	char buf[32], *end;
	const char *digits;
	bool hex;
	int rc = sysfs_read(path, buf, sizeof(buf));

	if (rc < 0)
		return rc == -ENAMETOOLONG ? -EINVAL : rc;
	hex = buf[0] == '0' && (buf[1] == 'x' || buf[1] == 'X');
	digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
	/* strtoull() would take a sign and leading blanks. */
	if (!buf[hex ? 2 : 0] || !strchr(digits, buf[hex ? 2 : 0]))
		return -EINVAL;
	errno = 0;
	v = strtoull(buf, &end, hex ? 16 : 10);
	if (errno || *end)
		return -EINVAL;
	*value = v;
	return 0;
}

char *sysfs_link_name(const char *path)
{
	char target[PATH_MAX], *slash;
	ssize_t n = readlink(path, target, sizeof(target));

	if (n < 0)
		return NULL;
	if ((size_t)n == sizeof(target)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	target[n] = '\0';
	slash = strrchr(target, '/');
	return xstrdup(slash ? slash + 1 : target);
}

/* A value as echo gets it from a shell, without its newline; allocated. */
static char *echo_words(const char *value)
{
	size_t len = strcspn(value, "\n");

	/* Two numbers, "10de 2204", are two words to look at. */
	if (!strstr(value, "  ") && strcspn(value, "\"#$&'()*;<>?[\\]`{|}~") >= len)
		return xstrndup(value, len);
	return text_shell_word(value, len);
}

bool sysfs_announce(const char *path, const char *value)
{
	_cleanup_free_ char *words = echo_words(value);
	const char *gap = *words ? " " : "";

	if (sysfs_dry_run)
		text_put_line(stdout, "echo%s%s > %s", gap, words, path);
	else
		say_info("echo%s%s > %s", gap, words, path);
	return sysfs_dry_run;
}

int sysfs_write(const char *path, const char *value)
{
	size_t len = strlen(value);
	ssize_t n;

	if (sysfs_announce(path, value))
		return 0;

	_cleanup_close_ int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = write(fd, value, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}
