/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-model.h"

static const struct { /* by name */
	enum contention_kind kind;
	const char *name;
} kinds_by_name[] = {
	{ CONTENTION_DECLARED, "declared" },
	{ CONTENTION_FUNCTION, "function" },
	{ CONTENTION_HOST_DRIVER, "host-driver" },
	{ CONTENTION_IOMMU_GROUP, "iommu-group" },
	{ CONTENTION_MDEV, "mdev" },
	{ CONTENTION_PF_VF, "pf-vf" },
};

const char *contention_kind_name(enum contention_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds_by_name); i++)
		if (kinds_by_name[i].kind == kind)
			return kinds_by_name[i].name;
	return NULL;
}

char *contention_kinds_format(unsigned kinds)
{
	char *text = xstrdup("");

	for (size_t i = 0; i < ARRAY_SIZE(kinds_by_name); i++) {
		char *longer;

		if (!(kinds & kinds_by_name[i].kind))
			continue;
		longer = xasprintf("%s%s%s", text, *text ? "," : "",
				   kinds_by_name[i].name);
		free(text);
		text = longer;
	}
	return text;
}

struct collect {
	struct guest_id *guests;
	size_t n, room;
	const struct contention *c;
};

static void collect_hit(unsigned guest, unsigned fn, enum contention_kind kind, void *arg)
{
	struct collect *l = arg;

	(void)fn;
	(void)kind;
	l->guests = xgrow(l->guests, l->n, &l->room, sizeof(*l->guests));
	l->guests[l->n++] = l->c->guests[guest].id;
}

static size_t collect_finish(struct collect *l, struct guest_id **guests)
{
	size_t kept = 0;

	if (l->n > 0)
		qsort(l->guests, l->n, sizeof(*l->guests), guest_compare);
	for (size_t i = 0; i < l->n; i++)
		if (kept == 0 || guest_compare(&l->guests[kept - 1], &l->guests[i]) != 0)
			l->guests[kept++] = l->guests[i];
	*guests = l->guests;
	return kept;
}

static void collect_mdevs(struct collect *l, unsigned x, unsigned parent, bool users)
{
	size_t n;
	const struct model_hold *h = model_list(&l->c->fns[parent], users, &n);

	for (size_t i = 0; i < n; i++)
		if (h[i].use == USE_MDEV && h[i].guest != x &&
		    (users || !l->c->gone[h[i].guest]))
			collect_hit(h[i].guest, parent, CONTENTION_MDEV, l);
}

/* Everybody on any alternative of an entry. */
static void collect_entry(struct collect *l, unsigned x, const struct model_entry *e,
			  bool users)
{
	for (size_t a = e->alt; a < e->alt + e->n_alts; a++) {
		for (size_t f = 0; f < l->c->alts[a].n_fns; f++) {
			unsigned fn = l->c->alt_fns[l->c->alts[a].fn + f];

			model_rivals(l->c, x, fn, e->use, users, collect_hit, l);
			if (e->use == USE_MDEV && (!users || model_mdev_scarce(l->c, fn)))
				collect_mdevs(l, x, fn, users);
		}
	}
}

/* Everybody in the way of what x has chosen. */
static void collect_chosen(struct collect *l, unsigned x, const unsigned choice[])
{
	const struct contention *c = l->c;
	const struct model_guest *g = &c->guests[x];

	for (size_t i = 0; i < g->n_entries; i++) {
		const struct model_entry *e = &c->entries[g->entry + i];
		const struct model_alt *alt = &c->alts[e->alt + choice[i]];

		for (size_t f = 0; f < alt->n_fns; f++)
			model_rivals(c, x, c->alt_fns[alt->fn + f], e->use, false,
				     collect_hit, l);
	}
	model_declared(c, x, false, collect_hit, l);
}

size_t contention_blockers(const struct contention *c, struct guest_id id,
			   struct guest_id **guests)
{
	int x = model_guest_find(c, id);
	struct collect l = { .c = c };
	unsigned choice[MODEL_ENTRIES_MAX] = { 0 };
	int failed;

	*guests = NULL;
	if (x < 0 || c->guests[x].running || model_refusal(c, (unsigned)x))
		return 0;
	failed = model_choose(c, (unsigned)x, choice);
	if (failed == MODEL_NONE) {
		collect_chosen(&l, (unsigned)x, choice);
	} else {
		collect_entry(&l, (unsigned)x,
			      &c->entries[c->guests[x].entry + (size_t)failed], false);
		model_declared(c, (unsigned)x, false, collect_hit, &l);
	}
	return collect_finish(&l, guests);
}

size_t contention_rivals(const struct contention *c, struct guest_id id,
			 struct guest_id **guests)
{
	int x = model_guest_find(c, id);
	struct collect l = { .c = c };

	*guests = NULL;
	if (x < 0)
		return 0;
	for (size_t e = 0; e < c->guests[x].n_entries; e++)
		collect_entry(&l, (unsigned)x, &c->entries[c->guests[x].entry + e], true);
	model_declared(c, (unsigned)x, true, collect_hit, &l);
	return collect_finish(&l, guests);
}

bool contention_guest_up(struct contention *c, struct guest_id id)
{
	int x = model_guest_find(c, id);
	struct collect l = { .c = c };
	unsigned choice[MODEL_ENTRIES_MAX] = { 0 };
	struct model_guest *g;

	if (x < 0)
		return true;
	g = &c->guests[x];
	if (g->running)
		return true;
	if (model_refusal(c, (unsigned)x) ||
	    model_choose(c, (unsigned)x, choice) != MODEL_NONE)
		return false;
	collect_chosen(&l, (unsigned)x, choice);
	free(l.guests);
	if (l.n > 0)
		return false;
	g->running = true;
	for (size_t i = 0; i < g->n_entries; i++) {
		const struct model_entry *e = &c->entries[g->entry + i];
		const struct model_alt *alt = &c->alts[e->alt + choice[i]];

		for (size_t f = 0; f < alt->n_fns; f++)
			model_hold_add(
				c, (struct model_hold){
					   (unsigned)x, c->alt_fns[alt->fn + f], e->use,
					   e->use == USE_MDEV ? e->mdev_type : NULL });
	}
	return true;
}

void contention_guest_down(struct contention *c, struct guest_id id)
{
	int x = model_guest_find(c, id);
	struct model_guest *g;

	if (x < 0)
		return;
	g = &c->guests[x];
	g->running = false;
	for (size_t i = 0; i < g->n_holds; i++) {
		struct model_fn *f = &c->fns[g->holds[i].fn];
		size_t kept = 0;

		for (size_t h = 0; h < f->n_holds; h++)
			if (f->holds[h].guest != (unsigned)x)
				f->holds[kept++] = f->holds[h];
		f->n_holds = kept;
	}
	g->n_holds = 0;
}

void contention_guest_hide(struct contention *c, struct guest_id id, bool hide)
{
	int x = model_guest_find(c, id);

	if (x >= 0)
		c->gone[x] = hide;
}

bool contention_is_running(const struct contention *c, struct guest_id id)
{
	int x = model_guest_find(c, id);

	return x >= 0 && c->guests[x].running;
}

bool contention_has_gpu(const struct contention *c, struct guest_id id)
{
	int x = model_guest_find(c, id);

	return x >= 0 && c->guests[x].n_entries > 0;
}

bool contention_has_choice(const struct contention *c, struct guest_id id)
{
	int x = model_guest_find(c, id);

	for (size_t i = 0; x >= 0 && i < c->guests[x].n_entries; i++)
		if (c->entries[c->guests[x].entry + i].n_alts > 1)
			return true;
	return false;
}
