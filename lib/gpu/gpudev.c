/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "gpu/gpudev.h"
#include "pci/mdev.h"

enum {
	BASE_DISPLAY = 0x03,
	BASE_ACCELERATOR = 0x12,
	CLASS_VGA = 0x0300,
};

const struct record_field gpudev_fields[GPUDEV_FIELDS] = {
	{ "addr", RECORD_STRING },
	{ "class", RECORD_STRING },
	{ "id", RECORD_STRING },
	{ "name", RECORD_STRING },
	{ "driver", RECORD_STRING },
	{ "iommu_group", RECORD_NUMBER },
	{ "reset", RECORD_STRING },
	{ "numvfs", RECORD_NUMBER },
	{ "totalvfs", RECORD_NUMBER },
	{ "mdev_types", RECORD_STRING },
	{ "boot_vga", RECORD_NUMBER },
	{ "numa_node", RECORD_NUMBER },
};

bool gpudev_is_gpu(const struct pcidev *dev)
{
	unsigned base = dev->class >> 16;

	return base == BASE_DISPLAY || base == BASE_ACCELERATOR;
}

/* The kernel hides the file of a function for which it knows no way. */
char *gpudev_reset(const struct topofn *fn)
{
	char *list;

	if (!fn->reset_method || !*fn->reset_method)
		return xstrdup("none");
	list = xstrdup(fn->reset_method);
	for (char *p = list; *p; p++)
		if (*p == ' ')
			*p = ',';
	return list;
}

char *gpudev_mdev_types(const struct pcidev *dev)
{
	struct mdev_type *types;
	char *list = NULL;
	size_t n;

	if (!dev->has_mdev || mdev_types_read(&dev->addr, 1, &types, &n) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char *longer = list ? xasprintf("%s,%s", list, types[i].type) :
			xstrdup(types[i].type);

		free(list);
		list = longer;
	}
	mdev_types_free(types, n);
	return list;
}

static const char *number(int value, char buf[16])
{
	if (value < 0)
		return NULL;
	snprintf(buf, 16, "%d", value);
	return buf;
}

void gpudev_put(struct record_writer *w, const struct topofn *fn, struct pcinames *names)
{
	const struct pcidev *dev = &fn->dev;
	_cleanup_free_ char *name = pciname_full(names, dev->vendor, dev->device);
	_cleanup_free_ char *reset = gpudev_reset(fn), *types = gpudev_mdev_types(dev);
	char addr[PCIADDR_STRLEN], class[8], id[10], numbers[5][16];
	/* The kernel tells it of VGA devices only. */
	int boot_vga = dev->class >> 8 == CLASS_VGA ? fn->boot_vga : -1;

	snprintf(class, sizeof(class), "%06x", dev->class & 0xffffff);
	snprintf(id, sizeof(id), "%04x:%04x", dev->vendor, dev->device);
	record_put(w, (const char *const[GPUDEV_FIELDS]){
		pciaddr_format(&dev->addr, addr), class, id, name, dev->driver,
		number(dev->iommu_group, numbers[0]), reset,
		number(fn->numvfs, numbers[1]), number(fn->totalvfs, numbers[2]),
		types, number(boot_vga, numbers[3]), number(fn->numa_node, numbers[4]) });
}
