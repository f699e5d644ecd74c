/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the contention modules: the search for the fewest guests to stop. */
#ifndef PVE_CONTENTION_SEARCH_H
#define PVE_CONTENTION_SEARCH_H

#include "pve/contention-model.h"
#include "pve/contention-set.h"

struct search {
	const struct contention *c;
	unsigned x;
	bool ignore_never, ignore_host;
	unsigned choice[MODEL_ENTRIES_MAX];
	unsigned *used;		/* functions that x has taken so far */
	size_t n_used, used_room;
	const struct model_alt **kept;	/* alternatives that must stay reserved */
	size_t n_kept, kept_room;
	struct set now, best;
	unsigned best_choice[MODEL_ENTRIES_MAX];
	bool found, dead;	/* dead: somebody in the way may not be stopped */
};

/*
 * Search for guest x of model c; c, x, ignore_never and ignore_host are given, all
 * else is 0.
 * Where found is set, best is the plan and best_choice what PVE will choose.
 */
void search_run(struct search *s);
void search_done(struct search *s);

/* Index in config->host_services of a unit that may be stopped; MODEL_NONE. */
int search_service(const struct config *cfg, const char *unit);

#endif
