/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instances that exist, and why a type has none left. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pci/vgpu-parts.h"

/* Name of the first entry of FOLDER/vfio-dev, allocated; NULL without. */
static char *vfio_device(const char *folder)
{
	_cleanup_free_ char *path = xasprintf("%s/vfio-dev", folder);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			return xstrdup(entry->d_name);
	return NULL;
}

/* id and path become the instance's own. */
static struct vgpu *add_instance(struct vgpu_build *b, size_t parent, char *id,
				 char *path)
{
	struct vgpus *v = b->v;
	_cleanup_free_ char *group = vgpu_link(path, "iommu_group");
	struct vgpu *g;

	v->instances = xgrow(v->instances, v->n_instances, &b->instances_room,
			     sizeof(*v->instances));
	g = &v->instances[v->n_instances++];
	*g = (struct vgpu){
		.id = id,
		.parent = parent,
		.path = path,
		.group = group && isdigit((unsigned char)*group) ? atoi(group) : -1,
		.driver = vgpu_link(path, "driver"),
		.vfio = vfio_device(path),
	};
	return g;
}

static int parent_of(const struct vgpus *v, const char *name)
{
	for (size_t i = 0; i < v->n_parents; i++)
		if (strcmp(v->parents[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void add_mdev(struct vgpu_build *b, const char *uuid)
{
	_cleanup_free_ char *path = root_path("/sys/bus/mdev/devices/%s", uuid);
	_cleanup_free_ char *place = realpath(path, NULL);
	char *slash = place ? strrchr(place, '/') : NULL;
	char *id;
	struct vgpu *g;
	int parent;

	if (!slash)
		return;		/* gone meanwhile */
	*slash = '\0';
	slash = strrchr(place, '/');
	parent = slash ? parent_of(b->v, slash + 1) : -1;
	if (parent < 0)
		return;
	id = xstrdup(uuid);
	for (char *p = id; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	g = add_instance(b, (size_t)parent, id, TAKE_PTR(path));
	g->type = vgpu_link(g->path, "mdev_type");
	if (g->type)
		g->name = vgpu_attr(g->path, "mdev_type/name");
}

static int add_mdevs(struct vgpu_build *b)
{
	_cleanup_free_ char *path = root_path("/sys/bus/mdev/devices");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while ((entry = readdir(dir)))
		if (*entry->d_name != '.')
			add_mdev(b, entry->d_name);
	return 0;
}

static void add_vfs(struct vgpu_build *b, size_t parent)
{
	const struct vgpu_parent *p = &b->v->parents[parent];

	for (size_t i = 0; i < p->n_vfs; i++) {
		const struct vgpu_vf *vf = &p->vfs[i];
		struct vgpu *g;
		int type;

		if (p->backend == VGPU_NVIDIA && vf->current <= 0)
			continue;
		g = add_instance(b, parent, xstrdup(vf->name),
				 root_path("/sys/bus/pci/devices/%s", vf->name));
		g->type = p->backend == VGPU_SRIOV ? xstrdup("vf") :
			  xasprintf("nvidia-%d", vf->current);
		if (p->backend == VGPU_SRIOV) {
			g->name = xstrdup(VGPU_SRIOV_NAME);
			continue;
		}
		type = vgpus_find_type(b->v, parent, g->type);
		if (type >= 0 && b->v->types[type].name)
			g->name = xstrdup(b->v->types[type].name);
	}
}

int vgpu_instances_add(struct vgpu_build *b)
{
	int rc = add_mdevs(b);

	for (size_t i = 0; rc == 0 && i < b->v->n_parents; i++)
		if (b->v->parents[i].backend != VGPU_MDEV)
			add_vfs(b, i);
	return rc;
}

/* Are both parents, or are they parts of, one card? VFs share what their PF has. */
static bool is_same_card(const struct vgpus *v, size_t a, size_t b)
{
	const struct vgpu_parent *x = &v->parents[a], *y = &v->parents[b];

	return a == b ||
	       (x->is_vf && y->is_vf && pciaddr_compare(&x->physfn, &y->physfn) == 0);
}

static bool is_same_type(const struct vgpu *a, const struct vgpu *b)
{
	return a->type && b->type && strcmp(a->type, b->type) == 0;
}

char *vgpu_holds(const struct vgpus *v, size_t parent)
{
	char *text = NULL;

	for (size_t i = 0; i < v->n_instances; i++) {
		const struct vgpu *g = &v->instances[i];
		_cleanup_free_ char *before = text;
		size_t n = 1;
		bool is_first = true;

		for (size_t k = 0; k < v->n_instances && is_first; k++) {
			bool same = k != i && is_same_type(&v->instances[k], g) &&
				    is_same_card(v, v->instances[k].parent, parent);

			is_first = !same || k > i;
			n += same;
		}
		if (!is_first || !is_same_card(v, g->parent, parent)) {
			before = NULL;
			continue;
		}
		text = xasprintf("%s%s%zu x %s%s%s%s", before ? before : "",
				 before ? ", " : "", n,
				 g->name ? g->name : g->type ? g->type : "?",
				 g->name && g->type ? " (" : "",
				 g->name && g->type ? g->type : "",
				 g->name && g->type ? ")" : "");
	}
	return text;
}

/* Instances on the card: all, those of the type, those of another known size. */
struct count {
	int all, same, other_size;
};

static struct count count_on_card(const struct vgpus *v, const struct vgpu_type *t)
{
	struct count c = { 0 };

	for (size_t i = 0; i < v->n_instances; i++) {
		const struct vgpu *g = &v->instances[i];
		int framebuffer, max;
		bool is_mig;

		if (!is_same_card(v, g->parent, t->parent))
			continue;
		c.all++;
		c.same += g->type && strcmp(g->type, t->id) == 0;
		mdev_sizes(g->name, NULL, &framebuffer, &max, &is_mig);
		c.other_size += framebuffer > 0 && t->framebuffer > 0 &&
				framebuffer != t->framebuffer;
	}
	return c;
}

static size_t count_free_vfs(const struct vgpu_parent *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_vfs; i++)
		n += p->vfs[i].current == 0;
	return n;
}

static char *reason_of(const struct vgpus *v, const struct vgpu_type *t)
{
	const struct vgpu_parent *p = &v->parents[t->parent];
	_cleanup_free_ char *holds = vgpu_holds(v, t->parent);
	struct count c = count_on_card(v, t);

	if (p->backend == VGPU_SRIOV && p->n_vfs < (size_t)p->totalvfs)
		return xasprintf("%zu of %d VFs exist; only from 0 on can others be made",
				 p->n_vfs, p->totalvfs);
	if (p->backend == VGPU_SRIOV)
		return xasprintf("all %d VFs exist", p->totalvfs);
	if (!holds)
		return xstrdup(p->backend == VGPU_NVIDIA ?
			       "the driver offers none now, and no vGPU is there" :
			       "nothing is in use: the driver offers none");
	if (p->backend == VGPU_NVIDIA && count_free_vfs(p) == 0)
		return xasprintf("every VF is taken: %s", holds);
	if (c.other_size)
		return xasprintf("another size is in use: %s", holds);
	if (c.same == c.all)
		return xasprintf("all are in use: %s", holds);
	return xasprintf("in use: %s", holds);
}

void vgpu_types_explain(struct vgpus *v)
{
	for (size_t i = 0; i < v->n_types; i++)
		if (v->types[i].available == 0)
			v->types[i].reason = reason_of(v, &v->types[i]);
}
