/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions of vGPUs that outlive a reboot.
 *
 * Mediated devices: mdevctl's own files, /etc/mdevctl.d/PARENT/UUID. The other kinds:
 * /etc/pve-gpu-utils/vgpu.d/PARENT/ID with the same JSON, since mdevctl takes every file
 * of its folder for a UUID and knows no parent without mdev_supported_types.
 */
#ifndef PCI_MDEVDEF_H
#define PCI_MDEVDEF_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/vgpu.h"

struct mdevdef_attr {		/* to be written below the instance, in order */
	char *name, *value;	/* owned; "nvidia/vgpu_params" */
};

struct mdevdef {
	enum vgpu_backend backend;
	char *parent;		/* owned; sysfs name */
	char *id;		/* owned; UUID, lower case; the VF; SR-IOV: the parent */
	char *type;		/* owned; type id */
	bool is_auto;		/* "start": "auto"; false for "manual" */
	unsigned count;		/* SR-IOV: number of VFs ("numvfs"); else 0 */
	struct mdevdef_attr *attrs;	/* owned */
	size_t n_attrs;
};

/*
 * All definitions, sorted by parent, id; those of other kinds after the mdevs.
 * bad: told of each file that is none (path complete, why in words); may be NULL.
 * 0 (none is no error) or -errno.
 */
int mdevdef_list(struct mdevdef **defs, size_t *n,
		 void (*bad)(const char *path, const char *why, void *arg), void *arg);
void mdevdef_free(struct mdevdef *defs, size_t n);
void mdevdef_done(struct mdevdef *def);

/* The definition of an instance, in a list; NULL without. parent may be NULL. */
const struct mdevdef *mdevdef_find(const struct mdevdef *defs, size_t n,
				   const char *parent, const char *id);

/*
 * Write one, byte by byte as mdevctl 1.4.0 does: two spaces of indent, no final LF, keys
 * mdev_type, start, attrs. The file is replaced as a whole. 0, -EINVAL (a name that is no
 * part of a path) or another -errno.
 */
int mdevdef_write(const struct mdevdef *def);

/* Remove one; its parent's folder goes, too, when it is empty and ours. 0 or -errno. */
int mdevdef_remove(const struct mdevdef *def);

/* The file of a definition, complete, allocated. */
char *mdevdef_path(const struct mdevdef *def);

/*
 * Text of a definition, allocated, and back. -EINVAL with *why set (static): no JSON
 * object, no mdev_type, no or another start. backend, parent and id are the caller's.
 */
char *mdevdef_text(const struct mdevdef *def);
int mdevdef_parse(const char *text, size_t len, struct mdevdef *def, const char **why);

/* Does /etc/pve-gpu-utils/mdev-autostart have ours start what is auto at boot? */
bool mdevdef_is_started_at_boot(void);
/* Make or remove that file, which the udev rule looks for, too. 0 or -errno. */
int mdevdef_start_at_boot(bool on);

/* Add an attribute at the end. */
void mdevdef_add_attr(struct mdevdef *def, const char *name, const char *value);

#endif
