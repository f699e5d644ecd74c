/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which cards, which rungs. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pci/ladder.h"
#include "pci/reset.h"

enum {
	CLASS_DISPLAY = 0x03,
	CLASS_BRIDGE = 0x0604,
};

static const char *const rung_names[LADDER_RUNGS] = {
	[LADDER_OWN] = "own",
	[LADDER_SUBORDINATE] = "subordinate",
	[LADDER_SLOT] = "slot",
	[LADDER_CARD] = "card",
};

static const char no_switch[] = "the card has no switch of its own";

const char *ladder_rung_name(enum ladder_rung rung)
{
	return rung_names[rung];
}

bool ladder_rung_parse(const char *name, enum ladder_rung *rung)
{
	for (int i = 0; i < LADDER_RUNGS; i++) {
		if (strcmp(name, rung_names[i]) == 0) {
			*rung = (enum ladder_rung)i;
			return true;
		}
	}
	return false;
}

/* Add addr to a sorted list without doubles. */
static void add_addr(struct pciaddr **list, size_t *n, const struct pciaddr *addr)
{
	if (*n && bsearch(addr, *list, *n, sizeof(*addr), pciaddr_compare))
		return;
	*list = xreallocarray(*list, *n + 1, sizeof(*addr));
	(*list)[(*n)++] = *addr;
	qsort(*list, *n, sizeof(*addr), pciaddr_compare);
}

static bool has_addr(const struct pciaddr *list, size_t n, const struct pciaddr *addr)
{
	return n && bsearch(addr, list, n, sizeof(*addr), pciaddr_compare);
}

void ladder_card_strike(struct ladder_card *card, enum ladder_rung rung, char *why)
{
	if (card->why[rung])
		free(why);
	else
		card->why[rung] = why;
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p && (p = strstr(p, word)); p += len)
		if ((p == list || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

/* The kernel's own word goes before the device's: quirks take FLR away. */
static bool can_flr(const struct topofn *fn)
{
	if (!fn->reset_method)
		return false;
	return fn->has_flr || has_word(fn->reset_method, "flr") ||
	       has_word(fn->reset_method, "af_flr");
}

static bool is_display(const struct topofn *fn)
{
	return fn->dev.class >> 16 == CLASS_DISPLAY;
}

/* The display among the functions asked for goes first: its FLR counts. */
static void name_display_first(const struct topology *t, struct ladder_card *card)
{
	for (size_t i = 0; i < card->n_named; i++) {
		struct pciaddr display = card->named[i];

		if (!is_display(&t->fns[topology_find(t, &display)]))
			continue;
		memmove(card->named + 1, card->named, i * sizeof(display));
		card->named[0] = display;
		return;
	}
}

static void add_named(const struct topology *t, struct ladder_card *card, int fn)
{
	add_addr(&card->named, &card->n_named, &t->fns[fn].dev.addr);
	for (int i = -1; (i = topology_next_mate(t, fn, i)) >= 0; )
		if (!pcidev_is_of_board(&t->fns[i].dev, &t->fns[fn].dev))
			add_addr(&card->slot, &card->n_slot, &t->fns[i].dev.addr);
}

/* What is below a bridge is more than the slot. */
static void check_slot(const struct topology *t, struct ladder_card *card)
{
	for (size_t i = 0; i < card->n_slot; i++)
		if (t->fns[topology_find(t, &card->slot[i])].dev.is_bridge)
			ladder_card_strike(card, LADDER_SLOT,
					   xstrdup("there is a bridge in the slot"));
}

static void find_rungs(const struct topology *t, struct ladder_card *card)
{
	int fn = topology_find(t, &card->named[0]), top, hold;
	_cleanup_free_ char *why_top = NULL, *why_hold = NULL;

	top = topology_card(t, fn, &why_top);
	hold = topology_hold(t, fn, &why_hold);
	card->has_top = top >= 0;
	if (card->has_top)
		card->top = t->fns[top].dev.addr;
	else
		ladder_card_strike(card, LADDER_CARD,
				   why_top ? TAKE_PTR(why_top) : xstrdup(no_switch));
	card->has_hold = hold >= 0;
	if (card->has_hold)
		card->hold = t->fns[hold].dev.addr;
	else
		ladder_card_strike(card, LADDER_SUBORDINATE,
				   why_hold ? TAKE_PTR(why_hold)
					    : xstrdup("no bridge holds the card alone"));
	if (card->has_hold && !reset_has_subordinate(&card->hold))
		ladder_card_strike(card, LADDER_SUBORDINATE,
				   xstrdup("the kernel has no reset_subordinate"));
	if (!t->fns[fn].reset_method)
		ladder_card_strike(card, LADDER_OWN,
				   xstrdup("the function has no reset"));
	check_slot(t, card);
	card->start = can_flr(&t->fns[fn]) ? LADDER_OWN
		      : card->has_top      ? LADDER_CARD
					   : LADDER_SLOT;
}

/* The card that a function belongs to, if one of its is there already. */
static struct ladder_card *find_card(const struct topology *t, struct ladder_card *cards,
				     size_t n, int fn)
{
	int top = topology_card(t, fn, NULL);

	for (size_t i = 0; i < n; i++) {
		int other = topology_find(t, &cards[i].named[0]);

		if (has_addr(cards[i].slot, cards[i].n_slot, &t->fns[fn].dev.addr) ||
		    (top >= 0 && topology_card(t, other, NULL) == top))
			return &cards[i];
	}
	return NULL;
}

void ladder_cards(const struct topology *t, const struct pciaddr *addrs, size_t n,
		  struct ladder_card **cards, size_t *n_cards)
{
	size_t room = 0;

	*cards = NULL;
	*n_cards = 0;
	for (size_t i = 0; i < n; i++) {
		int fn = topology_find(t, &addrs[i]);
		struct ladder_card *card = find_card(t, *cards, *n_cards, fn);

		if (!card) {
			*cards = xgrow(*cards, *n_cards, &room, sizeof(**cards));
			card = &(*cards)[(*n_cards)++];
			*card = (struct ladder_card){ .last = LADDER_CARD };
		}
		add_named(t, card, fn);
	}
	for (size_t i = 0; i < *n_cards; i++) {
		name_display_first(t, &(*cards)[i]);
		find_rungs(t, &(*cards)[i]);
	}
}

void ladder_card_done(struct ladder_card *card)
{
	free(card->named);
	free(card->slot);
	for (int i = 0; i < LADDER_RUNGS; i++)
		free(card->why[i]);
	snapshot_done(&card->snap);
	*card = (struct ladder_card){ 0 };
}

void ladder_cards_free(struct ladder_card *cards, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ladder_card_done(&cards[i]);
	free(cards);
}

void ladder_card_lost(struct snapshot *snap, const struct pciaddr *addrs, size_t n,
		      struct ladder_card *card)
{
	*card = (struct ladder_card){ .snap = *snap, .start = LADDER_SLOT,
				      .last = LADDER_CARD };
	*snap = (struct snapshot){ 0 };
	for (size_t i = 0; i < n; i++)
		add_addr(&card->named, &card->n_named, &addrs[i]);
	for (size_t i = 0; i < card->snap.n; i++) {
		const struct snapshot_fn *fn = &card->snap.fns[i];

		if (!fn->whole)
			continue;
		/* A switch has its upstream port on the lowest of its buses. */
		if (fn->class >> 8 == CLASS_BRIDGE && !card->has_top) {
			card->has_top = true;
			card->top = fn->addr;
		}
		for (size_t k = 0; k < n; k++)
			if (pciaddr_same_slot(&fn->addr, &addrs[k]))
				add_addr(&card->slot, &card->n_slot, &fn->addr);
	}
	ladder_card_strike(card, LADDER_OWN, xstrdup("not all functions are there"));
	ladder_card_strike(card, LADDER_SUBORDINATE,
			   xstrdup("not all functions are there"));
	if (card->has_top)
		card->start = LADDER_CARD;
	else
		ladder_card_strike(card, LADDER_CARD,
				   xstrdup(no_switch));
}

static int bridge_of(const struct topology *t, const struct ladder_card *card,
		     enum ladder_rung rung)
{
	switch (rung) {
	case LADDER_SUBORDINATE:
		return card->has_hold ? topology_find(t, &card->hold) : -1;
	case LADDER_CARD:	 return card->has_top ? topology_find(t, &card->top) : -1;
	default:		 return -1;
	}
}

void ladder_card_hits(const struct topology *t, const struct ladder_card *card,
		      enum ladder_rung rung, int **fns, size_t *n, int *bridge)
{
	_cleanup_free_ bool *hit = xcalloc(t->n + 1, sizeof(*hit));
	const struct pciaddr *list = rung == LADDER_OWN ? card->named : card->slot;
	size_t n_list = rung == LADDER_OWN ? card->n_named : card->n_slot;

	*bridge = bridge_of(t, card, rung);
	for (size_t i = 0; i < n_list; i++) {
		int fn = topology_find(t, &list[i]), *mine = NULL;
		size_t n_mine = 0;

		if (fn < 0)
			continue;
		hit[fn] = true;
		if (rung != LADDER_SUBORDINATE && rung != LADDER_CARD)
			continue;
		/* The card is what is meant; what else is there, guard_check() finds. */
		topology_card_functions(t, fn, &mine, &n_mine);
		for (size_t k = 0; k < n_mine; k++)
			hit[mine[k]] = true;
		free(mine);
	}
	*fns = xcalloc(t->n + 1, sizeof(**fns));
	*n = 0;
	for (size_t i = 0; i < t->n; i++)
		if (hit[i])
			(*fns)[(*n)++] = (int)i;
}

int ladder_card_snapshot(const struct topology *t, struct ladder_card *card)
{
	_cleanup_free_ struct pciaddr *whole = NULL, *above = NULL;
	size_t n_whole = 0, n_above = 0;

	for (int r = (int)card->start; r <= (int)card->last; r++) {
		_cleanup_free_ int *fns = NULL;
		int bridge;
		size_t n;

		if (card->why[r])
			continue;
		ladder_card_hits(t, card, (enum ladder_rung)r, &fns, &n, &bridge);
		for (size_t i = 0; i < n; i++)
			add_addr(&whole, &n_whole, &t->fns[fns[i]].dev.addr);
		if (bridge < 0)
			continue;
		if (r == LADDER_CARD)
			add_addr(&whole, &n_whole, &t->fns[bridge].dev.addr);
		for (int i = -1; (i = topology_next_below(t, bridge, i)) >= 0; )
			add_addr(&whole, &n_whole, &t->fns[i].dev.addr);
	}
	for (size_t i = 0; i < n_whole; i++) {
		int up = t->fns[topology_find(t, &whole[i])].parent;

		for (; up >= 0; up = t->fns[up].parent)
			if (!has_addr(whole, n_whole, &t->fns[up].dev.addr))
				add_addr(&above, &n_above, &t->fns[up].dev.addr);
	}
	return snapshot_read(&card->snap, whole, n_whole, above, n_above);
}

void ladder_card_keep(struct ladder_card *card, const struct snapshot *older)
{
	/* One for all cards: what is read now may be what the other run left. */
	if (older->autoprobe) {
		free(card->snap.autoprobe);
		card->snap.autoprobe = xstrdup(older->autoprobe);
	}
	for (size_t i = 0; i < older->n; i++) {
		const struct snapshot_fn *was = &older->fns[i];
		struct snapshot_fn *fn = snapshot_find(&card->snap, &was->addr);

		if (!fn || !fn->whole || !was->whole)
			continue;
		free(fn->driver);
		fn->driver = was->driver ? xstrdup(was->driver) : NULL;
		for (int k = 0; k < SNAPSHOT_ATTRS; k++) {
			free(fn->attrs[k]);
			fn->attrs[k] = was->attrs[k] ? xstrdup(was->attrs[k]) : NULL;
		}
	}
}
