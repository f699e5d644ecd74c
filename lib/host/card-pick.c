/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "host/card-pick.h"
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

bool card_is_bridge(const struct pcidev *dev)
{
	return dev->is_bridge || dev->class >> 16 == CLASS_BRIDGE;
}

bool card_is_display(const struct pcidev *dev)
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

static void pick_card(const struct topology *t, int fn, struct card_picks *picks)
{
	int *fns;
	size_t n;

	topology_card_functions(t, fn, &fns, &n);
	for (size_t i = 0; i < n; i++)
		picks->is[fns[i]] = true;
	free(fns);
}

/* Is fn one of the functions of gpu's card? */
static bool is_of_card(const struct topology *t, int gpu, int fn)
{
	bool found = false;
	int *fns;
	size_t n;

	topology_card_functions(t, gpu, &fns, &n);
	for (size_t i = 0; i < n; i++)
		found = found || fns[i] == fn;
	free(fns);
	return found;
}

/* The display of the card that fn is of; -1 when it is of none, be one in its slot. */
static int display_of(const struct topology *t, int fn)
{
	int *fns, gpu = -1;
	size_t n;

	topology_card_functions(t, fn, &fns, &n);
	for (size_t i = 0; i < n && gpu < 0; i++)
		if (card_is_display(&t->fns[fns[i]].dev) && is_of_card(t, fns[i], fn))
			gpu = fns[i];
	free(fns);
	return gpu;
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
		if (!card_is_display(&t->fns[i].dev) || t->fns[i].dev.is_vf)
			continue;
		gpu = &t->fns[i].dev;
		n++;
	}
	if (n != 1)
		return xstrdup("gpu-ls lists the GPUs");
	return xasprintf("the GPU below it is %s", pciaddr_format(&gpu->addr, name));
}

static int pick_gpu(const struct topology *t, const char *text, struct card_picks *picks,
		    char **error)
{
	char name[PCIADDR_STRLEN], parent[PCIADDR_STRLEN];
	const struct pcidev *dev;
	struct pciaddr addr;
	bool slot = false;
	int fn, gpu;

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
	if (card_is_bridge(dev)) {
		_cleanup_free_ char *way = below_bridge(t, fn);

		*error = xasprintf("%s: a bridge, which stays with the host; %s", name, way);
		return -ENODEV;
	}
	if (dev->is_vf) {
		*error = xasprintf("%s: a virtual function of %s; it is made when that one's driver runs, long after this set-up acts",
				   name, pciaddr_format(&dev->physfn, parent));
		return -ENODEV;
	}
	gpu = display_of(t, fn);
	if (gpu < 0) {
		*error = xasprintf("%s: not a GPU but a %s; to give it away all the same: --id %04x:%04x",
				   name, topology_class_word(dev->class), dev->vendor,
				   dev->device);
		return -ENODEV;
	}
	pick_card(t, gpu, picks);
	return 0;
}

static int pick_id(const struct topology *t, const char *text, struct card_picks *picks,
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
		if (card_is_bridge(dev) || dev->is_vf) {
			unfit = dev->is_vf ? "a virtual function" : "a bridge";
			continue;
		}
		found = true;
		if (card_is_display(dev)) {
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

static int pick_all(const struct topology *t, struct card_picks *picks, char **error)
{
	bool found = false;

	for (size_t i = 0; i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;

		if (!card_is_display(dev) || dev->is_vf || is_bmc(dev))
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
			   name, dev->vendor, dev->device,
			   topology_class_word(dev->class), dev->driver);
	return true;
}

int card_pick(const struct topology *t, const struct setup_request *request,
	      struct card_picks *picks, char **error)
{
	int rc = request->all_gpus ? pick_all(t, picks, error) : 0;

	for (size_t i = 0; i < request->gpus.n && rc == 0; i++)
		rc = pick_gpu(t, request->gpus.s[i], picks, error);
	for (size_t i = 0; i < request->ids.n && rc == 0; i++)
		rc = pick_id(t, request->ids.s[i], picks, error);
	for (size_t i = 0; i < t->n && rc == 0 && !request->force; i++)
		if (picks->is[i] && is_in_use(&t->fns[i], picks->alone[i], error))
			rc = -EBUSY;
	return rc;
}
