/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules once more, without any cleverness: every set of running guests is
 * tried, smallest first. Shares no code with lib/pve; checks it.
 */
#ifndef BENCH_BRUTE_H
#define BENCH_BRUTE_H

#include "hosts.h"

enum { BRUTE_MAX = 16 };	/* running guests with devices that it can deal with */

struct brute_plan {
	bool exists;
	int n, guest[HOST_GUESTS];	/* numbers of guests, ascending */
	int n_units, unit[HOST_USERS];	/* numbers of host users */
};

/*
 * What the parents could make when the library's model was made, and who held
 * instances then: taken once, at the start.
 */
struct brute {
	struct host *h;
	int available[HOST_TYPES];
	struct host_guest first[HOST_GUESTS];	/* as of then */
};

void brute_start(struct brute *b, struct host *h);
/* What the cards can really make now, for the view's available_instances. */
int brute_really_available(const struct host *h, int type);
/*
 * Bring guest x up where PVE could and nobody blocks it (host users do not count); false
 * leaves it down.
 */
bool brute_up(const struct brute *b, int x);
void brute_down(const struct brute *b, int x);
bool brute_can_do(const struct host *h);
void brute_plan(const struct brute *b, int x, struct brute_plan *plan);

#endif
