/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what vfio-setup is asked for to the changes of files that do it, or undo it. */
#ifndef HOST_SETUP_H
#define HOST_SETUP_H

#include <stdbool.h>

#include "host/artifacts.h"
#include "host/bootloader.h"
#include "host/card.h"
#include "host/manifest.h"
#include "host/request.h"
#include "host/transaction.h"

struct setup {
	struct manifest old;		/* what is applied now */
	bool applied;			/* something is */
	struct setup_request request;	/* what is asked for, or was when nothing is */
	struct bootloader loader;
	bool has_loader;		/* one is known */
	struct cards cards;
	struct artifacts artifacts;
	struct strlist words;		/* for the kernel command line */
	struct strlist warnings;	/* for the user, a line each */

	/* The way there: setup_plan_apply() or setup_plan_undo(). */
	struct strlist made;		/* in: folders that transaction_lock() made */
	struct manifest next;
	struct transaction t;
};

/*
 * Every function here returns 0, or -errno with *error = what is wrong
 * (allocated, names the thing): -EBADMSG the manifest or a command line is not as it
 * should be, -ENOENT no such function or card, -ENODEV it cannot be given away,
 * -EBUSY it is refused without force, -ESTALE a slot holds another card than
 * when it was set up, -EEXIST a file of somebody else is in the way, or another.
 */

/* Read what is applied, find the boot loader. s: zeroed; setup_done() in any case. */
int setup_load(struct setup *s, char **error);

/* Find the cards that are asked for and decide what they need. asked is copied. */
int setup_choose(struct setup *s, const struct setup_request *asked, char **error);

/*
 * Compare with what is there; s->t is the way to it. force: write over files
 * of ours that were changed since, or left by a run whose manifest is lost.
 */
int setup_plan_apply(struct setup *s, bool force, char **error);
int setup_plan_undo(struct setup *s, bool force, char **error);

/* Does the plan change anything but the manifest? */
bool setup_has_changes(const struct setup *s);

/* Is a word not active yet, or a function not with vfio? */
bool setup_needs_boot(const struct setup *s);

/* Was the host booted since it was applied, so that another boot would not help? */
bool setup_was_booted(void);

void setup_done(struct setup *s);

#endif
