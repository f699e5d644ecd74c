/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/gpunode.h"

enum { INFORMATION_MAX = 64 * 1024 };

static void add(struct gpunodes *g, char *path, const struct pciaddr *addr)
{
	g->nodes = xreallocarray(g->nodes, g->n + 1, sizeof(*g->nodes));
	g->nodes[g->n++] = (struct gpunode){ .path = path, .addr = *addr };
}

/* Open a folder that need not be there: 0 with *dir NULL then, or -errno. */
static int open_folder(const char *path, DIR **dir)
{
	*dir = opendir(path);
	if (!*dir && errno != ENOENT && errno != ENOTDIR)
		return -errno;
	return 0;
}

/* "Device Minor: 	 0" in NVIDIA's information file; -1 without. */
static int nvidia_minor(const char *text)
{
	const char *line = strstr(text, "Device Minor:");

	if (!line)
		return -1;
	line += strlen("Device Minor:");
	line += strspn(line, " \t");
	return isdigit((unsigned char)*line) ? atoi(line) : -1;
}

static int add_nvidia(struct gpunodes *g)
{
	_cleanup_free_ char *folder = root_path("/proc/driver/nvidia/gpus");
	_cleanup_closedir_ DIR *dir = NULL;
	int rc = open_folder(folder, &dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL, *text = NULL;
		struct pciaddr addr;
		int minor;

		if (!pciaddr_parse(entry->d_name, &addr))
			continue;
		path = xasprintf("%s/%s/information", folder, entry->d_name);
		text = readfile_string(path, INFORMATION_MAX);
		minor = text ? nvidia_minor(text) : -1;
		if (minor >= 0)
			add(g, xasprintf("/dev/nvidia%d", minor), &addr);
	}
	return rc;
}

/* "card0", "renderD128"; not "card0-HDMI-A-1", which is a connector. */
static bool is_drm_node(const char *name)
{
	if (strncmp(name, "card", 4) == 0)
		name += 4;
	else if (strncmp(name, "renderD", 7) == 0)
		name += 7;
	else
		return false;
	return *name && strspn(name, "0123456789") == strlen(name);
}

/* The PCI function of /sys/class/drm/NAME; false for a platform or virtual card. */
static bool drm_function(const char *name, struct pciaddr *addr)
{
	_cleanup_free_ char *path = root_path("/sys/class/drm/%s/device", name),
			    *target = NULL;

	target = sysfs_link_name(path);
	return target && pciaddr_parse(target, addr);
}

static int add_drm(struct gpunodes *g)
{
	_cleanup_free_ char *folder = root_path("/sys/class/drm");
	_cleanup_closedir_ DIR *dir = NULL;
	int rc = open_folder(folder, &dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct pciaddr addr;

		if (is_drm_node(entry->d_name) && drm_function(entry->d_name, &addr))
			add(g, xasprintf("/dev/dri/%s", entry->d_name), &addr);
	}
	return rc;
}

/* udev's links by place: another name for the same node. */
static int add_by_path(struct gpunodes *g)
{
	_cleanup_free_ char *folder = root_path("/dev/dri/by-path");
	_cleanup_closedir_ DIR *dir = NULL;
	int rc = open_folder(folder, &dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *link = xasprintf("%s/%s", folder, entry->d_name),
				    *name = NULL;
		struct pciaddr addr;

		if (*entry->d_name == '.')
			continue;
		name = sysfs_link_name(link);
		if (name && is_drm_node(name) && drm_function(name, &addr))
			add(g, xasprintf("/dev/dri/by-path/%s", entry->d_name), &addr);
	}
	return rc;
}

/* One node for all of amdgpu's functions. */
static int add_kfd(struct gpunodes *g)
{
	_cleanup_free_ char *folder = root_path("/sys/bus/pci/drivers/amdgpu");
	_cleanup_closedir_ DIR *dir = NULL;
	int rc = open_folder(folder, &dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct pciaddr addr;

		if (pciaddr_parse(entry->d_name, &addr))
			add(g, xstrdup("/dev/kfd"), &addr);
	}
	return rc;
}

int gpunode_compare(const void *a, const void *b)
{
	const struct gpunode *x = a, *y = b;
	int order = strcmp(x->path, y->path);

	return order ? order : pciaddr_compare(&x->addr, &y->addr);
}

int gpunodes_read(struct gpunodes *out)
{
	static int (*const parts[])(struct gpunodes *) = {
		add_nvidia, add_drm, add_by_path, add_kfd,
	};
	struct gpunodes g = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int rc = parts[i](&g);

		if (rc < 0) {
			gpunodes_done(&g);
			return rc;
		}
	}
	if (g.n)
		qsort(g.nodes, g.n, sizeof(*g.nodes), gpunode_compare);
	*out = g;
	return 0;
}

void gpunodes_done(struct gpunodes *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->nodes[i].path);
	free(g->nodes);
	*g = (struct gpunodes){ 0 };
}

bool gpunode_is_gpu_path(const char *path)
{
	return strncmp(path, "/dev/nvidia", 11) == 0 || strcmp(path, "/dev/kfd") == 0 ||
		strcmp(path, "/dev/dri") == 0 || strncmp(path, "/dev/dri/", 9) == 0;
}
