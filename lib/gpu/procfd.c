/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/procfd.h"

enum { TARGET_MAX = 256 };	/* a longer one is no device node */

static void walk_process(int proc, const char *pid,
			 void (*see)(const struct procfd *file, void *arg), void *arg)
{
	_cleanup_free_ char *name = xasprintf("%s/fd", pid);
	_cleanup_closedir_ DIR *dir = NULL;
	int fd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;

	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		char target[TARGET_MAX];
		ssize_t len = readlinkat(fd, entry->d_name, target, sizeof(target) - 1);
		struct procfd file = {
			.pid = (pid_t)atoi(pid),
			.dir = fd,
			.name = entry->d_name,
			.target = target,
		};

		if (len < 0)
			continue;
		target[len] = '\0';
		/* A node that was made anew has the old one's name with this mark. */
		if (len > 10 && strcmp(target + len - 10, " (deleted)") == 0)
			target[len - 10] = '\0';
		see(&file, arg);
	}
}

int procfd_walk(void (*see)(const struct procfd *file, void *arg), void *arg)
{
	_cleanup_free_ char *path = root_path("/proc");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name))
			walk_process(dirfd(dir), entry->d_name, see, arg);
	return 0;
}

bool procfd_is_node(const struct procfd *file, dev_t *number)
{
	struct statx st;

	*number = 0;
	if (!root_is_host())
		return true;
	if (statx(file->dir, file->name, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0 ||
	    !S_ISCHR(st.stx_mode))
		return false;
	*number = makedev(st.stx_rdev_major, st.stx_rdev_minor);
	return true;
}

int procfd_each_process(void (*see)(pid_t pid, void *arg), void *arg)
{
	_cleanup_free_ char *path = root_path("/proc");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
			continue;
		if (!root_is_host() || atoi(entry->d_name) != getpid())
			see((pid_t)atoi(entry->d_name), arg);
	}
	return 0;
}

int procfd_comm(pid_t pid, char comm[16])
{
	_cleanup_free_ char *path = root_path("/proc/%d/comm", (int)pid);
	char text[SYSFS_MAX];
	int rc = sysfs_read(path, text, sizeof(text));

	if (rc < 0)
		return rc;
	memset(comm, 0, 16);
	memcpy(comm, text, strnlen(text, 15));
	return 0;
}
