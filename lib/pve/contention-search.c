/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fewest running guests to stop so that one guest can start.
 *
 * Whatever is stopped, PVE chooses the devices. For every choice that it could
 * make, hostpci0 first, all who block it have to go (need), and the alternatives
 * that it passed over have to stay reserved by somebody who does not. Both only
 * get harder with more stops, or easier: so the sets that just cover the need of
 * some choice hold the smallest plan. Depth first over the choices, cut off at
 * the best size found; for instances on a parent also over whose are to go.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "pve/contention-search.h"

/* No set that this one grows into can be better than the best. */
static bool is_hopeless(const struct search *s)
{
	if (!s->found || set_size(&s->now) < set_size(&s->best))
		return false;
	return set_size(&s->now) > set_size(&s->best) ||
	       !set_is_higher(s->c, &s->now, &s->best);
}

static void stop_guest(struct search *s, unsigned guest)
{
	if (s->c->gone[guest])
		return;
	if (s->c->guests[guest].never_stop && !s->ignore_never) {
		s->dead = true;
		return;
	}
	s->c->gone[guest] = true;
	s->now.guests =
		xgrow(s->now.guests, s->now.n, &s->now.room, sizeof(*s->now.guests));
	s->now.guests[s->now.n++] = guest;
}

static void shrink(struct search *s, size_t n, size_t n_units)
{
	while (s->now.n > n)
		s->c->gone[s->now.guests[--s->now.n]] = false;
	s->now.n_units = n_units;
}

static void stop_hit(unsigned guest, unsigned fn, enum contention_kind kind, void *arg)
{
	(void)fn;
	(void)kind;
	stop_guest(arg, guest);
}

int search_service(const struct config *cfg, const char *unit)
{
	for (size_t i = 0; unit && cfg && i < cfg->n_host_services; i++)
		if (strcmp(cfg->host_services[i], unit) == 0)
			return (int)i;
	return MODEL_NONE;
}

static void stop_unit(struct search *s, unsigned unit)
{
	for (size_t i = 0; i < s->now.n_units; i++)
		if (s->now.units[i] == unit)
			return;
	s->now.units = xgrow(s->now.units, s->now.n_units, &s->now.units_room,
			     sizeof(*s->now.units));
	s->now.units[s->now.n_units++] = unit;
}

/* Processes of the host on one function that PVE would take from its driver. */
static void stop_host_users(struct search *s, const struct model_fn *f)
{
	const struct contention_input *in = &s->c->in;

	if (!f->host_users || !f->host_driver)
		return;
	for (size_t i = 0; i < in->n_host_users; i++) {
		int unit;

		if (pciaddr_compare(&in->host_users[i].addr, &f->addr) != 0)
			continue;
		unit = search_service(in->config, in->host_users[i].unit);
		if (unit >= 0)
			stop_unit(s, (unsigned)unit);
		else if (!s->ignore_host)
			s->dead = true;
	}
}

/* Stop all who block this alternative; false when that is out of the question. */
static bool clear_alt(struct search *s, const struct model_entry *e,
		      const struct model_alt *alt)
{
	const struct contention *c = s->c;

	for (size_t i = alt->fn; i < alt->fn + alt->n_fns && !s->dead; i++) {
		const struct model_fn *f = &c->fns[c->alt_fns[i]];

		model_rivals(c, s->x, c->alt_fns[i], e->use, false, stop_hit, s);
		/* A vGPU's function stays with its driver, an instance's parent too. */
		if (e->use != USE_FUNCTION || e->mdev_type)
			continue;
		for (size_t m = f->mate; m < f->mate + f->n_mates; m++)
			stop_host_users(s, &c->fns[c->mates[m]]);
		if (f->n_mates == 0)
			stop_host_users(s, f);
	}
	return !s->dead;
}

static bool are_kept(const struct search *s)
{
	for (size_t i = 0; i < s->n_kept; i++)
		if (!model_is_reserved(s->c, s->x, s->kept[i]))
			return false;
	return true;
}

static bool is_used(const struct search *s, const struct model_alt *alt)
{
	for (size_t f = 0; f < alt->n_fns; f++)
		for (size_t u = 0; u < s->n_used; u++)
			if (s->used[u] == s->c->alt_fns[alt->fn + f])
				return true;
	return false;
}

static void take_best(struct search *s)
{
	unsigned choice[MODEL_ENTRIES_MAX] = { 0 };
	const struct model_guest *g = &s->c->guests[s->x];

	/* The proof: with all of them gone PVE chooses just this. */
	if (model_choose(s->c, s->x, choice) != MODEL_NONE ||
	    memcmp(choice, s->choice, g->n_entries * sizeof(*choice)) != 0)
		return;
	set_copy(&s->best, &s->now);
	memcpy(s->best_choice, s->choice, sizeof(s->best_choice));
	s->found = true;
}

static void search_functions(struct search *s, size_t entry);
static void search_mdevs(struct search *s, size_t entry);

static void search_alt(struct search *s, size_t entry, unsigned a)
{
	const struct model_entry *e = &s->c->entries[s->c->guests[s->x].entry + entry];
	const struct model_alt *alt = &s->c->alts[e->alt + a];
	size_t n = s->now.n, n_units = s->now.n_units, n_used = s->n_used;

	if (clear_alt(s, e, alt) && !is_hopeless(s) && are_kept(s)) {
		for (size_t f = 0; f < alt->n_fns; f++) {
			s->used = xgrow(s->used, s->n_used, &s->used_room,
					sizeof(*s->used));
			s->used[s->n_used++] = s->c->alt_fns[alt->fn + f];
		}
		s->choice[entry] = a;
		search_functions(s, entry + 1);
	}
	s->dead = false;
	s->n_used = n_used;
	shrink(s, n, n_units);
}

static void search_functions(struct search *s, size_t entry)
{
	const struct model_guest *g = &s->c->guests[s->x];
	const struct model_entry *e = &s->c->entries[g->entry + entry];
	size_t n_kept = s->n_kept;

	if (entry == g->n_entries) {
		search_mdevs(s, 0);
		return;
	}
	if (e->use == USE_MDEV) {
		search_functions(s, entry + 1);
		return;
	}
	for (unsigned a = 0; a < e->n_alts; a++) {
		const struct model_alt *alt = &s->c->alts[e->alt + a];

		if (is_used(s, alt))
			continue;
		search_alt(s, entry, a);
		/* PVE only goes on to the next one while this one is reserved. */
		if (!model_is_reserved(s->c, s->x, alt))
			break;
		s->kept = xgrow(s->kept, s->n_kept, &s->kept_room, sizeof(*s->kept));
		s->kept[s->n_kept++] = alt;
	}
	s->n_kept = n_kept;
}

/*
 * Do two guests hold just the same? Then only the one with the higher VMID needs a try.
 */
static bool are_twins(const struct contention *c, unsigned a, unsigned b)
{
	const struct model_guest *ga = &c->guests[a], *gb = &c->guests[b];

	if (ga->n_holds != gb->n_holds || ga->never_stop != gb->never_stop)
		return false;
	for (size_t i = 0; i < ga->n_holds; i++) {
		const struct model_hold *h = &ga->holds[i], *k = &gb->holds[i];

		if (h->fn != k->fn || h->use != k->use ||
		    (h->use == USE_MDEV && strcmp(h->type, k->type) != 0))
			return false;
	}
	return true;
}

struct parent { /* one parent that is to make an instance for an entry */
	size_t entry;
	unsigned fn;
	const char *type;
	const char *own[MODEL_ENTRIES_MAX];
	size_t n_own;
	unsigned *holders; /* owned; of instances, not yet gone, higher VMIDs first */
	size_t n;
	bool *spared; /* owned; per holder */
};

static bool parent_fits(const struct search *s, const struct parent *p)
{
	return model_mdev_fits(s->c, s->x, p->fn, p->type, p->own, p->n_own);
}

/* Would it fit if all went that are neither spared nor protected? */
static bool parent_can_fit(const struct search *s, const struct parent *p, size_t from)
{
	bool fits;

	for (size_t i = from; i < p->n; i++)
		s->c->gone[p->holders[i]] |=
			s->ignore_never || !s->c->guests[p->holders[i]].never_stop;
	fits = parent_fits(s, p);
	for (size_t i = from; i < p->n; i++)
		s->c->gone[p->holders[i]] = false;
	return fits;
}

static bool has_spared_twin(const struct search *s, const struct parent *p, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (p->spared[k] && are_twins(s->c, p->holders[k], p->holders[i]))
			return true;
	return false;
}

/* Choose among the holders from number i on. */
static void search_holders(struct search *s, struct parent *p, size_t i)
{
	size_t n = s->now.n, n_units = s->now.n_units;

	if (is_hopeless(s) || !are_kept(s))
		return;
	if (parent_fits(s, p)) {
		search_mdevs(s, p->entry + 1);
		return;
	}
	if (i == p->n || !parent_can_fit(s, p, i))
		return;
	if (!has_spared_twin(s, p, i)) {
		stop_guest(s, p->holders[i]);
		if (!s->dead)
			search_holders(s, p, i + 1);
		s->dead = false;
		shrink(s, n, n_units);
	}
	p->spared[i] = true;
	search_holders(s, p, i + 1);
	p->spared[i] = false;
}

static int compare_holders(const void *va, const void *vb, void *arg)
{
	const struct contention *c = arg;
	uint32_t a = c->guests[*(const unsigned *)va].id.vmid,
		 b = c->guests[*(const unsigned *)vb].id.vmid;

	return a > b ? -1 : a < b;
}

static void search_parent(struct search *s, struct parent *p)
{
	const struct contention *c = s->c;
	const struct model_fn *f = &c->fns[p->fn];
	size_t kept = 0;

	p->holders = xcalloc(f->n_holds + 1, sizeof(*p->holders));
	p->spared = xcalloc(f->n_holds + 1, sizeof(*p->spared));
	for (size_t i = 0; i < f->n_holds; i++)
		if (f->holds[i].use == USE_MDEV && f->holds[i].guest != s->x &&
		    !c->gone[f->holds[i].guest])
			p->holders[p->n++] = f->holds[i].guest;
	qsort_r(p->holders, p->n, sizeof(*p->holders), compare_holders,
		(void *)(uintptr_t)c);
	for (size_t i = 0; i < p->n; i++)
		if (kept == 0 || p->holders[kept - 1] != p->holders[i])
			p->holders[kept++] = p->holders[i];
	p->n = kept;
	search_holders(s, p, 0);
	free(p->holders);
	free(p->spared);
}

static void search_mdevs(struct search *s, size_t entry)
{
	const struct model_guest *g = &s->c->guests[s->x];
	const struct model_entry *e = &s->c->entries[g->entry + entry];

	if (entry == g->n_entries) {
		take_best(s);
		return;
	}
	if (e->use != USE_MDEV) {
		search_mdevs(s, entry + 1);
		return;
	}
	for (unsigned a = 0; a < e->n_alts; a++) {
		const struct model_alt *alt = &s->c->alts[e->alt + a];
		struct parent p = { .entry = entry,
				    .fn = s->c->alt_fns[alt->fn],
				    .type = e->mdev_type };
		size_t n = s->now.n, n_units = s->now.n_units;

		s->choice[entry] = a;
		p.n_own = model_own_mdevs(s->c, g, g->entry + entry, s->choice, p.fn,
					  p.own);
		if (clear_alt(s, e, alt))
			search_parent(s, &p);
		s->dead = false;
		shrink(s, n, n_units);
		/* PVE only goes on to the next parent while this one makes none. */
		if (!model_parent_is_taken(s->c, s->x, p.fn) && parent_fits(s, &p))
			break;
	}
}

void search_run(struct search *s)
{
	model_declared(s->c, s->x, false, stop_hit, s);
	if (!s->dead)
		search_functions(s, 0);
	s->dead = false;
	shrink(s, 0, 0);
}

void search_done(struct search *s)
{
	free(s->used);
	free(s->kept);
	set_free(&s->now);
	set_free(&s->best);
}
