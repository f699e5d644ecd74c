/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What apply has done, so that undo can take away exactly that:
 * /var/lib/pve-gpu-utils/vfio-setup/manifest.
 */
#ifndef HOST_MANIFEST_H
#define HOST_MANIFEST_H

#include <stdbool.h>

#include "host/hostfile.h"
#include "host/request.h"
#include "host/strlist.h"

#define MANIFEST_DIR	"/var/lib/pve-gpu-utils/vfio-setup"
#define MANIFEST_PATH	MANIFEST_DIR "/manifest"

struct manifest {
	struct setup_request request;	/* what apply was asked for */
	struct hostfiles files;		/* our own files, as we wrote them */
	struct strlist words;		/* our words in /etc/kernel/cmdline */
	struct hostfile before;		/* /etc/kernel/cmdline without; or no path */
	struct hostfile after;		/* and as we wrote it */
	struct strlist dirs;		/* folders that we made, the parent first */
	struct strlist cards;		/* "ADDR vvvv:dddd ssss:ssss" of each function */
};

/*
 * Returns 0, -ENOENT when nothing is applied, -EBADMSG for a file that is not
 * complete or of a newer version, or another -errno; *m is empty on failure.
 */
int manifest_read(struct manifest *m);
int manifest_parse(const char *text, struct manifest *m);
void manifest_done(struct manifest *m);

/* The file's content, allocated: lines of TAB-separated fields, the last one "#end N". */
char *manifest_format(const struct manifest *m);

#endif
