/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run of pci-rescan: lock, heal, guards, climb. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci-rescan.h"

void run_fail(struct run *r, int code)
{
	if (r->code == EX_OK)
		r->code = code;
}

static int64_t timeout_ms(const struct run *r)
{
	return 1000 * (int64_t)(r->timeout ? r->timeout : r->cfg.rescan_timeout);
}

static void begin_step(const char *name, void *arg)
{
	struct run *r = arg;
	enum ladder_rung rung;

	if (!sysfs_dry_run)
		return;
	if (!ladder_rung_parse(name, &rung)) {
		printf("# %s\n", name);
		return;
	}
	printf("# %s%s\n", name,
	       r->is_first_rung ? "" : ", if the card is not well then");
	r->is_first_rung = false;
}

static void end_step(const struct ladder *l, const struct ladder_card *card,
		     const struct ladder_step *step, void *arg)
{
	const struct run *r = arg;

	if (sysfs_dry_run)
		return;
	if (r->json)
		ladder_report_step(stdout, l, card, step);
	else if (msg_level >= 0)
		ladder_show_step(stdout, card, step);
	fflush(stdout);
}

struct ladder run_ladder(struct run *r)
{
	r->is_first_rung = true;
	return (struct ladder){
		.writer = { .limit = (unsigned)timeout_ms(r), .lock = r->lock },
		.timeout = timeout_ms(r),
		.stop = r->stop,
		.begin = begin_step,
		.step = end_step,
		.arg = r,
	};
}

/* The lock stays with a child whose write hangs: nobody can rescan before it ends. */
void run_ladder_done(struct run *r, struct ladder *l)
{
	for (size_t i = 0; i < l->writer.n; i++) {
		const struct timedwrite *w = &l->writer.done[i];

		if (!w->left)
			continue;
		say("%s: the write hangs in the kernel: process %d, state %c", w->path,
		    (int)w->left, timedwrite_state(w->left));
		snapshot_lock_name(r->lock, w->left);
		run_fail(r, EX_IOERR);
	}
	timedwrite_done(&l->writer);
}

int run_lock(struct run *r)
{
	_cleanup_free_ char *path = NULL;
	pid_t holder;

	if (sysfs_dry_run)
		return EX_OK;
	r->lock = snapshot_lock(timeout_ms(r), r->stop, &holder);
	if (r->lock >= 0)
		return EX_OK;
	if (r->lock == -EINTR)
		return EX_TEMPFAIL;
	if (r->lock == -EAGAIN) {
		say("another pci-rescan is at work, or a write of one hangs: process %d",
		    (int)holder);
		return EX_TEMPFAIL;
	}
	path = root_path("/run/pve-gpu-utils");
	errno = -r->lock;
	say_errno("%s", path);
	return EX_CANTCREAT;
}

/* Is one of the operands in the slot of a function that the snapshot is about? */
static bool is_asked_for(const struct run *r, const struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k < r->n && s->fns[i].whole; k++)
			if (pciaddr_same_slot(&s->fns[i].addr, &r->addrs[k]))
				return true;
	return false;
}

static bool is_complete(const struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->fns[i].whole && !snapshot_is_present(&s->fns[i].addr))
			return false;
	return true;
}

static void heal_one(struct run *r, struct snapshot *s)
{
	_cleanup_free_ char *name = xstrdup(strrchr(s->path, '/') + 1), *what = NULL;
	bool other = !is_asked_for(r, s) && !is_complete(s);
	struct ladder l;
	int rc;

	if (sysfs_dry_run) {
		say_warn("%s: a run did not end: the next one puts back what it left",
			 name);
		return;
	}
	l = run_ladder(r);
	rc = ladder_heal(&l, s, other, &what);
	if (other)
		say_warn("%s: a card did not come back in an earlier run", name);
	else if (what)
		say_warn("%s: an earlier run did not end: %s", name, what);
	else if (rc < 0)
		say_warn("%s: an earlier run did not end: %s", name, strerror(-rc));
	else
		say_info("%s: put back what an earlier run left", name);
	run_ladder_done(r, &l);
}

void run_heal(struct run *r)
{
	size_t bad;
	int rc = snapshot_load_all(&r->left, &r->n_left, &bad);

	if (rc < 0 && !(sysfs_dry_run && rc == -EACCES))
		say_warn("/run/pve-gpu-utils/rescan: %s", strerror(-rc));
	if (rc == 0 && bad)
		say_warn("/run/pve-gpu-utils/rescan: %zu files are not complete", bad);
	for (size_t i = 0; i < r->n_left; i++)
		heal_one(r, &r->left[i]);
}

/* What was found against the rungs: errors when none is left, else for -v. */
static void say_lines(const struct rescue_line *lines, size_t n,
		      enum rescue_verdict verdict)
{
	for (size_t i = 0; i < n; i++) {
		const char *rung = ladder_rung_name(lines[i].rung);

		if (lines[i].kind == RESCUE_READY)
			say_warn("%s: %s; done all the same", rung, lines[i].text);
		else if (verdict != RESCUE_READY)
			say("%s: %s", rung, lines[i].text);
		else
			say_info("%s: left out: %s", rung, lines[i].text);
	}
}

/* Narrow the rungs to those that are asked for, there, and allowed; an exit code. */
static int prepare(struct run *r, const struct topology *t, struct ladder_card *card)
{
	enum rescue_verdict verdict;
	struct rescue_line *lines;
	char addr[PCIADDR_STRLEN];
	size_t n;
	int rc;

	pciaddr_format(&card->named[0], addr);
	rescue_choose(card, &r->opts, &r->cfg);
	rc = rescue_check(t, card, &r->opts, &verdict, &lines, &n);
	if (rc == 0) {
		say_lines(lines, n, verdict);
		rescue_lines_free(lines, n);
		if (verdict == RESCUE_BUSY)
			say("%s: in use: nothing was done", addr);
		else if (verdict == RESCUE_REFUSED)
			say("%s: refused: nothing was done; a name in brackets is one for --force",
			    addr);
		if (verdict != RESCUE_READY)
			return verdict == RESCUE_BUSY ? EX_TEMPFAIL : EX_UNAVAILABLE;
		if (!card->snap.n)
			rc = ladder_card_snapshot(t, card);
		for (size_t i = 0; rc == 0 && i < r->n_left; i++)
			if (r->left[i].path)
				ladder_card_keep(card, &r->left[i]);
	}
	if (rc < 0) {
		errno = -rc;
		say_errno("%s", addr);
		return EX_OSERR;
	}
	return EX_OK;
}

static int say_result(const struct ladder_card *card, enum ladder_result result,
		      const char *what)
{
	char addr[PCIADDR_STRLEN];

	pciaddr_format(&card->named[0], addr);
	switch (result) {
	case LADDER_HEALTHY:
		return EX_OK;
	case LADDER_NONE:
		say("%s: no reset works: %s", addr, what);
		return EX_UNAVAILABLE;
	case LADDER_CHANGED:
		say("%s: came back changed: %s", addr, what);
		return EX_IOERR;
	case LADDER_LOST:
		say("%s: did not come back: %s", addr, what ? what : "the kernel hangs");
		return EX_IOERR;
	case LADDER_STOPPED:
		say("%s: stopped by a signal", addr);
		return EX_TEMPFAIL;
	default:
		say("%s: nothing was done: %s", addr, what);
		return EX_CANTCREAT;
	}
}

/* Files of earlier runs whose word was taken over: done with, or in the card's own. */
static void settle(struct run *r, const struct ladder_card *card)
{
	for (size_t i = 0; i < r->n_left && !sysfs_dry_run; i++) {
		struct snapshot *s = &r->left[i];
		bool covered = s->path != NULL;

		for (size_t k = 0; k < s->n && covered; k++)
			covered = !s->fns[k].whole ||
				  snapshot_find(&card->snap, &s->fns[k].addr);
		if (covered &&
		    (!card->snap.path || strcmp(card->snap.path, s->path) != 0))
			snapshot_forget(s);
	}
}

/* A guest gets whole groups: with others than before its start may fail. */
static void say_groups(const struct ladder_card *card)
{
	_cleanup_free_ char *changed = snapshot_groups_changed(&card->snap);

	if (changed)
		say_warn("%s", changed);
}

static void climb(struct run *r, struct ladder_card *card)
{
	struct ladder l = run_ladder(r);
	_cleanup_free_ char *what = NULL;
	enum ladder_result result;
	int64_t start = ladder_now();
	enum ladder_rung rung;
	int code;

	result = ladder_climb(&l, card, &rung, &what);
	if (result == LADDER_HEALTHY && !sysfs_dry_run)
		say_groups(card);
	/* Nothing was kept: the older files are still the only word. */
	if (result != LADDER_ERROR)
		settle(r, card);
	code = say_result(card, result, what);
	run_fail(r, code);
	if (r->json && !sysfs_dry_run)
		ladder_report_result(stdout, card, rung,
				     what ? what : "config space healthy", code,
				     timedwrite_total(&l.writer), ladder_now() - start);
	run_ladder_done(r, &l);
}

/* Cards of which an earlier run lost functions are known from its file only. */
static void rescue_lost(struct run *r, const struct topology *t, struct snapshot *s)
{
	_cleanup_free_ struct pciaddr *mine = xcalloc(r->n, sizeof(*mine));
	struct ladder_card card;
	size_t n = 0;
	int code;

	for (size_t i = 0; i < r->n; i++)
		if (snapshot_find(s, &r->addrs[i]))
			mine[n++] = r->addrs[i];
	if (!n)
		return;
	ladder_card_lost(s, mine, n, &card);
	code = prepare(r, t, &card);
	run_fail(r, code);
	if (code == EX_OK)
		climb(r, &card);
	ladder_card_done(&card);
}

static bool is_lost(const struct run *r, const struct pciaddr *addr)
{
	for (size_t i = 0; i < r->n_left; i++)
		if (r->left[i].path && snapshot_find(&r->left[i], addr) &&
		    !is_complete(&r->left[i]))
			return true;
	return false;
}

/* The operand's place in the tree, if it is something to rescue. */
static bool is_there(struct run *r, const struct topology *t, const struct pciaddr *at)
{
	int fn = topology_find(t, at);
	char addr[PCIADDR_STRLEN];

	pciaddr_format(at, addr);
	if (fn < 0) {
		say("%s: no such function (echo 1 > /sys/bus/pci/rescan looks for all)",
		    addr);
		run_fail(r, EX_NOINPUT);
		return false;
	}
	if (t->fns[fn].dev.is_bridge) {
		say("%s: a bridge: name a function below it", addr);
		run_fail(r, EX_UNAVAILABLE);
		return false;
	}
	return true;
}

void run_rescue(struct run *r, const struct topology *t)
{
	_cleanup_free_ struct pciaddr *there = xcalloc(r->n, sizeof(*there));
	struct ladder_card *cards;
	size_t n = 0, n_cards;

	for (size_t i = 0; i < r->n; i++)
		if (!is_lost(r, &r->addrs[i]) && is_there(r, t, &r->addrs[i]))
			there[n++] = r->addrs[i];
	ladder_cards(t, there, n, &cards, &n_cards);
	for (size_t i = 0; i < n_cards && !*r->stop; i++) {
		int code = prepare(r, t, &cards[i]);

		for (size_t k = 0; k < i; k++)
			if (cards[k].snap.path)
				ladder_card_keep(&cards[i], &cards[k].snap);
		run_fail(r, code);
		if (code == EX_OK)
			climb(r, &cards[i]);
	}
	ladder_cards_free(cards, n_cards);
	for (size_t i = 0; i < r->n_left && !*r->stop; i++)
		if (r->left[i].path && !is_complete(&r->left[i]))
			rescue_lost(r, t, &r->left[i]);
}
