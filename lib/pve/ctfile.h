/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The config file of a container of this node, as PVE itself locks and writes it. */
#ifndef PVE_CTFILE_H
#define PVE_CTFILE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Take PVE's own lock of the config: flock on /run/lock/lxc/pve-config-CTID.lock, made
 * when it is missing. Source: pve-container, LXC/Config.pm config_file_lock.
 *
 * wait: ms to try for; PVE waits 10 s.
 * Returns a descriptor (close it to unlock), -EAGAIN when somebody else kept it, or
 * another -errno.
 */
int ctfile_lock(uint32_t ctid, unsigned wait);

/*
 * Replace the file at path (below the root, that is complete) under the lock: a file
 * beside it, one write, rename. No chmod and no link, which pmxcfs refuses. Killed at
 * any point the file is the old one or the new one; what a killed run left beside it
 * the next one takes away.
 * Returns 0, -EACCES (also: no quorum), -EFBIG or another -errno; nothing is left behind.
 * Source: pve-common, File.pm file_set_contents; pmxcfs(8).
 */
int ctfile_write(const char *path, const void *data, size_t len);

#endif
