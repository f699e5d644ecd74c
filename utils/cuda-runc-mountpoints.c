/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Before a restore: the sources of NVIDIA's mounts, and somewhere to mount them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"

#include "cuda-runc.h"

/* The root file system is the container's: no link of it leads out of it. */
static int open_in(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* mkdir -p and a file or a folder at the end; 0 or -errno. */
static int make_point(int root, const char *target, bool is_dir)
{
	_cleanup_free_ char *path = xstrdup(target + 1);
	_cleanup_close_ int there = open_in(root, path, O_PATH), dir = -1;
	char *at = path;

	if (there >= 0)
		return 0;
	dir = open_in(root, ".", O_PATH | O_DIRECTORY);
	while (dir >= 0) {
		char *slash = strchr(at, '/');
		int next, file;

		if (slash)
			*slash = '\0';
		if (!slash && !is_dir) {
			/* O_EXCL follows no link. */
			file = openat(dir, at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
				      0644);
			if (file < 0)
				return errno == EEXIST ? 0 : -errno;
			close(file);
			return 0;
		}
		if (mkdirat(dir, at, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (!slash)
			return 0;
		next = open_in(root, path, O_PATH | O_DIRECTORY);
		close(dir);
		dir = next;
		*slash = '/';
		at = slash + 1;
	}
	return -errno;
}

/* Another driver's libraries have other names: say so before anything is restored. */
static int check_source(const struct handed *m, char **why)
{
	_cleanup_free_ char *path = root_path("%s", m->source);
	char real[PATH_MAX];

	if (!realpath(path, real)) {
		*why = errno == ENOENT ?
			xasprintf("%s is not on this host: the checkpoint was made with another "
				  "driver version", m->source) :
			xasprintf("%s: %s", m->source, strerror(errno));
		return -1;
	}
	if (mounts_is_nvidia(real) && mounts_is_nvidia(m->target))
		return 0;
	*why = xasprintf("%s: not a mount of NVIDIA's that may be restored", m->source);
	return -1;
}

int mounts_prepare(const struct mounts *mounts, const char *bundle, const json_t *config,
		   char **why)
{
	const char *rootfs = json_string_value(json_object_get(
			json_object_get(config, "root"), "path"));
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int root = -1;

	for (size_t i = 0; i < mounts->n; i++)
		if (check_source(&mounts->list[i], why) < 0)
			return -1;
	if (mounts->n == 0)
		return 0;
	if (!rootfs)
		rootfs = "rootfs";
	path = *rootfs == '/' ? xstrdup(rootfs) : xasprintf("%s/%s", bundle, rootfs);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		*why = xasprintf("%s: %s", path, strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < mounts->n; i++) {
		const struct handed *m = &mounts->list[i];
		int rc = m->on_rootfs ? make_point(root, m->target, m->is_dir) : 0;

		if (rc < 0) {
			*why = xasprintf("%s%s: %s", path, m->target, strerror(-rc));
			return -1;
		}
	}
	return 0;
}
