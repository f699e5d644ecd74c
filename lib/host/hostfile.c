/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/hostfile.h"

enum { HOSTFILE_MAX = 1024 * 1024 };

void hostfiles_add(struct hostfiles *l, const char *path, const char *text, mode_t mode)
{
	struct hostfile f = { .path = (char *)path, .data = (char *)text, .mode = mode };

	f.len = text ? strlen(text) : 0;
	l->f = xgrow(l->f, l->n, &l->room, sizeof(*l->f));
	l->f[l->n++] = hostfile_copy(&f);
}

struct hostfile *hostfiles_find(const struct hostfiles *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->f[i].path, path) == 0)
			return &l->f[i];
	return NULL;
}

void hostfile_done(struct hostfile *f)
{
	free(f->path);
	free(f->data);
	*f = (struct hostfile){ 0 };
}

void hostfiles_done(struct hostfiles *l)
{
	for (size_t i = 0; i < l->n; i++)
		hostfile_done(&l->f[i]);
	free(l->f);
	*l = (struct hostfiles){ 0 };
}

struct hostfile hostfile_copy(const struct hostfile *f)
{
	struct hostfile copy = *f;

	copy.path = f->path ? xstrdup(f->path) : NULL;
	if (f->data) {
		copy.data = xreallocarray(NULL, f->len + 1, 1);
		memcpy(copy.data, f->data, f->len);
		copy.data[f->len] = '\0';
	}
	return copy;
}

int hostfile_read(const char *path, struct hostfile *f)
{
	_cleanup_free_ char *full = root_path("%s", path);
	struct readfile buf = { 0 };
	struct stat st;
	int rc;

	*f = (struct hostfile){ .path = xstrdup(path) };
	if (lstat(full, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	rc = readfile_at(AT_FDCWD, full, HOSTFILE_MAX, &buf);
	if (rc == 0 && memchr(buf.data, '\0', buf.len))
		rc = -EINVAL;
	if (rc < 0) {
		free(buf.data);
		return rc == -ENOENT ? 0 : rc;
	}
	f->data = buf.data;
	f->len = buf.len;
	f->mode = st.st_mode & 07777;
	return 0;
}

int hostfile_put(const struct hostfile *f)
{
	_cleanup_free_ char *full = root_path("%s", f->path);
	int rc;

	if (f->data)
		return atomicfile_write(full, f->data, f->len, f->mode);
	rc = atomicfile_unlink(full);
	return rc == -ENOENT ? 0 : rc;
}

bool hostfile_equal(const struct hostfile *a, const struct hostfile *b)
{
	if (!a->data || !b->data)
		return !a->data && !b->data;
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0
	       && a->mode == b->mode;
}

bool hostfile_is_marked(const struct hostfile *f)
{
	const char *line = f->data;

	if (line && strncmp(line, "#!", 2) == 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return line && strncmp(line, HOSTFILE_MARK, strlen(HOSTFILE_MARK)) == 0;
}
