/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_ATOMICFILE_H
#define BASE_ATOMICFILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Replace a file as a whole: a temporary file with an unpredictable name beside
 * it, write, fchmod, fsync, rename, fsync of the directory. Killed at any
 * point, the file is the old one or the new one. A symbolic link at path is
 * replaced, not followed.
 *
 * mode: of the new file, whatever the umask.
 * Returns 0 or -errno; on failure nothing is left behind. -EINVAL for a device, a FIFO, a
 * socket, a link to one or into /proc: these are not replaced.
 */
int atomicfile_write(const char *path, const void *data, size_t len, mode_t mode);

/* For people: what a negative value of atomicfile_write() says of the file. */
const char *atomicfile_error(int rc);

/* Remove a file, for good: unlink, fsync of the directory. 0 or -errno. */
int atomicfile_unlink(const char *path);

/*
 * mkdir -p with mode 0700 for the last part, but never of root_dir() itself.
 * 0 or -errno (-ENOTDIR for a link or a file).
 */
int atomicfile_mkdir(const char *path);

/*
 * The same for a folder of our own state, which nobody else may have prepared: opened
 * without following a link, made 0700 when it is wider. -EPERM when it is another user's.
 */
int atomicfile_state_dir(const char *path);

#endif
