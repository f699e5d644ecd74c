/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which resets of a card are allowed, on a host of guests. */
#ifndef PVE_RESCUE_H
#define PVE_RESCUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "pci/ladder.h"
#include "pci/topology.h"

struct rescue_opts {
	bool has_first, has_last;
	enum ladder_rung first, last; /* asked for; else from the card's start to card */
	uint32_t except;	/* a VM whose reservations do not count; 0 = none */
	const char *force;	/* guard_names() that do not refuse, "all"; NULL = none */
};

/* Narrow the card to the rungs asked for, or to what the configuration says of it. */
void rescue_choose(struct ladder_card *card, const struct rescue_opts *o,
		   const struct config *cfg);

enum rescue_verdict {
	RESCUE_READY,		/* at least one rung may be used */
	RESCUE_REFUSED,		/* none, and waiting would not help */
	RESCUE_BUSY,		/* none, for somebody uses the functions */
};

struct rescue_line {		/* one thing that was found, each text once */
	enum rescue_verdict kind;	/* RESCUE_READY: forced, does not count */
	enum ladder_rung rung;	/* the first that it is about */
	char *text;		/* owned */
};

/*
 * Strike out the rungs from card->start on that guard_check() or inuse_list() speak
 * against.
 *
 * lines: allocated, *n_lines long, also for rungs that were struck out before; free with
 * rescue_lines_free().
 * *verdict: as of the lowest rung that could be looked at at all. 0 or -errno.
 */
int rescue_check(const struct topology *t, struct ladder_card *card,
		 const struct rescue_opts *o, enum rescue_verdict *verdict,
		 struct rescue_line **lines, size_t *n_lines);
void rescue_lines_free(struct rescue_line *lines, size_t n);

#endif
