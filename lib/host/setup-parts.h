/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of setup-plan.c share. */
#ifndef HOST_SETUP_PARTS_H
#define HOST_SETUP_PARTS_H

#include "host/setup.h"

/* What a plan has to run at the end. */
struct setup_due {
	bool initramfs, loader;
};

/* *error for a path that hostfile_read() gave rc (< 0) for; the plan's -errno. */
int setup_cannot_read(const char *path, int rc, char **error);

/*
 * Plan /etc/kernel/cmdline; words: those that are to be in it. 0 or -errno with *error.
 */
int setup_plan_cmdline(struct setup *s, const struct strlist *words,
		       struct setup_due *due, char **error);

#endif
