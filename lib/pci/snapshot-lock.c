/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The folder of the snapshots, and the lock between two runs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "pci/snapshot.h"

enum { LOCK_POLL = 20 };	/* ms */

int snapshot_make_folder(void)
{
	_cleanup_free_ char *state = root_path("/run/pve-gpu-utils"),
			    *folder = root_path(SNAPSHOT_FOLDER);
	int rc = atomicfile_state_dir(state);

	return rc < 0 ? rc : atomicfile_state_dir(folder);
}

/* The number that the lock's last holder wrote into it. */
static pid_t read_holder(int fd)
{
	char text[16];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (pid_t)atoi(text);
}

void snapshot_lock_name(int lock, pid_t pid)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", (int)pid);

	/* Only for a message of the next one: a full disk does not matter. */
	if (ftruncate(lock, 0) == 0 && pwrite(lock, text, (size_t)len, 0) < 0)
		errno = 0;
}

/* What atomicfile_write() leaves when it is killed: ".ADDR.XXXXXX". */
static void remove_temporary(void)
{
	_cleanup_free_ char *folder = root_path(SNAPSHOT_FOLDER);
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *name = xstrdup(entry->d_name);
		char *dot = strrchr(name, '.');
		struct pciaddr addr;

		if (*name != '.' || dot == name)
			continue;
		*dot = '\0';
		if (pciaddr_parse(name + 1, &addr))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
}

int snapshot_lock(int64_t timeout, const volatile sig_atomic_t *stop, pid_t *holder)
{
	_cleanup_free_ char *path = root_path(SNAPSHOT_FOLDER ".lock");
	int64_t until = spawn_now() + timeout;
	int fd, rc = snapshot_make_folder();

	*holder = 0;
	if (rc < 0)
		return rc;
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
		if (rc == -EAGAIN && stop && *stop)
			rc = -EINTR;
		if (rc != -EAGAIN || spawn_now() >= until) {
			*holder = read_holder(fd);
			close(fd);
			return rc;
		}
		poll(NULL, 0, LOCK_POLL);
	}
	snapshot_lock_name(fd, getpid());
	remove_temporary();
	return fd;
}
