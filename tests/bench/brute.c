/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "brute.h"

#define EACH(i, n) for (int i = 0; i < (n); i++)

static bool is_vm(const struct host_guest *g)
{
	return g->id.kind == GUEST_QEMU;
}

static bool is_vgpu_entry(const struct host *h, const struct host_entry *e)
{
	if (e->type < 0 || strncmp(host_type_name(e->type), "nvidia-", 7) != 0)
		return false;
	EACH(a, e->n_alts)
	if (e->alt[a].n == 1 && h->fn[e->alt[a].fn[0]].vgpu)
		return true;
	return false;
}

static bool is_mdev_entry(const struct host *h, const struct host_entry *e)
{
	return e->type >= 0 && !is_vgpu_entry(h, e);
}

static bool same_group(const struct host *h, int a, int b)
{
	return a != b && h->fn[a].group >= 0 && h->fn[a].group == h->fn[b].group &&
	       !h->fn[a].bridge && !h->fn[b].bridge;
}

static const struct host_type *type_of(const struct host *h, int parent, const char *name)
{
	EACH(t, h->n_types)
	if (h->type[t].parent == parent && strcmp(h->type[t].name, name) == 0)
		return &h->type[t];
	return NULL;
}

static int card_memory(const struct host *h, int parent)
{
	int most = 0;

	EACH(t, h->n_types)
	if (h->type[t].parent == parent &&
	    h->type[t].real_framebuffer * h->type[t].real_max > most)
		most = h->type[t].real_framebuffer * h->type[t].real_max;
	return most;
}

/* Instances of name that a card holding these can make beside; by what it really is. */
static int make_more(const struct host *h, int parent, const char *name,
		     const char *const held[], int n)
{
	const struct host_type *t = type_of(h, parent, name);
	int memory = card_memory(h, parent), like = 0, room;

	if (!t)
		return 0;
	EACH(i, n)
	{
		const struct host_type *u = type_of(h, parent, held[i]);

		if (t->one_size && u->real_framebuffer != t->real_framebuffer)
			return 0;
		if (t->one_size || u == t)
			like++;
		memory -= u->real_framebuffer;
	}
	room = t->real_max - like;
	if (!t->one_size && memory / t->real_framebuffer < room)
		room = memory / t->real_framebuffer;
	return room > 0 ? room : 0;
}

static int held_on(const struct host *h, int parent, int except, unsigned gone,
		   const char *held[])
{
	int n = 0;

	EACH(y, h->n_guests)
	{
		if (y == except || !h->guest[y].running || gone & 1u << y)
			continue;
		EACH(i, h->guest[y].n_holds)
		if (h->guest[y].hold[i].fn == parent && h->guest[y].hold[i].type)
			held[n++] = h->guest[y].hold[i].type;
	}
	return n;
}

int brute_really_available(const struct host *h, int type)
{
	const char *held[HOST_GUESTS * HOST_HOLDS];
	int n = held_on(h, h->type[type].parent, -1, 0, held);

	return make_more(h, h->type[type].parent, h->type[type].name, held, n);
}

static bool described(const struct host *h, int parent, const char *name,
		      const char *const held[], int n)
{
	const struct host_type *t = type_of(h, parent, name);

	if (t->max < 0)
		return false;
	EACH(i, n)
	{
		const struct host_type *u = type_of(h, parent, held[i]);

		if (u != t && (!u || u->framebuffer < 0 || t->framebuffer < 0))
			return false;
	}
	return true;
}

/* Had guest y at the start what it has on parent now? */
static bool has_no_more(const struct brute *b, int y, int parent)
{
	const struct host_guest *now = &b->h->guest[y], *then = &b->first[y];

	EACH(i, now->n_holds)
	{
		int have = 0, had = 0;

		if (now->hold[i].fn != parent || !now->hold[i].type)
			continue;
		EACH(k, now->n_holds)
		have += now->hold[k].fn == parent && now->hold[k].type &&
			strcmp(now->hold[k].type, now->hold[i].type) == 0;
		EACH(k, then->running ? then->n_holds : 0)
		had += then->hold[k].fn == parent && then->hold[k].type &&
		       strcmp(then->hold[k].type, now->hold[i].type) == 0;
		if (have > had)
			return false;
	}
	return true;
}

static bool can_make(const struct brute *b, int x, int parent, const char *name,
		     unsigned gone, const char *const own[], int n_own)
{
	const struct host *h = b->h;
	const struct host_type *t = type_of(h, parent, name);
	const char *held[HOST_GUESTS * HOST_HOLDS + HOST_ENTRIES];
	int n = held_on(h, parent, x, gone, held), others = n, n_first = 0;
	bool grown = false, mixed = false;

	if (!t) {
		EACH(k, h->n_types)
		if (h->type[k].parent == parent)
			return false;
		return n == 0;
	}
	EACH(y, h->n_guests)
	if (y != x && h->guest[y].running && !(gone & 1u << y) &&
	    !has_no_more(b, y, parent))
		grown = true;
	EACH(i, n_own)
	mixed |= strcmp(own[i], name) != 0;
	if (!grown && !mixed && b->available[t - h->type] > n_own)
		return true;
	EACH(i, n_own)
	held[n++] = own[i];
	if (described(h, parent, name, held, n))
		return make_more(h, parent, name, held, n) > 0;
	EACH(y, h->n_guests)
	EACH(i, b->first[y].running ? b->first[y].n_holds : 0)
	n_first += b->first[y].hold[i].fn == parent && b->first[y].hold[i].type;
	if (mixed && !grown && b->available[t - h->type] > 0)
		return true;
	return others == 0 && n_first > 0;
}

/* Does y, who runs, stand in the way of x's taking fn? */
static bool blocks(const struct host *h, int x, const struct host_entry *e, int fn, int y)
{
	const struct host_guest *gx = &h->guest[x], *gy = &h->guest[y];

	EACH(i, gy->n_holds)
	{
		int held = gy->hold[i].fn;
		bool whole = is_vm(gy) && !gy->hold[i].type;

		if (!is_vm(gx) || is_mdev_entry(h, e)) {
			/* Only one who takes the driver away is in the way. */
			if (whole && (held == fn || same_group(h, held, fn) ||
				      h->fn[fn].pf == held))
				return true;
			continue;
		}
		if (held == fn || same_group(h, held, fn))
			return true;
		if (h->fn[fn].pf == held && whole)
			return true;
		if (h->fn[held].pf == fn)
			return true;
	}
	return false;
}

static bool declared(const struct host *h, int x, int y)
{
	EACH(g, h->n_groups)
	{
		bool has_x = false, has_y = false;

		EACH(i, h->group[g].n)
		{
			has_x |= h->group[g].vmid[i] == h->guest[x].id.vmid;
			has_y |= h->group[g].vmid[i] == h->guest[y].id.vmid;
		}
		if (has_x && has_y)
			return true;
	}
	return false;
}

static bool is_reserved(const struct host *h, int x, int fn, unsigned gone)
{
	EACH(y, h->n_guests)
	{
		if (y == x || !h->guest[y].running || gone & 1u << y ||
		    !is_vm(&h->guest[y]))
			continue;
		EACH(i, h->guest[y].n_holds)
		if (h->guest[y].hold[i].fn == fn && !h->guest[y].hold[i].type)
			return true;
	}
	return false;
}

/* PVE's own choice with the guests of the set gone; false when it gives up. */
static bool choose(const struct brute *b, int x, unsigned gone, int choice[])
{
	const struct host *h = b->h;
	const struct host_guest *g = &h->guest[x];
	bool used[HOST_FNS] = { false };

	EACH(i, g->n_entries)
	{
		const struct host_entry *e = &g->entry[i];

		if (is_vm(g))
			EACH(a, e->n_alts)
		if (e->alt[a].bad)
			return false;
		if (is_mdev_entry(h, e))
			continue;
		choice[i] = -1;
		EACH(a, e->n_alts)
		{
			bool mine = false, taken = false;

			EACH(f, e->alt[a].n)
			{
				mine |= used[e->alt[a].fn[f]];
				taken |= is_reserved(h, x, e->alt[a].fn[f], gone);
			}
			if (mine || (taken && e->n_alts > 1))
				continue;
			choice[i] = a;
			break;
		}
		if (choice[i] < 0)
			return false;
		EACH(f, e->alt[choice[i]].n)
		used[e->alt[choice[i]].fn[f]] = true;
	}
	EACH(i, g->n_entries)
	{
		const struct host_entry *e = &g->entry[i];

		if (!is_mdev_entry(h, e))
			continue;
		choice[i] = -1;
		EACH(a, e->n_alts)
		{
			int parent = e->alt[a].fn[0], n_own = 0;
			const char *own[HOST_ENTRIES];
			bool away = false;

			EACH(k, i)
			if (is_mdev_entry(h, &g->entry[k]) &&
			    g->entry[k].alt[choice[k]].fn[0] == parent)
				own[n_own++] = host_type_name(g->entry[k].type);
			EACH(y, h->n_guests)
			away |= y != x && h->guest[y].running && !(gone & 1u << y) &&
				blocks(h, x, e, parent, y);
			if (away || !can_make(b, x, parent, host_type_name(e->type), gone,
					      own, n_own))
				continue;
			choice[i] = a;
			break;
		}
		if (choice[i] < 0)
			return false;
	}
	return true;
}

static bool is_free(const struct brute *b, int x, unsigned gone, const int choice[])
{
	const struct host *h = b->h;

	EACH(y, h->n_guests)
	{
		if (y == x || !h->guest[y].running || gone & 1u << y)
			continue;
		if (declared(h, x, y))
			return false;
		EACH(i, h->guest[x].n_entries)
		{
			const struct host_entry *e = &h->guest[x].entry[i];

			EACH(f, e->alt[choice[i]].n)
			if (blocks(h, x, e, e->alt[choice[i]].fn[f], y))
				return false;
		}
	}
	return true;
}

/* Host processes in the way of this choice: false when one may not be stopped. */
static bool free_of_host(const struct host *h, int x, const int choice[],
			 struct brute_plan *plan)
{
	plan->n_units = 0;
	EACH(u, h->n_users)
	{
		const struct host_fn *f = &h->fn[h->user[u].fn];
		bool met = false, twice = false;

		if (!is_vm(&h->guest[x]) || !f->driver || strstr(f->driver, "vfio"))
			continue;
		EACH(i, h->guest[x].n_entries)
		{
			const struct host_entry *e = &h->guest[x].entry[i];

			if (e->type >= 0)
				continue;
			EACH(k, e->alt[choice[i]].n)
			{
				int fn = e->alt[choice[i]].fn[k];

				met |= fn == h->user[u].fn ||
				       same_group(h, fn, h->user[u].fn);
			}
		}
		if (!met)
			continue;
		if (!h->user[u].listed)
			return false;
		EACH(k, plan->n_units)
		twice |= strcmp(h->user[plan->unit[k]].unit, h->user[u].unit) == 0;
		if (!twice)
			plan->unit[plan->n_units++] = u;
	}
	return true;
}

/* The higher VMIDs stop: compared from the highest down. */
static bool is_better(const struct host *h, const struct brute_plan *a,
		      const struct brute_plan *b)
{
	int i = a->n - 1, k = b->n - 1;

	if (!b->exists)
		return true;
	if (a->n + a->n_units != b->n + b->n_units)
		return a->n + a->n_units < b->n + b->n_units;
	for (; i >= 0 && k >= 0; i--, k--)
		if (a->guest[i] != b->guest[k])
			return h->guest[a->guest[i]].id.vmid >
			       h->guest[b->guest[k]].id.vmid;
	return a->n > b->n;
}

static unsigned candidates(const struct host *h, int x, int list[], int *n)
{
	*n = 0;
	EACH(y, h->n_guests)
	if (y != x && h->guest[y].running && !h->guest[y].never_stop &&
	    *n < HOST_GUESTS) {
		bool in_group = false;

		EACH(g, h->n_groups)
		EACH(i, h->group[g].n)
		in_group |= h->group[g].vmid[i] == h->guest[y].id.vmid;
		/* One without a device and in no group can be in nobody's way. */
		if (h->guest[y].n_holds > 0 || in_group)
			list[(*n)++] = y;
	}
	return 1u << *n;
}

bool brute_can_do(const struct host *h)
{
	int list[HOST_GUESTS], n;

	candidates(h, -1, list, &n);
	return n <= BRUTE_MAX;
}

void brute_plan(const struct brute *b, int x, struct brute_plan *plan)
{
	const struct host *h = b->h;
	int list[HOST_GUESTS], n, most = HOST_GUESTS;
	unsigned sets = candidates(h, x, list, &n);

	*plan = (struct brute_plan){ .exists = false };
	for (int size = 0; size <= n && size <= most; size++) {
		for (unsigned set = 0; set < sets; set++) {
			struct brute_plan one = { .exists = true };
			int choice[HOST_ENTRIES] = { 0 };
			unsigned gone = 0;

			if (__builtin_popcount(set) != size)
				continue;
			EACH(i, n)
			if (set & 1u << i) {
				gone |= 1u << list[i];
				one.guest[one.n++] = list[i];
			}
			if (!choose(b, x, gone, choice) || !is_free(b, x, gone, choice) ||
			    !free_of_host(h, x, choice, &one))
				continue;
			if (is_better(h, &one, plan))
				*plan = one;
			most = plan->n + plan->n_units;
		}
	}
}

void brute_start(struct brute *b, struct host *h)
{
	b->h = h;
	memcpy(b->first, h->guest, sizeof(b->first));
	EACH(t, h->n_types)
	b->available[t] = brute_really_available(h, t);
}

bool brute_up(const struct brute *b, int x)
{
	struct host_guest *g = &b->h->guest[x];
	int choice[HOST_ENTRIES] = { 0 };

	if (g->running)
		return true;
	if (!choose(b, x, 0, choice) || !is_free(b, x, 0, choice))
		return false;
	g->running = true;
	g->n_holds = 0;
	EACH(i, g->n_entries)
	{
		const struct host_entry *e = &g->entry[i];

		EACH(f, e->alt[choice[i]].n)
		g->hold[g->n_holds++] = (struct host_hold){
			e->alt[choice[i]].fn[f],
			is_mdev_entry(b->h, e) ? host_type_name(e->type) : NULL, i
		};
	}
	return true;
}

void brute_down(const struct brute *b, int x)
{
	b->h->guest[x].running = false;
	b->h->guest[x].n_holds = 0;
}
