/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many instances a parent of mediated devices can make. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/contention-model.h"

enum { UNKNOWN = -1 };

static const struct mdev_type *find_type(const struct contention *c,
					 const struct model_fn *f, const char *type)
{
	for (size_t i = f->type; i < f->type + f->n_types; i++)
		if (type && strcmp(c->in.types[i].type, type) == 0)
			return &c->in.types[i];
	return NULL;
}

static int frame_buffer_of_card(const struct contention *c, const struct model_fn *f)
{
	int total = 0;

	for (size_t i = f->type; i < f->type + f->n_types; i++) {
		const struct mdev_type *t = &c->in.types[i];

		if (t->framebuffer > 0 && t->max_instance > 0 &&
		    t->framebuffer * t->max_instance > total)
			total = t->framebuffer * t->max_instance;
	}
	return total;
}

/*
 * Instances of t that the descriptions leave room for beside those present.
 * UNKNOWN where they do not tell; *other: one of another size shuts t out.
 */
static int described_room(const struct contention *c, const struct model_fn *f,
			  const struct mdev_type *t, const char *const present[],
			  size_t n, bool *other)
{
	int room, same = 0, free_mib = frame_buffer_of_card(c, f);

	*other = false;
	if (t->max_instance < 0)
		return UNKNOWN;
	room = t->max_instance;
	for (size_t i = 0; i < n; i++) {
		const struct mdev_type *p = find_type(c, f, present[i]);

		if (p == t) {
			same++;
			free_mib -= t->framebuffer;
			continue;
		}
		if (!p || p->framebuffer <= 0 || t->framebuffer <= 0)
			return UNKNOWN;
		free_mib -= p->framebuffer;
		if (t->one_size && p->framebuffer != t->framebuffer)
			*other = true;
		else if (t->one_size)
			same++;
	}
	if (*other)
		return 0;
	room -= same;
	/* A card of mixed sizes: the frame buffer is what they share. */
	if (!t->one_size && t->framebuffer > 0 && free_mib / t->framebuffer < room)
		room = free_mib / t->framebuffer;
	return room > 0 ? room : 0;
}

static bool is_subset(const struct model_hold *now, size_t n_now,
		      const struct model_hold *first, size_t n_first)
{
	for (size_t i = 0; i < n_now; i++) {
		size_t have = 0, had = 0;

		for (size_t k = 0; k < n_now; k++)
			have += now[k].guest == now[i].guest &&
				strcmp(now[k].type, now[i].type) == 0;
		for (size_t k = 0; k < n_first; k++)
			had += first[k].guest == now[i].guest &&
			       strcmp(first[k].type, now[i].type) == 0;
		if (have > had)
			return false;
	}
	return true;
}

bool model_mdev_fits(const struct contention *c, unsigned x, unsigned parent,
		     const char *type, const char *const own[], size_t n_own)
{
	const struct model_fn *f = &c->fns[parent];
	const struct mdev_type *t = find_type(c, f, type);
	_cleanup_free_ struct model_hold *others =
		xcalloc(f->n_holds + 1, sizeof(*others));
	_cleanup_free_ const char **present =
		xcalloc(f->n_holds + f->n_first + n_own + 1, sizeof(*present));
	size_t n = 0;
	bool shut_out, was_shut_out, no_more, alike = true;
	int room, room_at_first;

	for (size_t i = 0; i < f->n_holds; i++)
		if (f->holds[i].use == USE_MDEV && f->holds[i].guest != x &&
		    !c->gone[f->holds[i].guest])
			others[n++] = f->holds[i];
	/*
	 * the driver is there and does not offer it; or it is away and nothing is known
	 */
	if (!t)
		return f->n_types == 0 && n == 0;
	/*
	 * What could be made at first still can when no more have come, but for x's own
	 * of another type.
	 */
	for (size_t i = 0; i < n_own; i++)
		alike &= strcmp(own[i], type) == 0;
	no_more = is_subset(others, n, f->first, f->n_first);
	if (alike && no_more && t->available > (int)n_own)
		return true;
	for (size_t i = 0; i < f->n_first; i++)
		present[i] = f->first[i].type;
	room_at_first = described_room(c, f, t, present, f->n_first, &was_shut_out);
	for (size_t i = 0; i < n; i++)
		present[i] = others[i].type;
	for (size_t i = 0; i < n_own; i++)
		present[n + i] = own[i];
	room = described_room(c, f, t, present, n + n_own, &shut_out);
	if (room ==
	    UNKNOWN) /* then every holder has to go, and there must have been one */
		return (n == 0 && (f->n_first > 0 || t->available < 0)) ||
		       (!alike && no_more && t->available > 0);
	/* Instances that no guest holds, or a card that takes more than it says. */
	if (!shut_out && !was_shut_out && t->available >= 0 && room_at_first != UNKNOWN)
		room += t->available - room_at_first;
	return room > 0;
}

bool model_mdev_scarce(const struct contention *c, unsigned parent)
{
	const struct model_fn *f = &c->fns[parent];
	_cleanup_free_ const char **present = xcalloc(f->n_users + 1, sizeof(*present));
	size_t n = 0;

	for (size_t i = 0; i < f->n_users; i++)
		if (f->users[i].use == USE_MDEV)
			present[n++] = f->users[i].type;
	if (n < 2)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *mine = present[i];
		const struct mdev_type *t = find_type(c, f, mine);
		bool shut_out;
		int room;

		if (!t)
			return true;
		present[i] = present[n - 1];
		room = described_room(c, f, t, present, n - 1, &shut_out);
		present[i] = mine;
		if (room <= 0)
			return true;
	}
	return false;
}
