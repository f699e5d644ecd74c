/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules: who stands in whose way, and what PVE chooses. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-model.h"

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

const struct model_hold *model_list(const struct model_fn *f, bool users, size_t *n)
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
static void visit_fn(const struct visit *v, unsigned fn, unsigned mask,
		     enum contention_kind kind, bool closest)
{
	const struct contention *c = v->c;
	size_t n;
	const struct model_hold *h = model_list(&c->fns[fn], v->users, &n);

	for (size_t i = 0; i < n; i++) {
		if (h[i].guest == v->x || !(mask & 1u << h[i].use) ||
		    (!v->users && c->gone[h[i].guest]))
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
	unsigned mates = BY_FUNCTION;

	++*c->serial;
	switch (use) {
	case USE_FUNCTION:
		visit_fn(&v, fn, BY_FUNCTION, CONTENTION_FUNCTION, true);
		visit_fn(&v, fn, BY_MDEV, CONTENTION_PF_VF, true);
		visit_fn(&v, fn, BY_DRIVER,
			 f->vfio ? CONTENTION_FUNCTION : CONTENTION_HOST_DRIVER, true);
		/* PVE binds the whole group to vfio-pci. */
		mates = BY_ANY;
		break;
	case USE_MDEV: visit_fn(&v, fn, BY_FUNCTION, CONTENTION_PF_VF, true); break;
	case USE_DRIVER:
		visit_fn(&v, fn, BY_FUNCTION, CONTENTION_HOST_DRIVER, true);
		break;
	}
	for (size_t i = f->mate; i < f->mate + f->n_mates; i++)
		if (c->mates[i] != fn)
			visit_fn(&v, c->mates[i], mates, CONTENTION_IOMMU_GROUP, false);
	/*
	 * A VM takes the driver away that the VFs live by; a container shares it with
	 * them.
	 */
	if (f->pf >= 0)
		visit_fn(&v, (unsigned)f->pf, BY_FUNCTION, CONTENTION_PF_VF, false);
	if (use != USE_FUNCTION)
		return;
	for (size_t i = f->vf; i < f->vf + f->n_vfs; i++)
		visit_fn(&v, c->vfs[i], BY_ANY, CONTENTION_PF_VF, false);
}

void model_declared(const struct contention *c, unsigned x, bool users, model_hit *hit,
		    void *arg)
{
	const struct config *cfg = c->in.config;

	for (size_t g = 0; cfg && g < cfg->n_groups; g++) {
		const struct config_group *group = &cfg->groups[g];
		bool member = false;

		for (size_t i = 0; i < group->n; i++)
			member |= group->vmids[i] == c->guests[x].id.vmid;
		for (size_t i = 0; member && i < group->n; i++) {
			for (int kind = GUEST_QEMU; kind <= GUEST_LXC; kind++) {
				struct guest_id id = { (enum guest_kind)kind,
						       group->vmids[i] };
				int y = model_guest_find(c, id);

				if (y >= 0 && y != (int)x &&
				    (users || (c->guests[y].running && !c->gone[y])))
					hit((unsigned)y, (unsigned)g, CONTENTION_DECLARED,
					    arg);
			}
		}
	}
}

bool model_is_reserved(const struct contention *c, unsigned x,
		       const struct model_alt *alt)
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

	if (c->in.no_iommu && g->id.kind == GUEST_QEMU && g->n_entries > 0)
		return &c->entries[g->entry];
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

static bool find_parent(const struct contention *c, unsigned x, size_t entry,
			const unsigned choice[], unsigned *chosen)
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

size_t model_own_mdevs(const struct contention *c, const struct model_guest *g,
		       size_t before, const unsigned choice[], unsigned parent,
		       const char *own[])
{
	size_t n = 0;

	for (size_t e = g->entry; e < before; e++)
		if (c->entries[e].use == USE_MDEV &&
		    c->alt_fns[c->alts[c->entries[e].alt + choice[e - g->entry]].fn] ==
			    parent)
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
