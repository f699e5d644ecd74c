/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group ids as the container itself has them. */
#ifndef PVE_CTGROUP_H
#define PVE_CTGROUP_H

#include <stdbool.h>
#include <stdint.h>

struct ctgroups {
	int video, render;	/* -1: the container has no such group */
};

/*
 * Read the container's /etc/group: of a running one through its init process, else from
 * its root file system, which is mounted for it (pct mount, pct unmount) when may_mount
 * is set and nobody has done so. Links in it cannot lead out of the container.
 *
 * volume: of its rootfs, "local-lvm:vm-200-disk-0"; NULL unknown.
 * Returns 0, -ENOENT (there is no /etc/group), -EAGAIN (it would have to be mounted), or
 * another -errno. unmounted: whether "pct unmount" did its work, true without any.
 */
int ctgroups_read(uint32_t ctid, const char *volume, bool may_mount,
		  struct ctgroups *groups, bool *unmounted);

/* The same from the file's text. */
void ctgroups_parse(const char *text, struct ctgroups *groups);

#endif
