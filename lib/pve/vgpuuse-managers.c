/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/procfd.h"
#include "pve/vgpuuse.h"

enum { CMDLINE_MAX = 64 * 1024 };	/* bytes */

struct managers {
	const struct vgpus *v;
	struct vgpumgr *mgrs;	/* owned */
	size_t n, room;
};

static pid_t parent_pid(pid_t pid)
{
	_cleanup_free_ char *path = root_path("/proc/%d/stat", (int)pid);
	char text[SYSFS_MAX + 1], *end;
	int parent;

	if (sysfs_read(path, text, sizeof(text)) <= 0)
		return 0;
	end = strrchr(text, ')');
	return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

static bool is_manager(pid_t pid)
{
	char comm[16];

	return pid > 0 && procfd_comm(pid, comm) == 0 && strcmp(comm, "nvidia-vgpu-mgr") == 0;
}

/* The UUID or VF that a manager's command line names, allocated; NULL without. */
static char *served_id(pid_t pid)
{
	_cleanup_free_ char *path = root_path("/proc/%d/cmdline", (int)pid);
	struct readfile cmdline = { 0 };
	char *id = NULL, uuid[MDEV_UUID_LEN + 1], text[PCIADDR_STRLEN];
	struct pciaddr addr;

	if (readfile_at(AT_FDCWD, path, CMDLINE_MAX, &cmdline) == 0)
		for (const char *word = cmdline.data;
		     !id && word < cmdline.data + cmdline.len; word += strlen(word) + 1) {
			if (vgpu_uuid_parse(word, uuid))
				id = xstrdup(uuid);
			else if (pciaddr_parse(word, &addr))
				id = xstrdup(pciaddr_format(&addr, text));
		}
	free(cmdline.data);
	return id;
}

static bool has_nvidia(const struct vgpus *v)
{
	for (size_t i = 0; i < v->n_instances; i++)
		if (v->instances[i].type && strncmp(v->instances[i].type, "nvidia-", 7) == 0)
			return true;
	return false;
}

static void see_manager(pid_t pid, void *arg)
{
	struct managers *m = arg;
	char *id;

	if (!is_manager(pid))
		return;
	id = served_id(pid);
	/*
	 * One that names its vGPU is judged by it. One that names none serves a vGPU if
	 * it is the daemon's child, and then there must be some vGPU.
	 */
	if (id ? vgpus_find(m->v, id) >= 0
	       : has_nvidia(m->v) || !is_manager(parent_pid(pid))) {
		free(id);
		return;
	}
	m->mgrs = xgrow(m->mgrs, m->n, &m->room, sizeof(*m->mgrs));
	m->mgrs[m->n++] = (struct vgpumgr){ .pid = pid, .id = id };
}

static int compare_manager(const void *a, const void *b)
{
	const struct vgpumgr *x = a, *y = b;

	return x->pid > y->pid ? 1 : x->pid < y->pid ? -1 : 0;
}

int vgpuuse_stale_managers(const struct vgpus *v, struct vgpumgr **mgrs, size_t *n)
{
	struct managers m = { .v = v };
	int rc = procfd_each_process(see_manager, &m);

	if (rc < 0 && rc != -ENOENT) {
		vgpumgr_free(m.mgrs, m.n);
		return rc;
	}
	if (m.n)
		qsort(m.mgrs, m.n, sizeof(*m.mgrs), compare_manager);
	*mgrs = m.mgrs;
	*n = m.n;
	return 0;
}

void vgpumgr_free(struct vgpumgr *mgrs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(mgrs[i].id);
	free(mgrs);
}
