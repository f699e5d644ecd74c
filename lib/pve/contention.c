/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-model.h"

static const struct {		/* by name */
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
		longer = xasprintf("%s%s%s", text, *text ? "," : "", kinds_by_name[i].name);
		free(text);
		text = longer;
	}
	return text;
}

int model_guest_find(const struct contention *c, struct guest_id id)
{
	size_t low = 0, high = c->n_guests;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = guest_compare(&id, &c->guests[mid].id);

		if (order == 0)
			return (int)mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return MODEL_NONE;
}

int model_fn_find(const struct contention *c, const struct pciaddr *addr)
{
	size_t low = 0, high = c->n_fns;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = pciaddr_compare(addr, &c->fns[mid].addr);

		if (order == 0)
			return (int)mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return MODEL_NONE;
}

/* --- who stands in whose way --- */

static const struct model_hold *list(const struct model_fn *f, bool users, size_t *n)
{
	*n = users ? f->n_users : f->n_holds;
	return users ? f->users : f->holds;
}

struct visit {
	const struct contention *c;
	unsigned x;
	bool users;
	model_hit *hit;
	void *arg;
};

/*
 * Tell of everybody on one function whose use is in mask. A guest told of for a
 * closer reason in this round is passed over.
 */
static void visit_fn(const struct visit *v, unsigned fn, unsigned mask, enum contention_kind kind,
		     bool closest)
{
	const struct contention *c = v->c;
	size_t n;
	const struct model_hold *h = list(&c->fns[fn], v->users, &n);

	for (size_t i = 0; i < n; i++) {
		if (h[i].guest == v->x || !(mask & 1u << h[i].use) || (!v->users && c->gone[h[i].guest]))
			continue;
		if (!closest && c->stamp[h[i].guest] == *c->serial)
			continue;
		if (closest)
			c->stamp[h[i].guest] = *c->serial;
		v->hit(h[i].guest, fn, kind, v->arg);
	}
}

enum {
	BY_FUNCTION = 1 << USE_FUNCTION,
	BY_MDEV = 1 << USE_MDEV,
	BY_DRIVER = 1 << USE_DRIVER,
	BY_ANY = BY_FUNCTION | BY_MDEV | BY_DRIVER,
};

void model_rivals(const struct contention *c, unsigned x, unsigned fn, enum model_use use,
		  bool users, model_hit *hit, void *arg)
{
	const struct visit v = { c, x, users, hit, arg };
	const struct model_fn *f = &c->fns[fn];
	unsigned mates = BY_FUNCTION, pf = BY_FUNCTION;

	++*c->serial;
	switch (use) {
	case USE_FUNCTION:
		visit_fn(&v, fn, BY_FUNCTION, CONTENTION_FUNCTION, true);
		visit_fn(&v, fn, BY_MDEV, CONTENTION_PF_VF, true);
		visit_fn(&v, fn, BY_DRIVER,
			 f->vfio ? CONTENTION_FUNCTION : CONTENTION_HOST_DRIVER, true);
		/* PVE binds the whole group to vfio-pci. */
		mates = BY_ANY;
		pf |= BY_DRIVER;
		break;
	case USE_MDEV:
		visit_fn(&v, fn, BY_FUNCTION, CONTENTION_PF_VF, true);
		break;
	case USE_DRIVER:
		visit_fn(&v, fn, BY_FUNCTION, CONTENTION_HOST_DRIVER, true);
		break;
	}
	for (size_t i = f->mate; i < f->mate + f->n_mates; i++)
		if (c->mates[i] != fn)
			visit_fn(&v, c->mates[i], mates, CONTENTION_IOMMU_GROUP, false);
	if (f->pf >= 0)
		visit_fn(&v, (unsigned)f->pf, pf, CONTENTION_PF_VF, false);
	if (use != USE_FUNCTION)
		return;
	for (size_t i = f->vf; i < f->vf + f->n_vfs; i++)
		visit_fn(&v, c->vfs[i], BY_ANY, CONTENTION_PF_VF, false);
}

void model_declared(const struct contention *c, unsigned x, bool users, model_hit *hit, void *arg)
{
	const struct config *cfg = c->in.config;

	for (size_t g = 0; cfg && g < cfg->n_groups; g++) {
		const struct config_group *group = &cfg->groups[g];
		bool member = false;

		for (size_t i = 0; i < group->n; i++)
			member |= group->vmids[i] == c->guests[x].id.vmid;
		for (size_t i = 0; member && i < group->n; i++) {
			for (int kind = GUEST_QEMU; kind <= GUEST_LXC; kind++) {
				struct guest_id id = { (enum guest_kind)kind, group->vmids[i] };
				int y = model_guest_find(c, id);

				if (y >= 0 && y != (int)x &&
				    (users || (c->guests[y].running && !c->gone[y])))
					hit((unsigned)y, (unsigned)g, CONTENTION_DECLARED, arg);
			}
		}
	}
}

bool model_is_reserved(const struct contention *c, unsigned x, const struct model_alt *alt)
{
	for (size_t i = alt->fn; i < alt->fn + alt->n_fns; i++) {
		const struct model_fn *f = &c->fns[c->alt_fns[i]];

		for (size_t h = 0; h < f->n_holds; h++)
			if (f->holds[h].use == USE_FUNCTION && f->holds[h].guest != x &&
			    !c->gone[f->holds[h].guest])
				return true;
	}
	return false;
}

static void count_hit(unsigned guest, unsigned fn, enum contention_kind kind, void *arg)
{
	(void)guest;
	(void)fn;
	(void)kind;
	++*(size_t *)arg;
}

bool model_parent_is_taken(const struct contention *c, unsigned x, unsigned fn)
{
	size_t n = 0;

	model_rivals(c, x, fn, USE_MDEV, false, count_hit, &n);
	return n > 0;
}

const struct model_entry *model_refusal(const struct contention *c, unsigned x)
{
	const struct model_guest *g = &c->guests[x];

	for (size_t i = 0; i < g->n_entries; i++)
		if (c->entries[g->entry + i].bad)
			return &c->entries[g->entry + i];
	return NULL;
}

static bool find_free(const struct contention *c, unsigned x, const struct model_entry *e,
		      const unsigned used[], size_t n_used, unsigned *choice)
{
	for (unsigned a = 0; a < e->n_alts; a++) {
		const struct model_alt *alt = &c->alts[e->alt + a];
		bool mine = false;

		for (size_t f = 0; f < alt->n_fns && !mine; f++)
			for (size_t u = 0; u < n_used && !mine; u++)
				mine = used[u] == c->alt_fns[alt->fn + f];
		/* The only alternative is not looked at before its reservation fails. */
		if (mine && e->n_alts == 1)
			return false;
		if (mine || (e->n_alts > 1 && model_is_reserved(c, x, alt)))
			continue;
		*choice = a;
		return true;
	}
	return false;
}

static bool find_parent(const struct contention *c, unsigned x, size_t entry, const unsigned choice[],
			unsigned *chosen)
{
	const struct model_guest *g = &c->guests[x];
	const struct model_entry *e = &c->entries[entry];

	for (unsigned a = 0; a < e->n_alts; a++) {
		const char *own[MODEL_ENTRIES_MAX];
		unsigned parent = c->alt_fns[c->alts[e->alt + a].fn];
		size_t n_own = model_own_mdevs(c, g, entry, choice, parent, own);

		if (model_parent_is_taken(c, x, parent) ||
		    !model_mdev_fits(c, x, parent, e->mdev_type, own, n_own))
			continue;
		*chosen = a;
		return true;
	}
	return false;
}

size_t model_own_mdevs(const struct contention *c, const struct model_guest *g, size_t before,
		       const unsigned choice[], unsigned parent, const char *own[])
{
	size_t n = 0;

	for (size_t e = g->entry; e < before; e++)
		if (c->entries[e].use == USE_MDEV &&
		    c->alt_fns[c->alts[c->entries[e].alt + choice[e - g->entry]].fn] == parent)
			own[n++] = c->entries[e].mdev_type;
	return n;
}

int model_choose(const struct contention *c, unsigned x, unsigned choice[])
{
	const struct model_guest *g = &c->guests[x];
	_cleanup_free_ unsigned *used = NULL;
	size_t n_used = 0, room = 0;

	for (size_t i = 0; i < g->n_entries; i++) {
		const struct model_entry *e = &c->entries[g->entry + i];
		const struct model_alt *alt;

		if (e->use == USE_MDEV)
			continue;
		if (!find_free(c, x, e, used, n_used, &choice[i]))
			return (int)i;
		alt = &c->alts[e->alt + choice[i]];
		for (size_t f = 0; f < alt->n_fns; f++) {
			used = xgrow(used, n_used, &room, sizeof(*used));
			used[n_used++] = c->alt_fns[alt->fn + f];
		}
	}
	/* Instances are made after all functions have been chosen. */
	for (size_t i = 0; i < g->n_entries; i++)
		if (c->entries[g->entry + i].use == USE_MDEV &&
		    !find_parent(c, x, g->entry + i, choice, &choice[i]))
			return (int)i;
	return MODEL_NONE;
}

/* --- the public questions --- */

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
	const struct model_hold *h = list(&l->c->fns[parent], users, &n);

	for (size_t i = 0; i < n; i++)
		if (h[i].use == USE_MDEV && h[i].guest != x && (users || !l->c->gone[h[i].guest]))
			collect_hit(h[i].guest, parent, CONTENTION_MDEV, l);
}

/* Everybody on any alternative of an entry. */
static void collect_entry(struct collect *l, unsigned x, const struct model_entry *e, bool users)
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
			model_rivals(c, x, c->alt_fns[alt->fn + f], e->use, false, collect_hit, l);
	}
	model_declared(c, x, false, collect_hit, l);
}

size_t contention_blockers(const struct contention *c, struct guest_id id, struct guest_id **guests)
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
		collect_entry(&l, (unsigned)x, &c->entries[c->guests[x].entry + (size_t)failed], false);
		model_declared(c, (unsigned)x, false, collect_hit, &l);
	}
	return collect_finish(&l, guests);
}

size_t contention_rivals(const struct contention *c, struct guest_id id, struct guest_id **guests)
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
	if (model_refusal(c, (unsigned)x) || model_choose(c, (unsigned)x, choice) != MODEL_NONE)
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
			model_hold_add(c, (struct model_hold){ (unsigned)x, c->alt_fns[alt->fn + f],
							       e->use, e->use == USE_MDEV ?
							       e->mdev_type : NULL });
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
