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
#include "gpu/cgroup.h"
#include "gpu/procfd.h"
#include "pci/bind.h"
#include "pve/guest.h"
#include "pve/holder.h"
#include "pve/vgpuuse.h"

#define VFIO_DEVICE "anon_inode:[vfio-device]"

enum { CMDLINE_MAX = 4 << 20 };	/* bytes; a QEMU's is long */

struct search {
	const struct vgpus *v;
	struct vgpuuse *uses;	/* owned */
	size_t n, room;
	/* Of the process whose files are being looked at: */
	pid_t pid;
	bool has_vfio;		/* a VFIO group or device, no matter whose */
	bool has_unnamed;	/* a VFIO device that fdinfo does not name */
};

static void add_use(struct search *s, size_t instance, enum vgpuuse_how how, pid_t pid,
		    char *what)
{
	for (size_t i = 0; i < s->n; i++) {
		struct vgpuuse *u = &s->uses[i];

		if (u->instance != instance || u->pid != pid)
			continue;
		if (how < u->how) {
			free(u->what);
			u->how = how;
			u->what = what;
		} else {
			free(what);
		}
		return;
	}
	s->uses = xgrow(s->uses, s->n, &s->room, sizeof(*s->uses));
	s->uses[s->n++] = (struct vgpuuse){
		.instance = instance, .how = how, .pid = pid, .what = what,
	};
}

/* Is the node ("27", "noiommu-27", "devices/vfio3", below /dev/vfio) the instance's? */
static bool is_node_of(const struct vgpu *g, const char *node)
{
	static const char noiommu[] = "noiommu-", devices[] = "devices/";
	char group[16];

	if (strncmp(node, devices, strlen(devices)) == 0)
		return g->vfio && strcmp(node + strlen(devices), g->vfio) == 0;
	if (strncmp(node, noiommu, strlen(noiommu)) == 0)
		node += strlen(noiommu);
	snprintf(group, sizeof(group), "%d", g->group);
	return g->group >= 0 && strcmp(node, group) == 0;
}

/* Could a VFIO device be this instance's? Of plain VFs only one that VFIO drives. */
static bool is_vfio(const struct vgpus *v, const struct vgpu *g)
{
	return v->parents[g->parent].backend != VGPU_SRIOV ||
	       bind_is_vfio_driver(g->driver);
}

static void end_process(struct search *s)
{
	for (size_t i = 0; s->has_unnamed && !s->has_vfio && i < s->v->n_instances; i++)
		if (is_vfio(s->v, &s->v->instances[i]))
			add_use(s, i, VGPUUSE_MAYBE, s->pid, xstrdup(VFIO_DEVICE));
	s->has_vfio = s->has_unnamed = false;
}

/* Name of the device that a VFIO descriptor is, allocated; NULL before Linux 6.18. */
static char *named_device(const struct procfd *file)
{
	_cleanup_free_ char *path = root_path("/proc/%d/fdinfo/%s", (int)file->pid,
					      file->name);
	char text[SYSFS_MAX + 1], *line, *slash;

	if (sysfs_read(path, text, sizeof(text)) <= 0)
		return NULL;
	line = strstr(text, "vfio-device-syspath:");
	if (!line)
		return NULL;
	line[strcspn(line, "\n")] = '\0';
	slash = strrchr(line, '/');
	return slash ? xstrdup(slash + 1) : NULL;
}

static void see_device(struct search *s, const struct procfd *file)
{
	_cleanup_free_ char *name = named_device(file);

	if (!name) {
		s->has_unnamed = true;
		return;
	}
	for (size_t i = 0; i < s->v->n_instances; i++)
		if (strcmp(s->v->instances[i].id, name) == 0)
			add_use(s, i, VGPUUSE_FILE, file->pid, xstrdup(VFIO_DEVICE));
}

static void see_file(const struct procfd *file, void *arg)
{
	struct search *s = arg;
	const char *node;
	dev_t number;

	if (file->pid != s->pid) {
		end_process(s);
		s->pid = file->pid;
	}
	if (root_is_host() && file->pid == getpid())
		return;
	if (strcmp(file->target, VFIO_DEVICE) == 0) {
		see_device(s, file);
		return;
	}
	/* A container may have it elsewhere. */
	node = strstr(file->target, "/dev/vfio/");
	if (!node)
		return;
	node += strlen("/dev/vfio/");
	if (strcmp(node, "vfio") == 0 || !procfd_is_node(file, &number))
		return;
	s->has_vfio = true;
	for (size_t i = 0; i < s->v->n_instances; i++)
		if (is_node_of(&s->v->instances[i], node))
			add_use(s, i, VGPUUSE_FILE, file->pid, xstrdup(file->target));
}

/* Can the word of a command line be a device of VFIO: QEMU's two forms, others' path=? */
static bool is_device_word(const char *word)
{
	static const char *const starts[] = { "vfio-", "{", "sysfsdev=", "path=" };

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
		if (strncmp(word, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

static bool names_instance(const char *word, const char *id)
{
	_cleanup_free_ char *bare = NULL;
	const char *found = strcasestr(word, id);
	size_t len = strlen(id);

	if (!found && strncmp(id, "0000:", 5) == 0) {
		bare = xasprintf("host=%s", id + 5);
		found = strcasestr(word, bare);
		len = strlen(bare);
	}
	return found && !strchr("0123456789abcdefABCDEF", found[len] ? found[len] : ',');
}

static void see_cmdline(struct search *s, pid_t pid, const struct readfile *cmdline)
{
	const char *end = cmdline->data + cmdline->len;

	for (const char *word = cmdline->data; word < end; word += strlen(word) + 1) {
		if (!is_device_word(word))
			continue;
		for (size_t i = 0; i < s->v->n_instances; i++)
			if (names_instance(word, s->v->instances[i].id))
				add_use(s, i, VGPUUSE_CMDLINE, pid,
					xstrdup("command line"));
	}
}

static void read_cmdline(pid_t pid, void *arg)
{
	_cleanup_free_ char *path = root_path("/proc/%d/cmdline", (int)pid);
	struct readfile cmdline = { 0 };

	if (readfile_at(AT_FDCWD, path, CMDLINE_MAX, &cmdline) == 0 && cmdline.len)
		see_cmdline(arg, pid, &cmdline);
	free(cmdline.data);
}

static void add_vm(struct search *s, size_t instance, uint32_t vmid, pid_t pid,
		   char *what)
{
	add_use(s, instance, VGPUUSE_PVE, pid, what);
	for (size_t i = 0; i < s->n; i++) {
		struct vgpuuse *u = &s->uses[i];

		if (u->instance == instance && u->pid == pid && !u->owner)
			u->owner = xasprintf("qemu/%u", vmid);
	}
}

/* A VM that PVE starts just now has its devices before it has a process. */
static void see_reservations(struct search *s, size_t instance, uint32_t vmid)
{
	struct reservation *r = NULL;
	struct pciaddr addr;
	size_t n = 0;
	bool is_vf = pciaddr_parse(s->v->instances[instance].id, &addr);

	if (reservations_read(&r, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if ((is_vf ? pciaddr_compare(&r[i].addr, &addr) == 0
			   : r[i].vmid == vmid) &&
		    reservation_is_held(&r[i])) {
			add_vm(s, instance, r[i].vmid, r[i].pid, xstrdup("reserved by PVE"));
			break;
		}
	free(r);
}

static void see_pve(struct search *s)
{
	for (size_t i = 0; i < s->v->n_instances; i++) {
		struct guest_id id = { .kind = GUEST_QEMU };
		unsigned hostpci;
		pid_t pid = 0;

		if (!mdev_pve_uuid_parse(s->v->instances[i].id, &hostpci, &id.vmid))
			id.vmid = 0;
		if (id.vmid && guest_is_running(id, &pid, NULL))
			add_vm(s, i, id.vmid, pid, xstrdup("PVE's UUID"));
		else
			see_reservations(s, i, id.vmid);
	}
}

/* Who they are; a process that has ended meanwhile is left out. */
static size_t complete(struct vgpuuse *uses, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct vgpuuse *u = &uses[i];
		bool is_there = u->pid && procfd_comm(u->pid, u->comm) >= 0;

		if (u->owner ? is_there || u->how == VGPUUSE_PVE :
			       is_there && cgroup_owner(u->pid, &u->owner) >= 0) {
			uses[kept++] = *u;
		} else {
			free(u->owner);
			free(u->what);
		}
	}
	return kept;
}

static int compare_use(const void *a, const void *b)
{
	const struct vgpuuse *x = a, *y = b;

	if (x->instance != y->instance)
		return x->instance > y->instance ? 1 : -1;
	if (x->how != y->how)
		return x->how > y->how ? 1 : -1;
	return x->pid > y->pid ? 1 : x->pid < y->pid ? -1 : 0;
}

int vgpuuse_list(const struct vgpus *v, struct vgpuuse **uses, size_t *n)
{
	struct search s = { .v = v };
	int rc = 0;

	if (v->n_instances) {
		rc = procfd_walk(see_file, &s);
		end_process(&s);
		if (rc == 0)
			rc = procfd_each_process(read_cmdline, &s);
		see_pve(&s);
	}
	if (rc == -ENOENT)	/* a root without processes */
		rc = 0;
	if (rc < 0) {
		vgpuuse_free(s.uses, s.n);
		return rc;
	}
	s.n = complete(s.uses, s.n);
	if (s.n)
		qsort(s.uses, s.n, sizeof(*s.uses), compare_use);
	*uses = s.uses;
	*n = s.n;
	return 0;
}

void vgpuuse_free(struct vgpuuse *uses, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(uses[i].owner);
		free(uses[i].what);
	}
	free(uses);
}

const struct vgpuuse *vgpuuse_of(const struct vgpuuse *uses, size_t n, size_t instance)
{
	for (size_t i = 0; i < n; i++)
		if (uses[i].instance == instance)
			return &uses[i];
	return NULL;
}

char *vgpuuse_text(const struct vgpuuse *use)
{
	struct guest_id id;

	if (guest_parse(use->owner, &id))
		return xasprintf("%s %u", id.kind == GUEST_QEMU ? "VM" : "container",
				 id.vmid);
	return xasprintf("%sprocess %d (%s)", use->how == VGPUUSE_MAYBE ? "perhaps " : "",
			 (int)use->pid, use->comm);
}

bool vgpuuse_is_leftover(const struct vgpus *v, const struct vgpuuse *uses, size_t n,
			 size_t instance, bool is_defined)
{
	const struct vgpu *g = &v->instances[instance];

	return v->parents[g->parent].backend != VGPU_SRIOV && !is_defined &&
	       !vgpuuse_of(uses, n, instance);
}
