/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/cgroup.h"
#include "gpu/gpuproc.h"

enum { NODE_MAX = 256 };	/* a longer link is no GPU node */

static bool has_node(const struct gpuproc *p, const char *path)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (strcmp(p->nodes[i], path) == 0)
			return true;
	return false;
}

static void add_node(struct gpuproc *p, const char *path)
{
	p->nodes = xreallocarray(p->nodes, p->n_nodes + 1, sizeof(*p->nodes));
	p->nodes[p->n_nodes++] = xstrdup(path);
}

static void add_addrs(struct gpuproc *p, const struct gpunodes *nodes, const char *path)
{
	for (size_t i = 0; i < nodes->n; i++) {
		bool known = false;

		if (strcmp(nodes->nodes[i].path, path) != 0)
			continue;
		for (size_t k = 0; k < p->n_addrs; k++)
			known |=
				pciaddr_compare(&p->addrs[k], &nodes->nodes[i].addr) == 0;
		if (known)
			continue;
		p->addrs = xreallocarray(p->addrs, p->n_addrs + 1, sizeof(*p->addrs));
		p->addrs[p->n_addrs++] = nodes->nodes[i].addr;
	}
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Collect the GPU nodes among the process's open files; none when we may not look. */
static void read_files(int proc, const char *pid, const struct gpunodes *nodes,
		       struct gpuproc *p)
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
		char target[NODE_MAX];
		ssize_t len = readlinkat(fd, entry->d_name, target, sizeof(target) - 1);

		if (len < 0)
			continue;
		target[len] = '\0';
		/* A node that was made anew has the old one's name with this mark. */
		if (len > 10 && strcmp(target + len - 10, " (deleted)") == 0)
			target[len - 10] = '\0';
		if (!gpunode_is_gpu_path(target) || has_node(p, target))
			continue;
		add_node(p, target);
		add_addrs(p, nodes, target);
	}
	if (p->n_nodes)
		qsort(p->nodes, p->n_nodes, sizeof(*p->nodes), compare_text);
	if (p->n_addrs)
		qsort(p->addrs, p->n_addrs, sizeof(*p->addrs), pciaddr_compare);
}

static void proc_done(struct gpuproc *p)
{
	free(p->owner);
	free(p->addrs);
	for (size_t i = 0; i < p->n_nodes; i++)
		free(p->nodes[i]);
	free(p->nodes);
}

/* Look at one process; false when it uses no GPU, or has ended meanwhile. */
static bool read_process(int proc, const char *pid, const struct gpunodes *nodes,
			 struct gpuproc *p)
{
	_cleanup_free_ char *comm = root_path("/proc/%s/comm", pid);
	char text[SYSFS_MAX];

	*p = (struct gpuproc){ .pid = (pid_t)atoi(pid) };
	read_files(proc, pid, nodes, p);
	if (p->n_nodes == 0)
		return false;
	if (cgroup_owner(p->pid, &p->owner) < 0 ||
	    sysfs_read(comm, text, sizeof(text)) < 0) {
		proc_done(p);
		return false;
	}
	memcpy(p->comm, text, strnlen(text, sizeof(p->comm) - 1));
	return true;
}

static int compare_pid(const void *a, const void *b)
{
	const struct gpuproc *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

int gpuproc_list(const struct gpunodes *nodes, struct gpuproc **procs, size_t *n)
{
	_cleanup_free_ char *path = root_path("/proc");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct gpuproc *list = NULL;
	size_t used = 0, room = 0;
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		struct gpuproc p;

		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name) ||
		    !read_process(dirfd(dir), entry->d_name, nodes, &p))
			continue;
		list = xgrow(list, used, &room, sizeof(*list));
		list[used++] = p;
	}
	if (used)
		qsort(list, used, sizeof(*list), compare_pid);
	*procs = list;
	*n = used;
	return 0;
}

void gpuproc_free(struct gpuproc *procs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		proc_done(&procs[i]);
	free(procs);
}
