/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the ladder's own files: what its rungs are made of. */
#ifndef PCI_LADDER_STEPS_H
#define PCI_LADDER_STEPS_H

#include "pci/ladder.h"

/*
 * timedwrite() below the root; once a write hangs (l->is_hung) only those to
 * attributes of the bus itself go on. 0 or -errno.
 */
int ladder_write(struct ladder *l, const char *path, const char *value);
int ladder_write_attr(struct ladder *l, const struct pciaddr *addr, const char *name,
		      const char *value);

/* What a failed write means, for people; allocated. */
char *ladder_error(int rc);

/* drivers_autoprobe; nothing is written when it says so already. */
int ladder_set_autoprobe(struct ladder *l, const char *value);

/* Rescan the bus that a function sits, or sat, on. -ENOENT when the bus is gone. */
int ladder_rescan_bus(struct ladder *l, const struct pciaddr *addr);

/*
 * Wait until every function that a remove takes answers again, or timeout (ms).
 * Those that are missing are looked for again by rescans, ever more seldom.
 * *what: the first that is wrong, allocated; NULL when all are healthy.
 */
enum snapshot_health ladder_wait(struct ladder *l, struct snapshot *snap, int64_t timeout,
				 char **what);

/*
 * Write back what a remove, or keeping the card awake, has changed;
 * drivers_autoprobe last.
 *
 * is_heal: for another run that was killed: only what can be its doing.
 * *what: the first thing that could not be put back, allocated; NULL: all was.
 * Returns how many functions are not there.
 */
size_t ladder_put_back(struct ladder *l, struct snapshot *snap, bool is_heal,
		       char **what);

/* Begin and end a step for reports; text is taken over. */
struct ladder_step ladder_step_begin(const struct ladder *l, const char *name);
void ladder_step_end(struct ladder *l, const struct ladder_card *card,
		     struct ladder_step *step, bool is_good, char *text);

#endif
