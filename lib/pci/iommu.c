/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "pci/iommu.h"
#include "pci/pcifolder.h"

int iommu_group_read(int group, struct pciaddr **addrs, size_t *n)
{
	_cleanup_free_ char *path =
		root_path("/sys/kernel/iommu_groups/%d/devices", group);

	/* A group may hold devices of other buses; they are nobody's hostpci. */
	return pcifolder_read(path, addrs, n);
}

int iommu_group_of(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = NULL, *name = NULL;
	char text[PCIADDR_STRLEN];
	size_t len;

	path = root_path("/sys/bus/pci/devices/%s/iommu_group",
			 pciaddr_format(addr, text));
	name = sysfs_link_name(path);
	if (!name)
		return -1;
	len = strlen(name);
	if (len == 0 || len > 9 || strspn(name, "0123456789") != len)
		return -1;
	return atoi(name);
}
