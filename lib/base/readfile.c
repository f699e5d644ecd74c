/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/xalloc.h"

enum { FIRST_ROOM = 64 * 1024 };

/*
 * pread(2), not read(2): a FIFO or a socket answers ESPIPE at once, so that
 * telling it from a file costs no fstat(2).
 */
static int read_all(int fd, size_t max, struct readfile *buf)
{
	for (;;) {
		ssize_t n;

		if (buf->len + 1 >= buf->room) {
			size_t room = buf->room ? buf->room * 2 : FIRST_ROOM;

			buf->data = xreallocarray(buf->data, room, 1);
			buf->room = room;
		}
		n = pread(fd, buf->data + buf->len, buf->room - buf->len - 1,
			  (off_t)buf->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ESPIPE || errno == EAGAIN ? -EINVAL : -errno;
		if (n == 0)
			return 0;
		buf->len += (size_t)n;
		if (buf->len > max)
			return -EFBIG;
	}
}

int readfile_at(int dirfd, const char *name, size_t max, struct readfile *buf)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int rc;

	buf->len = 0;
	if (fd < 0)
		return -errno;
	rc = read_all(fd, max, buf);
	/* A device such as /dev/null reads as an empty file. */
	if (rc == 0 && buf->len == 0) {
		struct stat st;

		if (fstat(fd, &st) < 0)
			rc = -errno;
		else if (!S_ISREG(st.st_mode))
			rc = -EINVAL;
	}
	if (rc < 0)
		buf->len = 0;
	if (buf->data)
		buf->data[buf->len] = '\0';
	return rc;
}

char *readfile_string(const char *path, size_t max)
{
	struct readfile buf = { 0 };
	int rc = readfile_at(AT_FDCWD, path, max, &buf);

	if (rc < 0) {
		free(buf.data);
		errno = -rc;
		return NULL;
	}
	return xreallocarray(buf.data, buf.len + 1, 1);
}
