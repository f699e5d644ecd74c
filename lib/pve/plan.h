/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decisions of a backup job: whom to start again when. The hook, `pve-gpu-hooks
 * plan` and the benches all ask here.
 */
#ifndef PVE_PLAN_H
#define PVE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "pve/contention.h"
#include "pve/guest.h"

struct plan_guest {		/* one guest of this node */
	struct guest_id id;
	bool running;		/* now */
	/* a backup of it while stopped starts its kvm: VM, has a disk, no template */
	bool backup_starts;
	bool ours;		/* stopped for this job and still stopped */
	int64_t stopped_at;	/* s, any clock, when ours */
};

enum plan_action {
	PLAN_START,		/* start it now */
	PLAN_WAIT,		/* keep it down for `because`, the contender to come */
	/* somebody runs in its way: `because`; leave it and say so */
	PLAN_BLOCKED,
};

struct plan_decision {
	struct guest_id guest;
	enum plan_action action;
	/* vmid 0: WAIT for the job's end, BLOCKED by no device */
	struct guest_id because;
	/* START: those of one round may start at a time, the next after them */
	unsigned round;
};

struct plan_restart {
	struct contention *contention;	/* state as of now; left as it was found */
	/* sorted by guest_compare_vmid(): the order in which vzdump goes */
	const struct plan_guest *guests;
	size_t n;
	enum config_restart policy;
	unsigned lookahead;		/* guests */
	int64_t max_wait;		/* s */
	int64_t now;			/* s, the clock of stopped_at */
	/* guest whose backup has just ended; NULL = the job is over: start all */
	const struct guest_id *after;
	/* start nobody who has not waited for max_wait (the guardian) */
	bool overdue_only;
	/*
	 * Off guest whose kvm only runs for its backup; NULL none. It is in the way
	 * now, but nobody may take what ours need after it.
	 */
	const struct guest_id *in_backup;
};

/*
 * What to do with every guest that is ours: first the starts in the order in
 * which they are to be made (guests with alternatives could else take what
 * another one needs), then the others in guests' order.
 * early: start it unless one of the next `lookahead` guests after `after` in
 * VMID order is a stopped guest whose backup would need it down again;
 * last: unless any later one is; job-end: wait. Nobody waits longer than max_wait,
 * except for the guest next in order: a start would only be undone at once. The
 * guardian asks with after == NULL and overdue_only while a backup goes on: where
 * that is no contender of theirs, those who have waited that long start. All of
 * ours are to be given, so that nobody takes what another one needs later.
 * decisions: allocated, *n_decisions long.
 */
void plan_restart(const struct plan_restart *p, struct plan_decision **decisions,
		  size_t *n_decisions);

enum plan_event_kind {
	PLAN_EV_BACKUP,		/* backup of guest begins */
	PLAN_EV_DONE,		/* and has been made */
	PLAN_EV_FAILED,		/* and cannot be made: why */
	PLAN_EV_STOP,		/* guest is stopped for `because` */
	PLAN_EV_UP,		/* guest is started again */
	PLAN_EV_UNIT_STOP,	/* host service `unit` is stopped for `because` */
	PLAN_EV_UNIT_UP,
};

struct plan_event {
	double t;		/* s since the job's start */
	enum plan_event_kind kind;
	struct guest_id guest;
	struct guest_id because;
	const char *unit;
	const char *why;
};

struct plan_job {
	/* state at the job's start; afterwards as the job leaves it */
	struct contention *contention;
	/* all guests of the node, sorted by guest_compare_vmid(); changed */
	struct plan_guest *guests;
	size_t n;
	/* the guests that the job backs up, sorted likewise */
	const struct guest_id *selected;
	const double *durations;	/* s, per selected guest; NULL: 600 each */
	size_t n_selected;
	/* mode stop: running guests go down for a moment, by vzdump itself */
	bool stop_mode;
	enum config_restart policy;
	unsigned lookahead;
	int64_t max_wait;		/* s */
	double stop_s, start_s;		/* s a guest takes to stop, to start */
	bool hooked;			/* false: a job without the hook */
	/*
	 * For comparisons, NULL for the suite's own. Whom to stop for x: allocated,
	 * their number. May g, stopped for the job, start before selected[next] has
	 * its turn (next == n_selected: the end)?
	 */
	size_t (*stops)(const struct plan_job *job, struct guest_id x,
			struct guest_id **guests);
	bool (*may_start)(const struct plan_job *job, struct guest_id g, size_t next);
};

struct plan_outcome {
	size_t made, failed;		/* backups */
	/* guest-seconds of guests that ran at the start */
	double downtime;
	size_t interruptions;		/* stops of guests that ran */
	size_t changed;			/* guests in another state than before */
};

/* Play the job; each (may be NULL) is called per event, in order of time. */
void plan_job(struct plan_job *job, void (*each)(const struct plan_event *e, void *arg),
	      void *arg,
	      struct plan_outcome *outcome);

#endif
