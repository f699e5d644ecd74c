/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests that a state file or the journal says must run: started again, in
 * start-up order, verified. Prints: a line per guest on stdout, what is in the
 * way on stderr (of a repeated reason only the first time).
 */
#ifndef PVE_RESTART_H
#define PVE_RESTART_H

#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"
#include "pve/guest.h"
#include "pve/state.h"

enum {
	RESTART_PARALLEL = 4,
	RESTART_LIMIT = 300,	/* s */
};

struct restart_opts {
	const struct config *config;
	enum config_restart policy;
	const struct guest_id *after;	/* guest whose backup has just ended; NULL: all start */
	unsigned parallel;
	unsigned limit;		/* s for one start */
	bool dry_run;		/* print the commands, run none, leave the journal alone */
	bool onboot_only;	/* forget guests without onboot */
	bool overdue_only;	/* only those that have been down for longer than max-wait */
	bool last;		/* forget, and say, who is blocked or never went down */
};

struct restart_result {
	size_t started;
	size_t waiting;		/* kept down by the policy, or for their own backup */
	size_t held_up;		/* still going down, locked, blocked: the way may be free later */
	size_t failed;		/* starts that did not work, entries that stay in the journal */
};

/*
 * Read the journal. One that is damaged is not believed: said, with what could
 * be read and what to do, and moved out of the way. Entries of guests that ran
 * when the job began, as its state file knows, are kept in a new one.
 * 0, -ENOENT, -EBADMSG (said; nothing was kept) or another -errno (said).
 */
int restart_journal(struct state_file *f, bool dry_run);

/*
 * Start what f says must run and does not. Only guests that are still stopped,
 * still configured on this node, unlocked, and in no running guest's way; none
 * while the host shuts down. Entries of the journal (f->journal) that are
 * settled, one way or the other, are taken out of it.
 * 0, -ENOENT when /etc/pve is not mounted (said), -ECANCELED when the host shuts
 * down (said), or another -errno (said).
 */
int restart_run(const struct state_file *f, const struct restart_opts *opts,
		struct restart_result *result);

#endif
