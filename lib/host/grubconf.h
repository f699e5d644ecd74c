/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words that /etc/default/grub and /etc/default/grub.d/ *.cfg configure,
 * read as text in the order in which grub-mkconfig(8) reads them; nothing is run.
 */
#ifndef HOST_GRUBCONF_H
#define HOST_GRUBCONF_H

#include <stdbool.h>

#include "host/strlist.h"

/* Our own file: appends to GRUB_CMDLINE_LINUX_DEFAULT. */
#define GRUBCONF_DROPIN "/etc/default/grub.d/pve-gpu-utils.cfg"

struct grubconf {
	char *always;		/* owned; value of GRUB_CMDLINE_LINUX, "" when unset */
	char *normal;		/* owned; of GRUB_CMDLINE_LINUX_DEFAULT */
	bool unclear;		/* a value has $(…), `…` or another variable */
	char *reset;		/* owned; "FILE:LINE", after our file, that forgets it; NULL */
};

/*
 * without_own: leave our own file out: what others configure.
 * Returns 0 (also when there are no such files), or -errno of one that cannot be read.
 */
int grubconf_read(bool without_own, struct grubconf *g);
void grubconf_done(struct grubconf *g);

/* Is word in either value? */
bool grubconf_has(const struct grubconf *g, const char *word);

/* Content of our own file for words, allocated. */
char *grubconf_dropin(const struct strlist *words);

#endif
