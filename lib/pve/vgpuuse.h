/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who uses a vGPU: a VM, a process, nobody. */
#ifndef PVE_VGPUUSE_H
#define PVE_VGPUUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "pci/vgpu.h"

enum vgpuuse_how {
	VGPUUSE_FILE,		/* has its VFIO group or device open */
	VGPUUSE_CMDLINE,	/* a QEMU with its UUID or address on the command line */
	VGPUUSE_PVE,		/* PVE's UUID of a VM that runs, or PVE's reservation */
	VGPUUSE_MAYBE,		/* has a VFIO device open that may be this one's */
};

struct vgpuuse {
	size_t instance;	/* index into v->instances */
	enum vgpuuse_how how;
	pid_t pid;		/* 0 when it is not known: a VM that starts */
	char comm[16];		/* "" without pid */
	char *owner;		/* owned; "qemu/100", "unit/x.service", "-": cgroup_owner() */
	char *what;		/* owned; "/dev/vfio/27", "command line", "PVE's UUID" */
};

/*
 * Users of all instances: allocated, sorted by instance, how, pid; one row per instance
 * and process. Only root sees all. 0 or -errno.
 */
int vgpuuse_list(const struct vgpus *v, struct vgpuuse **uses, size_t *n);
void vgpuuse_free(struct vgpuuse *uses, size_t n);

/* The first row of an instance; NULL: nobody uses it. */
const struct vgpuuse *vgpuuse_of(const struct vgpuuse *uses, size_t n, size_t instance);

/* For people: "VM 100", "process 4711 (qemu-system-x86)", allocated. */
char *vgpuuse_text(const struct vgpuuse *use);

/*
 * A leftover: an instance that nobody uses. VFs of plain SR-IOV are none, and neither
 * is what a definition starts by itself (is_defined).
 */
bool vgpuuse_is_leftover(const struct vgpus *v, const struct vgpuuse *uses, size_t n,
			 size_t instance, bool is_defined);

struct vgpumgr {		/* a nvidia-vgpu-mgr that serves a vGPU */
	pid_t pid;
	char *id;		/* owned; the UUID or VF that it was started for */
};

/* Those whose instance is gone: allocated, sorted by pid. 0 or -errno. */
int vgpuuse_stale_managers(const struct vgpus *v, struct vgpumgr **mgrs, size_t *n);
void vgpumgr_free(struct vgpumgr *mgrs, size_t n);

#endif
