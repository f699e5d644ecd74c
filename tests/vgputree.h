/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vGPU parents and instances for unit tests. */
#ifndef VGPUTREE_H
#define VGPUTREE_H

#include "pcitree.h"

/* A PCI function on the root bus. */
static inline void vgputree_function(const char *addr, const char *driver)
{
	_cleanup_free_ char *place = xasprintf("pci0000:00/%s", addr);

	pcitree_function(place, 0x10de, 0x1b38, 0x030200);
	if (driver)
		testroot_driver(addr, driver);
}

static inline void vgputree_mdev_bus(const char *name, const char *place)
{
	_cleanup_free_ char *link = xasprintf("/sys/class/mdev_bus/%s", name);
	_cleanup_free_ char *target = xasprintf("../../devices/%s", place);

	testroot_link(link, target);
}

/* A type of the parent at this place below /sys/devices; description NULL: none. */
static inline void vgputree_type(const char *place, const char *id, const char *name,
				 int available, const char *description)
{
	_cleanup_free_ char *folder = xasprintf("/sys/devices/%s/mdev_supported_types/%s",
						place, id);
	const char *const files[][2] = {
		{ "name", name }, { "device_api", "vfio-pci\n" },
		{ "description", description }, { "create", "" },
	};
	_cleanup_free_ char *path = xasprintf("%s/available_instances", folder);
	_cleanup_free_ char *number = xasprintf("%d\n", available);

	testroot_file(path, number);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *file = xasprintf("%s/%s", folder, files[i][0]);

		if (files[i][1])
			testroot_file(file, files[i][1]);
	}
}

static inline void vgputree_instance(const char *place, const char *uuid,
				     const char *type, int group)
{
	_cleanup_free_ char *folder = xasprintf("/sys/devices/%s/%s", place, uuid);
	_cleanup_free_ char *link = xasprintf("/sys/bus/mdev/devices/%s", uuid);
	_cleanup_free_ char *target = xasprintf("../../../devices/%s/%s", place, uuid);
	_cleanup_free_ char *type_link = xasprintf("%s/mdev_type", folder);
	_cleanup_free_ char *type_target = xasprintf("../mdev_supported_types/%s", type);
	_cleanup_free_ char *group_link = xasprintf("%s/iommu_group", folder);
	_cleanup_free_ char *group_target = xasprintf("/sys/kernel/iommu_groups/%d", group);
	_cleanup_free_ char *remove_file = xasprintf("%s/remove", folder);

	testroot_link(link, target);
	testroot_link(type_link, type_target);
	if (group >= 0)
		testroot_link(group_link, group_target);
	testroot_file(remove_file, "");
}

static inline void vgputree_vf(const char *addr, const char *physfn, const char *driver)
{
	_cleanup_free_ char *place = xasprintf("pci0000:00/%s", addr);

	vgputree_function(addr, driver);
	pcitree_vf(place, physfn);
}

/* A VF with NVIDIA's folder; creatable as the driver writes it. */
static inline void vgputree_nvidia_vf(const char *addr, const char *physfn, int current,
				      const char *creatable)
{
	_cleanup_free_ char *number = xasprintf("%d\n", current);

	vgputree_vf(addr, physfn, "nvidia");
	testroot_attribute(addr, "nvidia/current_vgpu_type", number);
	testroot_attribute(addr, "nvidia/creatable_vgpu_types", creatable);
}

static inline void vgputree_sriov(const char *addr, const char *total, const char *num)
{
	testroot_attribute(addr, "sriov_totalvfs", total);
	testroot_attribute(addr, "sriov_numvfs", num);
}

#endif
