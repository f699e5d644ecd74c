/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/gpudev.h"
#include "gpu/vfionode.h"
#include "pci/mdev.h"

static void add(struct gpunodes *g, size_t *room, char *path, const struct pciaddr *addr)
{
	g->nodes = xgrow(g->nodes, g->n, room, sizeof(*g->nodes));
	g->nodes[g->n++] = (struct gpunode){ .path = path, .addr = *addr };
}

/* The VFIO device of a folder of sysfs: "vfio-dev/vfio3" in it (Linux 6.2). */
static void add_device(struct gpunodes *g, size_t *room, const char *folder,
		       const struct pciaddr *addr)
{
	_cleanup_free_ char *path = xasprintf("%s/vfio-dev", folder);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			add(g, room, xasprintf("/dev/vfio/devices/%s", entry->d_name),
			    addr);
}

static int add_gpus(struct gpunodes *g, size_t *room)
{
	struct pcidev *devs = NULL;
	size_t n = 0;
	int rc = pcidev_list(PCIDEV_IDENT | PCIDEV_BIND, &devs, &n);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *folder = NULL;
		char text[PCIADDR_STRLEN];

		if (!gpudev_is_gpu(&devs[i]))
			continue;
		if (devs[i].iommu_group >= 0)
			add(g, room, xasprintf("/dev/vfio/%d", devs[i].iommu_group),
			    &devs[i].addr);
		folder = root_path("/sys/bus/pci/devices/%s",
				   pciaddr_format(&devs[i].addr, text));
		add_device(g, room, folder, &devs[i].addr);
	}
	pcidev_free(devs, n);
	return 0;
}

static int add_mdevs(struct gpunodes *g, size_t *room)
{
	_cleanup_free_ char *path = root_path("/sys/bus/mdev/devices");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *folder = NULL, *link = NULL, *group = NULL;
		struct mdev_instance inst;

		/* What is no UUID, has no PCI parent or is gone is none of ours. */
		if (mdev_instance_read(entry->d_name, &inst) < 0)
			continue;
		folder = xasprintf("%s/%s", path, entry->d_name);
		link = xasprintf("%s/iommu_group", folder);
		group = sysfs_link_name(link);
		if (group)
			add(g, room, xasprintf("/dev/vfio/%s", group), &inst.parent);
		add_device(g, room, folder, &inst.parent);
		mdev_instance_done(&inst);
	}
	return 0;
}

int vfionode_add(struct gpunodes *g)
{
	size_t room = g->n;
	int rc = add_gpus(g, &room);

	if (rc == 0)
		rc = add_mdevs(g, &room);
	if (g->n)
		qsort(g->nodes, g->n, sizeof(*g->nodes), gpunode_compare);
	return rc;
}
