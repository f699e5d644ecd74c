/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/cgroup.h"
#include "gpu/gpunode.h"
#include "gpu/gpuuser.h"
#include "gpu/procfd.h"
#include "pci/bind.h"
#include "pci/iommu.h"

#define VFIO_DEVICE "anon_inode:[vfio-device]"

struct node {			/* a node of one of the functions */
	char *path;		/* owned */
	dev_t number;		/* 0: to be known by its name only */
	struct pciaddr addr;
	bool is_vfio;		/* the function's VFIO group or device */
};

struct search {
	const struct pciaddr *addrs;
	size_t n_addrs;
	struct node *nodes;	/* owned */
	size_t n_nodes, nodes_room;
	struct gpuuser *users;	/* owned */
	size_t n, room;
	/* Of the process whose files are being looked at: */
	pid_t pid;
	size_t first;		/* its first row */
	bool has_vfio;		/* a VFIO group or device, no matter whose */
	bool has_unnamed;	/* a VFIO device that fdinfo does not name */
};

/* Classes of devices that have nodes below /dev, and where. */
static const struct {
	const char *class, *folder;
} classes[] = {
	{ "drm", "/dev/dri" }, { "accel", "/dev/accel" }, { "sound", "/dev/snd" },
	{ "graphics", "/dev" }, { "i2c-dev", "/dev" }, { "mei", "/dev" },
	{ "vfio-dev", "/dev/vfio/devices" },
};

static void add_node(struct search *s, char *path, const struct pciaddr *addr,
		     bool is_vfio)
{
	struct stat st;
	struct node *node;

	s->nodes = xgrow(s->nodes, s->n_nodes, &s->nodes_room, sizeof(*s->nodes));
	node = &s->nodes[s->n_nodes++];
	*node = (struct node){ .path = path, .addr = *addr, .is_vfio = is_vfio };
	if (root_is_host() && stat(path, &st) == 0 && S_ISCHR(st.st_mode))
		node->number = st.st_rdev;
}

static bool is_at_or_below(const char *link, const char *base)
{
	_cleanup_free_ char *place = realpath(link, NULL);
	size_t len = strlen(base);

	return place && strncmp(place, base, len) == 0 &&
	       (place[len] == '/' || !place[len]);
}

/* Nodes of one class that belong to the function whose folder is base. */
static void add_class(struct search *s, const struct pciaddr *addr, const char *base,
		      const char *class, const char *folder)
{
	_cleanup_free_ char *path = root_path("/sys/class/%s", class);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *link = NULL, *device = NULL;

		if (*entry->d_name == '.')
			continue;
		link = xasprintf("%s/%s", path, entry->d_name);
		device = xasprintf("%s/device", link);
		if (is_at_or_below(link, base) || is_at_or_below(device, base))
			add_node(s, xasprintf("%s/%s", folder, entry->d_name), addr,
				 strcmp(class, "vfio-dev") == 0);
	}
}

static void add_function(struct search *s, const struct pciaddr *addr)
{
	_cleanup_free_ char *link = NULL, *base = NULL;
	char text[PCIADDR_STRLEN];
	int group = iommu_group_of(addr);

	if (group >= 0) {
		add_node(s, xasprintf("/dev/vfio/%d", group), addr, true);
		add_node(s, xasprintf("/dev/vfio/noiommu-%d", group), addr, true);
	}
	link = root_path("/sys/bus/pci/devices/%s", pciaddr_format(addr, text));
	base = realpath(link, NULL);
	for (size_t i = 0; base && i < ARRAY_SIZE(classes); i++)
		add_class(s, addr, base, classes[i].class, classes[i].folder);
}

static bool is_ours(const struct search *s, const struct pciaddr *addr)
{
	for (size_t i = 0; i < s->n_addrs; i++)
		if (pciaddr_compare(&s->addrs[i], addr) == 0)
			return true;
	return false;
}

/*
 * What no class of devices shows: NVIDIA's nodes and the one that all of amdgpu's share.
 */
static int add_gpunodes(struct search *s)
{
	struct gpunodes g;
	int rc = gpunodes_read(&g);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < g.n; i++)
		if (is_ours(s, &g.nodes[i].addr))
			add_node(s, xstrdup(g.nodes[i].path), &g.nodes[i].addr, false);
	gpunodes_done(&g);
	return 0;
}

static void add_user(struct search *s, const char *what, const struct pciaddr *addr,
		     bool is_certain)
{
	for (size_t i = s->first; i < s->n; i++)
		if (strcmp(s->users[i].what, what) == 0 &&
		    pciaddr_compare(&s->users[i].addr, addr) == 0)
			return;
	s->users = xgrow(s->users, s->n, &s->room, sizeof(*s->users));
	s->users[s->n++] = (struct gpuuser){
		.pid = s->pid,
		.what = xstrdup(what),
		.addr = *addr,
		.is_certain = is_certain,
	};
}

static bool is_vfio_bound(const struct pciaddr *addr)
{
	_cleanup_free_ char *link = NULL, *driver = NULL;
	char text[PCIADDR_STRLEN];

	link = root_path("/sys/bus/pci/devices/%s/driver", pciaddr_format(addr, text));
	driver = sysfs_link_name(link);
	return bind_is_vfio_driver(driver);
}

/* Has the process the function's VFIO group or device among its rows? */
static bool has_vfio_of(const struct search *s, const struct pciaddr *addr)
{
	for (size_t i = s->first; i < s->n; i++)
		if (pciaddr_compare(&s->users[i].addr, addr) == 0 &&
		    strncmp(s->users[i].what, "/dev/vfio/", 10) == 0)
			return true;
	return false;
}

/* All files of a process were seen: whose are the VFIO devices that nothing names? */
static void end_process(struct search *s)
{
	for (size_t i = 0; s->has_unnamed && i < s->n_addrs; i++) {
		if (!is_vfio_bound(&s->addrs[i]))
			continue;
		if (has_vfio_of(s, &s->addrs[i]))
			add_user(s, VFIO_DEVICE, &s->addrs[i], true);
		else if (!s->has_vfio)
			add_user(s, VFIO_DEVICE, &s->addrs[i], false);
	}
	s->has_vfio = s->has_unnamed = false;
	s->first = s->n;
}

/* The function of a VFIO device, from fdinfo. */
static bool named_function(const struct procfd *file, struct pciaddr *addr)
{
	_cleanup_free_ char *path = root_path("/proc/%d/fdinfo/%s", (int)file->pid,
					      file->name);
	char text[SYSFS_MAX + 1], *line, *slash;

	if (sysfs_read(path, text, sizeof(text)) <= 0)
		return false;
	line = strstr(text, "vfio-device-syspath:");
	if (!line)
		return false;
	line[strcspn(line, "\n")] = '\0';
	slash = strrchr(line, '/');
	return slash && pciaddr_parse(slash + 1, addr);
}

static bool is_node(const struct node *node, const struct procfd *file, dev_t number)
{
	if (node->number)
		return node->number == number;
	return strcmp(node->path, file->target) == 0;
}

static void see_node(struct search *s, const struct procfd *file)
{
	dev_t number;		/* a container may name the node otherwise */

	if (!procfd_is_node(file, &number))
		return;
	if (strncmp(file->target, "/dev/vfio/", 10) == 0 &&
	    strcmp(file->target, "/dev/vfio/vfio") != 0)
		s->has_vfio = true;
	for (size_t i = 0; i < s->n_nodes; i++)
		if (is_node(&s->nodes[i], file, number))
			add_user(s, s->nodes[i].is_vfio ? s->nodes[i].path : file->target,
				 &s->nodes[i].addr, true);
}

static void see_file(const struct procfd *file, void *arg)
{
	struct search *s = arg;
	struct pciaddr addr;

	if (file->pid != s->pid) {
		end_process(s);
		s->pid = file->pid;
	}
	if (root_is_host() && file->pid == getpid())
		return;
	if (strcmp(file->target, VFIO_DEVICE) != 0) {
		if (*file->target == '/')
			see_node(s, file);
	} else if (!named_function(file, &addr)) {
		s->has_unnamed = true;
	} else if (is_ours(s, &addr)) {
		add_user(s, VFIO_DEVICE, &addr, true);
	}
}

static int compare_user(const void *a, const void *b)
{
	const struct gpuuser *x = a, *y = b;
	int order;

	if (x->pid != y->pid)
		return x->pid > y->pid ? 1 : -1;
	order = strcmp(x->what, y->what);
	return order ? order : pciaddr_compare(&x->addr, &y->addr);
}

static void user_done(struct gpuuser *u)
{
	free(u->owner);
	free(u->what);
}

/* Who they are; a process that has ended meanwhile is left out. */
static size_t complete(struct gpuuser *users, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (cgroup_owner(users[i].pid, &users[i].owner) >= 0 &&
		    procfd_comm(users[i].pid, users[i].comm) >= 0)
			users[kept++] = users[i];
		else
			user_done(&users[i]);
	}
	return kept;
}

int gpuuser_list(const struct pciaddr *addrs, size_t n, struct gpuuser **users,
		 size_t *n_users)
{
	struct search s = { .addrs = addrs, .n_addrs = n };
	int rc;

	for (size_t i = 0; i < n; i++)
		add_function(&s, &addrs[i]);
	rc = add_gpunodes(&s);
	if (rc == 0)
		rc = procfd_walk(see_file, &s);
	end_process(&s);
	for (size_t i = 0; i < s.n_nodes; i++)
		free(s.nodes[i].path);
	free(s.nodes);
	if (rc < 0) {
		gpuuser_free(s.users, s.n);
		return rc;
	}
	s.n = complete(s.users, s.n);
	if (s.n)
		qsort(s.users, s.n, sizeof(*s.users), compare_user);
	*users = s.users;
	*n_users = s.n;
	return 0;
}

void gpuuser_free(struct gpuuser *users, size_t n)
{
	for (size_t i = 0; i < n; i++)
		user_done(&users[i]);
	free(users);
}
