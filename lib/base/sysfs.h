/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes of sysfs and procfs. Paths are complete: see root_path(). */
#ifndef BASE_SYSFS_H
#define BASE_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYSFS_MAX = 4096 };	/* an attribute is one page at most */

/* When set, sysfs_write() prints "echo VALUE > PATH" to stdout and writes nothing. */
extern bool sysfs_dry_run;

/*
 * Read one attribute in one read(2); one trailing LF is cut.
 * Returns its length, -ENAMETOOLONG when it does not fit, or another -errno.
 */
int sysfs_read(const char *path, char *buf, size_t size);

/* Read a number, decimal or 0x hexadecimal. 0, -EINVAL or another -errno. */
int sysfs_read_u64(const char *path, uint64_t *value);

/* Last part of a symbolic link's target ("vfio-pci"), allocated; NULL and errno. */
char *sysfs_link_name(const char *path);

/* Print a write for a dry run (true: do not make it), else say it with -v (false). */
bool sysfs_announce(const char *path, const char *value);

/*
 * Write value in one write(2), without O_CREAT or O_TRUNC. Said with -v.
 * 0, or -errno (a short write is -EIO).
 */
int sysfs_write(const char *path, const char *value);

#endif
