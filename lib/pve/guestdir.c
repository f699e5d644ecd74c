/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/guestdir.h"
#include "pve/pveconf.h"

#define CONFIG_STRLEN	sizeof("4294967295.conf")

static int compare_nodes(const void *a, const void *b)
{
	return strcmp(((const struct guestdir_node *)a)->name,
		      ((const struct guestdir_node *)b)->name);
}

static int compare_entries(const void *a, const void *b)
{
	const struct guestdir_entry *x = a, *y = b;

	if (x->vmid != y->vmid)
		return x->vmid < y->vmid ? -1 : 1;
	return (x->node > y->node) - (x->node < y->node);
}

/* "100.conf", and nothing that PVE itself would not take for a config. */
static bool parse_name(const char *name, uint32_t *vmid)
{
	size_t n = strlen(name);

	return n > 5 && strcmp(name + n - 5, ".conf") == 0
	       && guest_parse_vmid_n(name, n - 5, vmid);
}

static int open_node(struct guestdir *dir, const char *nodes_path, const char *name,
		     enum guest_kind kind)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", nodes_path, name);
	_cleanup_free_ char *sub = xasprintf("%s/%s", path,
					     kind == GUEST_QEMU ? "qemu-server" : "lxc");
	int fd = open(sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		int err = errno;
		struct stat st;

		if (err != ENOENT || stat(path, &st) < 0)
			return -err;
	}
	dir->nodes = xreallocarray(dir->nodes, dir->n_nodes + 1, sizeof(*dir->nodes));
	dir->nodes[dir->n_nodes++] = (struct guestdir_node){ xstrdup(name), fd };
	return 0;
}

/*
 * NULL at the end, and with errno when the folder cannot be read on: no guest is lost so.
 */
static const struct dirent *next_entry(DIR *d)
{
	errno = 0;
	return readdir(d);
}

static int open_all_nodes(struct guestdir *dir, const char *nodes_path,
			  enum guest_kind kind)
{
	_cleanup_closedir_ DIR *d = opendir(nodes_path);
	const struct dirent *de;

	if (!d)
		return -errno;
	while ((de = next_entry(d))) {
		int rc;

		if (de->d_name[0] == '.')
			continue;
		rc = open_node(dir, nodes_path, de->d_name, kind);
		if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR)
			return rc;
	}
	if (errno)
		return -errno;
	qsort(dir->nodes, dir->n_nodes, sizeof(*dir->nodes), compare_nodes);
	return 0;
}

static int list_node(struct guestdir *dir, uint32_t node, size_t *room,
		     const uint32_t *vmids, size_t n_vmids)
{
	_cleanup_closedir_ DIR *d = NULL;
	const struct dirent *de;
	uint32_t vmid;
	int fd;

	if (dir->nodes[node].fd < 0)
		return 0;
	fd = fcntl(dir->nodes[node].fd, F_DUPFD_CLOEXEC, 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return -err;
	}
	while ((de = next_entry(d))) {
		if (!parse_name(de->d_name, &vmid))
			continue;
		if (vmids && !guest_vmids_have(vmids, n_vmids, vmid))
			continue;
		dir->entries = xgrow(dir->entries, dir->n, room, sizeof(*dir->entries));
		dir->entries[dir->n++] = (struct guestdir_entry){ vmid, node };
	}
	return -errno;
}

int guestdir_open(struct guestdir *dir, enum guest_kind kind, const char *node,
		  const uint32_t *vmids, size_t n_vmids)
{
	_cleanup_free_ char *path = root_path("/etc/pve/nodes");
	size_t room = 0;
	int rc;

	*dir = (struct guestdir){ 0 };
	rc = node ? open_node(dir, path, node, kind) : open_all_nodes(dir, path, kind);
	if (rc == 0 && node && vmids) {
		dir->entries = xcalloc(n_vmids, sizeof(*dir->entries));
		for (size_t i = 0; i < n_vmids; i++)
			dir->entries[dir->n++].vmid = vmids[i];
		return 0;
	}
	for (uint32_t i = 0; rc == 0 && i < dir->n_nodes; i++)
		rc = list_node(dir, i, &room, vmids, n_vmids);
	if (rc < 0) {
		guestdir_close(dir);
		return rc;
	}
	if (dir->n > 0)
		qsort(dir->entries, dir->n, sizeof(*dir->entries), compare_entries);
	return 0;
}

void guestdir_close(struct guestdir *dir)
{
	for (size_t i = 0; i < dir->n_nodes; i++) {
		free(dir->nodes[i].name);
		if (dir->nodes[i].fd >= 0)
			close(dir->nodes[i].fd);
	}
	free(dir->nodes);
	free(dir->entries);
	*dir = (struct guestdir){ 0 };
}

/*
 * The common case in three system calls, each of which is a round trip on
 * pmxcfs: a read of a regular file that leaves room in the buffer was its last.
 * False: ask readfile_at().
 */
static bool read_small(int dirfd, const char *name, struct readfile *buf)
{
	enum { ROOM = 64 * 1024 };
	ssize_t n;
	int fd;

	if (buf->room < ROOM) {
		buf->data = xreallocarray(buf->data, ROOM, 1);
		buf->room = ROOM;
	}
	fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = pread(fd, buf->data, ROOM - 1, 0);
	close(fd);
	if (n <= 0 || n == ROOM - 1)
		return false;
	buf->len = (size_t)n;
	buf->data[n] = '\0';
	return true;
}

int guestdir_read(const struct guestdir *dir, const struct guestdir_entry *e,
		  struct readfile *buf)
{
	int fd = dir->nodes[e->node].fd, rc;
	char name[CONFIG_STRLEN];
	struct stat st;

	if (fd < 0)
		return -ENOENT;
	snprintf(name, sizeof(name), "%u.conf", e->vmid);
	if (read_small(fd, name, buf))
		return 0;
	rc = readfile_at(fd, name, PVECONF_MAX, buf);
	if (rc == -ENOENT && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -ENOLINK;
	return rc;
}

const char *guestdir_strerror(int err)
{
	switch (err) {
	case -EFBIG:
		return "config is larger than 1 MiB";
	case -EISDIR:
	case -EINVAL:
		return "config is not a regular file";
	case -ENOLINK:
	case -ELOOP:
		return "config is a link that leads nowhere";
	default:
		return strerror(-err);
	}
}
