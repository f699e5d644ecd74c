/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/parentname.h"
#include "pci/vgpu-parts.h"

enum { CLASS_DISPLAY = 0x03, CLASS_ACCELERATOR = 0x12 };

struct found_vf {		/* a function with a physfn link */
	struct pciaddr addr, physfn;
};

struct found_vfs {
	struct found_vf *vfs;	/* owned */
	size_t n, room;
};

char *vgpu_attr(const char *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	char text[SYSFS_MAX + 1];

	return sysfs_read(path, text, sizeof(text)) > 0 ? xstrdup(text) : NULL;
}

int vgpu_number(const char *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
	uint64_t v;

	return sysfs_read_u64(path, &v) == 0 && v <= INT_MAX ? (int)v : -1;
}

char *vgpu_link(const char *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);

	return sysfs_link_name(path);
}

static bool has(const char *folder, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", folder, name);

	return access(path, F_OK) == 0;
}

const char *vgpu_backend_name(enum vgpu_backend backend)
{
	static const char *const names[] = {
		[VGPU_MDEV] = "mdev", [VGPU_NVIDIA] = "nvidia", [VGPU_SRIOV] = "sriov",
	};

	return names[backend];
}

static int parent_named(const struct vgpus *v, const char *name)
{
	for (size_t i = 0; i < v->n_parents; i++)
		if (strcmp(v->parents[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* path becomes the parent's own. */
static struct vgpu_parent *add_parent(struct vgpu_build *b, const char *name, char *path,
				      enum vgpu_backend backend)
{
	struct vgpus *v = b->v;
	_cleanup_free_ char *physfn = vgpu_link(path, "physfn");
	struct vgpu_parent *p;

	v->parents =
		xgrow(v->parents, v->n_parents, &b->parents_room, sizeof(*v->parents));
	p = &v->parents[v->n_parents++];
	*p = (struct vgpu_parent){
		.name = xstrdup(name),
		.path = path,
		.backend = backend,
		.driver = vgpu_link(path, "driver"),
		.totalvfs = vgpu_number(path, "sriov_totalvfs"),
		.numvfs = vgpu_number(path, "sriov_numvfs"),
	};
	p->is_pci = pciaddr_parse(name, &p->addr);
	p->is_vf = physfn && pciaddr_parse(physfn, &p->physfn);
	return p;
}

/* Every entry of a folder but hidden ones; a folder that is not there has none. */
static int each_entry(const char *path, int (*see)(const char *name, void *arg),
		      void *arg)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	int rc = 0;

	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while (rc == 0 && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			rc = see(entry->d_name, arg);
	return rc;
}

static int see_mdev_bus(const char *name, void *arg)
{
	add_parent(arg, name, root_path("/sys/class/mdev_bus/%s", name), VGPU_MDEV);
	return 0;
}

/* A parent that is not registered (any more), known by an instance of it. */
static int see_instance(const char *uuid, void *arg)
{
	struct vgpu_build *b = arg;
	_cleanup_free_ char *link = root_path("/sys/bus/mdev/devices/%s", uuid);
	_cleanup_free_ char *place = realpath(link, NULL);
	char *slash = place ? strrchr(place, '/') : NULL;

	if (!slash)
		return 0;
	*slash = '\0';
	slash = strrchr(place, '/');
	if (slash && parent_named(b->v, slash + 1) < 0)
		add_parent(b, slash + 1, xstrdup(place), VGPU_MDEV);
	return 0;
}

struct scan {
	struct vgpu_build *b;
	struct found_vfs vfs;
	struct pciaddr *physfns;	/* owned; functions with sriov_totalvfs */
	size_t n, room;
};

static void add_found_vf(struct scan *s, const struct pciaddr *addr,
			 const struct pciaddr *physfn)
{
	s->vfs.vfs = xgrow(s->vfs.vfs, s->vfs.n, &s->vfs.room, sizeof(*s->vfs.vfs));
	s->vfs.vfs[s->vfs.n++] = (struct found_vf){ *addr, *physfn };
}

static void add_physfn(struct scan *s, const struct pciaddr *addr)
{
	for (size_t i = 0; i < s->n; i++)
		if (pciaddr_compare(&s->physfns[i], addr) == 0)
			return;
	s->physfns = xgrow(s->physfns, s->n, &s->room, sizeof(*s->physfns));
	s->physfns[s->n++] = *addr;
}

static int see_function(const char *name, void *arg)
{
	struct scan *s = arg;
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s", name);
	_cleanup_free_ char *physfn = vgpu_link(path, "physfn");
	struct pciaddr addr, physfn_addr;

	if (!pciaddr_parse(name, &addr))
		return 0;
	if (has(path, "mdev_supported_types") && parent_named(s->b->v, name) < 0)
		add_parent(s->b, name, xstrdup(path), VGPU_MDEV);
	if (physfn && pciaddr_parse(physfn, &physfn_addr)) {
		add_found_vf(s, &addr, &physfn_addr);
		add_physfn(s, &physfn_addr);
	} else if (vgpu_number(path, "sriov_totalvfs") > 0) {
		add_physfn(s, &addr);
	} else if (has(path, "nvidia/current_vgpu_type")) {
		/* A VF whose PF this kernel does not show stands for itself. */
		add_found_vf(s, &addr, &addr);
		add_physfn(s, &addr);
	}
	return 0;
}

static int compare_vf(const void *a, const void *b)
{
	const struct vgpu_vf *x = a, *y = b;

	return pciaddr_compare(&x->addr, &y->addr);
}

static void add_vf(struct vgpu_vf **vfs, size_t *n, size_t *room,
		   const struct pciaddr *addr)
{
	char name[PCIADDR_STRLEN];
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s",
					      pciaddr_format(addr, name));

	*vfs = xgrow(*vfs, *n, room, sizeof(**vfs));
	(*vfs)[(*n)++] = (struct vgpu_vf){
		.addr = *addr,
		.name = xstrdup(name),
		.current = vgpu_number(path, "nvidia/current_vgpu_type"),
		.is_ready = has(path, "nvidia/current_vgpu_type"),
	};
}

static void free_vfs(struct vgpu_vf *vfs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(vfs[i].name);
	free(vfs);
}

static bool is_graphics(const char *path)
{
	uint64_t class = 0;
	_cleanup_free_ char *file = xasprintf("%s/class", path);

	if (sysfs_read_u64(file, &class) < 0)
		return false;
	return class >> 16 == CLASS_DISPLAY || class >> 16 == CLASS_ACCELERATOR;
}

/* What does a function with SR-IOV make its virtual functions for? */
static void add_physical(struct scan *s, const struct pciaddr *addr, bool any)
{
	char name[PCIADDR_STRLEN];
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s",
					      pciaddr_format(addr, name));
	struct vgpu_vf *vfs = NULL;
	struct vgpu_parent *p;
	size_t n = 0, room = 0;
	bool has_ready = false, has_mdev = parent_named(s->b->v, name) >= 0;

	for (size_t i = 0; i < s->vfs.n; i++)
		if (pciaddr_compare(&s->vfs.vfs[i].physfn, addr) == 0)
			add_vf(&vfs, &n, &room, &s->vfs.vfs[i].addr);
	for (size_t i = 0; i < n; i++) {
		has_ready = has_ready || vfs[i].is_ready;
		has_mdev = has_mdev || parent_named(s->b->v, vfs[i].name) >= 0;
	}
	if (has_mdev || (!has_ready && !any && !is_graphics(path))) {
		free_vfs(vfs, n);
		return;
	}
	if (n)
		qsort(vfs, n, sizeof(*vfs), compare_vf);
	p = add_parent(s->b, name, TAKE_PTR(path), VGPU_SRIOV);
	/* NVIDIA's driver refuses sriov_numvfs, with VFs made or not. */
	if (has_ready || (p->driver && strcmp(p->driver, "nvidia") == 0))
		p->backend = VGPU_NVIDIA;
	p->vfs = vfs;
	p->n_vfs = n;
}

static int compare_parent(const void *a, const void *b)
{
	const struct vgpu_parent *x = a, *y = b;

	if (x->is_pci != y->is_pci)
		return x->is_pci ? -1 : 1;
	return x->is_pci ? pciaddr_compare(&x->addr, &y->addr) : strcmp(x->name, y->name);
}

static int read_parents(struct vgpu_build *b, bool any)
{
	_cleanup_free_ char *mdev_bus = root_path("/sys/class/mdev_bus");
	_cleanup_free_ char *mdevs = root_path("/sys/bus/mdev/devices");
	_cleanup_free_ char *functions = root_path("/sys/bus/pci/devices");
	struct scan s = { .b = b };
	int rc = each_entry(mdev_bus, see_mdev_bus, b);

	if (rc == 0)
		rc = each_entry(functions, see_function, &s);
	if (rc == 0)
		rc = each_entry(mdevs, see_instance, b);
	for (size_t i = 0; rc == 0 && i < s.n; i++)
		add_physical(&s, &s.physfns[i], any);
	free(s.vfs.vfs);
	free(s.physfns);
	if (b->v->n_parents)
		qsort(b->v->parents, b->v->n_parents, sizeof(*b->v->parents),
		      compare_parent);
	return rc;
}

static int compare_type(const void *a, const void *b)
{
	const struct vgpu_type *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent > y->parent ? 1 : -1;
	return strcmp(x->id, y->id);
}

static int compare_instance(const void *a, const void *b)
{
	const struct vgpu *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent > y->parent ? 1 : -1;
	return strcmp(x->id, y->id);
}

int vgpus_read(struct vgpus *v, unsigned what)
{
	struct vgpu_build b = { .v = v };
	int rc;

	*v = (struct vgpus){ 0 };
	rc = read_parents(&b, what & VGPUS_ANY_SRIOV);
	for (size_t i = 0; rc == 0 && i < v->n_parents; i++)
		/* Names of NVIDIA's instances are known by the types alone. */
		if ((what & VGPUS_TYPES) || v->parents[i].backend == VGPU_NVIDIA)
			rc = vgpu_types_add(&b, i);
	if (v->n_types)
		qsort(v->types, v->n_types, sizeof(*v->types), compare_type);
	if (rc == 0)
		rc = vgpu_instances_add(&b);
	if (rc < 0) {
		vgpus_done(v);
		return rc;
	}
	if (v->n_instances)
		qsort(v->instances, v->n_instances, sizeof(*v->instances),
		      compare_instance);
	vgpu_types_explain(v);
	return 0;
}

void vgpus_done(struct vgpus *v)
{
	for (size_t i = 0; i < v->n_parents; i++) {
		free(v->parents[i].name);
		free(v->parents[i].path);
		free(v->parents[i].driver);
		free_vfs(v->parents[i].vfs, v->parents[i].n_vfs);
	}
	for (size_t i = 0; i < v->n_types; i++) {
		free(v->types[i].id);
		free(v->types[i].name);
		free(v->types[i].api);
		free(v->types[i].description);
		free(v->types[i].reason);
	}
	for (size_t i = 0; i < v->n_instances; i++) {
		free(v->instances[i].id);
		free(v->instances[i].type);
		free(v->instances[i].name);
		free(v->instances[i].path);
		free(v->instances[i].driver);
		free(v->instances[i].vfio);
	}
	free(v->parents);
	free(v->types);
	free(v->instances);
	*v = (struct vgpus){ 0 };
}

int vgpus_find_parent(const struct vgpus *v, const char *text, const struct vgpu_vf **vf)
{
	_cleanup_free_ char *name = parentname_parse(text);
	int at = name ? parent_named(v, name) : -1;

	*vf = NULL;
	for (size_t i = 0; name && at < 0 && i < v->n_parents; i++)
		for (size_t k = 0; k < v->parents[i].n_vfs; k++)
			if (strcmp(v->parents[i].vfs[k].name, name) == 0) {
				*vf = &v->parents[i].vfs[k];
				return (int)i;
			}
	return at;
}

int vgpus_find(const struct vgpus *v, const char *text)
{
	_cleanup_free_ char *name = parentname_parse(text);

	for (size_t i = 0; name && i < v->n_instances; i++)
		if (strcasecmp(v->instances[i].id, name) == 0)
			return (int)i;
	return -1;
}

int vgpus_find_type(const struct vgpus *v, size_t parent, const char *id)
{
	for (size_t i = 0; i < v->n_types; i++)
		if (v->types[i].parent == parent && strcmp(v->types[i].id, id) == 0)
			return (int)i;
	return -1;
}
