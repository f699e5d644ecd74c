/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the contention model wants to know of this host. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/gpuproc.h"
#include "pci/iommu.h"
#include "pve/contention.h"

/* The functions that this node's assignments name, sorted, each once. */
static struct pciaddr *named_functions(const struct assignment *a, size_t n,
				       size_t *n_addrs)
{
	struct pciaddr *addrs = xcalloc(n + 1, sizeof(*addrs));
	size_t all = 0, kept = 0;

	for (size_t i = 0; i < n; i++)
		if (a[i].state != ASSIGNMENT_ELSEWHERE && a[i].has_addr && !a[i].is_slot)
			addrs[all++] = a[i].addr;
	qsort(addrs, all, sizeof(*addrs), pciaddr_compare);
	for (size_t i = 0; i < all; i++)
		if (kept == 0 || pciaddr_compare(&addrs[kept - 1], &addrs[i]) != 0)
			addrs[kept++] = addrs[i];
	*n_addrs = kept;
	return addrs;
}

static int load_devs(struct contention_facts *f, const struct pciaddr *addrs, size_t n)
{
	f->devs = xcalloc(n + 1, sizeof(*f->devs));
	for (size_t i = 0; i < n; i++) {
		struct pcidev *dev = &f->devs[f->n_devs];
		int rc;

		*dev = (struct pcidev){ .addr = addrs[i], .iommu_group = -1 };
		rc = pcidev_fill(dev, PCIDEV_BIND);
		if (rc == -ENOENT)
			continue;
		if (rc < 0)
			return rc;
		f->n_devs++;
	}
	return 0;
}

static int compare_devs(const void *va, const void *vb)
{
	return pciaddr_compare(&((const struct pcidev *)va)->addr,
			       &((const struct pcidev *)vb)->addr);
}

/* A group neighbour that no assignment names. */
static int add_dev(struct contention_facts *f, const struct pciaddr *addr)
{
	struct pcidev *dev;
	int rc;

	if (pcidev_find(f->devs, f->n_devs, addr))
		return 0;
	f->devs = xreallocarray(f->devs, f->n_devs + 1, sizeof(*f->devs));
	dev = &f->devs[f->n_devs];
	*dev = (struct pcidev){ .addr = *addr, .iommu_group = -1 };
	rc = pcidev_fill(dev, PCIDEV_BIND);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	f->n_devs++;
	qsort(f->devs, f->n_devs, sizeof(*f->devs), compare_devs);
	return 0;
}

/* Parents of instances, and functions with NVIDIA's vGPU directory. */
static int load_types(struct contention_facts *f)
{
	_cleanup_free_ struct pciaddr *parents = xcalloc(f->n_devs + 1, sizeof(*parents));
	size_t n = 0;

	f->vgpus = xcalloc(f->n_devs + 1, sizeof(*f->vgpus));
	for (size_t i = 0; i < f->n_devs; i++) {
		_cleanup_free_ char *path = NULL;
		char addr[PCIADDR_STRLEN];

		if (!f->devs[i].has_mdev)
			continue;
		path = root_path("/sys/bus/pci/devices/%s/nvidia",
				 pciaddr_format(&f->devs[i].addr, addr));
		if (access(path, F_OK) == 0)
			f->vgpus[f->n_vgpus++] = f->devs[i].addr;
		else
			parents[n++] = f->devs[i].addr;
	}
	return n > 0 ? mdev_types_read(parents, n, &f->types, &f->n_types) : 0;
}

/*
 * Does PVE take this function from its driver when x starts, for itself or with its
 * group?
 */
static bool is_in_reach(const struct contention_facts *f, const struct assignment *a,
			size_t n, const struct guest_id *x, const struct pciaddr *addr)
{
	int group = iommu_group_of(addr);

	for (size_t i = 0; i < n; i++) {
		const struct pcidev *dev;

		if (guest_compare(&a[i].guest, x) != 0 || !a[i].has_addr)
			continue;
		if (pciaddr_compare(&a[i].addr, addr) == 0)
			return true;
		dev = pcidev_find(f->devs, f->n_devs, &a[i].addr);
		if (dev && group >= 0 && dev->iommu_group == group)
			return true;
	}
	return false;
}

static void add_host_user(struct contention_facts *f, size_t *room,
			  const struct gpuproc *p, const struct pciaddr *addr)
{
	const char *unit = strncmp(p->owner, "unit/", 5) == 0 ? p->owner + 5 : NULL;

	f->host_users =
		xgrow(f->host_users, f->n_host_users, room, sizeof(*f->host_users));
	f->host_users[f->n_host_users++] =
		(struct contention_host_user){ .addr = *addr,
					       .pid = (int)p->pid,
					       .comm = xstrdup(p->comm),
					       .unit = unit ? xstrdup(unit) : NULL };
}

/* Looking through all processes takes its time: only for a GPU that is in reach. */
static int load_host_users(struct contention_facts *f, const struct assignment *a,
			   size_t n, const struct guest_id *x)
{
	struct gpunodes nodes = { 0 };
	struct gpuproc *procs = NULL;
	size_t n_procs = 0, room = 0;
	bool look = false;
	int rc = gpunodes_read(&nodes);

	for (size_t i = 0; rc == 0 && i < nodes.n && !look; i++)
		look = is_in_reach(f, a, n, x, &nodes.nodes[i].addr);
	if (look)
		rc = gpuproc_list(&nodes, &procs, &n_procs);
	for (size_t i = 0; rc == 0 && i < n_procs; i++) {
		/* A guest's own processes are the guest's matter. */
		if (strncmp(procs[i].owner, "qemu/", 5) == 0 ||
		    strncmp(procs[i].owner, "lxc/", 4) == 0)
			continue;
		for (size_t k = 0; k < procs[i].n_addrs; k++)
			if (is_in_reach(f, a, n, x, &procs[i].addrs[k]))
				add_host_user(f, &room, &procs[i], &procs[i].addrs[k]);
	}
	gpuproc_free(procs, n_procs);
	gpunodes_done(&nodes);
	return rc;
}

static void load_members(struct contention_facts *f, const struct config *cfg)
{
	size_t room = 0;

	for (size_t g = 0; g < cfg->n_groups; g++) {
		for (size_t i = 0; i < cfg->groups[g].n; i++) {
			struct guest guest = { 0 };
			char name[16];

			snprintf(name, sizeof(name), "%u",
				 (unsigned)cfg->groups[g].vmids[i]);
			if (guest_find(name, &guest) != 0)
				continue;
			f->members = xgrow(f->members, f->n_members, &room,
					   sizeof(*f->members));
			f->members[f->n_members++] =
				(struct contention_member){ guest.id, guest.running };
			guest_done(&guest);
		}
	}
}

/* With ha = refuse a managed guest cannot be stopped: a plan has to do without it. */
static void load_refused(struct contention_facts *f, const struct assignment *a, size_t n)
{
	_cleanup_free_ char *path = root_path("/etc/pve/ha/resources.cfg");
	const struct guest_id *last = NULL;
	size_t room = 0;

	if (access(path, F_OK) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct guest guest = { 0 };
		char name[GUEST_STRLEN];

		if (a[i].state != ASSIGNMENT_RUNNING ||
		    (last && guest_compare(last, &a[i].guest) == 0))
			continue;
		last = &a[i].guest;
		if (guest_find(guest_format(a[i].guest, name), &guest) != 0)
			continue;
		if (guest.ha) {
			f->refused = xgrow(f->refused, f->n_refused, &room,
					   sizeof(*f->refused));
			f->refused[f->n_refused++] = guest.id;
		}
		guest_done(&guest);
	}
}

/*
 * PVE passes nothing through where this folder is empty (qemu-server,
 * QemuServer/PCI.pm). The kernel makes it whether there is an IOMMU or not.
 */
static bool has_no_iommu(void)
{
	_cleanup_free_ char *path = root_path("/sys/class/iommu");
	_cleanup_closedir_ DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			return false;
	return dir;
}

int contention_facts_load(struct contention_facts *f, const struct assignment *a,
			  size_t n, const struct config *cfg, const struct guest_id *x)
{
	_cleanup_free_ struct pciaddr *addrs = NULL;
	size_t n_addrs;
	int rc;

	*f = (struct contention_facts){ 0 };
	f->no_iommu = has_no_iommu();
	addrs = named_functions(a, n, &n_addrs);
	rc = load_devs(f, addrs, n_addrs);
	if (rc == 0)
		rc = load_types(f);
	if (rc == 0 && x)
		rc = load_host_users(f, a, n, x);
	for (size_t i = 0; rc == 0 && i < f->n_host_users; i++)
		rc = add_dev(f, &f->host_users[i].addr);
	if (cfg)
		load_members(f, cfg);
	if (cfg && !cfg->ha_stop)
		load_refused(f, a, n);
	return rc;
}

void contention_facts_done(struct contention_facts *f)
{
	for (size_t i = 0; i < f->n_host_users; i++) {
		free((char *)(uintptr_t)f->host_users[i].comm);
		free((char *)(uintptr_t)f->host_users[i].unit);
	}
	pcidev_free(f->devs, f->n_devs);
	mdev_types_free(f->types, f->n_types);
	free(f->vgpus);
	free(f->host_users);
	free(f->members);
	free(f->refused);
	*f = (struct contention_facts){ 0 };
}

struct contention_input contention_facts_input(const struct contention_facts *f,
					       const struct assignment *a, size_t n,
					       const struct config *cfg, const char *node)
{
	return (struct contention_input){ .assignments = a,
					  .n_assignments = n,
					  .devs = f->devs,
					  .n_devs = f->n_devs,
					  .types = f->types,
					  .n_types = f->n_types,
					  .config = cfg,
					  .host_users = f->host_users,
					  .n_host_users = f->n_host_users,
					  .node = node,
					  .vgpus = f->vgpus,
					  .n_vgpus = f->n_vgpus,
					  .members = f->members,
					  .n_members = f->n_members,
					  .refused = f->refused,
					  .n_refused = f->n_refused,
					  .no_iommu = f->no_iommu };
}
