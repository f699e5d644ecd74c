/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "host/card-pick.h"
#include "host/kmodconf.h"

/* Would "vfio-pci ids=" of this function take another one as well? */
static enum card_how how_to_take(const struct topology *t, const struct card_picks *picks,
				 const struct pcidev *dev)
{
	enum card_how how = CARD_BY_ID;

	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *other = &t->fns[i].dev;
		int parent;

		if (picks->is[i] || other->vendor != dev->vendor ||
		    other->device != dev->device)
			continue;
		parent = other->is_vf ? topology_find(t, &other->physfn) : -1;
		if (parent >= 0 && picks->is[parent])
			continue;
		if (other->subvendor == dev->subvendor &&
		    other->subdevice == dev->subdevice)
			return CARD_BY_SLOT;
		how = CARD_BY_SUBSYSTEM;
	}
	return how;
}

bool card_ids_match(const char *ids, const struct pcidev *dev)
{
	_cleanup_free_ char *copy = ids ? xstrdup(ids) : NULL;
	char *rest = copy, *one;

	while (rest && (one = strsep(&rest, ","))) {
		unsigned vendor, device, subvendor, subdevice, class, mask;
		int n = sscanf(one, "%x:%x:%x:%x:%x:%x", &vendor, &device, &subvendor,
			       &subdevice, &class, &mask);

		if (n < 2 || vendor != dev->vendor || device != dev->device)
			continue;
		if (n >= 3 && subvendor != dev->subvendor)
			continue;
		if (n >= 4 && subdevice != dev->subdevice)
			continue;
		if (n >= 5 && ((dev->class ^ class) & (n >= 6 ? mask : 0)))
			continue;
		return true;
	}
	return false;
}

/*
 * Does somebody else's list of ids match anything but what is given away, or
 * not all of that? Then one of the two lists would undo the other.
 */
static bool is_at_odds(const struct topology *t, const struct card_picks *picks,
		       const char *ids)
{
	for (size_t i = 0; i < t->n; i++)
		if (card_ids_match(ids, &t->fns[i].dev) != picks->is[i])
			return true;
	return false;
}

static void add_fns(struct cards *cards, const struct card_picks *picks)
{
	_cleanup_free_ char *where = NULL, *ids = kmodconf_foreign_ids(&where);
	const struct topology *t = &cards->topo;
	size_t room = 0;

	if (ids && is_at_odds(t, picks, ids))
		cards->others_ids = TAKE_PTR(where);
	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;

		if (!picks->is[i])
			continue;
		cards->fns = xgrow(cards->fns, cards->n, &room, sizeof(*cards->fns));
		cards->fns[cards->n++] = (struct card_fn){
			.dev = dev,
			.how = cards->others_ids ? CARD_BY_SLOT :
			       how_to_take(t, picks, dev),
			.is_display = card_is_display(dev),
			.is_boot = t->fns[i].boot_vga,
		};
	}
}

static void add_mates(struct cards *cards, const struct card_picks *picks)
{
	const struct topology *t = &cards->topo;
	size_t room = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;
		bool shares = false;

		if (picks->is[i] || card_is_bridge(dev) || dev->iommu_group < 0)
			continue;
		for (size_t k = 0; k < cards->n; k++)
			shares = shares ||
				 cards->fns[k].dev->iommu_group == dev->iommu_group;
		if (!shares)
			continue;
		cards->mates = xgrow(cards->mates, cards->n_mates, &room,
				     sizeof(*cards->mates));
		cards->mates[cards->n_mates++] = dev;
	}
}

int cards_find(const struct setup_request *request, struct cards *cards, char **error)
{
	struct card_picks picks;
	int rc;

	*cards = (struct cards){ 0 };
	rc = topology_read(&cards->topo);
	if (rc < 0) {
		*error = xasprintf("/sys/bus/pci: %s", strerror(-rc));
		cards->topo = (struct topology){ 0 };
		return rc == -ENOENT ? -ENODEV : rc;
	}
	picks.is = xcalloc(cards->topo.n + 1, sizeof(*picks.is));
	picks.alone = xcalloc(cards->topo.n + 1, sizeof(*picks.alone));
	rc = card_pick(&cards->topo, request, &picks, error);
	if (rc == 0) {
		add_fns(cards, &picks);
		add_mates(cards, &picks);
	}
	free(picks.is);
	free(picks.alone);
	if (rc < 0)
		cards_done(cards);
	return rc;
}

void cards_done(struct cards *cards)
{
	topology_done(&cards->topo);
	free(cards->fns);
	free(cards->mates);
	free(cards->others_ids);
	*cards = (struct cards){ 0 };
}

bool cards_has(const struct cards *cards, const struct pciaddr *addr)
{
	for (size_t i = 0; i < cards->n; i++)
		if (pciaddr_compare(&cards->fns[i].dev->addr, addr) == 0)
			return true;
	return false;
}

static char *ids_text(const struct pcidev *dev)
{
	return xasprintf("%04x:%04x %04x:%04x", dev->vendor, dev->device, dev->subvendor,
			 dev->subdevice);
}

void cards_record(const struct cards *cards, struct strlist *record)
{
	for (size_t i = 0; i < cards->n; i++) {
		_cleanup_free_ char *ids = ids_text(cards->fns[i].dev), *line = NULL;
		char name[PCIADDR_STRLEN];

		pciaddr_format(&cards->fns[i].dev->addr, name);
		line = xasprintf("%s %s", name, ids);
		strlist_add(record, line);
	}
}

bool cards_match_record(const struct cards *cards, const struct strlist *record,
			char **error)
{
	for (size_t i = 0; i < record->n; i++) {
		_cleanup_free_ char *name = NULL, *now = NULL;
		const char *was = strchr(record->s[i], ' ');
		struct pciaddr addr;
		int fn;

		if (!was)
			continue;
		name = xstrndup(record->s[i], was++ - record->s[i]);
		if (!pciaddr_parse(name, &addr))
			continue;
		fn = topology_find(&cards->topo, &addr);
		if (fn < 0) {
			*error = xasprintf("%s: is empty, not %s", name, was);
			return false;
		}
		now = ids_text(&cards->topo.fns[fn].dev);
		if (strcmp(now, was) != 0) {
			*error = xasprintf("%s: holds %s, not %s", name, now, was);
			return false;
		}
	}
	return true;
}
