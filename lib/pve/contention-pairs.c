/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every contention that could ever arise, whoever runs now. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-pairs.h"

void pairs_list_add(struct pairs_list *l, struct guest_id id)
{
	l->ids = xgrow(l->ids, l->n, &l->room, sizeof(*l->ids));
	l->ids[l->n++] = id;
}

void pairs_add(struct pairs *out, const struct pciaddr *addr, enum contention_kind kind,
	       struct pairs_list *l, char *detail)
{
	struct contention_pair pair = { .addr = *addr, .kind = kind, .detail = detail };
	size_t kept = 0;

	if (l->n > 0)
		qsort(l->ids, l->n, sizeof(*l->ids), guest_compare);
	for (size_t i = 0; i < l->n; i++)
		if (kept == 0 || guest_compare(&l->ids[kept - 1], &l->ids[i]) != 0)
			l->ids[kept++] = l->ids[i];
	if (kept < 2) {
		free(l->ids);
		free(detail);
		*l = (struct pairs_list){ 0 };
		return;
	}
	for (size_t i = 0; i < kept; i++)
		pair.running += contention_is_running(out->c, l->ids[i]);
	pair.guests = l->ids;
	pair.n_guests = kept;
	*l = (struct pairs_list){ 0 };
	out->p = xgrow(out->p, out->n, &out->room, sizeof(*out->p));
	out->p[out->n++] = pair;
}

size_t pairs_list_users(const struct contention *c, const struct model_fn *f,
			unsigned mask, struct pairs_list *l)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_users; i++) {
		if (!(mask & 1u << f->users[i].use))
			continue;
		pairs_list_add(l, c->guests[f->users[i].guest].id);
		n++;
	}
	return n;
}

struct part { /* what one guest uses of a group */
	unsigned guest;
	bool vm; /* some of it passed through */
	size_t at, n; /* range in the sorted uses */
};

static int compare_uses(const void *va, const void *vb)
{
	const struct model_hold *a = va, *b = vb;

	if (a->guest != b->guest)
		return a->guest < b->guest ? -1 : 1;
	return a->fn < b->fn ? -1 : a->fn > b->fn;
}

static bool same_part(const struct model_hold *uses, const struct part *a,
		      const struct part *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (uses[a->at + i].fn != uses[b->at + i].fn)
			return false;
	return true;
}

/*
 * A guest stands on the list when another one uses something else of the group
 * and one of the two has it passed through; those on the very same functions are
 * in each other's way by function already.
 */
static void pairs_group(struct pairs *out, const struct model_fn *f)
{
	const struct contention *c = out->c;
	struct model_hold *uses = NULL;
	struct part *parts;
	struct pairs_list l = { 0 };
	size_t n = 0, room = 0, n_parts = 0;
	const struct part *vm = NULL, *other_vm = NULL, *other = NULL;

	for (size_t m = f->mate; m < f->mate + f->n_mates; m++) {
		const struct model_fn *mate = &c->fns[c->mates[m]];

		for (size_t i = 0; i < mate->n_users; i++) {
			uses = xgrow(uses, n, &room, sizeof(*uses));
			uses[n++] = mate->users[i];
		}
	}
	if (n > 0)
		qsort(uses, n, sizeof(*uses), compare_uses);
	parts = xcalloc(n + 1, sizeof(*parts));
	for (size_t i = 0; i < n; i++) {
		struct part *p = n_parts > 0 ? &parts[n_parts - 1] : NULL;

		if (!p || p->guest != uses[i].guest) {
			p = &parts[n_parts++];
			*p = (struct part){ .guest = uses[i].guest, .at = i };
		}
		p->vm |= uses[i].use == USE_FUNCTION;
		if (p->n == 0 || uses[p->at + p->n - 1].fn != uses[i].fn)
			uses[p->at + p->n++] = uses[i];
	}
	for (size_t i = 0; i < n_parts; i++) {
		if (!vm && parts[i].vm)
			vm = &parts[i];
		else if (vm && !other_vm && parts[i].vm &&
			 !same_part(uses, vm, &parts[i]))
			other_vm = &parts[i];
		if (!other && !same_part(uses, &parts[0], &parts[i]))
			other = &parts[i];
	}
	for (size_t i = 0; vm && i < n_parts; i++) {
		bool met = parts[i].vm ? other != NULL
				       : other_vm || !same_part(uses, vm, &parts[i]);

		if (met)
			pairs_list_add(&l, c->guests[parts[i].guest].id);
	}
	pairs_add(out, &f->addr, CONTENTION_IOMMU_GROUP, &l,
		  xasprintf("group %d", f->group));
	free(parts);
	free(uses);
}

static void pairs_pf(struct pairs *out, const struct model_fn *f)
{
	const struct contention *c = out->c;
	struct pairs_list l = { 0 };
	size_t whole = pairs_list_users(c, f, 1 << USE_FUNCTION, &l), below = 0;
	char *detail;

	if (whole > 0)
		below += pairs_list_users(c, f, 1 << USE_MDEV, &l);
	detail = xstrdup(below > 0 ? "mediated devices" : "virtual functions");
	for (size_t i = f->vf; whole > 0 && i < f->vf + f->n_vfs; i++)
		below += pairs_list_users(
			c, &c->fns[c->vfs[i]],
			1 << USE_FUNCTION | 1 << USE_MDEV | 1 << USE_DRIVER, &l);
	if (below == 0)
		l.n = 0;
	pairs_add(out, &f->addr, CONTENTION_PF_VF, &l, detail);
}

static void pairs_mdev(struct pairs *out, unsigned fn)
{
	const struct contention *c = out->c;
	const struct model_fn *f = &c->fns[fn];
	struct pairs_list l = { 0 };
	char addr[PCIADDR_STRLEN], *detail;
	const char *last = NULL;

	if (pairs_list_users(c, f, 1 << USE_MDEV, &l) < 2 || !model_mdev_scarce(c, fn)) {
		free(l.ids);
		return;
	}
	detail = xasprintf("parent %s", pciaddr_format(&f->addr, addr));
	for (;;) { /* the types, sorted, each once */
		const char *next = NULL;
		char *longer;

		for (size_t i = 0; i < f->n_users; i++)
			if (f->users[i].type &&
			    (!last || strcmp(f->users[i].type, last) > 0) &&
			    (!next || strcmp(f->users[i].type, next) < 0))
				next = f->users[i].type;
		if (!next)
			break;
		longer = xasprintf("%s%s%s", detail, last ? "," : " ", next);
		free(detail);
		detail = longer;
		last = next;
	}
	pairs_add(out, &f->addr, CONTENTION_MDEV, &l, detail);
}

static void pairs_host_driver(struct pairs *out, const struct model_fn *f)
{
	const struct pcidev *dev =
		pcidev_find(out->c->in.devs, out->c->in.n_devs, &f->addr);
	struct pairs_list l = { 0 };
	size_t vms = pairs_list_users(out->c, f, 1 << USE_FUNCTION, &l);
	size_t cts = pairs_list_users(out->c, f, 1 << USE_DRIVER, &l);

	if (vms == 0 || cts == 0)
		l.n = 0;
	pairs_add(out, &f->addr, CONTENTION_HOST_DRIVER, &l,
		  dev && dev->driver ? xasprintf("driver %s", dev->driver) : NULL);
}

static void pairs_declared(struct pairs *out)
{
	const struct contention_input *in = &out->c->in;

	for (size_t g = 0; in->config && g < in->config->n_groups; g++) {
		const struct config_group *group = &in->config->groups[g];
		struct pciaddr addr;
		struct pairs_list l = { 0 };

		if (!pciaddr_parse(group->addr, &addr) &&
		    !pciaddr_parse_slot(group->addr, &addr))
			continue;
		for (size_t i = 0; i < group->n; i++) {
			for (int kind = GUEST_QEMU; kind <= GUEST_LXC; kind++) {
				struct guest_id id = { (enum guest_kind)kind,
						       group->vmids[i] };

				if (model_guest_find(out->c, id) >= 0)
					pairs_list_add(&l, id);
			}
		}
		for (size_t i = 0; i < in->n_assignments; i++) {
			const struct assignment *a = &in->assignments[i];

			for (size_t k = 0;
			     a->state == ASSIGNMENT_ELSEWHERE && k < group->n; k++)
				if (group->vmids[k] == a->guest.vmid)
					pairs_list_add(&l, a->guest);
		}
		pairs_add(out, &addr, CONTENTION_DECLARED, &l,
			  xstrdup("declared in gpu-groups"));
	}
}

static int compare_pairs(const void *va, const void *vb)
{
	const struct contention_pair *a = va, *b = vb;
	int order = pciaddr_compare(&a->addr, &b->addr);

	if (order != 0)
		return order;
	if (a->kind != b->kind)
		return strcmp(contention_kind_name(a->kind),
			      contention_kind_name(b->kind));
	return guest_compare(&a->guests[0], &b->guests[0]);
}

size_t contention_pairs(const struct contention *c,
			void (*each)(const struct contention_pair *p, void *arg),
			void *arg)
{
	struct pairs out = { .c = c };

	pairs_functions(&out);
	for (size_t i = 0; i < c->n_fns; i++) {
		const struct model_fn *f = &c->fns[i];

		if (f->n_mates > 1 && c->mates[f->mate] == i)
			pairs_group(&out, f);
		pairs_pf(&out, f);
		pairs_mdev(&out, (unsigned)i);
		pairs_host_driver(&out, f);
	}
	pairs_declared(&out);
	if (out.n > 0)
		qsort(out.p, out.n, sizeof(*out.p), compare_pairs);
	for (size_t i = 0; i < out.n; i++) {
		each(&out.p[i], arg);
		free((struct guest_id *)(uintptr_t)out.p[i].guests);
		free((char *)(uintptr_t)out.p[i].detail);
	}
	free(out.p);
	return out.n;
}
