/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"

/* Folder of path: "a/b" is "a", "/b" is "/", "b" is ".". Allocated. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int sync_folder(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* A file system that cannot sync a folder says EINVAL. */
	if (fsync(fd) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int fill(int fd, const void *data, size_t len, mode_t mode)
{
	int rc = write_all(fd, data, len);

	if (rc < 0)
		return rc;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

/* A device, or /dev/stdout and the like: a rename would take it from everybody. */
static bool is_special(const char *path)
{
	static const char proc[] = "/proc/";
	char to[sizeof(proc) - 1];
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return true;
	return readlink(path, to, sizeof(to)) == (ssize_t)sizeof(to) &&
	       memcmp(to, proc, sizeof(to)) == 0;
}

int atomicfile_write(const char *path, const void *data, size_t len, mode_t mode)
{
	_cleanup_free_ char *dir = folder_of(path), *temp = NULL;
	const char *slash = strrchr(path, '/');
	int fd, rc;

	if (is_special(path))
		return -EINVAL;
	temp = xasprintf("%s/.%s.XXXXXX", dir, slash ? slash + 1 : path);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fill(fd, data, len, mode);
	/* Some file systems report a full disk only here. */
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(temp, path) < 0)
		rc = -errno;
	if (rc < 0) {
		unlink(temp);
		return rc;
	}
	return sync_folder(dir);
}

const char *atomicfile_error(int rc)
{
	return rc == -EINVAL ? "not a regular file" : strerror(-rc);
}

int atomicfile_unlink(const char *path)
{
	_cleanup_free_ char *dir = folder_of(path);

	return unlink(path) < 0 ? -errno : sync_folder(dir);
}

static int make_one(const char *dir, mode_t mode)
{
	_cleanup_free_ char *parent = NULL;

	if (mkdir(dir, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	parent = folder_of(dir);
	return sync_folder(parent);
}

int atomicfile_state_dir(const char *path)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int rc = atomicfile_mkdir(path);

	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ELOOP ? -ENOTDIR : -errno;
	if (st.st_uid != geteuid())
		return -EPERM;
	if ((st.st_mode & 077) && fchmod(fd, 0700) < 0)
		return -errno;
	return 0;
}

int atomicfile_mkdir(const char *path)
{
	_cleanup_free_ char *part = xstrdup(path);
	size_t len = strlen(part);
	struct stat st;
	int rc;

	/* A root that is not there is a slip, not a system to be begun. */
	if (!root_is_host() && stat(root_dir(), &st) < 0)
		return -errno;
	while (len > 1 && part[len - 1] == '/')
		part[--len] = '\0';
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		rc = make_one(part, 0755);
		*slash = '/';
		if (rc < 0)
			return rc;
	}
	rc = make_one(part, 0700);
	if (rc < 0)
		return rc;
	if (lstat(part, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
