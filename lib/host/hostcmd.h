/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's own commands that put a changed file into effect. */
#ifndef HOST_HOSTCMD_H
#define HOST_HOSTCMD_H

#include <stdbool.h>
#include <stddef.h>

#include "host/strlist.h"

struct hostcmds {
	struct strlist *argv;	/* owned; argv[i].s[0] is an absolute path */
	size_t n, room;
};

/* Add a command unless the same one is there; the list of words ends with NULL. */
void hostcmds_add(struct hostcmds *l, ...) __attribute__((sentinel));
void hostcmds_add_argv(struct hostcmds *l, const struct strlist *argv);
void hostcmds_done(struct hostcmds *l);

/* "/usr/sbin/update-initramfs -u -k all", allocated. */
char *hostcmd_text(const struct strlist *argv);

/*
 * Run a command of the host to its end, its output with ours.
 *
 * With another root than "/" nothing is run: such a command would change this
 * host. It is printed instead, as "chroot ROOT COMMAND...", and counts as done.
 * With PVE_GPU_COMMANDS=DIR in the environment (secure_getenv, another root
 * only) DIR/NAME is run in its place, with PVE_GPU_ROOT set.
 *
 * Returns the exit status, 128 + signal, or -errno when it could not start.
 */
int hostcmd_run(const struct strlist *argv);

/*
 * The same for one that only tells: each line of its output is added to *lines.
 * -ENOTSUP with another root and no PVE_GPU_COMMANDS. Limit: 60 s (-ETIMEDOUT).
 */
int hostcmd_ask(const struct strlist *argv, struct strlist *lines);

#endif
