/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that belong together: by descent, control group, container or guest. */
#ifndef GPU_CUDASELECT_H
#define GPU_CUDASELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cudaselect {
	const pid_t *pids;	/* named ones */
	size_t n_pids;
	bool tree;		/* and all that descend from them */
	const char *cgroup;	/* all in this group or below; see cgroupfs_is_below() */
	const char *container;	/* all of this container; see cgroup_is_in_container() */
	const char *guest;	/* all of this guest: "lxc/200" */
};

/*
 * The named processes, whether there or not, and all that the rest of the selection
 * covers, this process left out.
 * pids: allocated, sorted, each once. 0 or -errno.
 */
int cudaselect_list(const struct cudaselect *sel, pid_t **pids, size_t *n);

#endif
