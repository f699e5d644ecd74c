/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The functions of the model: what each is, and who its neighbours are. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-model.h"

static void fn_describe(const struct contention_input *in, struct model_fn *f)
{
	const struct pcidev *dev = pcidev_find(in->devs, in->n_devs, &f->addr);

	f->group = -1;
	f->pf = MODEL_NONE;
	f->vgpu = in->n_vgpus > 0 && bsearch(&f->addr, in->vgpus, in->n_vgpus,
					     sizeof(*in->vgpus), pciaddr_compare);
	for (size_t i = 0; i < in->n_host_users; i++)
		if (pciaddr_compare(&in->host_users[i].addr, &f->addr) == 0)
			f->host_users = true;
	while (f->type < in->n_types &&
	       pciaddr_compare(&in->types[f->type].parent, &f->addr) < 0)
		f->type++;
	while (f->type + f->n_types < in->n_types &&
	       pciaddr_compare(&in->types[f->type + f->n_types].parent, &f->addr) == 0)
		f->n_types++;
	if (!dev)
		return;
	f->vfio = dev->driver && strstr(dev->driver, "vfio");
	f->host_driver = dev->driver && !f->vfio;
	if (!dev->is_bridge)
		f->group = dev->iommu_group;
}

static int compare_addrs_then_fn(const void *a, const void *b)
{
	return pciaddr_compare(&((const struct model_fn *)a)->addr,
			       &((const struct model_fn *)b)->addr);
}

struct keyed {
	int key;
	unsigned fn;
};

static int compare_keyed(const void *va, const void *vb)
{
	const struct keyed *a = va, *b = vb;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->fn < b->fn ? -1 : a->fn > b->fn;
}

/*
 * Functions by group and VFs by physical function, so that no rule has to look through
 * all.
 */
static void build_neighbours(struct contention *c)
{
	_cleanup_free_ struct keyed *k = xcalloc(c->n_fns + 1, sizeof(*k));
	size_t first;

	c->mates = xcalloc(c->n_fns + 1, sizeof(*c->mates));
	c->vfs = xcalloc(c->n_fns + 1, sizeof(*c->vfs));
	for (size_t i = 0; i < c->n_fns; i++)
		k[i] = (struct keyed){ c->fns[i].group, (unsigned)i };
	qsort(k, c->n_fns, sizeof(*k), compare_keyed);
	first = 0;
	for (size_t i = 0; i < c->n_fns; i++) {
		if (k[i].key != k[first].key)
			first = i;
		c->mates[i] = k[i].fn;
		c->fns[k[i].fn].mate = first;
	}
	for (size_t i = c->n_fns; i-- > 0;)
		if (k[i].key >= 0)
			c->fns[k[c->fns[k[i].fn].mate].fn].n_mates++;
	for (size_t i = 0; i < c->n_fns; i++)
		c->fns[k[i].fn].n_mates = c->fns[k[c->fns[k[i].fn].mate].fn].n_mates;

	for (size_t i = 0; i < c->n_fns; i++)
		k[i] = (struct keyed){ c->fns[i].pf, (unsigned)i };
	qsort(k, c->n_fns, sizeof(*k), compare_keyed);
	for (size_t i = 0; i < c->n_fns; i++) {
		c->vfs[i] = k[i].fn;
		if (k[i].key < 0)
			continue;
		if (c->fns[k[i].key].n_vfs++ == 0)
			c->fns[k[i].key].vf = i;
	}
}

void model_build_fns(struct contention *c, const struct assignment *const *sorted,
		     size_t n)
{
	const struct contention_input *in = &c->in;
	size_t kept = 0;

	c->fns = xcalloc(n + in->n_host_users + 1, sizeof(*c->fns));
	for (size_t i = 0; i < n; i++)
		if (sorted[i]->has_addr && !sorted[i]->is_slot)
			c->fns[c->n_fns++].addr = sorted[i]->addr;
	for (size_t i = 0; i < in->n_host_users; i++)
		c->fns[c->n_fns++].addr = in->host_users[i].addr;
	qsort(c->fns, c->n_fns, sizeof(*c->fns), compare_addrs_then_fn);
	for (size_t i = 0; i < c->n_fns; i++)
		if (kept == 0 ||
		    compare_addrs_then_fn(&c->fns[kept - 1], &c->fns[i]) != 0)
			c->fns[kept++].addr = c->fns[i].addr;
	c->n_fns = kept;
	for (size_t i = 0; i < c->n_fns; i++) {
		c->fns[i].type = i > 0 ? c->fns[i - 1].type : 0;
		fn_describe(in, &c->fns[i]);
	}
	for (size_t i = 0; i < c->n_fns; i++) {
		const struct pcidev *dev =
			pcidev_find(in->devs, in->n_devs, &c->fns[i].addr);

		if (dev && dev->is_vf)
			c->fns[i].pf = model_fn_find(c, &dev->physfn);
	}
	build_neighbours(c);
}
