/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The config files of guests: /etc/pve/nodes/NODE/{qemu-server,lxc}/VMID.conf. */
#ifndef PVE_GUESTDIR_H
#define PVE_GUESTDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/readfile.h"
#include "pve/guest.h"

struct guestdir_node {
	char *name;		/* owned */
	int fd;			/* of the folder; -1 when the node has none of this kind */
};

struct guestdir_entry {
	uint32_t vmid;
	uint32_t node;		/* index in nodes */
};

struct guestdir {
	struct guestdir_node *nodes;	/* owned, sorted by name */
	size_t n_nodes;
	struct guestdir_entry *entries;	/* owned, sorted by VMID */
	size_t n;
};

/*
 * List the configs of one kind with one readdir per node.
 *
 * node: NULL for all nodes.
 * vmids: when not NULL, sorted: only these. A single node is then not listed at
 * all: an entry stands for a file that may be missing.
 * Returns 0, -ENOENT (no such node, or /etc/pve is not mounted) or another -errno.
 */
int guestdir_open(struct guestdir *dir, enum guest_kind kind, const char *node,
		  const uint32_t *vmids, size_t n_vmids);
void guestdir_close(struct guestdir *dir);

/*
 * Read one config: three system calls. 0, -ENOENT, or another -errno as of
 * readfile_at(); a link that leads nowhere is -ENOLINK.
 */
int guestdir_read(const struct guestdir *dir, const struct guestdir_entry *e,
		  struct readfile *buf);

/* What a failed guestdir_read() means, in words. */
const char *guestdir_strerror(int err);

#endif
