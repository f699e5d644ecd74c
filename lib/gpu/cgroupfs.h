/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control groups of a process do to it: freezer and memory limits, v1 and v2. */
#ifndef GPU_CGROUPFS_H
#define GPU_CGROUPFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Is the process in a frozen group, or in a group below one?
 *
 * thaw: allocated; the shell command that thaws the outermost frozen group
 * ("echo 0 > /sys/fs/cgroup/lxc/200/cgroup.freeze"); NULL when none is frozen.
 * Returns 0, -ENOENT (the process has ended) or another -errno. A hierarchy that
 * is not mounted below /sys/fs/cgroup freezes nothing that we could see.
 * Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst.
 */
int cgroupfs_frozen(pid_t pid, char **thaw);

struct cgroupfs_limit {
	char *group;		/* owned; folder of the group below the root */
	uint64_t room;		/* bytes until its limit, its page cache counted as free */
};

/*
 * Memory limits of the process's group and of all above it, innermost first.
 * limits: allocated, n of them; free with cgroupfs_limits_free(). 0 or as above.
 * Source: cgroup-v2.rst (memory.max, memory.current, memory.stat), cgroup-v1/memory.rst.
 */
int cgroupfs_limits(pid_t pid, struct cgroupfs_limit **limits, size_t *n);
void cgroupfs_limits_free(struct cgroupfs_limit *limits, size_t n);

/*
 * Is the process in the group at path, or in one below it? path: as in
 * /proc/PID/cgroup ("/lxc/200") or a folder below /sys/fs/cgroup.
 */
bool cgroupfs_is_below(pid_t pid, const char *path);

/* Is there such a group, in any hierarchy? path: as above. */
bool cgroupfs_exists(const char *path);

#endif
