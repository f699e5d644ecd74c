/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-set.h"

size_t set_size(const struct set *s)
{
	return s->n + s->n_units;
}

static int compare_down(const void *va, const void *vb)
{
	unsigned a = *(const unsigned *)va, b = *(const unsigned *)vb;

	return a > b ? -1 : a < b;
}

bool set_is_higher(const struct contention *c, const struct set *a, const struct set *b)
{
	_cleanup_free_ unsigned *va = xcalloc(a->n + 1, sizeof(*va));
	_cleanup_free_ unsigned *vb = xcalloc(b->n + 1, sizeof(*vb));

	for (size_t i = 0; i < a->n; i++)
		va[i] = c->guests[a->guests[i]].id.vmid;
	for (size_t i = 0; i < b->n; i++)
		vb[i] = c->guests[b->guests[i]].id.vmid;
	qsort(va, a->n, sizeof(*va), compare_down);
	qsort(vb, b->n, sizeof(*vb), compare_down);
	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (va[i] != vb[i])
			return va[i] > vb[i];
	return a->n > b->n;
}

void set_copy(struct set *to, const struct set *from)
{
	to->guests = xreallocarray(to->guests, from->n + 1, sizeof(*to->guests));
	to->units = xreallocarray(to->units, from->n_units + 1, sizeof(*to->units));
	if (from->n > 0)
		memcpy(to->guests, from->guests, from->n * sizeof(*to->guests));
	if (from->n_units > 0)
		memcpy(to->units, from->units, from->n_units * sizeof(*to->units));
	to->n = from->n;
	to->n_units = from->n_units;
}

void set_free(struct set *s)
{
	free(s->guests);
	free(s->units);
}
