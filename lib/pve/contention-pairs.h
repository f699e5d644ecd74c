/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the contention modules: conflict records in the making. */
#ifndef PVE_CONTENTION_PAIRS_H
#define PVE_CONTENTION_PAIRS_H

#include "pve/contention-model.h"

struct pairs_list {			/* guests of one record */
	struct guest_id *ids;
	size_t n, room;
};

struct pairs {			/* records found so far */
	const struct contention *c;
	struct contention_pair *p;
	size_t n, room;
};

void pairs_list_add(struct pairs_list *l, struct guest_id id);
/* Add who could ever use f in one of these ways (1 << enum model_use); how many. */
size_t pairs_list_users(const struct contention *c, const struct model_fn *f,
			unsigned mask,
			struct pairs_list *l);
/* Keep the list as a record when two guests or more are on it. Takes ids and detail. */
void pairs_add(struct pairs *out, const struct pciaddr *addr, enum contention_kind kind,
	       struct pairs_list *l, char *detail);
/* The records of kind function. */
void pairs_functions(struct pairs *out);

#endif
