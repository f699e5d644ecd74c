/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of restart: which of the guests that must run may start now. */
#ifndef PVE_RESTART_JUDGE_H
#define PVE_RESTART_JUDGE_H

#include "pve/assignment.h"
#include "pve/contention.h"
#include "pve/restart.h"

enum { RESTART_COMMAND = sizeof("systemctl start ") + 256 };

enum verdict {
	VERDICT_SKIP,		/* nothing to do with it, now */
	VERDICT_START,
	VERDICT_WAIT,		/* kept down for `because` */
	VERDICT_HELD_UP,	/* why; may be free later */
	VERDICT_FORGET,		/* why; no longer ours */
};

struct candidate {
	const struct state_entry *entry;
	const struct guest *guest;	/* NULL for a unit */
	enum verdict verdict;
	struct guest_id because;
	char *why;		/* owned */
	bool hopeless;		/* held up, and forgotten when this is the last try */
	unsigned round;
};

struct restart {		/* all that one call looks at */
	const struct state_file *file;
	const struct restart_opts *opts;
	struct restart_result *result;
	struct guest *guests;	/* sorted by guest_compare() */
	size_t n_guests;
	char *node;
	struct candidate *cands;
	size_t n;
	/* the model; NULL when it could not be made */
	struct assignment *assignments;
	size_t n_assignments;
	struct contention_facts facts;
	struct contention_input input;
	struct contention *contention;
};

/* "qm start 101", "systemctl start ollama.service" */
const char *restart_command(const struct state_entry *e, char buf[RESTART_COMMAND]);

/*
 * Judge every entry of r->file: needs file, opts, guests and node, fills in
 * cands and the model. Prints only when the model cannot be made.
 */
void restart_judge(struct restart *r);
void restart_judge_done(struct restart *r);

#endif
