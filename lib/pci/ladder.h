/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resets of a card from mild to hard, each followed by a check: pci-rescan(8). */
#ifndef PCI_LADDER_H
#define PCI_LADDER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "pci/pciaddr.h"
#include "pci/snapshot.h"
#include "pci/timedwrite.h"
#include "pci/topology.h"

enum ladder_rung {
	LADDER_OWN,		/* the functions' own reset, methods probed again */
	LADDER_SUBORDINATE,	/* bus reset below the bridge that holds the card alone */
	LADDER_SLOT,		/* remove all functions of the slot, rescan its bus */
	LADDER_CARD,		/* remove the card's own switch, rescan the bus above */
	LADDER_RUNGS
};

const char *ladder_rung_name(enum ladder_rung rung);
bool ladder_rung_parse(const char *name, enum ladder_rung *rung);

struct ladder_card {		/* what one climb is about */
	struct pciaddr *named;	/* owned; the functions asked for, a display first */
	size_t n_named;
	struct pciaddr *slot;	/* owned, sorted; all functions of their slots */
	size_t n_slot;
	bool has_hold, has_top;
	struct pciaddr hold;	/* the bridge for LADDER_SUBORDINATE */
	struct pciaddr top;	/* upstream port of the card's own switch */
	enum ladder_rung start, last;	/* where a climb begins, and how far it may go */
	char *why[LADDER_RUNGS];	/* owned; why a rung is not used; NULL: it is */
	struct snapshot snap;	/* empty until ladder_card_snapshot() */
};

/*
 * Sort the functions asked for into cards: those of one slot, or below one
 * switch that is a card's own, are one.
 *
 * addrs: n functions that are in t, no bridges.
 * cards: allocated, *n_cards long; free with ladder_cards_free().
 * A card starts at `own` when the function that counts has FLR, else at `card`
 * when it brings its own switch, else at `slot`: a card that hangs passes the
 * check of every milder reset and hangs on.
 */
void ladder_cards(const struct topology *t, const struct pciaddr *addrs, size_t n,
		  struct ladder_card **cards, size_t *n_cards);
void ladder_cards_free(struct ladder_card *cards, size_t n);

/*
 * A card of which a function is gone, from what an earlier run wrote down: it can be
 * removed and rescanned only.
 * snap: moved into the card.
 */
void ladder_card_lost(struct snapshot *snap, const struct pciaddr *addrs, size_t n,
		      struct ladder_card *card);
void ladder_card_done(struct ladder_card *card);

/* Strike a rung out; why is taken over. The first reason stays. */
void ladder_card_strike(struct ladder_card *card, enum ladder_rung rung, char *why);

/*
 * What a rung acts on: indices of t, and the bridge below which it acts on everything,
 * itself too when it removes (-1: the functions only), as guard_check() wants them.
 * fns: allocated; the caller frees.
 */
void ladder_card_hits(const struct topology *t, const struct ladder_card *card,
		      enum ladder_rung rung, int **fns, size_t *n, int *bridge);

/*
 * Read all that the rungs from start to last act on, and the power settings of the
 * bridges above, into card->snap. 0 or -errno.
 */
int ladder_card_snapshot(const struct topology *t, struct ladder_card *card);

/*
 * Take the older word for how functions were bound, from a snapshot that could not
 * be healed: how they are now is not how somebody wanted them. drivers_autoprobe is
 * taken from one of another card, too.
 */
void ladder_card_keep(struct ladder_card *card, const struct snapshot *older);

struct ladder_step {		/* for reports */
	const char *name;	/* static; a rung's name, "heal", "wake", "put back" */
	size_t first_write, n_writes;	/* in writer.done */
	int64_t us;
	bool is_good;
	char *text;		/* owned; what came of it */
};

struct ladder {			/* how to climb */
	struct timedwriter writer;
	int64_t timeout;	/* ms for functions to come back */
	const volatile sig_atomic_t *stop;	/* set: no further rung, put back, end */
	void (*begin)(const char *name, void *arg);	/* told of each step before it, */
	void (*step)(const struct ladder *l, const struct ladder_card *card,
		     const struct ladder_step *step, void *arg);	/* and after it */
	void *arg;
	bool is_hung;		/* out: a write hangs in the kernel */
	bool is_autoprobe_off;	/* in a dry run, where it cannot be read */
};

enum ladder_result {
	LADDER_HEALTHY,		/* config space healthy, everything put back */
	LADDER_NONE,		/* no rung works; the card is as it was */
	LADDER_CHANGED,		/* came back, not as it was, or not all was put back */
	LADDER_LOST,		/* did not come back */
	LADDER_STOPPED,		/* *stop was set; put back as far as it was there */
	LADDER_ERROR,		/* nothing was done: the snapshot could not be kept */
};

/*
 * Keep the snapshot in its file, prevent D3cold, climb from card->start to
 * card->last until the card is well, put everything back.
 * The file stays when functions are gone, drivers_autoprobe could not be put back, there
 * was no process for a write or one hangs: the next run heals.
 *
 * rung: the last one tried; LADDER_RUNGS when none was.
 * what: for people, why it is not LADDER_HEALTHY; allocated, NULL when it is.
 */
enum ladder_result ladder_climb(struct ladder *l, struct ladder_card *card,
				enum ladder_rung *rung, char **what);

/*
 * Undo what a run that was killed left: functions gone, attributes and drivers
 * lost, power settings. What somebody has set since stays. The file is removed
 * when nothing is left to be done.
 * autoprobe_only: nothing but drivers_autoprobe; the file stays.
 * Returns 0; -ENODEV when a function stays away, -EEXIST when one has another driver
 * since, -EIO when something cannot be put back (*what says which, allocated; the
 * file stays); or another -errno.
 */
int ladder_heal(struct ladder *l, struct snapshot *snap, bool autoprobe_only,
		char **what);

int64_t ladder_now(void);	/* us, CLOCK_MONOTONIC */

/*
 * Reports: a step for people ("ADDR  slot  13.2 ms  config space healthy"), or, as JSON
 * Lines, its writes and then itself; and the result of a climb. Source of the fields:
 * pci-rescan(8).
 * writes, us: microseconds in sysfs writes alone, and in all.
 */
void ladder_show_step(FILE *out, const struct ladder_card *card,
		      const struct ladder_step *step);
void ladder_report_step(FILE *out, const struct ladder *l, const struct ladder_card *card,
			const struct ladder_step *step);
void ladder_report_result(FILE *out, const struct ladder_card *card,
			  enum ladder_rung rung, const char *verdict, int code,
			  int64_t writes, int64_t us);

#endif
