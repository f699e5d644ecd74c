/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "pve/ctfile.h"

enum { LOCK_POLL = 50 };	/* ms */

/* Marks our temporary files: PVE's own end in ".tmp.PID". */
static const char mark[] = ".tmp.lxc-gpu-mount.";

int ctfile_lock(uint32_t ctid, unsigned wait)
{
	_cleanup_free_ char *folder = root_path("/run/lock/lxc"),
			    *path = xasprintf("%s/pve-config-%u.lock", folder, ctid);
	int64_t until = spawn_now() + wait;
	int fd;

	if (!root_is_host()) {
		_cleanup_free_ char *run = root_path("/run"),
				    *lock = root_path("/run/lock");

		mkdir(run, 0755);
		mkdir(lock, 0755);
	}
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return -errno;
	/* a FIFO in its place, which anybody can make in /run/lock, is not waited for */
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK
		  | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int err = errno;

		if (err != EINTR && (err != EWOULDBLOCK || spawn_now() >= until)) {
			close(fd);
			return err == EWOULDBLOCK ? -EAGAIN : -err;
		}
		poll(NULL, 0, LOCK_POLL);
	}
	return fd;
}

/* What runs that were killed left beside the file. */
static void remove_leftovers(int dir, const char *name)
{
	_cleanup_free_ char *prefix = xasprintf("%s%s", name, mark);
	_cleanup_closedir_ DIR *list = NULL;
	struct dirent *entry;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	list = fdopendir(fd);
	if (!list)
		close(fd);
	while (list && (entry = readdir(list)))
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			unlinkat(dir, entry->d_name, 0);
}

/* The file's mode is that of its making: pmxcfs refuses a chmod. */
static int make(int dir, const char *temp, mode_t mode)
{
	mode_t mask = umask(0);
	int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			mode);

	umask(mask);
	return fd;
}

static int fill(int fd, const void *data, size_t len)
{
	ssize_t n;

	if (len == 0)
		return 0;
	do
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n != len)
		return -EIO;
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

int ctfile_write(const char *path, const void *data, size_t len)
{
	const char *slash = strrchr(path, '/'), *name = slash + 1;
	_cleanup_free_ char *folder = xstrndup(path, (size_t)(slash - path)),
			    *temp = xasprintf("%s%s%d", name, mark, (int)getpid());
	_cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int fd, rc;

	if (dir < 0 || fstatat(dir, name, &st, 0) < 0)
		return -errno;
	remove_leftovers(dir, name);
	fd = make(dir, temp, st.st_mode & 0777);
	if (fd < 0)
		return -errno;
	rc = fill(fd, data, len);
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && renameat(dir, temp, dir, name) < 0)
		rc = -errno;
	if (rc < 0) {
		unlinkat(dir, temp, 0);
		return rc;
	}
	/* the rename is done: a folder that cannot be synced is no failure of it */
	if (fsync(dir) < 0)
		errno = 0;
	return 0;
}
