/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mediated devices and NVIDIA's vendor-specific vGPUs, as sysfs shows them. */
#ifndef PCI_MDEV_H
#define PCI_MDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pci/pciaddr.h"

#define MDEV_UUID_LEN	36

struct mdev_type {
	struct pciaddr parent;
	char *type;		/* owned; "nvidia-63", "i915-GVTg_V5_4" */
	char *name;		/* owned; human name, NULL when the driver gives none */
	int available;		/* instances that can be made now; -1 unknown */
	int max_instance;	/* from the description; -1 unknown */
	int framebuffer;	/* MiB, by description or NVIDIA's name; -1 unknown */
	bool one_size;		/* one type at a time on the card (NVIDIA, time-sliced) */
};

struct mdev_instance {
	char uuid[MDEV_UUID_LEN + 1];	/* lower case */
	struct pciaddr parent;
	char *type;		/* owned; NULL when the link is not there */
};

/*
 * Types of every parent named (n_parents 0: none). Sorted by parent, type.
 * A parent with mdev_supported_types/ has mediated devices; one with
 * nvidia/creatable_vgpu_types is a virtual function of NVIDIA's vendor-specific
 * VFIO: its types are those that can be set now (available 1) and the one that
 * is set (available 0, name NULL when it is not listed). A parent with neither,
 * or that is gone, has none.
 * 0 or -errno.
 * Source: Documentation/ABI/testing/sysfs-bus-vfio-mdev.
 */
int mdev_types_read(const struct pciaddr *parents, size_t n_parents,
		    struct mdev_type **types, size_t *n);
void mdev_types_free(struct mdev_type *types, size_t n);

/*
 * Sizes from a type's name and description, each NULL when there is none: frame
 * buffer in MiB and instances that fit, -1 when nothing says it; is_mig: the name is
 * that of a MIG slice.
 */
void mdev_sizes(const char *name, const char *description, int *framebuffer,
		int *max_instance, bool *is_mig);

/*
 * Look up one instance in /sys/bus/mdev/devices. 0, -ENOENT, -EINVAL (no UUID),
 * -ENODEV (its parent is no PCI function) or another -errno.
 */
int mdev_instance_read(const char *uuid, struct mdev_instance *inst);
void mdev_instance_done(struct mdev_instance *inst);

/*
 * PVE's UUID of a VM's hostpciN: eight decimal digits of N, "-0000-0000-0000-",
 * twelve of the VMID (qemu-server, QemuServer/PCI/Mdev.pm).
 */
void mdev_pve_uuid(unsigned hostpci, uint32_t vmid, char uuid[MDEV_UUID_LEN + 1]);
bool mdev_pve_uuid_parse(const char *uuid, unsigned *hostpci, uint32_t *vmid);

#endif
