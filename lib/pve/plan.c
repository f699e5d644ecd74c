/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/plan.h"

enum { ORDERS_MAX = 2000 }; /* starts tried while looking for an order for all */

/*
 * The most of these guests that can run together, whatever the order of the
 * starts; the model is left as found. Nearly always the first order does.
 */
static size_t most_up(struct contention *c, struct guest_id *ids, size_t n,
		      unsigned *tries)
{
	size_t best = 0;

	for (size_t i = 0; i < n && best < n && *tries > 0; i++) {
		struct guest_id first = ids[i];
		size_t rest;

		--*tries;
		if (contention_is_running(c, first) || !contention_guest_up(c, first))
			continue;
		ids[i] = ids[0];
		ids[0] = first;
		rest = most_up(c, ids + 1, n - 1, tries);
		ids[0] = ids[i];
		ids[i] = first;
		contention_guest_down(c, first);
		if (1 + rest > best)
			best = 1 + rest;
	}
	return best;
}

/*
 * The most of ours not up yet that could still start, once the backup that goes on is
 * over.
 */
static size_t most_of(const struct plan_restart *p, const struct plan_guest *const ours[],
		      const bool up[], size_t n)
{
	struct contention *c = p->contention;
	size_t most;
	_cleanup_free_ struct guest_id *ids = xcalloc(n + 1, sizeof(*ids));
	unsigned tries = ORDERS_MAX;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!up[i])
			ids[kept++] = ours[i]->id;
	if (p->in_backup)
		contention_guest_hide(c, *p->in_backup, true);
	most = most_up(c, ids, kept, &tries);
	if (p->in_backup)
		contention_guest_hide(c, *p->in_backup, false);
	return most;
}

static bool would_stop(const struct contention *c, struct guest_id x, struct guest_id g)
{
	struct contention_plan plan;
	bool met = false;

	if (contention_plan(c, x, &plan) == 0)
		for (size_t i = 0; i < plan.n; i++)
			met |= !plan.stops[i].unit &&
			       guest_compare(&plan.stops[i].guest, &g) == 0;
	contention_plan_done(&plan);
	return met;
}

/* With g up in the model: is it to wait for somebody, and for whom? */
static bool has_to_wait(const struct plan_restart *p, const struct plan_guest *g,
			struct guest_id *because)
{
	size_t i = 0, last;

	*because = (struct guest_id){ 0 };
	if (!p->after)
		return p->overdue_only && p->now - g->stopped_at < p->max_wait;
	while (i < p->n && guest_compare_vmid(&p->guests[i].id, p->after) <= 0)
		i++;
	last = p->policy == CONFIG_RESTART_LAST || p->n - i < p->lookahead
		       ? p->n
		       : i + p->lookahead;
	if (p->now - g->stopped_at >= p->max_wait)
		/*
		 * Not even then only to be stopped again by the next backup: it may
		 * begin this second.
		 */
		last = i < p->n ? i + 1 : p->n;
	else if (p->policy == CONFIG_RESTART_JOB_END)
		return true;
	for (; i < last; i++) {
		const struct plan_guest *x = &p->guests[i];

		if (x->running || x->ours || !x->backup_starts ||
		    !would_stop(p->contention, x->id, g->id))
			continue;
		*because = x->id;
		return true;
	}
	return false;
}

static struct plan_decision blocked(const struct contention *c, struct guest_id g)
{
	struct plan_decision d = { .guest = g, .action = PLAN_BLOCKED };
	_cleanup_free_ struct guest_id *by = NULL;

	if (contention_blockers(c, g, &by) > 0)
		d.because = by[0];
	return d;
}

/* What to do with one guest as the model stands; START leaves it up there. */
static struct plan_decision decide(const struct plan_restart *p,
				   const struct plan_guest *const ours[], bool up[],
				   size_t n, size_t i)
{
	struct contention *c = p->contention;
	struct plan_decision d = { .guest = ours[i]->id, .action = PLAN_WAIT };
	size_t most;

	if (contention_is_running(c, d.guest)) { /* its own backup has it */
		d.because = d.guest;
		return d;
	}
	most = most_of(p, ours, up, n);
	if (!contention_guest_up(c, d.guest))
		return blocked(c, d.guest);
	up[i] = true;
	if (!has_to_wait(p, ours[i], &d.because)) {
		/* It must not take what one that starts later cannot do without. */
		if (1 + most_of(p, ours, up, n) >= most) {
			d.action = PLAN_START;
			return d;
		}
		for (size_t k = 0; k < n; k++)
			if (!up[k])
				d.because = ours[k]->id;
		if (!p->after)
			d.action = PLAN_BLOCKED;
	}
	contention_guest_down(c, d.guest);
	up[i] = false;
	return d;
}

void plan_restart(const struct plan_restart *p, struct plan_decision **decisions,
		  size_t *n_decisions)
{
	struct contention *c = p->contention;
	_cleanup_free_ const struct plan_guest **ours = xcalloc(p->n + 1, sizeof(*ours));
	_cleanup_free_ bool *up = NULL;
	struct plan_decision *d;
	size_t n = 0, n_starts = 0, before;
	bool choosy = false;
	unsigned round = 0;

	/* Those that PVE leaves no choice come first: the others can go round them. */
	for (int choice = 0; choice <= 1; choice++)
		for (size_t i = 0; i < p->n; i++)
			if (p->guests[i].ours &&
			    contention_has_choice(c, p->guests[i].id) == choice)
				ours[n++] = &p->guests[i];
	up = xcalloc(n + 1, sizeof(*up));
	d = xcalloc(n + 1, sizeof(*d));
	do {
		before = n_starts;
		for (size_t i = 0; i < n; i++) {
			struct plan_decision one;

			if (up[i])
				continue;
			one = decide(p, ours, up, n, i);
			if (one.action != PLAN_START)
				continue;
			if (n_starts > 0 &&
			    (choosy || contention_has_choice(c, one.guest)))
				round++;
			choosy = contention_has_choice(c, one.guest);
			one.round = round;
			d[n_starts++] = one;
		}
	} while (n_starts > before && n_starts < n);
	*n_decisions = n_starts;
	for (size_t i = 0; i < p->n; i++) {
		size_t k = 0;

		if (!p->guests[i].ours)
			continue;
		while (ours[k] != &p->guests[i])
			k++;
		if (!up[k])
			d[(*n_decisions)++] = decide(p, ours, up, n, k);
	}
	for (size_t i = 0; i < n; i++)
		if (up[i])
			contention_guest_down(c, ours[i]->id);
	*decisions = d;
}
