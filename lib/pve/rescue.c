/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pci/guard.h"
#include "pve/inuse.h"
#include "pve/rescue.h"

struct lines {
	struct rescue_line *list;	/* owned */
	size_t n, room;
};

/* text is taken over; one that was said of a lower rung is not said again. */
static void add(struct lines *l, enum rescue_verdict kind, enum ladder_rung rung,
		char *text)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->list[i].text, text) == 0) {
			free(text);
			return;
		}
	}
	l->list = xgrow(l->list, l->n, &l->room, sizeof(*l->list));
	l->list[l->n++] =
		(struct rescue_line){ .kind = kind, .rung = rung, .text = text };
}

void rescue_lines_free(struct rescue_line *lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(lines[i].text);
	free(lines);
}

/* "card = ADDR RUNG": ADDR is a function asked for, or its slot. */
static bool is_about(const struct config_card *c, const struct ladder_card *card)
{
	struct pciaddr addr;
	bool is_slot = pciaddr_parse_slot(c->addr, &addr);

	if (!is_slot && !pciaddr_parse(c->addr, &addr))
		return false;
	for (size_t i = 0; i < card->n_named; i++)
		if (is_slot ? pciaddr_same_slot(&addr, &card->named[i])
			    : pciaddr_compare(&addr, &card->named[i]) == 0)
			return true;
	return false;
}

void rescue_choose(struct ladder_card *card, const struct rescue_opts *o,
		   const struct config *cfg)
{
	enum ladder_rung last = o->has_last ? o->last : LADDER_CARD, first = card->start;

	for (size_t i = 0; i < cfg->n_cards; i++)
		if (is_about(&cfg->cards[i], card))
			ladder_rung_parse(cfg->cards[i].rung, &first);
	if (o->has_first)
		first = o->first;
	else if (first > last)
		first = last;
	card->start = first;
	card->last = last;
}

/* Functions that a rung acts on: those it means, and all below its bridge. */
static struct pciaddr *all_hit(const struct topology *t, const int *fns, size_t n,
			       int bridge, size_t *n_all)
{
	struct pciaddr *all = xcalloc(n + t->n + 1, sizeof(*all));

	*n_all = 0;
	for (size_t i = 0; i < n; i++)
		all[(*n_all)++] = t->fns[fns[i]].dev.addr;
	if (bridge < 0)
		return all;
	for (int i = -1; (i = topology_next_below(t, bridge, i)) >= 0; ) {
		bool known = false;

		for (size_t k = 0; k < n; k++)
			known |= fns[k] == i;
		if (!known)
			all[(*n_all)++] = t->fns[i].dev.addr;
	}
	return all;
}

static int check_guards(const struct topology *t, enum ladder_rung rung, const int *fns,
			size_t n, int bridge, const char *force, struct lines *l,
			bool *is_refused)
{
	enum guard_act act = rung < LADDER_SLOT ? GUARD_RESET : GUARD_REMOVE;
	struct guard_finding *found;
	size_t n_found;
	int rc = guard_check(t, act, fns, n, bridge, &found, &n_found);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n_found; i++) {
		bool forced = force && guard_is_forced(force, found[i].name);

		*is_refused |= !forced;
		add(l, forced ? RESCUE_READY : RESCUE_REFUSED, rung,
		    xasprintf("%s (%s)", found[i].text, found[i].name));
	}
	guard_free(found, n_found);
	return 0;
}

static int check_users(const struct pciaddr *addrs, size_t n, enum ladder_rung rung,
		       uint32_t except, struct lines *l, bool *is_busy)
{
	struct inuse *list;
	size_t n_list;
	int rc = inuse_list(addrs, n, except, &list, &n_list);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n_list; i++) {
		char addr[PCIADDR_STRLEN];

		add(l, RESCUE_BUSY, rung, xasprintf("%s is %s",
						    pciaddr_format(&list[i].addr, addr),
						    list[i].text));
		*is_busy = true;
	}
	inuse_free(list, n_list);
	return 0;
}

static int check_rung(const struct topology *t, struct ladder_card *card,
		      enum ladder_rung rung, const struct rescue_opts *o, struct lines *l,
		      enum rescue_verdict *verdict)
{
	_cleanup_free_ struct pciaddr *all = NULL;
	_cleanup_free_ int *fns = NULL;
	bool is_refused = false, is_busy = false;
	size_t n, n_all;
	int bridge, rc;

	ladder_card_hits(t, card, rung, &fns, &n, &bridge);
	all = all_hit(t, fns, n, bridge, &n_all);
	rc = check_guards(t, rung, fns, n, bridge, o->force, l, &is_refused);
	if (rc == 0)
		rc = check_users(all, n_all, rung, o->except, l, &is_busy);
	if (rc < 0)
		return rc;
	*verdict = is_refused ? RESCUE_REFUSED : is_busy ? RESCUE_BUSY : RESCUE_READY;
	if (*verdict != RESCUE_READY)
		ladder_card_strike(card, rung,
				   xstrdup(is_refused ? "refused" : "in use"));
	return 0;
}

int rescue_check(const struct topology *t, struct ladder_card *card,
		 const struct rescue_opts *o, enum rescue_verdict *verdict,
		 struct rescue_line **lines, size_t *n_lines)
{
	bool is_first = true, any = false;
	struct lines l = { 0 };

	*verdict = RESCUE_REFUSED;
	for (int r = (int)card->start; r <= (int)card->last; r++) {
		enum ladder_rung rung = (enum ladder_rung)r;
		enum rescue_verdict this;
		int rc;

		if (card->why[r]) {
			add(&l, RESCUE_REFUSED, rung, xstrdup(card->why[r]));
			continue;
		}
		rc = check_rung(t, card, rung, o, &l, &this);
		if (rc < 0) {
			rescue_lines_free(l.list, l.n);
			return rc;
		}
		if (is_first)
			*verdict = this;
		is_first = false;
		any |= this == RESCUE_READY;
	}
	if (any)
		*verdict = RESCUE_READY;
	*lines = l.list;
	*n_lines = l.n;
	return 0;
}
