/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of vgpu.h. */
#ifndef PCI_VGPU_PARTS_H
#define PCI_VGPU_PARTS_H

#include "pci/vgpu.h"

#define VGPU_SRIOV_NAME "SR-IOV virtual function"

struct vgpu_build {		/* a model that is being read */
	struct vgpus *v;
	size_t parents_room, types_room, instances_room;
};

/* FOLDER/NAME as text, allocated; NULL when it cannot be read or is empty. */
char *vgpu_attr(const char *folder, const char *name);
/* FOLDER/NAME as a number; -1 when it is none. */
int vgpu_number(const char *folder, const char *name);
/* Last part of the link FOLDER/NAME, allocated; NULL without. */
char *vgpu_link(const char *folder, const char *name);

/* Types of one parent, in any order; those of NVIDIA's VFIO need its VFs. 0 or -errno. */
int vgpu_types_add(struct vgpu_build *b, size_t parent);
/* The creatable types of a VF, told one by one: id > 0; name "" when there is none. */
int vgpu_creatable(const char *vf, void (*see)(int id, const char *name, void *arg),
		   void *arg);
/* Say of each type without a free instance why. */
void vgpu_types_explain(struct vgpus *v);

/* Instances of all parents. 0 or -errno. */
int vgpu_instances_add(struct vgpu_build *b);

#endif
