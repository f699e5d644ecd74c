/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From assignment records to the model of who is given and who holds what. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-model.h"

/* hostpci10 comes after hostpci9; whatever is no hostpciN counts as one entry. */
static int key_index(const struct assignment *a)
{
	static const char prefix[] = "hostpci";
	int n = 0;

	/* plain "hostpci" is a reservation for whichever of them */
	if (a->guest.kind != GUEST_QEMU || !a->key ||
	    strncmp(a->key, prefix, sizeof(prefix) - 1) != 0 ||
	    !isdigit((unsigned char)a->key[sizeof(prefix) - 1]))
		return -1;
	for (const char *p = a->key + sizeof(prefix) - 1;
	     isdigit((unsigned char)*p) && n < 1000; p++)
		n = n * 10 + (*p - '0');
	return n < MODEL_ENTRIES_MAX - 1 ? n : -1;
}

static int compare_assignments(const void *va, const void *vb)
{
	const struct assignment *a = *(const struct assignment *const *)va;
	const struct assignment *b = *(const struct assignment *const *)vb;
	int order = guest_compare(&a->guest, &b->guest);

	if (order != 0)
		return order;
	if (key_index(a) != key_index(b))
		return key_index(a) < key_index(b) ? -1 : 1;
	if (a->guest.kind == GUEST_QEMU && a->alt != b->alt)
		return a->alt < b->alt ? -1 : 1;
	if (a->has_addr != b->has_addr)
		return a->has_addr ? 1 : -1;
	order = a->has_addr ? pciaddr_compare(&a->addr, &b->addr) : 0;
	if (order != 0)
		return order;
	/* One with a hold first, so that a repeated record loses nothing. */
	return (a->held == NULL) - (b->held == NULL);
}

static bool is_bad(const struct assignment *a)
{
	return a->guest.kind == GUEST_QEMU &&
	       (!a->has_addr || (a->status && strcmp(a->status, "ok") != 0));
}

void model_hold_add(struct contention *c, struct model_hold hold)
{
	struct model_guest *g = &c->guests[hold.guest];
	struct model_fn *f = &c->fns[hold.fn];

	g->holds = xgrow(g->holds, g->n_holds, &g->room, sizeof(*g->holds));
	g->holds[g->n_holds++] = hold;
	f->holds = xgrow(f->holds, f->n_holds, &f->room, sizeof(*f->holds));
	f->holds[f->n_holds++] = hold;
}

static bool is_vgpu_type(const char *type)
{
	return strncmp(type, "nvidia-", 7) == 0 && type[7] &&
	       strspn(type + 7, "0123456789") == strlen(type + 7);
}

static enum model_use use_of(const struct assignment *a, const struct model_fn *f)
{
	if (a->guest.kind == GUEST_LXC)
		return USE_DRIVER;
	/*
	 * Without mdev underneath PVE reserves the function (qemu-server,
	 * QemuServer/PCI.pm).
	 */
	return a->mdev_type && !(f && f->vgpu && is_vgpu_type(a->mdev_type))
		       ? USE_MDEV
		       : USE_FUNCTION;
}

static bool holds_fn(const struct model_guest *g, size_t from, unsigned fn)
{
	for (size_t i = from; i < g->n_holds; i++)
		if (g->holds[i].fn == fn)
			return true;
	return false;
}

/*
 * How the entry that begins here is used: one vGPU function makes PVE take the whole of
 * it for such.
 */
static enum model_use entry_use(const struct contention *c,
				const struct assignment *const *sorted, size_t n)
{
	enum model_use use = USE_DRIVER;

	for (size_t i = 0;
	     i < n && guest_compare(&sorted[i]->guest, &sorted[0]->guest) == 0 &&
	     key_index(sorted[i]) == key_index(sorted[0]);
	     i++) {
		int fn = sorted[i]->has_addr && !sorted[i]->is_slot
				 ? model_fn_find(c, &sorted[i]->addr)
				 : MODEL_NONE;

		use = use_of(sorted[i], fn >= 0 ? &c->fns[fn] : NULL);
		if (use == USE_FUNCTION)
			break;
	}
	return use;
}

/*
 * Entries and alternatives of one guest out of its sorted records; returns how many
 * records it has.
 */
static size_t build_guest(struct contention *c, const struct assignment *const *sorted,
			  size_t n, size_t *n_entries, size_t *n_alts, size_t *n_alt_fns)
{
	struct model_guest *g = &c->guests[model_guest_find(c, sorted[0]->guest)];
	struct model_entry *e = NULL;
	struct model_alt *alt = NULL;
	const struct assignment *last = NULL;
	size_t i, first_hold = 0;

	g->entry = *n_entries;
	for (i = 0; i < n && guest_compare(&sorted[i]->guest, &g->id) == 0; i++) {
		const struct assignment *a = sorted[i];
		int fn = a->has_addr && !a->is_slot ? model_fn_find(c, &a->addr)
						    : MODEL_NONE;

		if (a->state == ASSIGNMENT_RUNNING)
			g->running = true;
		if (last && compare_assignments(&last, &a) == 0)
			continue; /* said twice */
		if (!last || key_index(last) != key_index(a)) {
			e = &c->entries[(*n_entries)++];
			*e = (struct model_entry){ .hostpci = key_index(a),
						   .use = entry_use(c, sorted + i, n - i),
						   .mdev_type = a->mdev_type,
						   .mapping = a->mapping,
						   .alt = *n_alts };
			g->n_entries++;
			first_hold = g->n_holds;
			alt = NULL;
		}
		if (!alt || (g->id.kind == GUEST_QEMU && last->alt != a->alt)) {
			alt = &c->alts[(*n_alts)++];
			*alt = (struct model_alt){ .fn = *n_alt_fns };
			e->n_alts++;
		}
		if (is_bad(a) && !e->bad)
			e->bad = a;
		last = a;
		if (fn < 0 ||
		    (alt->n_fns > 0 && c->alt_fns[*n_alt_fns - 1] == (unsigned)fn))
			continue;
		c->alt_fns[(*n_alt_fns)++] = (unsigned)fn;
		alt->n_fns++;
		/* PVE refuses a mediated device on several functions. */
		if (a->mdev_type && alt->n_fns > 1 && !e->bad)
			e->bad = a;
		/* Two alternatives of one entry may name it; it is held once. */
		if (g->running && (a->held || e->use == USE_DRIVER) &&
		    !holds_fn(g, first_hold, (unsigned)fn)) {
			struct model_hold hold = { (unsigned)(g - c->guests),
						   (unsigned)fn, e->use,
						   e->use == USE_MDEV ? a->mdev_type
								      : NULL };

			model_hold_add(c, hold);
		}
	}
	return i;
}

static int compare_holds(const void *va, const void *vb)
{
	const struct model_hold *a = va, *b = vb;

	if (a->fn != b->fn)
		return a->fn < b->fn ? -1 : 1;
	if (a->guest != b->guest)
		return a->guest < b->guest ? -1 : 1;
	return (int)a->use - (int)b->use;
}

static void build_users(struct contention *c, size_t n_alt_fns)
{
	size_t n = 0, n_first = 0, at;

	c->users = xcalloc(n_alt_fns + 1, sizeof(*c->users));
	for (size_t i = 0; i < c->n_guests; i++) {
		const struct model_guest *g = &c->guests[i];

		for (size_t e = g->entry; e < g->entry + g->n_entries; e++)
			for (size_t a = c->entries[e].alt;
			     a < c->entries[e].alt + c->entries[e].n_alts; a++)
				for (size_t f = 0; f < c->alts[a].n_fns; f++)
					c->users[n++] = (struct model_hold){
						(unsigned)i,
						c->alt_fns[c->alts[a].fn + f],
						c->entries[e].use,
						c->entries[e].use == USE_MDEV
							? c->entries[e].mdev_type
							: NULL
					};
	}
	qsort(c->users, n, sizeof(*c->users), compare_holds);
	for (size_t i = 0; i < n; i++) {
		struct model_fn *f = &c->fns[c->users[i].fn];

		if (f->n_users++ == 0)
			f->users = &c->users[i];
	}
	for (size_t i = 0; i < c->n_fns; i++)
		n_first += c->fns[i].n_holds;
	c->first = xcalloc(n_first + 1, sizeof(*c->first));
	at = 0;
	for (size_t i = 0; i < c->n_fns; i++) {
		struct model_fn *f = &c->fns[i];

		f->first = &c->first[at];
		for (size_t h = 0; h < f->n_holds; h++)
			if (f->holds[h].use == USE_MDEV)
				c->first[at + f->n_first++] = f->holds[h];
		at += f->n_first;
	}
}

static int compare_vmids(const void *va, const void *vb)
{
	uint32_t a = *(const uint32_t *)va, b = *(const uint32_t *)vb;

	return a < b ? -1 : a > b;
}

static int compare_guests(const void *va, const void *vb)
{
	return guest_compare(&((const struct model_guest *)va)->id,
			     &((const struct model_guest *)vb)->id);
}

/* A container starts without a mount entry's node where that is optional. */
static bool is_startable(const struct assignment *a)
{
	if (!a->status || strcmp(a->status, "ok") == 0)
		return true;
	return a->guest.kind == GUEST_LXC && strncmp(a->key, "dev", 3) != 0;
}

/* Every guest that has records here or that only the configuration's groups name. */
static void build_guests(struct contention *c, const struct assignment *const *sorted,
			 size_t n)
{
	const struct config *cfg = c->in.config;
	size_t kept = 0;

	c->guests = xcalloc(n + c->in.n_members + 1, sizeof(*c->guests));
	for (size_t i = 0; i < n; i++)
		if (i == 0 ||
		    guest_compare(&sorted[i - 1]->guest, &sorted[i]->guest) != 0)
			c->guests[c->n_guests++].id = sorted[i]->guest;
	for (size_t i = 0; i < c->in.n_members; i++) {
		c->guests[c->n_guests].running = c->in.members[i].running;
		c->guests[c->n_guests++].id = c->in.members[i].id;
	}
	qsort(c->guests, c->n_guests, sizeof(*c->guests), compare_guests);
	for (size_t i = 0; i < c->n_guests; i++) {
		if (kept > 0 &&
		    compare_guests(&c->guests[kept - 1], &c->guests[i]) == 0) {
			c->guests[kept - 1].running |= c->guests[i].running;
			continue;
		}
		c->guests[kept++] = c->guests[i];
	}
	c->n_guests = kept;
	for (size_t i = 0; i < c->in.n_refused; i++) {
		int refused = model_guest_find(c, c->in.refused[i]);

		if (refused >= 0)
			c->guests[refused].never_stop = true;
	}
	/*
	 * Stopped now, it would stay down: what it is given at its next start is not
	 * there.
	 */
	for (size_t i = 0; i < n; i++)
		if (sorted[i]->state == ASSIGNMENT_RUNNING && !is_startable(sorted[i])) {
			int at = model_guest_find(c, sorted[i]->guest);

			c->guests[at].never_stop = true;
		}
	if (!cfg || cfg->n_never_stop == 0)
		return;
	for (size_t i = 0; i < kept; i++)
		c->guests[i].never_stop |=
			bsearch(&c->guests[i].id.vmid, cfg->never_stop, cfg->n_never_stop,
				sizeof(uint32_t), compare_vmids) != NULL;
}

struct contention *contention_new(const struct contention_input *in)
{
	struct contention *c = xcalloc(1, sizeof(*c));
	_cleanup_free_ const struct assignment **sorted =
		xcalloc(in->n_assignments + 1, sizeof(*sorted));
	size_t n = 0, n_entries = 0, n_alts = 0, n_alt_fns = 0;

	c->in = *in;
	for (size_t i = 0; i < in->n_assignments; i++)
		if (in->assignments[i].state != ASSIGNMENT_ELSEWHERE)
			sorted[n++] = &in->assignments[i];
	qsort(sorted, n, sizeof(*sorted), compare_assignments);
	model_build_fns(c, sorted, n);
	build_guests(c, sorted, n);
	c->entries = xcalloc(n + 1, sizeof(*c->entries));
	c->alts = xcalloc(n + 1, sizeof(*c->alts));
	c->alt_fns = xcalloc(n + 1, sizeof(*c->alt_fns));
	for (size_t at = 0; at < n;)
		at += build_guest(c, sorted + at, n - at, &n_entries, &n_alts,
				  &n_alt_fns);
	build_users(c, n_alt_fns);
	c->gone = xcalloc(c->n_guests + 1, sizeof(*c->gone));
	c->stamp = xcalloc(c->n_guests + 1, sizeof(*c->stamp));
	c->serial = xcalloc(1, sizeof(*c->serial));
	return c;
}

void contention_free(struct contention *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_guests; i++)
		free(c->guests[i].holds);
	for (size_t i = 0; i < c->n_fns; i++)
		free(c->fns[i].holds);
	free(c->guests);
	free(c->fns);
	free(c->entries);
	free(c->alts);
	free(c->alt_fns);
	free(c->mates);
	free(c->vfs);
	free(c->users);
	free(c->first);
	free(c->gone);
	free(c->stamp);
	free(c->serial);
	free(c);
}
