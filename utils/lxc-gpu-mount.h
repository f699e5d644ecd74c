/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of lxc-gpu-mount. */
#ifndef LXC_GPU_MOUNT_H
#define LXC_GPU_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/readfile.h"
#include "gpu/ctnodes.h"
#include "pve/ctconf.h"

enum {				/* exit codes of this program and of lxc-nvidia-setup */
	EXIT_OTHER = 1,
	EXIT_INPUT = 2,
	EXIT_NO_CONTAINER = 3,
	EXIT_HOST = 4,
};

struct job {
	const char *gpu;	/* all, none, a list */
	char *list;		/* owned; what is there of it; NULL before */
	bool remove, dry_run, strict;
	bool has_style;		/* --style dev or mount, else PVE decides */
	enum ctconf_style style;
	uint32_t ctid;
	char *path;		/* owned; of the config, below the root */
	char *label;		/* owned; the same without the root */
	struct ctconf_facts facts;
	struct ctnodes nodes;
	struct ctconf_want *wants;	/* owned; point into nodes */
	size_t n_wants;
};

/* What is wrong, but not for --strict, where it ends the run: true. */
bool complain(const struct job *j, const char *what);

/*
 * Fill in style, nodes and wants; makes nodes that come into being only on use, and
 * has the host make them at each boot. 0 or an exit code, said.
 */
int wants_find(struct job *j);

/*
 * Read the container's config, and see whether a task of PVE's has it locked. 0 or an
 * exit code, said.
 */
int config_read(const struct job *j, struct readfile *text);
int config_check_lock(const struct job *j, const struct readfile *text);

/*
 * Make the config what is wanted, or print how it would change. 0 or an exit code, said.
 */
int change_apply(const struct job *j);
int change_print(const struct job *j, const struct readfile *text);

#endif
