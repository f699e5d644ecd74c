/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The climb: each rung, what came of it, and the way back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/ladder-steps.h"
#include "pci/reset.h"

static bool is_stopped(const struct ladder *l)
{
	return l->stop && *l->stop;
}

static bool same(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

/* Out of D3cold, and none of the way down to the card back into it, until put back. */
static void wake(struct ladder *l, const struct ladder_card *card)
{
	struct ladder_step step = ladder_step_begin(l, "wake");
	_cleanup_free_ char *bad = NULL;

	for (size_t i = 0; i < card->snap.n; i++) {
		const struct snapshot_fn *fn = &card->snap.fns[i];
		char addr[PCIADDR_STRLEN];
		int rc = 0;

		if (!sysfs_dry_run && !snapshot_is_present(&fn->addr))
			continue;
		if (fn->attrs[SNAPSHOT_D3COLD] && !same(fn->attrs[SNAPSHOT_D3COLD], "0"))
			rc = ladder_write_attr(l, &fn->addr, "d3cold_allowed", "0");
		if (rc == 0 && fn->attrs[SNAPSHOT_CONTROL] &&
		    !same(fn->attrs[SNAPSHOT_CONTROL], "on"))
			rc = ladder_write_attr(l, &fn->addr, "power/control", "on");
		if (rc < 0 && !bad)
			bad = xasprintf("%s: %s", pciaddr_format(&fn->addr, addr),
					strerror(-rc));
	}
	if (l->writer.n > step.first_write)
		ladder_step_end(l, card, &step, !bad, bad ? xstrdup(bad) : NULL);
}

static int do_own(struct ladder *l, struct ladder_card *card, char **text)
{
	int done = 0, first = 0;

	for (size_t i = 0; i < card->n_named && !l->is_hung; i++) {
		int rc = reset_function(&l->writer, &card->named[i], NULL);
		const struct timedwrite *last = timedwrite_last(&l->writer);

		l->is_hung = last && last->left;
		done += rc == 0;
		/* What counts is the first: an audio function often has no reset. */
		if (i == 0)
			first = rc;
	}
	if (first == -EBUSY)
		*text = xstrdup("its driver would not survive a reset");
	else if (first == -ENOTTY || first == -EOPNOTSUPP)
		*text = xstrdup("no reset method works");
	return first < 0 || done ? first : -EOPNOTSUPP;
}

static int do_subordinate(struct ladder *l, struct ladder_card *card, char **text)
{
	struct pciaddr who;
	char addr[PCIADDR_STRLEN];
	int rc = reset_subordinate(&l->writer, &card->hold, &who);
	const struct timedwrite *last = timedwrite_last(&l->writer);

	l->is_hung = last && last->left;
	if (rc == -EBUSY)
		*text = xasprintf("the driver of %s would not survive a reset",
				  pciaddr_format(&who, addr));
	else if (rc == -ENOTTY)
		*text = xstrdup("something below forbids a bus reset");
	return rc;
}

/* all: the function is the card's upstream port, everything goes with it. */
static void mark_renewed(struct snapshot *snap, const struct pciaddr *addr, bool all)
{
	for (size_t i = 0; i < snap->n; i++)
		if (snap->fns[i].whole &&
		    (all || pciaddr_compare(&snap->fns[i].addr, addr) == 0))
			snap->fns[i].is_renewed = true;
}

static int remove_function(struct ladder *l, struct ladder_card *card,
			   const struct pciaddr *addr, bool all)
{
	int rc;

	if (!sysfs_dry_run && !snapshot_is_present(addr))
		return 0;
	rc = ladder_write_attr(l, addr, "remove", "1");
	if (rc == 0)
		mark_renewed(&card->snap, addr, all);
	/* Gone by itself in between: as good. */
	return rc < 0 && snapshot_is_present(addr) ? rc : 0;
}

static bool same_bus(const struct pciaddr *a, const struct pciaddr *b)
{
	return a->domain == b->domain && a->bus == b->bus;
}

static int do_slot(struct ladder *l, struct ladder_card *card)
{
	int rc = ladder_set_autoprobe(l, "0"), rc_scan, rc_all = 0;

	if (rc < 0)
		return rc;
	for (size_t i = card->n_slot; i-- > 0 && !l->is_hung; ) {
		rc = remove_function(l, card, &card->slot[i], false);
		if (rc_all == 0)
			rc_all = rc;
	}
	/* Whatever was removed has to come back, if all could be or not. */
	for (size_t i = 0; i < card->n_slot && !l->is_hung; i++) {
		if (i && same_bus(&card->slot[i - 1], &card->slot[i]))
			continue;
		rc_scan = ladder_rescan_bus(l, &card->slot[i]);
		if (rc_all == 0)
			rc_all = rc_scan;
	}
	return rc_all;
}

static int do_card(struct ladder *l, struct ladder_card *card)
{
	int rc = ladder_set_autoprobe(l, "0"), rc_scan;

	if (rc < 0)
		return rc;
	rc = remove_function(l, card, &card->top, true);
	rc_scan = ladder_rescan_bus(l, &card->top);
	return rc < 0 ? rc : rc_scan;
}

static int do_rung(struct ladder *l, struct ladder_card *card, enum ladder_rung rung,
		   char **text)
{
	switch (rung) {
	case LADDER_OWN:	 return do_own(l, card, text);
	case LADDER_SUBORDINATE: return do_subordinate(l, card, text);
	case LADDER_SLOT:	 return do_slot(l, card);
	default:		 return do_card(l, card);
	}
}

/* One rung and the check after it: how the card is then. *what: as of ladder_wait(). */
static enum snapshot_health try_rung(struct ladder *l, struct ladder_card *card,
				     enum ladder_rung rung, int *rc, char **what)
{
	struct ladder_step step = ladder_step_begin(l, ladder_rung_name(rung));
	enum snapshot_health health;
	char *text = NULL;
	bool is_good;

	*rc = do_rung(l, card, rung, &text);
	health = ladder_wait(l, &card->snap, l->timeout, what);
	is_good = *rc == 0 && health == SNAPSHOT_HEALTHY;
	if (l->is_hung)
		text = xasprintf("the kernel hangs in this write (process %d)",
				 (int)timedwrite_last(&l->writer)->left);
	else if (is_good)
		text = sysfs_dry_run ? NULL : xstrdup("config space healthy");
	else if (*rc < 0 && !text)
		text = ladder_error(*rc);
	else if (!text)
		text = xstrdup(*what);
	if (*rc < 0 && !*what)
		*what = xstrdup(text);
	ladder_step_end(l, card, &step, is_good, text);
	return health;
}

static enum ladder_result climb(struct ladder *l, struct ladder_card *card,
				enum ladder_rung *rung, char **what)
{
	enum snapshot_health health = SNAPSHOT_HEALTHY;
	int rc = -EOPNOTSUPP;

	for (int r = (int)card->start; r <= (int)card->last && !l->is_hung; r++) {
		if (card->why[r])
			continue;
		if (is_stopped(l))
			break;
		free(TAKE_PTR(*what));
		*rung = (enum ladder_rung)r;
		health = try_rung(l, card, *rung, &rc, what);
		if (rc == 0 && health == SNAPSHOT_HEALTHY && !sysfs_dry_run)
			return LADDER_HEALTHY;
	}
	if (sysfs_dry_run)
		return LADDER_HEALTHY;
	if (l->is_hung || health == SNAPSHOT_GONE)
		return LADDER_LOST;
	if (is_stopped(l))
		return LADDER_STOPPED;
	if (health == SNAPSHOT_HEALTHY)
		return LADDER_NONE;
	return health == SNAPSHOT_DEAD ? LADDER_LOST : LADDER_CHANGED;
}

/* No process for a write: that says nothing of the device, the next one may succeed. */
static bool had_no_process(const struct ladder *l, size_t first_write)
{
	for (size_t i = first_write; i < l->writer.n; i++)
		if (l->writer.done[i].result == -EAGAIN ||
		    l->writer.done[i].result == -ENOMEM)
			return true;
	return false;
}

/* The file stays while a next run may still bring something back. */
static void put_back(struct ladder *l, struct ladder_card *card,
		     enum ladder_result *result, char **what)
{
	struct ladder_step step = ladder_step_begin(l, "put back");
	_cleanup_free_ char *lack = NULL;
	size_t gone = ladder_put_back(l, &card->snap, false, &lack);
	/* It is everybody's: tried again, else the next run has to know what it was. */
	bool is_off = !l->is_hung && ladder_set_autoprobe(l, card->snap.autoprobe) < 0;
	bool is_undone = lack && had_no_process(l, step.first_write);

	if (l->writer.n > step.first_write || lack)
		ladder_step_end(l, card, &step, !lack, lack ? xstrdup(lack) : NULL);
	if (!sysfs_dry_run && !gone && !is_off && !is_undone && !l->is_hung)
		snapshot_forget(&card->snap);
	if ((*result == LADDER_HEALTHY || *result == LADDER_NONE) && lack) {
		free(*what);
		*result = LADDER_CHANGED;
		*what = TAKE_PTR(lack);
	}
}

enum ladder_result ladder_climb(struct ladder *l, struct ladder_card *card,
				enum ladder_rung *rung, char **what)
{
	bool had_file = card->snap.path;
	enum ladder_result result;
	int rc = sysfs_dry_run ? 0 : snapshot_save(&card->snap);

	*rung = LADDER_RUNGS;
	*what = NULL;
	if (rc < 0) {
		*what = xasprintf("its state cannot be kept: %s", strerror(-rc));
		/*
		 * Written, but perhaps not on disk: nothing was done that it could tell
		 * of.
		 */
		if (!had_file)
			snapshot_forget(&card->snap);
		return LADDER_ERROR;
	}
	wake(l, card);
	result = climb(l, card, rung, what);
	put_back(l, card, &result, what);
	return result;
}
