/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which device nodes a container needs for the GPUs that it is to have. */
#ifndef GPU_CTNODES_H
#define GPU_CTNODES_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pciaddr.h"

enum ctnode_group {		/* who may use it in the container, beside root */
	CTNODE_EVERYBODY,	/* mode 0666: NVIDIA's */
	CTNODE_VIDEO,		/* 0660, group video: DRM cards */
	CTNODE_RENDER,		/* 0660, group render: render nodes, kfd */
};

struct ctnode {
	char *path;		/* owned; "/dev/nvidia0"; Intel: /dev/dri/by-path/… */
	char *name;		/* owned; the name for the container, "/dev/dri/renderD128" */
	bool is_there;		/* on the host, now */
	bool is_dir;		/* /dev/nvidia-caps */
	bool made_on_use;	/* not there after a boot until something uses CUDA */
	bool has_number;	/* false: a folder, or the driver is not loaded */
	unsigned major, minor;
	enum ctnode_group group;
};

struct ctnodes {
	struct ctnode *nodes;	/* owned; sorted by path, each once */
	size_t n;
	size_t n_gpus;		/* how many GPUs they stand for */
};

/*
 * The nodes for a wish:
 *   all	every GPU of NVIDIA, AMD and Intel that a host driver has
 *   none	NVIDIA's standard nodes only
 *   list	comma-separated: an NVIDIA GPU's number as nvidia-smi counts (by PCI
 *		address, not by minor), or any GPU's PCI address; after an NVIDIA one "/giX"
 *		or "/giX/ciY" takes that MIG instance alone, else all of the GPU's are taken
 * NVIDIA: nvidiaN by the minor of the address, nvidiactl, nvidia-uvm, nvidia-uvm-tools,
 * the folder nvidia-caps, the capability nodes of MIG instances. AMD: kfd and the render
 * node. Intel and others: card and render node by udev's path, since card0 moves.
 *
 * why: what is wrong, for people, allocated; set on -EINVAL and -ENOENT only.
 * Returns 0, -EINVAL (no such form), -ENOENT (no such GPU, or it has no nodes), or
 * another -errno. A standard node that is not there is listed with is_there unset.
 * Source: nvidia-modprobe; /proc/driver/nvidia; Documentation/admin-guide/devices.txt.
 */
int ctnodes_find(const char *wish, struct ctnodes *out, char **why);
void ctnodes_done(struct ctnodes *c);

/* The major of a driver in /proc/devices ("nvidia-uvm"); -1 without. */
int ctnodes_major(const char *driver);

/* Write the nodes' presence anew, after somebody made some. */
void ctnodes_look(struct ctnodes *c);

#endif
