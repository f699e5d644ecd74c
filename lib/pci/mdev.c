/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/mdev.h"

struct type_list {
	struct mdev_type *types;
	size_t n, room;
};

static struct mdev_type *add_type(struct type_list *list, const struct pciaddr *parent,
				  char *type)
{
	struct mdev_type *t;

	list->types = xgrow(list->types, list->n, &list->room, sizeof(*list->types));
	t = &list->types[list->n++];
	*t = (struct mdev_type){
		.parent = *parent,
		.type = type,
		.available = -1,
		.max_instance = -1,
		.framebuffer = -1,
	};
	return t;
}

/* Number after "key=" or "key: " at the start of a word; -1 when it is not there. */
static int described(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; (p = strstr(p, key)); p += len) {
		const char *value = p + len + strspn(p + len, "=: ");

		if (p > text && !strchr(" ,\n", p[-1]))
			continue;
		if (value > p + len && isdigit((unsigned char)*value)) {
			long v = strtol(value, NULL, 10);

			return v <= INT_MAX ? (int)v : -1;
		}
	}
	return -1;
}

/*
 * "GRID P40-6Q", "NVIDIA A100-1-5C": the number before the last letters is the
 * frame buffer in GB; one more number before it is a MIG slice count.
 */
static int framebuffer_of_name(const char *name, bool *is_mig)
{
	const char *dash = strrchr(name, '-'), *before;
	char *end;
	long gb;

	*is_mig = false;
	if (!dash || !isdigit((unsigned char)dash[1]))
		return -1;
	gb = strtol(dash + 1, &end, 10);
	if (gb < 0 || gb > 4096 || !isupper((unsigned char)*end))
		return -1;
	for (before = dash; before > name && isdigit((unsigned char)before[-1]); )
		before--;
	*is_mig = before < dash && before > name && before[-1] == '-';
	return gb ? (int)gb * 1024 : 512;	/* "M10-0Q" has half a GB */
}

void mdev_sizes(const char *name, const char *description, int *framebuffer,
		int *max_instance, bool *is_mig)
{
	int by_name = -1;

	*is_mig = false;
	*framebuffer = *max_instance = -1;
	if (name)
		by_name = framebuffer_of_name(name, is_mig);
	if (description) {
		*max_instance = described(description, "max_instance");
		*framebuffer = described(description, "framebuffer");
		if (*framebuffer < 0)		/* GVT-g */
			*framebuffer = described(description, "high_gm_size");
	}
	if (*framebuffer < 0)
		*framebuffer = by_name;
}

static int number_in(const char *path)
{
	uint64_t v;

	return sysfs_read_u64(path, &v) == 0 && v <= INT_MAX ? (int)v : -1;
}

static void fill_mdev_type(struct mdev_type *t, const char *folder)
{
	_cleanup_free_ char *available = xasprintf("%s/available_instances", folder);
	_cleanup_free_ char *name = xasprintf("%s/name", folder);
	_cleanup_free_ char *description = xasprintf("%s/description", folder);
	char text[SYSFS_MAX + 1];
	bool is_nvidia = strncmp(t->type, "nvidia-", 7) == 0, is_mig = false;

	t->available = number_in(available);
	if (sysfs_read(name, text, sizeof(text)) > 0)
		t->name = xstrdup(text);
	if (sysfs_read(description, text, sizeof(text)) <= 0)
		*text = '\0';
	mdev_sizes(is_nvidia ? t->name : NULL, text, &t->framebuffer, &t->max_instance,
		   &is_mig);
	t->one_size = is_nvidia && !is_mig;
}

/* The types of a parent of mediated devices. */
static int read_mdev_types(const struct pciaddr *parent, const char *folder,
			   struct type_list *list)
{
	_cleanup_closedir_ DIR *dir = opendir(folder);

	if (!dir)
		return -errno;
	for (;;) {
		_cleanup_free_ char *path = NULL;
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		if (*entry->d_name == '.')
			continue;
		path = xasprintf("%s/%s", folder, entry->d_name);
		fill_mdev_type(add_type(list, parent, xstrdup(entry->d_name)), path);
	}
}

/*
 * "ID : vGPU Name" as a heading, then "1428 : NVIDIA H200X-141C". The heading
 * does not start with a digit.
 */
static void add_creatable(const struct pciaddr *parent, char *text, int current,
			  struct type_list *list)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *end, *name;
		struct mdev_type *t;
		bool is_mig;
		long id;

		line += strspn(line, " \t");
		if (!isdigit((unsigned char)*line))
			continue;
		id = strtol(line, &end, 10);
		name = end + strspn(end, " \t");
		if (*name != ':' || id <= 0 || id > INT_MAX)
			continue;
		name += 1 + strspn(name + 1, " \t");
		for (size_t len = strlen(name); len && strchr(" \t\r", name[len - 1]); )
			name[--len] = '\0';
		t = add_type(list, parent, xasprintf("nvidia-%ld", id));
		if (*name)
			t->name = xstrdup(name);
		t->available = current == 0;
		t->framebuffer = framebuffer_of_name(name, &is_mig);
		t->one_size = !is_mig;
	}
}

static int read_vendor_types(const struct pciaddr *parent, const char *addr,
			     struct type_list *list)
{
	_cleanup_free_ char *creatable = NULL, *current_path = NULL;
	char text[SYSFS_MAX + 1];
	size_t first = list->n;
	int rc, current;

	creatable =
		root_path("/sys/bus/pci/devices/%s/nvidia/creatable_vgpu_types", addr);
	rc = sysfs_read(creatable, text, sizeof(text));
	if (rc < 0)
		return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc;
	current_path =
		root_path("/sys/bus/pci/devices/%s/nvidia/current_vgpu_type", addr);
	current = number_in(current_path);
	add_creatable(parent, text, current, list);
	if (current <= 0)
		return 0;
	snprintf(text, sizeof(text), "nvidia-%d", current);
	for (size_t i = first; i < list->n; i++)
		if (strcmp(list->types[i].type, text) == 0)
			return 0;
	add_type(list, parent, xstrdup(text))->available = 0;
	return 0;
}

static int compare_type(const void *a, const void *b)
{
	const struct mdev_type *x = a, *y = b;
	int order = pciaddr_compare(&x->parent, &y->parent);

	return order ? order : strcmp(x->type, y->type);
}

int mdev_types_read(const struct pciaddr *parents, size_t n_parents,
		    struct mdev_type **types, size_t *n)
{
	struct type_list list = { 0 };

	for (size_t i = 0; i < n_parents; i++) {
		_cleanup_free_ char *folder = NULL;
		char addr[PCIADDR_STRLEN];
		int rc;

		pciaddr_format(&parents[i], addr);
		folder = root_path("/sys/bus/pci/devices/%s/mdev_supported_types", addr);
		rc = read_mdev_types(&parents[i], folder, &list);
		if (rc == -ENOENT)
			rc = read_vendor_types(&parents[i], addr, &list);
		if (rc < 0) {
			mdev_types_free(list.types, list.n);
			return rc;
		}
	}
	if (list.n)
		qsort(list.types, list.n, sizeof(*list.types), compare_type);
	*types = list.types;
	*n = list.n;
	return 0;
}

void mdev_types_free(struct mdev_type *types, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(types[i].type);
		free(types[i].name);
	}
	free(types);
}

static bool is_uuid(const char *text)
{
	for (int i = 0; i < MDEV_UUID_LEN; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return text[MDEV_UUID_LEN] == '\0';
}

int mdev_instance_read(const char *uuid, struct mdev_instance *inst)
{
	_cleanup_free_ char *path = NULL, *type = NULL;
	struct mdev_instance found = { 0 };
	char target[PATH_MAX], *slash;
	ssize_t len;

	if (!is_uuid(uuid))
		return -EINVAL;
	for (int i = 0; i < MDEV_UUID_LEN; i++)
		found.uuid[i] = (char)tolower((unsigned char)uuid[i]);
	path = root_path("/sys/bus/mdev/devices/%s", found.uuid);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	/* The link leads to PARENT/UUID. */
	target[len] = '\0';
	slash = strrchr(target, '/');
	if (!slash)
		return -ENODEV;
	*slash = '\0';
	slash = strrchr(target, '/');
	if (!pciaddr_parse(slash ? slash + 1 : target, &found.parent))
		return -ENODEV;
	type = root_path("/sys/bus/mdev/devices/%s/mdev_type", found.uuid);
	found.type = sysfs_link_name(type);
	*inst = found;
	return 0;
}

void mdev_instance_done(struct mdev_instance *inst)
{
	free(inst->type);
	inst->type = NULL;
}

void mdev_pve_uuid(unsigned hostpci, uint32_t vmid, char uuid[MDEV_UUID_LEN + 1])
{
	snprintf(uuid, MDEV_UUID_LEN + 1, "%08u-0000-0000-0000-%012u",
		 hostpci % 100000000u, vmid);
}

bool mdev_pve_uuid_parse(const char *uuid, unsigned *hostpci, uint32_t *vmid)
{
	char again[MDEV_UUID_LEN + 1];
	unsigned long long id;
	unsigned index;

	if (!is_uuid(uuid))
		return false;
	index = (unsigned)strtoul(uuid, NULL, 10);
	id = strtoull(uuid + 24, NULL, 10);
	if (id == 0 || id > UINT32_MAX)
		return false;
	/* Hex digits, or a stray one between, make another text. */
	mdev_pve_uuid(index, (uint32_t)id, again);
	if (strcmp(uuid, again) != 0)
		return false;
	*hostpci = index;
	*vmid = (uint32_t)id;
	return true;
}
