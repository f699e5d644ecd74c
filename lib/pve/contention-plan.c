/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan in the caller's words: whom to stop, for what; or why nothing helps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-search.h"

struct tell {
	const struct contention *c;
	struct contention_plan *plan;
};

static struct contention_stop *stop_of(const struct tell *t, unsigned guest)
{
	for (size_t i = 0; i < t->plan->n; i++)
		if (!t->plan->stops[i].unit &&
		    guest_compare(&t->plan->stops[i].guest, &t->c->guests[guest].id) == 0)
			return &t->plan->stops[i];
	return NULL;
}

static void add_addr(struct contention_stop *stop, const struct pciaddr *addr)
{
	for (size_t i = 0; i < stop->n_addrs; i++)
		if (pciaddr_compare(&stop->addrs[i], addr) == 0)
			return;
	stop->addrs = xreallocarray(stop->addrs, stop->n_addrs + 1, sizeof(*stop->addrs));
	stop->addrs[stop->n_addrs++] = *addr;
	qsort(stop->addrs, stop->n_addrs, sizeof(*stop->addrs), pciaddr_compare);
}

static void tell_hit(unsigned guest, unsigned fn, enum contention_kind kind, void *arg)
{
	struct tell *t = arg;
	struct contention_stop *stop = stop_of(t, guest);
	struct pciaddr addr;

	if (!stop)
		return;
	stop->kinds |= kind;
	if (kind != CONTENTION_DECLARED) {
		add_addr(stop, &t->c->fns[fn].addr);
		return;
	}
	if (pciaddr_parse(t->c->in.config->groups[fn].addr, &addr) ||
	    pciaddr_parse_slot(t->c->in.config->groups[fn].addr, &addr))
		add_addr(stop, &addr);
}

static void tell_units(const struct tell *t, const struct model_fn *f)
{
	const struct contention_input *in = &t->c->in;

	for (size_t i = 0; f->host_users && f->host_driver && i < in->n_host_users; i++) {
		int unit = search_service(in->config, in->host_users[i].unit);

		if (unit < 0 || pciaddr_compare(&in->host_users[i].addr, &f->addr) != 0)
			continue;
		for (size_t k = 0; k < t->plan->n; k++)
			if (t->plan->stops[k].unit == in->config->host_services[unit]) {
				t->plan->stops[k].kinds |= CONTENTION_HOST_DRIVER;
				add_addr(&t->plan->stops[k], &f->addr);
			}
	}
}

static void tell_alt(struct tell *t, unsigned x, const struct model_entry *e,
		     const struct model_alt *alt)
{
	const struct contention *c = t->c;

	for (size_t i = alt->fn; i < alt->fn + alt->n_fns; i++) {
		const struct model_fn *f = &c->fns[c->alt_fns[i]];

		t->plan->chosen = xreallocarray(t->plan->chosen, t->plan->n_chosen + 1,
						sizeof(*t->plan->chosen));
		t->plan->chosen[t->plan->n_chosen++] = f->addr;
		model_rivals(c, x, c->alt_fns[i], e->use, false, tell_hit, t);
		for (size_t h = 0; e->use == USE_MDEV && h < f->n_holds; h++)
			if (f->holds[h].use == USE_MDEV)
				tell_hit(f->holds[h].guest, c->alt_fns[i],
					 CONTENTION_MDEV, t);
		if (f->n_mates == 0)
			tell_units(t, f);
		for (size_t m = f->mate; m < f->mate + f->n_mates; m++)
			tell_units(t, &c->fns[c->mates[m]]);
	}
}

static int compare_stops(const void *va, const void *vb)
{
	const struct contention_stop *a = va, *b = vb;

	if (a->unit && b->unit)
		return strcmp(a->unit, b->unit);
	if (a->unit || b->unit)
		return a->unit ? 1 : -1;
	return guest_compare(&a->guest, &b->guest);
}

static void make_plan(const struct search *s, struct contention_plan *plan)
{
	const struct contention *c = s->c;
	const struct model_guest *g = &c->guests[s->x];
	struct tell t = { c, plan };

	plan->verdict =
		s->best.n + s->best.n_units > 0 ? CONTENTION_STOP : CONTENTION_FREE;
	plan->stops = xcalloc(s->best.n + s->best.n_units + 1, sizeof(*plan->stops));
	for (size_t i = 0; i < s->best.n; i++)
		plan->stops[plan->n++].guest = c->guests[s->best.guests[i]].id;
	for (size_t i = 0; i < s->best.n_units; i++)
		plan->stops[plan->n++].unit =
			c->in.config->host_services[s->best.units[i]];
	qsort(plan->stops, plan->n, sizeof(*plan->stops), compare_stops);
	for (size_t i = 0; i < g->n_entries; i++) {
		const struct model_entry *e = &c->entries[g->entry + i];

		tell_alt(&t, s->x, e, &c->alts[e->alt + s->best_choice[i]]);
	}
	model_declared(c, s->x, false, tell_hit, &t);
	if (plan->n_chosen > 0)
		qsort(plan->chosen, plan->n_chosen, sizeof(*plan->chosen),
		      pciaddr_compare);
}

static char *explain_refusal(const struct contention *c, const struct model_entry *e)
{
	const struct assignment *a = e->bad;
	char addr[PCIADDR_STRLEN] = "no device";
	char *why;

	if (c->in.no_iommu)
		return xstrdup("this host has no IOMMU (/sys/class/iommu is empty), "
			       "without which Proxmox VE passes nothing through");
	if (a->has_addr)
		assignment_addr(a, addr);
	if (!a->status || strcmp(a->status, "ok") == 0)
		return xasprintf(
			"hostpci%d: a mediated device cannot be made on several functions (%s)",
			e->hostpci, addr);
	if (strcmp(a->status, "refused") == 0)
		return xasprintf("hostpci%d: Proxmox VE refuses to start with this value "
				 "(pve-hostpci-ls says why)",
				 e->hostpci);
	if (strcmp(a->status, "no-mapping") == 0)
		return xasprintf("hostpci%d: mapping '%s' has no device on this node",
				 e->hostpci, a->mapping ? a->mapping : "-");
	if (strcmp(a->status, "missing") == 0)
		why = xasprintf("%s is not there", addr);
	else
		why = xasprintf("%s is another device than the mapping says (%s)", addr,
				a->status);
	if (a->mapping) {
		char *longer = xasprintf("mapping '%s': %s", a->mapping, why);

		free(why);
		why = longer;
	}
	char *text = xasprintf("hostpci%d: %s", e->hostpci, why);

	free(why);
	return text;
}

/* The first host process in the way of what the search has found with such ignored. */
static char *explain_host(const struct search *s)
{
	const struct contention *c = s->c;
	const struct contention_input *in = &c->in;
	const struct model_guest *g = &c->guests[s->x];

	for (size_t i = 0; i < g->n_entries; i++) {
		const struct model_entry *e = &c->entries[g->entry + i];
		const struct model_alt *alt = &c->alts[e->alt + s->best_choice[i]];

		for (size_t k = 0; k < in->n_host_users; k++) {
			const struct contention_host_user *u = &in->host_users[k];
			int fn = model_fn_find(c, &u->addr);
			char addr[PCIADDR_STRLEN];
			bool met = false;

			if (search_service(in->config, u->unit) >= 0 ||
			    !c->fns[fn].host_driver)
				continue;
			for (size_t f = alt->fn; f < alt->fn + alt->n_fns; f++)
				met |= c->alt_fns[f] == (unsigned)fn ||
				       (c->fns[fn].group >= 0 &&
					c->fns[fn].group == c->fns[c->alt_fns[f]].group);
			if (met)
				return xasprintf("process %d (%s) of %s%s uses %s",
						 u->pid, u->comm ? u->comm : "?",
						 u->unit ? "" : "the host",
						 u->unit ? u->unit : "",
						 pciaddr_format(&u->addr, addr));
		}
	}
	return xstrdup("a process of the host uses a device that is needed");
}

static char *explain_never(const struct search *s)
{
	char *text = NULL;

	for (size_t i = 0; i < s->best.n; i++) {
		const struct model_guest *g = &s->c->guests[s->best.guests[i]];
		char name[GUEST_STRLEN], *longer;

		if (!g->never_stop)
			continue;
		longer = xasprintf("%s%s%s", text ? text : "", text ? ", " : "",
				   guest_format(g->id, name));
		free(text);
		text = longer;
	}
	if (!text)
		return xstrdup("what is in the way may not be stopped");
	char *why = xasprintf("%s in the way, not to be stopped (never-stop, HA with "
			      "ha = refuse, or it could not start again)",
			      text);

	free(text);
	return why;
}

static char *explain_nothing(const struct contention *c, unsigned x)
{
	unsigned choice[MODEL_ENTRIES_MAX] = { 0 };
	_cleanup_free_ bool *hidden = xcalloc(c->n_guests + 1, sizeof(*hidden));
	const struct model_entry *e;
	int failed;

	memcpy(hidden, c->gone, c->n_guests * sizeof(*hidden));
	memset(c->gone, true, c->n_guests * sizeof(*hidden));
	failed = model_choose(c, x, choice);
	memcpy(c->gone, hidden, c->n_guests * sizeof(*hidden));
	if (failed == MODEL_NONE)
		return xstrdup("no choice that PVE would make can be freed");
	e = &c->entries[c->guests[x].entry + (size_t)failed];
	if (e->use == USE_MDEV)
		return xasprintf(
			"hostpci%d: no parent can make a '%s', whoever is stopped",
			e->hostpci, e->mdev_type);
	return xasprintf(
		"hostpci%d: every device that it names is taken by an earlier hostpci of the same VM",
		e->hostpci);
}

int contention_plan(const struct contention *c, struct guest_id id,
		    struct contention_plan *plan)
{
	static const struct {
		bool never, host;
	} relaxed[] = {
		{ false, false },
		{ false, true },
		{ true, true },
	};
	int x = model_guest_find(c, id);
	const struct model_entry *bad;

	*plan = (struct contention_plan){ .verdict = CONTENTION_FREE };
	if (x < 0)
		return -ENOENT;
	if (c->guests[x].running)
		return 0;
	bad = model_refusal(c, (unsigned)x);
	if (bad) {
		plan->verdict = CONTENTION_NEVER;
		plan->why = explain_refusal(c, bad);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(relaxed); i++) {
		struct search s = { .c = c,
				    .x = (unsigned)x,
				    .ignore_never = relaxed[i].never,
				    .ignore_host = relaxed[i].host };
		bool found;

		search_run(&s);
		found = s.found;
		if (found && i == 0) {
			make_plan(&s, plan);
		} else if (found) {
			plan->verdict = i == 1 ? CONTENTION_HOST : CONTENTION_NEVER;
			plan->why = i == 1 ? explain_host(&s) : explain_never(&s);
		}
		search_done(&s);
		if (found)
			return 0;
	}
	plan->verdict = CONTENTION_NEVER;
	plan->why = explain_nothing(c, (unsigned)x);
	return 0;
}

void contention_plan_done(struct contention_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		free(plan->stops[i].addrs);
	free(plan->stops);
	free(plan->chosen);
	free(plan->why);
	*plan = (struct contention_plan){ 0 };
}
