/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_READFILE_H
#define BASE_READFILE_H

#include <stddef.h>
#include <sys/types.h>

/* A buffer that is reused from file to file. Start with { 0 }; free(data) at the end. */
struct readfile {
	char *data;	/* owned; NUL-terminated, may hold NUL bytes before its end */
	size_t len;	/* bytes read, the terminator not counted */
	size_t room;
};

/*
 * Read a whole regular file: open (O_NOFOLLOW never; O_NONBLOCK so that a FIFO
 * cannot hang us), read until a read returns 0, close. At most 4 system calls
 * for a file that fits in the buffer (64 KiB at first).
 *
 * dirfd, name: as for openat(2).
 * max: a longer file is refused.
 * Returns 0, -EFBIG above max, -EISDIR, -EINVAL for what is no regular file
 * (found out without an fstat when the read itself says so), or another -errno.
 */
int readfile_at(int dirfd, const char *name, size_t max, struct readfile *buf);

/* The same for a path, as a fresh string: NULL and errno on failure. */
char *readfile_string(const char *path, size_t max);

#endif
