/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "host/card.h"
#include "pci/bind.h"

enum {
	CLASS_STORAGE = 0x01, CLASS_NETWORK = 0x02, CLASS_DISPLAY = 0x03,
	CLASS_BRIDGE = 0x06,
	CLASS_ACCELERATOR = 0x12, SUBCLASS_USB = 0x0c03,
	VENDOR_MATROX = 0x102b, VENDOR_ASPEED = 0x1a03,
};

struct ids {
	uint16_t vendor, device;
};

struct picks {			/* indices of cards.topo that are given away */
	bool *is;		/* owned; topo.n long */
	bool *alone;		/* owned; named by its own id, not part of a card */
};

static bool is_bridge(const struct pcidev *dev)
{
	return dev->is_bridge || dev->class >> 16 == CLASS_BRIDGE;
}

static bool is_display(const struct pcidev *dev)
{
	return dev->class >> 16 == CLASS_DISPLAY || dev->class >> 16 == CLASS_ACCELERATOR;
}

/* What a server's management processor shows its console on. */
static bool is_bmc(const struct pcidev *dev)
{
	return dev->vendor == VENDOR_ASPEED ||
	       (dev->vendor == VENDOR_MATROX && dev->device >> 8 == 0x05);
}

static bool parse_hex4(const char *text, uint16_t *value)
{
	*value = 0;
	for (int i = 0; i < 4; i++) {
		int digit = text_hex_digit(text[i]);

		if (digit < 0)
			return false;
		*value = (uint16_t)(*value << 4 | digit);
	}
	return true;
}

static bool parse_ids(const char *text, struct ids *ids)
{
	return parse_hex4(text, &ids->vendor) && text[4] == ':' &&
	       parse_hex4(text + 5, &ids->device) && !text[9];
}

static void pick_card(const struct topology *t, int fn, struct picks *picks)
{
	int *fns;
	size_t n;

	topology_card_functions(t, fn, &fns, &n);
	for (size_t i = 0; i < n; i++)
		picks->is[fns[i]] = true;
	free(fns);
}

static bool card_has_display(const struct topology *t, int fn)
{
	bool found = false;
	int *fns;
	size_t n;

	topology_card_functions(t, fn, &fns, &n);
	for (size_t i = 0; i < n; i++)
		found = found || is_display(&t->fns[fns[i]].dev);
	free(fns);
	return found;
}

/* Index of a function, or of the first one of a slot; -1 when there is none. */
static int find_place(const struct topology *t, const struct pciaddr *addr, bool slot)
{
	if (!slot)
		return topology_find(t, addr);
	for (size_t i = 0; i < t->n; i++)
		if (pciaddr_same_slot(&t->fns[i].dev.addr, addr))
			return (int)i;
	return -1;
}

/* What to name instead of a bridge, allocated. */
static char *below_bridge(const struct topology *t, int bridge)
{
	char name[PCIADDR_STRLEN];
	const struct pcidev *gpu = NULL;
	int n = 0;

	for (int i = -1; (i = topology_next_below(t, bridge, i)) >= 0;) {
		if (!is_display(&t->fns[i].dev) || t->fns[i].dev.is_vf)
			continue;
		gpu = &t->fns[i].dev;
		n++;
	}
	if (n != 1)
		return xstrdup("gpu-ls lists the GPUs");
	return xasprintf("the GPU below it is %s", pciaddr_format(&gpu->addr, name));
}

static int pick_gpu(const struct topology *t, const char *text, struct picks *picks,
		    char **error)
{
	char name[PCIADDR_STRLEN], parent[PCIADDR_STRLEN];
	const struct pcidev *dev;
	struct pciaddr addr;
	bool slot = false;
	int fn;

	if (!pciaddr_parse(text, &addr)) {
		slot = pciaddr_parse_slot(text, &addr);
		if (!slot) {
			*error = xasprintf("%s: not the address of a PCI function (DDDD:BB:DD.F)", text);
			return -EINVAL;
		}
	}
	fn = find_place(t, &addr, slot);
	if (fn < 0) {
		*error = xasprintf("%s: no such PCI function", text);
		return -ENOENT;
	}
	dev = &t->fns[fn].dev;
	pciaddr_format(&dev->addr, name);
	if (is_bridge(dev)) {
		_cleanup_free_ char *way = below_bridge(t, fn);

		*error = xasprintf("%s: a bridge, which stays with the host; %s", name, way);
		return -ENODEV;
	}
	if (dev->is_vf) {
		*error = xasprintf("%s: a virtual function of %s; it is made when that one's driver runs, long after this set-up acts",
				   name, pciaddr_format(&dev->physfn, parent));
		return -ENODEV;
	}
	if (!card_has_display(t, fn)) {
		*error = xasprintf("%s: not a GPU but a %s; to give it away all the same: --id %04x:%04x",
				   name, topology_class_word(dev->class), dev->vendor, dev->device);
		return -ENODEV;
	}
	pick_card(t, fn, picks);
	return 0;
}

static int pick_id(const struct topology *t, const char *text, struct picks *picks,
		   char **error)
{
	const char *unfit = NULL;
	bool found = false;
	struct ids ids;

	if (!parse_ids(text, &ids)) {
		*error = xasprintf("%s: not the ids of a device (10de:2204)", text);
		return -EINVAL;
	}
	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;

		if (dev->vendor != ids.vendor || dev->device != ids.device)
			continue;
		if (is_bridge(dev) || dev->is_vf) {
			unfit = dev->is_vf ? "a virtual function" : "a bridge";
			continue;
		}
		found = true;
		if (is_display(dev)) {
			pick_card(t, (int)i, picks);
		} else {
			picks->alone[i] = !picks->is[i];
			picks->is[i] = true;
		}
	}
	if (found)
		return 0;
	*error = unfit ? xasprintf("%s: only %s has this id", text, unfit) :
			 xasprintf("%s: no PCI function of this host has this id", text);
	return unfit ? -ENODEV : -ENOENT;
}

static int pick_all(const struct topology *t, struct picks *picks, char **error)
{
	bool found = false;

	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;

		if (!is_display(dev) || dev->is_vf || is_bmc(dev))
			continue;
		pick_card(t, (int)i, picks);
		found = true;
	}
	if (found)
		return 0;
	*error = xstrdup("this host has no GPU");
	return -ENOENT;
}

/* A controller that the host works with; *error says so. */
static bool is_in_use(const struct topofn *fn, bool alone, char **error)
{
	const struct pcidev *dev = &fn->dev;
	_cleanup_free_ char *vital = NULL;
	unsigned class = dev->class >> 16;
	char name[PCIADDR_STRLEN];

	pciaddr_format(&dev->addr, name);
	if (bind_is_host_vital(&dev->addr, &vital)) {
		*error = xasprintf("%s %04x:%04x: %s; --force takes it all the same",
				   name, dev->vendor, dev->device, vital);
		return true;
	}
	if (fn->numvfs > 0) {
		*error = xasprintf("%s %04x:%04x: has %d virtual functions, which need its driver; --force takes it all the same",
				   name, dev->vendor, dev->device, fn->numvfs);
		return true;
	}
	if (!alone || !dev->driver || bind_is_vfio_driver(dev->driver) ||
	    strcmp(dev->driver, "pci-stub") == 0)
		return false;
	if (class != CLASS_STORAGE && class != CLASS_NETWORK &&
	    dev->class >> 8 != SUBCLASS_USB)
		return false;
	*error = xasprintf("%s %04x:%04x: a %s that the host uses (driver %s); --force takes it all the same",
			   name, dev->vendor, dev->device, topology_class_word(dev->class),
			   dev->driver);
	return true;
}

/* Would "vfio-pci ids=" of this function take another one as well? */
static enum card_how how_to_take(const struct topology *t, const struct picks *picks,
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

static void add_fns(struct cards *cards, const struct picks *picks)
{
	const struct topology *t = &cards->topo;
	size_t room = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;

		if (!picks->is[i])
			continue;
		cards->fns = xgrow(cards->fns, cards->n, &room, sizeof(*cards->fns));
		cards->fns[cards->n++] = (struct card_fn){
			.dev = dev,
			.how = how_to_take(t, picks, dev),
			.is_display = is_display(dev),
			.is_boot = t->fns[i].boot_vga,
		};
	}
}

static void add_mates(struct cards *cards, const struct picks *picks)
{
	const struct topology *t = &cards->topo;
	size_t room = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;
		bool shares = false;

		if (picks->is[i] || is_bridge(dev) || dev->iommu_group < 0)
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

static int pick(const struct topology *t, const struct setup_request *request,
		struct picks *picks, char **error)
{
	int rc = request->all_gpus ? pick_all(t, picks, error) : 0;

	for (size_t i = 0; i < request->gpus.n && rc == 0; i++)
		rc = pick_gpu(t, request->gpus.s[i], picks, error);
	for (size_t i = 0; i < request->ids.n && rc == 0; i++)
		rc = pick_id(t, request->ids.s[i], picks, error);
	return rc;
}

int cards_find(const struct setup_request *request, struct cards *cards, char **error)
{
	struct picks picks;
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
	rc = pick(&cards->topo, request, &picks, error);
	for (size_t i = 0; i < cards->topo.n && rc == 0 && !request->force; i++)
		if (picks.is[i] && is_in_use(&cards->topo.fns[i], picks.alone[i], error))
			rc = -EBUSY;
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

char *card_fn_label(const struct card_fn *fn)
{
	char name[PCIADDR_STRLEN];

	return xasprintf("%s %04x:%04x", pciaddr_format(&fn->dev->addr, name),
			 fn->dev->vendor, fn->dev->device);
}
