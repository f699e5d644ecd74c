/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who contends for a function as such: on this node, and by mapping between nodes. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-pairs.h"

struct mapped {
	const char *mapping;
	const struct assignment *a;
};

static int compare_mapped(const void *va, const void *vb)
{
	const struct mapped *a = va, *b = vb;
	int order = strcmp(a->mapping, b->mapping);

	return order != 0 ? order : guest_compare(&a->a->guest, &b->a->guest);
}

static size_t find_mapping(const struct mapped *m, size_t n, const char *name)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(m[mid].mapping, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * Guests of other nodes that use one of the mappings by which this function is given
 * here.
 */
static void list_elsewhere(const struct contention *c, const struct model_fn *f,
			   const struct mapped *away, size_t n_away, struct pairs_list *l,
			   char **detail)
{
	const char *last = NULL;

	for (size_t i = 0; i < f->n_users; i++) {
		const struct model_guest *g = &c->guests[f->users[i].guest];

		for (size_t e = g->entry; e < g->entry + g->n_entries; e++) {
			const struct model_entry *entry = &c->entries[e];
			bool names = false;

			if (!entry->mapping ||
			    (last && strcmp(last, entry->mapping) == 0))
				continue;
			for (size_t a = entry->alt; a < entry->alt + entry->n_alts; a++)
				for (size_t k = 0; k < c->alts[a].n_fns; k++)
					names |= &c->fns[c->alt_fns[c->alts[a].fn + k]] ==
						 f;
			if (!names)
				continue;
			if (!*detail)
				*detail = xasprintf("mapping %s", entry->mapping);
			last = entry->mapping;
			for (size_t k = find_mapping(away, n_away, last);
			     k < n_away && strcmp(away[k].mapping, last) == 0; k++)
				pairs_list_add(l, away[k].a->guest);
		}
	}
}

static bool is_mapped_here(const struct contention *c, const char *mapping)
{
	for (size_t i = 0; i < c->in.n_assignments; i++) {
		const struct assignment *a = &c->in.assignments[i];

		if (a->state != ASSIGNMENT_ELSEWHERE && a->has_addr && a->mapping &&
		    strcmp(a->mapping, mapping) == 0)
			return true;
	}
	return false;
}

/* Mappings that only guests of other nodes use. */
static void pairs_away(struct pairs *out, const struct mapped *away, size_t n)
{
	for (size_t i = 0, end; i < n; i = end) {
		struct pairs_list l = { 0 };
		const struct pciaddr *addr = NULL;

		for (end = i; end < n && strcmp(away[end].mapping, away[i].mapping) == 0;
		     end++) {
			const struct assignment *a = away[end].a;

			pairs_list_add(&l, a->guest);
			if (a->has_addr && (!addr || pciaddr_compare(&a->addr, addr) < 0))
				addr = &a->addr;
		}
		if (addr && !is_mapped_here(out->c, away[i].mapping))
			pairs_add(out, addr, CONTENTION_FUNCTION, &l,
				  xasprintf("mapping %s", away[i].mapping));
		free(l.ids);
	}
}

void pairs_functions(struct pairs *out)
{
	const struct contention *c = out->c;
	_cleanup_free_ struct mapped *away =
		xcalloc(c->in.n_assignments + 1, sizeof(*away));
	size_t n = 0;

	for (size_t i = 0; i < c->in.n_assignments; i++) {
		const struct assignment *a = &c->in.assignments[i];

		/* one that cannot start is in nobody's way */
		if (a->state == ASSIGNMENT_ELSEWHERE && a->mapping &&
		    !(a->status && strcmp(a->status, "refused") == 0))
			away[n++] = (struct mapped){ a->mapping, a };
	}
	qsort(away, n, sizeof(*away), compare_mapped);
	for (size_t i = 0; i < c->n_fns; i++) {
		const struct model_fn *f = &c->fns[i];
		struct pairs_list l = { 0 };
		char *detail = NULL;

		if (pairs_list_users(c, f, 1 << USE_FUNCTION, &l) > 0) {
			list_elsewhere(c, f, away, n, &l, &detail);
			pairs_add(out, &f->addr, CONTENTION_FUNCTION, &l, detail);
			continue;
		}
		free(l.ids);
	}
	pairs_away(out, away, n);
}
