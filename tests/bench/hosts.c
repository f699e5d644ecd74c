/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Made-up hosts. What host_plausible() draws, everything from one seed:
 *
 * GPUs        1 to 4 (weights 4 4 2 2): 60 % a consumer card with its audio function
 *             in one slot and group, 15 % a card with a single function, 12 % a
 *             card with 3 to 7 virtual functions, 13 % a parent of mediated
 *             devices of 24 or 48 GiB in sizes of 1/4, 1/8 and 1/12. On 20 % of the
 *             hosts the first two cards share one IOMMU group.
 * mappings    40 % of the hosts with two whole cards or more have one mapping with all
 *             of them as alternatives; 70 % of the cards with VFs one with all VFs; all
 *             the mdev parents of a host are one mapping in half of the cases.
 * host driver on 30 % of the hosts one whole card belongs to the host's driver, and
 *             one to three containers use it; VMs may want it all the same.
 * sharing     a whole card is wanted by 1 to 5 VMs (15, 40, 25, 12, 8 %), a card with VFs
 *             by half as many to a third more than it has, an mdev parent by half as many
 *             to a third more than it can make (85 % of them the same type). Where
 *             a mapping has the device, 70 % ask by the mapping. One VM in ten wants a
 *             second device of any card.
 * guests      4 to 30, evenly, but room for the above; a quarter of those without a GPU
 *             are containers. GPU guests stand anywhere among the VMIDs. 5 % of the VMs
 *             are templates, 3 % have no disk.
 * running     at night: 80 % of the guests without a GPU and 45 % of those with one
 *             try to, in random order; who finds its devices taken is off.
 * durations   20 s and the used part (30 to 100 %) of the disks at 80 to 250 MiB/s per
 *             host; VMs' disks are log-normal about 100 GiB (sigma 1), containers' about
 *             20 GiB, 8 GiB to 4 TiB: from one minute to hours, mostly 5 to 30 minutes.
 * job         all guests on 75 % of the hosts, else four in five of them.
 * words       5 % of the hosts protect one running GPU guest by never-stop, 5 % declare
 *             two VMs without a known device to be in each other's way.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "brute.h"

struct dice {
	uint64_t state;
};

static uint64_t next(struct dice *d)
{
	uint64_t z = d->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 to n - 1 */
static int below(struct dice *d, int n)
{
	return n > 0 ? (int)(next(d) % (uint64_t)n) : 0;
}

static bool percent(struct dice *d, int p)
{
	return below(d, 100) < p;
}

static double uniform(struct dice *d)
{
	return (double)(next(d) >> 11) / 9007199254740992.0;
}

static double normal(struct dice *d)
{
	double u = uniform(d), v = uniform(d);

	return sqrt(-2 * log(u > 0 ? u : 1e-12)) * cos(2 * 3.14159265358979 * v);
}

static const char *const type_names[] = {
	"nvidia-63",	  "nvidia-64",	    "nvidia-65",
	"i915-GVTg_V5_4", "i915-GVTg_V5_8", "nvidia-66",
};

const char *host_type_name(int type)
{
	return type_names[type];
}

static int add_fn(struct host *h, int bus, int func, int group, int pf,
		  const char *driver)
{
	h->fn[h->n_fns] = (struct host_fn){ .addr = { .domain = 0,
						      .bus = (uint8_t)bus,
						      .slot = (uint8_t)(func / 8),
						      .func = (uint8_t)(func % 8) },
					    .group = group,
					    .pf = pf,
					    .driver = driver };
	return h->n_fns++;
}

static void add_type(struct host *h, int parent, int name, int framebuffer, int max,
		     bool one_size, bool known)
{
	struct host_type *t = &h->type[h->n_types++];

	*t = (struct host_type){ .parent = parent,
				 .framebuffer = known ? framebuffer : -1,
				 .max = known ? max : -1,
				 .real_framebuffer = framebuffer,
				 .real_max = max,
				 .one_size = one_size };
	snprintf(t->name, sizeof(t->name), "%s", type_names[name]);
}

/* Try to start the guests that ask for it (running), in random order. */
static void start_all(struct host *h, struct dice *d)
{
	struct brute b;
	int order[HOST_GUESTS];
	bool wants[HOST_GUESTS];

	for (int i = 0; i < h->n_guests; i++) {
		wants[i] = h->guest[i].running;
		h->guest[i].running = false;
		order[i] = i;
	}
	brute_start(&b, h);
	for (int i = h->n_guests - 1; i > 0; i--) {
		int k = below(d, i + 1), keep = order[i];

		order[i] = order[k];
		order[k] = keep;
	}
	for (int i = 0; i < h->n_guests; i++)
		if (wants[order[i]])
			brute_up(&b, order[i]);
}

/* --- plausible --- */

enum gpu { CONSUMER, CARD, SRIOV, MDEV };

struct card {
	enum gpu kind;
	int fn, n; /* its functions; of SRIOV the VFs come after the PF */
	bool mapped; /* SRIOV: its VFs are a mapping */
	bool vgpu;
	int type; /* MDEV: what most VMs ask for; a card takes one size at a time */
};

struct park {
	int n;
	struct card card[4];
	bool whole_mapped, mdev_mapped;
	int host_card; /* -1 */
};

static void draw_cards(struct host *h, struct dice *d, struct park *p)
{
	static const int weights[] = { 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4 };
	bool share = percent(d, 20);
	int whole = 0, group = 10, n_mdev = 0;

	p->n = weights[below(d, 12)];
	p->host_card = -1;
	for (int i = 0; i < p->n; i++) {
		struct card *c = &p->card[i];
		int roll = below(d, 100), bus = 0x01 + 0x20 * i;

		c->kind = roll < 60   ? CONSUMER
			  : roll < 75 ? CARD
			  : roll < 87 ? SRIOV
				      : MDEV;
		if (!(share && i == 1))
			group++;
		c->fn = add_fn(h, bus, 0, group, -1, "vfio-pci");
		c->n = 1;
		switch (c->kind) {
		case CONSUMER:
			add_fn(h, bus, 1, group, -1, "vfio-pci");
			c->n = 2;
			whole++;
			break;
		case CARD: whole++; break;
		case SRIOV:
			c->vgpu = percent(d, 50);
			c->mapped = percent(d, 70);
			h->fn[c->fn].driver = c->vgpu ? "nvidia" : "i915";
			for (int k = 3 + below(d, 5); k > 0; k--) {
				int vf = add_fn(h, bus, c->n++, ++group, c->fn,
						c->vgpu ? "nvidia" : "vfio-pci");

				h->fn[vf].vgpu = c->vgpu;
			}
			break;
		case MDEV: {
			int size = percent(d, 50) ? 24576 : 49152;

			h->fn[c->fn].driver = "nvidia";
			add_type(h, c->fn, 0, size / 4, 4, true, true);
			add_type(h, c->fn, 1, size / 8, 8, true, true);
			add_type(h, c->fn, 2, size / 12, 12, true, true);
			c->type = below(d, 3);
			n_mdev++;
			break;
		}
		}
	}
	p->whole_mapped = whole >= 2 && percent(d, 40);
	p->mdev_mapped = n_mdev >= 2 && percent(d, 50);
	if (percent(d, 30)) {
		for (int i = 0; i < p->n && p->host_card < 0; i++)
			if (p->card[i].kind == CONSUMER || p->card[i].kind == CARD)
				p->host_card = i;
		if (p->host_card >= 0)
			h->fn[p->card[p->host_card].fn].driver = "nvidia";
	}
}

static void add_alt(struct host_entry *e, int fn, int n)
{
	struct host_alt *a = &e->alt[e->n_alts++];

	for (int i = 0; i < n; i++)
		a->fn[a->n++] = fn + i;
}

static bool is_whole(const struct card *c)
{
	return c->kind == CONSUMER || c->kind == CARD;
}

/* Give the VM a device of card i, by its mapping or itself. */
static void give(struct dice *d, const struct park *p, int i, struct host_guest *g)
{
	const struct card *c = &p->card[i];
	struct host_entry *e = &g->entry[g->n_entries++];
	bool by_mapping = percent(d, 70);

	*e = (struct host_entry){ .type = -1, .mapping = -1 };
	switch (c->kind) {
	case CONSUMER:
	case CARD:
		if (!p->whole_mapped || !by_mapping) {
			add_alt(e, c->fn, c->n);
			break;
		}
		e->mapping = 0;
		for (int k = 0; k < p->n; k++)
			if (is_whole(&p->card[k]))
				add_alt(e, p->card[k].fn, p->card[k].n);
		break;
	case SRIOV:
		if (c->vgpu)
			e->type = 5;
		if (!c->vgpu && percent(d, 4)) {
			add_alt(e, c->fn, 1); /* the whole card, VFs or not */
		} else if (c->mapped && by_mapping) {
			e->mapping = 1 + i;
			for (int k = 1; k < c->n; k++)
				add_alt(e, c->fn + k, 1);
		} else {
			add_alt(e, c->fn + 1 + below(d, c->n - 1), 1);
		}
		break;
	case MDEV:
		e->type = percent(d, 85) ? c->type : below(d, 3);
		if (!p->mdev_mapped || !by_mapping) {
			add_alt(e, c->fn, 1);
			break;
		}
		e->mapping = 9;
		for (int k = 0; k < p->n; k++)
			if (p->card[k].kind == MDEV)
				add_alt(e, p->card[k].fn, 1);
		break;
	}
}

static double draw_duration(struct dice *d, bool container, double speed)
{
	double gib = exp(log(container ? 20 : 100) + normal(d));

	if (gib < 8)
		gib = 8;
	if (gib > 4096)
		gib = 4096;
	return floor(20 + gib * 1024 * (0.3 + 0.7 * uniform(d)) / speed);
}

enum { NO_GPU = -1, HOST_DRIVER = -2 };

/*
 * What every guest is to have: a card's number, HOST_DRIVER (containers) or NO_GPU; in
 * VMID order.
 */
static int draw_demand(struct dice *d, const struct park *p, int want[])
{
	static const int sharers[] = { 15, 55, 80, 92, 100 };
	int n = 0, total = 4 + below(d, 27);

	for (int i = 0; i < p->n; i++) {
		const struct card *c = &p->card[i];
		int users = 1, roll = below(d, 100);

		while (is_whole(c) && roll >= sharers[users - 1])
			users++;
		if (c->kind == SRIOV)
			users = (c->n - 1) / 2 + below(d, (c->n - 1) * 5 / 6 + 1);
		if (c->kind == MDEV)
			users = (2 + 2 * c->type) + below(d, 4 + 2 * c->type);
		while (users-- > 0 && n < 26)
			want[n++] = i;
	}
	for (int k = p->host_card >= 0 ? 1 + below(d, 3) : 0; k > 0; k--)
		want[n++] = HOST_DRIVER;
	while (n < total)
		want[n++] = NO_GPU;
	for (int i = n - 1; i > 0; i--) {
		int k = below(d, i + 1), keep = want[i];

		want[i] = want[k];
		want[k] = keep;
	}
	return n;
}

static void draw_guest(struct dice *d, const struct park *p, struct host_guest *g,
		       int want)
{
	bool container = want == HOST_DRIVER || (want == NO_GPU && percent(d, 25));

	g->id.kind = container ? GUEST_LXC : GUEST_QEMU;
	g->has_disk = container || !percent(d, 3);
	g->template = !container && percent(d, 5);
	g->running = !g->template && percent(d, want == NO_GPU ? 80 : 45);
	if (want == HOST_DRIVER) {
		g->entry[g->n_entries] = (struct host_entry){ .type = -1, .mapping = -1 };
		add_alt(&g->entry[g->n_entries++], p->card[p->host_card].fn, 1);
	}
	if (want < 0)
		return;
	give(d, p, want, g);
	if (!percent(d, 10))
		return;
	give(d, p, below(d, p->n), g);
	/* The same single device twice is a mistake, not a plan. */
	if (g->entry[0].n_alts == 1 && g->entry[1].n_alts == 1 &&
	    g->entry[0].alt[0].fn[0] == g->entry[1].alt[0].fn[0])
		g->n_entries = 1;
}

static void draw_words(struct host *h, struct dice *d)
{
	if (percent(d, 5))
		for (int i = 0; i < h->n_guests; i++)
			if (h->guest[i].running && h->guest[i].n_holds > 0) {
				h->guest[i].never_stop = true;
				break;
			}
	if (!percent(d, 5))
		return;
	for (int i = 0; i < h->n_guests; i++) {
		for (int k = i + 1; k < h->n_guests; k++) {
			const struct host_guest *a = &h->guest[i], *b = &h->guest[k];

			if (a->n_entries > 0 || b->n_entries > 0 ||
			    a->id.kind != GUEST_QEMU || b->id.kind != GUEST_QEMU ||
			    a->running == b->running)
				continue;
			h->group[0].n = 2;
			h->group[0].vmid[0] = a->id.vmid;
			h->group[0].vmid[1] = b->id.vmid;
			h->n_groups = 1;
			return;
		}
	}
}

void host_plausible(struct host *h, unsigned seed)
{
	struct dice d = { seed * 2654435761u + 12345 };
	struct park p = { 0 };
	int want[HOST_GUESTS + 4];
	double speed;
	bool whole_job;
	uint32_t vmid = 99;

	*h = (struct host){ .seed = seed };
	draw_cards(h, &d, &p);
	speed = 80 + 170 * uniform(&d);
	whole_job = percent(&d, 75);
	h->n_guests = draw_demand(&d, &p, want);
	for (int i = 0; i < h->n_guests; i++) {
		struct host_guest *g = &h->guest[i];

		vmid += (uint32_t)(1 + (percent(&d, 25) ? below(&d, 20) : 0));
		*g = (struct host_guest){ .id.vmid = vmid };
		draw_guest(&d, &p, g, want[i]);
		g->selected = whole_job || percent(&d, 80);
		g->duration = draw_duration(&d, g->id.kind == GUEST_LXC, speed);
	}
	start_all(h, &d);
	draw_words(h, &d);
}

/* --- awkward --- */

void host_wild(struct host *h, unsigned seed)
{
	struct dice d = { seed * 40503u + 777 };
	static const char *const drivers[] = { "vfio-pci", "nvidia", "amdgpu", NULL };
	int n_fns = 3 + below(&d, 6), n_parents = below(&d, 3);
	uint32_t vmid = 100;

	*h = (struct host){ .seed = seed };
	for (int i = 0; i < n_fns; i++) {
		int f = add_fn(h, 1 + i / 3, i % 3,
			       percent(&d, 10) ? -1 : 20 + below(&d, n_fns + 1), -1,
			       drivers[below(&d, 4)]);

		h->fn[f].bridge = percent(&d, 5);
		h->fn[f].vgpu = percent(&d, 12);
		if (f > 0 && percent(&d, 25) && h->fn[f - 1].pf < 0)
			h->fn[f].pf = f - 1;
		else if (f > 1 && percent(&d, 15) && h->fn[f - 2].pf < 0)
			h->fn[f].pf = f - 2;
	}
	for (int i = 0; i < n_parents && i < n_fns; i++) {
		bool one_size = percent(&d, 70), known = percent(&d, 70),
		     gvt = percent(&d, 20);

		h->fn[i].vgpu = false;
		if (gvt) {
			add_type(h, i, 3, 512, 2, one_size, known);
			add_type(h, i, 4, 256, 4, one_size, known);
		} else {
			add_type(h, i, 0, 6144, 1 + below(&d, 3), one_size, known);
			add_type(h, i, 1, 3072, 2 + below(&d, 3), one_size, known);
		}
	}
	h->n_guests = 3 + below(&d, 7);
	for (int i = 0; i < h->n_guests; i++) {
		struct host_guest *g = &h->guest[i];
		bool container = percent(&d, 20);
		int n_entries = container ? 1 : 1 + below(&d, 3);

		vmid += (uint32_t)(1 + below(&d, 3));
		*g = (struct host_guest){ .id = { container ? GUEST_LXC : GUEST_QEMU,
						  vmid },
					  .has_disk = true,
					  .selected = true,
					  .duration = 600,
					  .running = percent(&d, 70) };
		for (int e = 0; e < n_entries; e++) {
			struct host_entry *entry = &g->entry[g->n_entries++];
			bool mdev = !container && n_parents > 0 && percent(&d, 30);
			bool vgpu = !container && !mdev && percent(&d, 10);
			int n_alts = container || percent(&d, 40) ? 1 : 2 + below(&d, 3);

			*entry = (struct host_entry){ .type = -1, .mapping = -1 };
			if (mdev)
				entry->type = percent(&d, 15) ? 3 : below(&d, 2);
			if (vgpu)
				entry->type = 5;
			if (n_alts > 1)
				entry->mapping = below(&d, 3);
			for (int a = 0; a < n_alts; a++) {
				struct host_alt *alt = &entry->alt[entry->n_alts++];
				int n = mdev || vgpu || percent(&d, 60) ? 1 : 2, fn;

				fn = mdev ? below(&d, n_parents)
					  : below(&d, n_fns - n + 1);
				for (int f = 0; f < n; f++)
					alt->fn[alt->n++] = fn + f;
				if (!container && percent(&d, 1))
					alt->bad = percent(&d, 50) ? "missing"
								   : "mismatch:id";
			}
		}
	}
	start_all(h, &d);
	for (int i = 0; i < h->n_guests; i++)
		h->guest[i].never_stop = percent(&d, 6);
	if (percent(&d, 20)) {
		h->n_groups = 1;
		for (int i = 0; i < 3 && i < h->n_guests; i++)
			h->group[0].vmid[h->group[0].n++] =
				h->guest[below(&d, h->n_guests)].id.vmid;
	}
	if (percent(&d, 30)) {
		h->n_users = 1 + below(&d, 3);
		for (int i = 0; i < h->n_users; i++) {
			h->user[i].fn = below(&d, n_fns);
			h->user[i].listed = percent(&d, 60);
			h->user[i].unit =
				h->user[i].listed
					? (percent(&d, 50) ? "a.service" : "b.service")
					: (percent(&d, 50) ? "other.service" : NULL);
		}
	}
}

/* --- the bundled sample --- */

static struct host_guest *sample_guest(struct host *h, enum guest_kind kind,
				       uint32_t vmid, bool selected, bool running,
				       double duration)
{
	struct host_guest *g = &h->guest[h->n_guests++];

	*g = (struct host_guest){ .id = { kind, vmid },
				  .has_disk = true,
				  .selected = selected,
				  .running = running,
				  .duration = duration };
	return g;
}

static void sample_device(struct host_guest *g, int from, int n_alts, int n_fns, int held)
{
	struct host_entry *e = &g->entry[g->n_entries++];

	*e = (struct host_entry){ .type = -1, .mapping = n_alts > 1 ? 0 : -1 };
	for (int a = 0; a < n_alts; a++)
		add_alt(e, from + a * n_fns, n_fns);
	for (int f = 0; g->running && f < n_fns; f++)
		g->hold[g->n_holds++] = (struct host_hold){ held + f, NULL, 0 };
}

void host_sample(struct host *h)
{
	int vf;

	*h = (struct host){ .seed = 0 };
	add_fn(h, 0x01, 0, 14, -1, "nvidia");
	add_fn(h, 0x01, 1, 14, -1, "snd_hda_intel");
	add_fn(h, 0x41, 0, 30, -1, "i915");
	vf = h->n_fns;
	for (int i = 1; i <= 4; i++)
		add_fn(h, 0x41, i, 30 + i, 2, NULL);
	sample_device(sample_guest(h, GUEST_QEMU, 100, true, false, 240), 0, 1, 2, 0);
	sample_device(sample_guest(h, GUEST_QEMU, 102, true, true, 150), vf, 3, 1, vf);
	sample_device(sample_guest(h, GUEST_QEMU, 103, true, false, 180), vf, 3, 1, 0);
	sample_device(sample_guest(h, GUEST_QEMU, 104, false, true, 120), vf, 3, 1,
		      vf + 1);
	sample_device(sample_guest(h, GUEST_QEMU, 105, true, true, 120), vf, 3, 1,
		      vf + 2);
	sample_guest(h, GUEST_QEMU, 106, true, true, 90);
	sample_device(sample_guest(h, GUEST_QEMU, 107, true, false, 150), vf, 1, 1, 0);
	sample_device(sample_guest(h, GUEST_QEMU, 108, true, false, 120), vf, 3, 1, 0);
	sample_device(sample_guest(h, GUEST_LXC, 200, true, true, 100), 0, 1, 1, 0);
	sample_guest(h, GUEST_LXC, 201, false, true, 60);
	/* Managed by HA, and ha = refuse is the default. */
	for (int i = 0; i < h->n_guests; i++)
		h->guest[i].never_stop = h->guest[i].id.vmid == 105;
}

/* --- in the library's words --- */

static void view_devices(const struct host *h, struct host_view *v)
{
	v->devs = xcalloc((size_t)h->n_fns + 1, sizeof(*v->devs));
	v->vgpus = xcalloc((size_t)h->n_fns + 1, sizeof(*v->vgpus));
	v->types = xcalloc((size_t)h->n_types + 1, sizeof(*v->types));
	v->users = xcalloc((size_t)h->n_users + 1, sizeof(*v->users));
	for (int i = 0; i < h->n_fns; i++) {
		const struct host_fn *f = &h->fn[i];

		v->devs[i] =
			(struct pcidev){ .addr = f->addr,
					 .iommu_group = f->group,
					 .driver = f->driver ? xstrdup(f->driver) : NULL,
					 .is_bridge = f->bridge,
					 .is_vf = f->pf >= 0 };
		if (f->pf >= 0)
			v->devs[i].physfn = h->fn[f->pf].addr;
		if (f->vgpu)
			v->vgpus[v->in.n_vgpus++] = f->addr;
	}
	for (int i = 0; i < h->n_types; i++) {
		const struct host_type *t = &h->type[i];

		v->types[i] =
			(struct mdev_type){ .parent = h->fn[t->parent].addr,
					    .type = xstrdup(t->name),
					    .available = brute_really_available(h, i),
					    .max_instance = t->max,
					    .framebuffer = t->framebuffer,
					    .one_size = t->one_size };
	}
	for (int i = 0; i < h->n_users; i++)
		v->users[i] =
			(struct contention_host_user){ .addr = h->fn[h->user[i].fn].addr,
						       .pid = 4000 + i,
						       .comm = "user",
						       .unit = h->user[i].unit };
}

static void view_guest(const struct host *h, const struct host_guest *g,
		       struct host_view *v)
{
	for (int e = 0; e < g->n_entries; e++) {
		const struct host_entry *entry = &g->entry[e];

		for (int a = 0; a < entry->n_alts; a++) {
			for (int f = 0; f < entry->alt[a].n; f++) {
				struct assignment *r =
					&v->assignments[v->in.n_assignments++];
				int fn = entry->alt[a].fn[f];

				*r = (struct assignment){
					.guest = g->id,
					.alt = a,
					.has_addr = true,
					.addr = h->fn[fn].addr,
					.node = xstrdup("pve1"),
					.state = g->running ? ASSIGNMENT_RUNNING
							    : ASSIGNMENT_STOPPED,
					.status = xstrdup(entry->alt[a].bad
								  ? entry->alt[a].bad
								  : "ok"),
					.key = g->id.kind == GUEST_LXC
						       ? xasprintf("dev%d", e)
						       : xasprintf("hostpci%d", e),
					.mdev_type = entry->type < 0
							     ? NULL
							     : xstrdup(host_type_name(
								       entry->type)),
					.mapping = entry->mapping < 0
							   ? NULL
							   : xasprintf("map%d",
								       entry->mapping)
				};
				for (int i = 0; g->running && i < g->n_holds; i++)
					if (g->hold[i].fn == fn &&
					    g->hold[i].entry == e && !r->held)
						r->held = xstrdup("cmdline");
			}
		}
	}
}

static int compare_vmids(const void *a, const void *b)
{
	return *(const uint32_t *)a < *(const uint32_t *)b
		       ? -1
		       : *(const uint32_t *)a > *(const uint32_t *)b;
}

static void view_config(const struct host *h, struct host_view *v)
{
	struct config *cfg = &v->cfg;

	cfg->never_stop = xcalloc((size_t)h->n_guests + 1, sizeof(*cfg->never_stop));
	for (int i = 0; i < h->n_guests; i++)
		if (h->guest[i].never_stop)
			cfg->never_stop[cfg->n_never_stop++] = h->guest[i].id.vmid;
	cfg->groups = xcalloc((size_t)h->n_groups + 1, sizeof(*cfg->groups));
	for (int i = 0; i < h->n_groups; i++) {
		struct config_group *g = &cfg->groups[cfg->n_groups++];

		g->addr = xstrdup("0000:7f:00.0");
		g->n = (size_t)h->group[i].n;
		g->vmids = xcalloc(g->n + 1, sizeof(*g->vmids));
		memcpy(g->vmids, h->group[i].vmid, g->n * sizeof(*g->vmids));
		qsort(g->vmids, g->n, sizeof(*g->vmids), compare_vmids);
	}
	cfg->host_services = xcalloc((size_t)h->n_users + 1, sizeof(*cfg->host_services));
	for (int i = 0; i < h->n_users; i++) {
		bool known = !h->user[i].listed;

		for (size_t k = 0; k < cfg->n_host_services; k++)
			known = known ||
				strcmp(cfg->host_services[k], h->user[i].unit) == 0;
		if (!known)
			cfg->host_services[cfg->n_host_services++] =
				xstrdup(h->user[i].unit);
	}
}

static bool is_in(const struct host *h, int group, uint32_t vmid)
{
	for (int i = 0; i < h->group[group].n; i++)
		if (h->group[group].vmid[i] == vmid)
			return true;
	return false;
}

void host_view(const struct host *h, struct host_view *v)
{
	*v = (struct host_view){ .in = { .node = "pve1" } };
	v->assignments =
		xcalloc((size_t)h->n_guests * HOST_ENTRIES * HOST_ALTS * HOST_ALT_FNS + 1,
			sizeof(*v->assignments));
	v->members = xcalloc((size_t)h->n_guests + 1, sizeof(*v->members));
	view_devices(h, v);
	view_config(h, v);
	for (int i = 0; i < h->n_guests; i++) {
		const struct host_guest *g = &h->guest[i];
		bool member = false;

		view_guest(h, g, v);
		v->guests[i] = (struct plan_guest){ .id = g->id,
						    .running = g->running,
						    .backup_starts =
							    g->id.kind == GUEST_QEMU &&
							    g->has_disk && !g->template };
		for (int k = 0; k < h->n_groups; k++)
			member |= is_in(h, k, g->id.vmid);
		if (member)
			v->members[v->in.n_members++] =
				(struct contention_member){ g->id, g->running };
		if (!g->selected)
			continue;
		v->selected[v->n_selected] = g->id;
		v->durations[v->n_selected++] = g->duration;
	}
	v->in.assignments = v->assignments;
	v->in.devs = v->devs;
	v->in.n_devs = (size_t)h->n_fns;
	v->in.types = v->types;
	v->in.n_types = (size_t)h->n_types;
	v->in.config = &v->cfg;
	v->in.host_users = v->users;
	v->in.n_host_users = (size_t)h->n_users;
	v->in.vgpus = v->vgpus;
	v->in.members = v->members;
}

void host_view_done(struct host_view *v)
{
	for (size_t i = 0; i < v->in.n_devs; i++)
		free(v->devs[i].driver);
	for (size_t i = 0; i < v->in.n_types; i++)
		free(v->types[i].type);
	assignments_free(v->assignments, v->in.n_assignments);
	config_done(&v->cfg);
	free(v->devs);
	free(v->types);
	free(v->vgpus);
	free(v->users);
	free(v->members);
}
