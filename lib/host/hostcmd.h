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

/* Add a command unless the same one is there: its words with one blank between them. */
void hostcmds_add(struct hostcmds *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void hostcmds_add_argv(struct hostcmds *l, const struct strlist *argv);
void hostcmds_done(struct hostcmds *l);

/*
 * Are commands run at all? With another root than "/" they are not: they would
 * change this host. With PVE_GPU_COMMANDS=DIR in the environment
 * (secure_getenv, another root only) DIR/NAME is run in the place of each, with
 * PVE_GPU_ROOT set.
 */
bool hostcmd_are_run(void);

/* "/usr/sbin/update-grub", after "chroot ROOT " when it is not run; allocated. */
char *hostcmd_text(const struct strlist *argv);

/*
 * Run a command of the host to its end, its output with ours.
 *
 * proxmox-boot-tool ends well although it skips an ESP that is not there; when it
 * skips all of them, nothing was made effective: HOSTCMD_SKIPPED.
 * Returns the exit status, 128 + signal, or -errno when it could not start;
 * 0 when commands are not run.
 */
enum { HOSTCMD_SKIPPED = 256 };
int hostcmd_run(const struct strlist *argv);

/*
 * Commands run from now on keep this descriptor open: a flock(2) that lasts until
 * they have ended, though we may be killed. 0 for none.
 */
void hostcmd_keep(int fd);

/*
 * The same for one that only tells: each line of its output is added to *lines.
 * -ENOTSUP when commands are not run, -ETIMEDOUT after 60 s.
 */
int hostcmd_ask(const struct strlist *argv, struct strlist *lines);

#endif
