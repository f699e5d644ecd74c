/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/gpudev.h"
#include "pci/mdev.h"

enum {
	BASE_DISPLAY = 0x03,
	BASE_ACCELERATOR = 0x12,
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

static int read_attribute(const char *addr, const char *name, char *buf, size_t size)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s/%s", addr, name);

	return sysfs_read(path, buf, size);
}

static int read_number(const char *addr, const char *name)
{
	char buf[32], *end;
	long value;

	if (read_attribute(addr, name, buf, sizeof(buf)) <= 0)
		return GPUDEV_UNKNOWN;
	errno = 0;
	value = strtol(buf, &end, 10);
	if (errno || *end || value < 0 || value > INT_MAX)
		return GPUDEV_UNKNOWN;
	return (int)value;
}

/*
 * The kernel (since 5.15) hides reset_method where it knows no way at all; an
 * older one has a "reset" file and does not say what that does.
 */
static char *read_reset(const char *addr)
{
	_cleanup_free_ char *old = root_path("/sys/bus/pci/devices/%s/reset", addr);
	char buf[SYSFS_MAX];
	int len = read_attribute(addr, "reset_method", buf, sizeof(buf));

	if (len == -ENOENT)
		return access(old, F_OK) == 0 ? NULL : xstrdup("none");
	if (len < 0)
		return NULL;
	if (len == 0)
		return xstrdup("none");
	for (char *p = buf; *p; p++)
		if (*p == ' ')
			*p = ',';
	return xstrdup(buf);
}

static char *read_mdev_types(const struct pciaddr *addr)
{
	struct mdev_type *types;
	char *list = NULL;
	size_t n;

	if (mdev_types_read(addr, 1, &types, &n) < 0)
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

void gpudev_read(const struct pcidev *dev, struct pcinames *names, struct gpudev *gpu)
{
	char addr[PCIADDR_STRLEN];

	pciaddr_format(&dev->addr, addr);
	*gpu = (struct gpudev){ .dev = *dev };
	gpu->dev.driver = dev->driver ? xstrdup(dev->driver) : NULL;
	gpu->name = pciname_full(names, dev->vendor, dev->device);
	gpu->reset = read_reset(addr);
	gpu->mdev_types = dev->has_mdev ? read_mdev_types(&dev->addr) : NULL;
	gpu->numvfs = read_number(addr, "sriov_numvfs");
	gpu->totalvfs = read_number(addr, "sriov_totalvfs");
	gpu->boot_vga = read_number(addr, "boot_vga");
	gpu->numa_node = read_number(addr, "numa_node");
}

void gpudev_done(struct gpudev *gpu)
{
	free(gpu->dev.driver);
	free(gpu->name);
	free(gpu->reset);
	free(gpu->mdev_types);
}

static const char *number(int value, char buf[16])
{
	if (value < 0)
		return NULL;
	snprintf(buf, 16, "%d", value);
	return buf;
}

void gpudev_put(struct record_writer *w, const struct gpudev *gpu)
{
	char addr[PCIADDR_STRLEN], class[8], id[10], numbers[5][16];
	const struct pcidev *dev = &gpu->dev;

	snprintf(class, sizeof(class), "%06x", dev->class & 0xffffff);
	snprintf(id, sizeof(id), "%04x:%04x", dev->vendor, dev->device);
	record_put(w, (const char *const[GPUDEV_FIELDS]){
		pciaddr_format(&dev->addr, addr), class, id, gpu->name, dev->driver,
		number(dev->iommu_group, numbers[0]), gpu->reset,
		number(gpu->numvfs, numbers[1]), number(gpu->totalvfs, numbers[2]),
		gpu->mdev_types, number(gpu->boot_vga, numbers[3]),
		number(gpu->numa_node, numbers[4]) });
}
