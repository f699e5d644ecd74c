/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vGPUs of three kinds behind one model: mediated devices, NVIDIA's vendor-specific
 * VFIO, and plain SR-IOV. What a card has is seen in sysfs, never known by its model.
 */
#ifndef PCI_VGPU_H
#define PCI_VGPU_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/mdev.h"
#include "pci/pciaddr.h"
#include "pci/timedwrite.h"

enum vgpu_backend {
	VGPU_MDEV,	/* PARENT/mdev_supported_types/; any bus, mtty too */
	VGPU_NVIDIA,	/* VF/nvidia/current_vgpu_type; the parent is the PF */
	VGPU_SRIOV,	/* sriov_totalvfs, and neither of the above */
};

struct vgpu_vf {			/* a virtual function of a parent */
	struct pciaddr addr;
	char *name;		/* owned; the address as text */
	int current;		/* NVIDIA: type id that is set; 0 none; -1 unknown */
	bool is_ready;		/* NVIDIA: the driver shows its nvidia/ folder */
};

struct vgpu_parent {
	char *name;		/* owned; sysfs: "0000:82:00.0", "mtty", "0.0.26ab" */
	char *path;		/* owned; its folder, complete (root included) */
	enum vgpu_backend backend;
	bool is_pci;
	struct pciaddr addr;	/* of a PCI function */
	bool is_vf;		/* mdev parents of some cards are VFs */
	struct pciaddr physfn;	/* of a VF */
	char *driver;		/* owned; NULL without */
	int totalvfs, numvfs;	/* -1 when the function has no SR-IOV */
	struct vgpu_vf *vfs;	/* owned, sorted; NVIDIA and SR-IOV */
	size_t n_vfs;
	bool is_forgetful;	/* what was remembered of its types could not be read */
};

/*
 * Type ids: as sysfs has them for mdev ("nvidia-50"); "nvidia-660" for id 660 of
 * NVIDIA's VFIO, as PVE writes it; "vf" for SR-IOV.
 */
struct vgpu_type {
	size_t parent;		/* index into parents */
	char *id;		/* owned */
	char *name;		/* owned; "GRID P40-6Q"; NULL when nothing says it */
	int available;		/* can be made now; NVIDIA's VFIO: at most; -1 unknown */
	char *api;		/* owned; "vfio-pci"; NULL unknown */
	char *description;	/* owned; may have several lines; NULL without */
	char *reason;		/* owned; why available is 0, in words; else NULL */
	int framebuffer;	/* MiB; -1 unknown */
	int max_instance;	/* -1 unknown */
};

struct vgpu {			/* an instance that exists */
	char *id;		/* owned; UUID in lower case, or the VF's address */
	size_t parent;		/* index into parents */
	char *type;		/* owned; type id; NULL when it cannot be read */
	char *name;		/* owned; the type's name; NULL unknown */
	char *path;		/* owned; its folder, complete */
	int group;		/* IOMMU group; -1 without */
	char *driver;		/* owned; "vfio_mdev", "nvidia", "vfio-pci"; NULL without */
	char *vfio;		/* owned; "vfio3", of /dev/vfio/devices; NULL without */
};

struct vgpus {
	struct vgpu_parent *parents;	/* owned; PCI by address, then others by name */
	size_t n_parents;
	struct vgpu_type *types;	/* owned, sorted by parent, id as text */
	size_t n_types;
	struct vgpu *instances;		/* owned, sorted by parent, id */
	size_t n_instances;
};

/* What vgpus_read() reads beside parents and instances. */
enum {
	VGPUS_TYPES = 1 << 0,
	VGPUS_ANY_SRIOV = 1 << 1,	/* of NICs and disks, too, not of GPUs alone */
};

/*
 * Read the host. An NVIDIA PF whose VFs are not made yet is a parent with n_vfs 0 and,
 * with VGPUS_TYPES, no types. Types of NVIDIA's VFIO that cannot be made now are listed
 * from what vgpus_remember() kept. The VFs of an SR-IOV parent are its instances.
 * 0 (a host without any is no error) or -errno; *v is then empty.
 * Source: Documentation/ABI/testing/sysfs-bus-vfio-mdev, sysfs-bus-pci; NVIDIA
 * vGPU user guide, KVM.
 */
int vgpus_read(struct vgpus *v, unsigned what);
void vgpus_done(struct vgpus *v);

/*
 * Keep the types of NVIDIA's VFIO that were seen, with their names, until the next boot
 * (/run/pve-gpu-utils/vgpu-types/PARENT): sysfs lists no type that cannot be made now.
 * 0 or -errno; nothing to keep is 0, and no failure of it matters.
 */
int vgpus_remember(const struct vgpus *v);

/*
 * Index of a parent by any spelling (parentname.h); -1 when there is none.
 * vf: set to the VF (of the parent) when the name is that of an NVIDIA or SR-IOV VF, else
 * to NULL.
 */
int vgpus_find_parent(const struct vgpus *v, const char *text, const struct vgpu_vf **vf);
/* Index of an instance by UUID in any case, or VF address in any spelling; -1 without. */
int vgpus_find(const struct vgpus *v, const char *text);
/* Index of a type by parent and exact id; -1 without. */
int vgpus_find_type(const struct vgpus *v, size_t parent, const char *id);

const char *vgpu_backend_name(enum vgpu_backend backend);	/* "mdev", "nvidia", "sriov" */

/* ---- vgpu-name.c: types by what people call them ---- */

/*
 * Does text name the type? Ids exactly ("nvidia-50"; "50" for NVIDIA's VFIO); names in
 * any case, whole, without "GRID " or "NVIDIA ", or by the last part: "P40-6Q", "6q".
 */
bool vgpu_type_matches(const struct vgpus *v, const struct vgpu_type *t,
		       const char *text);

/*
 * All types that text names, at one parent or (parent -1) at all: indices, allocated,
 * *n long. An exact id or a whole name wins over last parts, at each parent.
 */
void vgpus_match(const struct vgpus *v, int parent, const char *text, size_t **types,
		 size_t *n);

/* Last letter(s) of NVIDIA's names: 'Q', 'C', 'A', 'B'; 0 for any other name or NULL. */
char vgpu_series(const char *name);

/*
 * Why a VM cannot have a second vGPU beside one of this type ("Pascal and Maxwell
 * boards: …"), static; NULL when it can, or nothing is known.
 * max_instance: -1 unknown. Source: NVIDIA vGPU user guide, "Multiple vGPU support".
 */
const char *vgpu_one_per_vm(const char *name, int max_instance);

/* ---- vgpu-make.c: writes ---- */

/* A random UUID (version 4), lower case. 0 or -errno. */
int vgpu_uuid(char uuid[MDEV_UUID_LEN + 1]);
/* A UUID of 36 characters in any case, put in lower case? */
bool vgpu_uuid_parse(const char *text, char uuid[MDEV_UUID_LEN + 1]);

/*
 * Make one vGPU of a type. mdev: under this UUID. NVIDIA: on vf, or (NULL) on the
 * first free VF whose own list has the type at this moment; a VF that says EINVAL or
 * EBUSY is passed over for the next. What was set is read back. The caller holds a lock:
 * two at a time could take the same VF.
 *
 * id: the instance's id, allocated; set on success only.
 * Returns 0; -EEXIST (UUID is taken, or vf has another type), -EUSERS (none is left),
 * -EOPNOTSUPP (SR-IOV: vgpu_set_vfs()), -ETIMEDOUT, or the driver's own -errno.
 * In a dry run the write is printed; id is as it would be.
 */
int vgpu_create(struct timedwriter *w, const struct vgpus *v, size_t type,
		const char *uuid, const struct vgpu_vf *vf, char **id);

/*
 * Release one. NVIDIA: EPERM and EBUSY, while a VM is still closing, are tried again each
 * second for up to wait seconds. Look for users first: removing an mdev blocks in the
 * kernel until its user lets go.
 * 0 (gone already: 0), -EOPNOTSUPP (an SR-IOV VF: only all go, vgpu_set_vfs()),
 * -ETIMEDOUT or another -errno.
 */
int vgpu_release(struct timedwriter *w, const struct vgpus *v, size_t instance,
		 unsigned wait);

/*
 * Number of VFs of an SR-IOV parent. From one number to another the kernel goes only
 * through 0: -EBUSY for that, nothing is written. -ERANGE above sriov_totalvfs.
 * autoprobe: false sets sriov_drivers_autoprobe to 0 for the time, so that no host driver
 * takes the new VFs.
 */
int vgpu_set_vfs(struct timedwriter *w, const struct vgpus *v, size_t parent,
		 unsigned count, bool autoprobe);

/*
 * What -errno of the three means for this parent, in words, allocated: "Invalid argument:
 * 0000:82:00.0 takes no …". type: index or -1. The caller puts the object's name before it.
 */
char *vgpu_explain(const struct vgpus *v, size_t parent, int type, int err);

/* "4 x GRID P40-6Q (nvidia-50)": what a parent holds now, allocated; NULL without. */
char *vgpu_holds(const struct vgpus *v, size_t parent);

#endif
