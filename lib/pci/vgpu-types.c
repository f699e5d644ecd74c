/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/vgpu-parts.h"

enum { MEMORY_MAX = 64 * 1024 };	/* bytes of a file that vgpus_remember() writes */

static struct vgpu_type *add_type(struct vgpu_build *b, size_t parent, char *id,
				  char *name)
{
	struct vgpus *v = b->v;
	struct vgpu_type *t;

	v->types = xgrow(v->types, v->n_types, &b->types_room, sizeof(*v->types));
	t = &v->types[v->n_types++];
	*t = (struct vgpu_type){
		.parent = parent,
		.id = id,
		.name = name,
		.available = -1,
		.framebuffer = -1,
		.max_instance = -1,
	};
	return t;
}

/* NVIDIA's names alone tell the size. */
static void fill_sizes(struct vgpu_type *t)
{
	bool is_mig, is_nvidia = strncmp(t->id, "nvidia-", 7) == 0;

	mdev_sizes(is_nvidia ? t->name : NULL, t->description, &t->framebuffer,
		   &t->max_instance, &is_mig);
}

static int add_mdev_types(struct vgpu_build *b, size_t parent)
{
	_cleanup_free_ char *folder = xasprintf("%s/mdev_supported_types",
						b->v->parents[parent].path);
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;

	if (!dir)	/* it was there a moment ago, or only an instance tells of it */
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL;
		struct vgpu_type *t;

		if (*entry->d_name == '.')
			continue;
		path = xasprintf("%s/%s", folder, entry->d_name);
		t = add_type(b, parent, xstrdup(entry->d_name), vgpu_attr(path, "name"));
		t->available = vgpu_number(path, "available_instances");
		t->api = vgpu_attr(path, "device_api");
		t->description = vgpu_attr(path, "description");
		fill_sizes(t);
	}
	return 0;
}

/* A line "1428 : NVIDIA H200X-141C", cut in place; 0 for a heading or anything else. */
static int parse_creatable(char *line, char **name)
{
	char *end;
	long id;

	line += strspn(line, " \t");
	if (!isdigit((unsigned char)*line))
		return 0;
	id = strtol(line, &end, 10);
	end += strspn(end, " \t");
	if (id <= 0 || id > INT_MAX || (*end && *end != ':' && *end != '\r'))
		return 0;
	*name = *end == ':' ? end + 1 + strspn(end + 1, " \t") : end;
	for (size_t len = strlen(*name); len && strchr(" \t\r", (*name)[len - 1]); )
		(*name)[--len] = '\0';
	return (int)id;
}

static void each_creatable(char *text, void (*see)(int id, const char *name, void *arg),
			   void *arg)
{
	char *save = NULL, *name;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		int id = parse_creatable(line, &name);

		if (id)
			see(id, name, arg);
	}
}

int vgpu_creatable(const char *vf, void (*see)(int id, const char *name, void *arg),
		   void *arg)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s/nvidia/creatable_vgpu_types",
					      vf);
	char text[SYSFS_MAX + 1];
	int rc = sysfs_read(path, text, sizeof(text));

	if (rc < 0)
		return rc;
	each_creatable(text, see, arg);
	return 0;
}

struct creatable {		/* types of one parent of NVIDIA's VFIO */
	struct vgpu_build *b;
	size_t parent;
	int add;		/* to the instances of each that is told */
};

static void see_creatable(int id, const char *name, void *arg)
{
	struct creatable *c = arg;
	_cleanup_free_ char *text = xasprintf("nvidia-%d", id);
	int at = vgpus_find_type(c->b->v, c->parent, text);
	struct vgpu_type *t;

	if (at < 0) {
		t = add_type(c->b, c->parent, TAKE_PTR(text), NULL);
		t->available = 0;
		t->api = xstrdup("vfio-pci");
	} else {
		t = &c->b->v->types[at];
	}
	t->available += c->add;
	if (!t->name && *name) {
		t->name = xstrdup(name);
		fill_sizes(t);
	}
}

static char *memory_path(const struct vgpu_parent *p)
{
	return root_path("/run/pve-gpu-utils/vgpu-types/%s", p->name);
}

static int add_nvidia_types(struct vgpu_build *b, size_t parent)
{
	struct vgpu_parent *p = &b->v->parents[parent];
	_cleanup_free_ char *path = memory_path(p);
	_cleanup_free_ char *memory = readfile_string(path, MEMORY_MAX);
	struct creatable c = { .b = b, .parent = parent, .add = 1 };

	p->is_forgetful = !memory && errno != ENOENT;
	for (size_t i = 0; i < p->n_vfs; i++)
		if (p->vfs[i].current == 0)
			/* One that cannot be read offers nothing. */
			vgpu_creatable(p->vfs[i].name, see_creatable, &c);
	c.add = 0;
	if (memory)
		each_creatable(memory, see_creatable, &c);
	for (size_t i = 0; i < p->n_vfs; i++)
		if (p->vfs[i].current > 0)
			see_creatable(p->vfs[i].current, "", &c);
	return 0;
}

static void add_sriov_type(struct vgpu_build *b, size_t parent)
{
	const struct vgpu_parent *p = &b->v->parents[parent];
	struct vgpu_type *t = add_type(b, parent, xstrdup("vf"),
				       xstrdup(VGPU_SRIOV_NAME));

	t->api = xstrdup("vfio-pci");
	t->available = p->n_vfs || p->numvfs > 0 ? 0 : p->totalvfs;
	t->max_instance = p->totalvfs;
}

int vgpu_types_add(struct vgpu_build *b, size_t parent)
{
	switch (b->v->parents[parent].backend) {
	case VGPU_MDEV:
		return add_mdev_types(b, parent);
	case VGPU_NVIDIA:
		return add_nvidia_types(b, parent);
	case VGPU_SRIOV:
		add_sriov_type(b, parent);
	}
	return 0;
}

/* The list of one parent in the form of creatable_vgpu_types; NULL: it has no types. */
static char *memory_text(const struct vgpus *v, size_t parent)
{
	char *text = NULL;

	for (size_t i = 0; i < v->n_types; i++) {
		const struct vgpu_type *t = &v->types[i];
		_cleanup_free_ char *before = text;

		if (t->parent == parent)
			text = xasprintf("%s%s : %s\n", before ? before : "",
					 t->id + strlen("nvidia-"), t->name ? t->name : "");
		else
			before = NULL;
	}
	return text;
}

int vgpus_remember(const struct vgpus *v)
{
	_cleanup_free_ char *folder = root_path("/run/pve-gpu-utils/vgpu-types");
	_cleanup_free_ char *above = root_path("/run/pve-gpu-utils");
	int first = 0;

	for (size_t i = 0; i < v->n_parents; i++) {
		_cleanup_free_ char *path = NULL, *old = NULL, *text = NULL;
		int rc;

		if (v->parents[i].backend != VGPU_NVIDIA || v->parents[i].is_forgetful)
			continue;
		text = memory_text(v, i);
		path = memory_path(&v->parents[i]);
		old = readfile_string(path, MEMORY_MAX);
		if (!text || (old ? strcmp(old, text) == 0 : errno != ENOENT))
			continue;
		rc = atomicfile_state_dir(above);
		if (rc == 0)
			rc = atomicfile_state_dir(folder);
		if (rc == 0)
			rc = atomicfile_write(path, text, strlen(text), 0600);
		if (rc < 0 && !first)
			first = rc;
	}
	return first;
}
