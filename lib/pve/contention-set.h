/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the contention modules: who would be stopped. */
#ifndef PVE_CONTENTION_SET_H
#define PVE_CONTENTION_SET_H

#include "pve/contention-model.h"

struct set {			/* of guests and of host services to stop */
	unsigned *guests;	/* owned */
	size_t n, room;
	unsigned *units;	/* owned; index in config->host_services */
	size_t n_units, units_room;
};

/* How many are stopped, guests and services. */
size_t set_size(const struct set *s);

/* Of two sets of one size, does a have the higher VMIDs? c: the model they index. */
bool set_is_higher(const struct contention *c, const struct set *a, const struct set *b);

/* Make *to, which keeps its memory, the same as *from. */
void set_copy(struct set *to, const struct set *from);

/* Free what *s holds. */
void set_free(struct set *s);

#endif
