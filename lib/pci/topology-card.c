/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "pci/pciconfig.h"
#include "pci/topology.h"

enum {
	BASE_DISK = 0x01, BASE_NETWORK = 0x02, BASE_DISPLAY = 0x03, BASE_BRIDGE = 0x06,
	BASE_ACCELERATOR = 0x12,
	CLASS_AUDIO = 0x0401, CLASS_HD_AUDIO = 0x0403, CLASS_USB = 0x0c03,
	CLASS_SERIAL_OTHER = 0x0c80,	/* UCSI of a USB-C port */
};

static unsigned base_of(const struct topofn *fn)
{
	return fn->dev.class >> 16;
}

static bool is_display(const struct topofn *fn)
{
	return base_of(fn) == BASE_DISPLAY || base_of(fn) == BASE_ACCELERATOR;
}

const char *topology_class_word(uint32_t class)
{
	switch (class >> 8) {
	case CLASS_AUDIO:
	case CLASS_HD_AUDIO:
		return "audio";
	case CLASS_USB:
		return "USB controller";
	}
	switch (class >> 16) {
	case BASE_DISK:
		return "disk";
	case BASE_NETWORK:
		return "network card";
	case BASE_DISPLAY:
	case BASE_ACCELERATOR:
		return "GPU";
	case BASE_BRIDGE:
		return "bridge";
	default:
		return "device";
	}
}

/* Is the function a part of the card that this display is on, by what it is? */
static bool is_companion(const struct topofn *fn, const struct topofn *display)
{
	unsigned class = fn->dev.class >> 8;

	if (pciaddr_same_slot(&fn->dev.addr, &display->dev.addr))
		return true;
	if (is_display(fn))
		return false;
	if (class == CLASS_AUDIO || class == CLASS_HD_AUDIO ||
	    class == CLASS_SERIAL_OTHER)
		return true;
	return fn->dev.vendor == display->dev.vendor && base_of(fn) != BASE_DISK &&
	       base_of(fn) != BASE_NETWORK;
}

static char *below_too(const struct topology *t, int other, int bridge)
{
	char text[PCIADDR_STRLEN], at[PCIADDR_STRLEN];

	return xasprintf("%s (%s) is below %s too",
			 pciaddr_format(&t->fns[other].dev.addr, text),
			 topology_class_word(t->fns[other].dev.class),
			 pciaddr_format(&t->fns[bridge].dev.addr, at));
}

static int display_below(const struct topology *t, int bridge)
{
	for (int i = -1; (i = topology_next_below(t, bridge, i)) >= 0; )
		if (is_display(&t->fns[i]) && !t->fns[i].dev.is_vf)
			return i;
	return -1;
}

/* What is below an upstream port and is not of this one card; -1: nothing. */
static int stranger_below(const struct topology *t, int port, int display)
{
	for (int i = -1; (i = topology_next_below(t, port, i)) >= 0; )
		if (!t->fns[i].dev.is_bridge && !t->fns[i].dev.is_vf &&
		    !is_companion(&t->fns[i], &t->fns[display]))
			return i;
	return -1;
}

int topology_card(const struct topology *t, int fn, char **why)
{
	int port = t->fns[fn].parent, display, stranger;
	char text[PCIADDR_STRLEN];
	char *reason;

	if (why)
		*why = NULL;
	while (port >= 0 && t->fns[port].port != TOPOLOGY_UPSTREAM)
		port = t->fns[port].parent;
	if (port < 0)
		return -1;
	/* The nearest decides: above it there is all that is below it, and more. */
	display = is_display(&t->fns[fn]) && !t->fns[fn].dev.is_vf ?
		  fn : display_below(t, port);
	if (display < 0) {
		reason = xasprintf("no GPU is below the switch %s",
				   pciaddr_format(&t->fns[port].dev.addr, text));
	} else {
		stranger = stranger_below(t, port, display);
		if (stranger < 0)
			return port;
		reason = below_too(t, stranger, port);
	}
	if (why)
		*why = reason;
	else
		free(reason);
	return -1;
}

void topology_card_functions(const struct topology *t, int fn, int **fns, size_t *n)
{
	int port = t->fns[fn].dev.is_vf ? -1 : topology_card(t, fn, NULL);
	int *list = xcalloc(t->n, sizeof(*list));
	size_t used = 0;

	if (port >= 0) {
		for (int i = -1; (i = topology_next_below(t, port, i)) >= 0; )
			if (!t->fns[i].dev.is_bridge && !t->fns[i].dev.is_vf)
				list[used++] = i;
	} else {
		for (int i = -1; (i = topology_next_mate(t, fn, i)) >= 0; )
			if (!pcidev_is_of_board(&t->fns[i].dev, &t->fns[fn].dev))
				list[used++] = i;
	}
	*fns = list;
	*n = used;
}

/* What is below the bridge, but neither in top's slot nor below that; -1: nothing. */
static int outsider_below(const struct topology *t, int bridge, int top)
{
	for (int i = -1; (i = topology_next_below(t, bridge, i)) >= 0; ) {
		int at = i;

		while (t->fns[at].parent >= 0 && t->fns[at].parent != bridge)
			at = t->fns[at].parent;
		if (t->fns[at].dev.is_vf)
			at = topology_find(t, &t->fns[at].dev.physfn);
		if (at < 0 ||
		    !pciaddr_same_slot(&t->fns[at].dev.addr, &t->fns[top].dev.addr))
			return i;
	}
	return -1;
}

int topology_hold(const struct topology *t, int fn, char **why)
{
	int port = topology_card(t, fn, NULL), top = port >= 0 ? port : fn;
	int bridge = t->fns[top].parent, outsider;
	char text[PCIADDR_STRLEN];
	char *reason;

	if (why)
		*why = NULL;
	if (t->fns[fn].dev.is_vf) {
		if (why)
			*why = xasprintf("%s is a virtual function",
					 pciaddr_format(&t->fns[fn].dev.addr, text));
		return -1;
	}
	outsider = bridge >= 0 ? outsider_below(t, bridge, top) : -1;
	if (bridge >= 0 && outsider < 0)
		return bridge;
	if (port >= 0)
		return port;
	if (bridge < 0)
		reason = xasprintf("%s is on a root bus, no bridge holds it",
				   pciaddr_format(&t->fns[fn].dev.addr, text));
	else
		reason = below_too(t, outsider, bridge);
	if (why)
		*why = reason;
	else
		free(reason);
	return -1;
}

int topology_answers(const struct pciaddr *addr, bool is_vf)
{
	struct pciconfig c;
	int rc = pciconfig_read(addr, &c);

	if (rc < 0)
		return rc;
	return pciconfig_is_dead(&c, is_vf) ? -ENODEV : 0;
}
