/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/pciconfig.h"
#include "pci/topology.h"

/* A number in an attribute of the function; fallback when it is not there. */
static int number_of(const struct topofn *fn, const char *name, int fallback)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", fn->place, name);
	char text[32], *end;
	long v;

	if (sysfs_read(path, text, sizeof(text)) <= 0)
		return fallback;
	v = strtol(text, &end, 10);
	return *end || v < INT_MIN || v > INT_MAX ? fallback : (int)v;
}

/*
 * A read of config space would wake a function that sleeps so deep, or fail after long.
 */
static bool is_in_d3cold(const struct topofn *fn)
{
	_cleanup_free_ char *path = xasprintf("%s/power_state", fn->place);
	char text[32];

	return sysfs_read(path, text, sizeof(text)) > 0 && strcmp(text, "D3cold") == 0;
}

static enum topology_port port_of_type(int type)
{
	switch (type) {
	case PCICONFIG_ROOT_PORT:
		return TOPOLOGY_ROOT_PORT;
	case PCICONFIG_UPSTREAM:
		return TOPOLOGY_UPSTREAM;
	case PCICONFIG_DOWNSTREAM:
		return TOPOLOGY_DOWNSTREAM;
	default:
		return TOPOLOGY_BRIDGE;
	}
}

static void fill_config(struct topofn *fn)
{
	struct pciconfig c;

	fn->header = -1;
	if (is_in_d3cold(fn) || pciconfig_read(&fn->dev.addr, &c) < 0)
		return;
	fn->has_config = true;
	fn->is_dead = pciconfig_is_dead(&c, fn->dev.is_vf);
	if (fn->is_dead)
		return;
	fn->header = pciconfig_header(&c);
	fn->is_multifunction = pciconfig_is_multifunction(&c);
	fn->has_flr = pciconfig_has_flr(&c);
	if (fn->dev.is_bridge && pciconfig_port_type(&c) >= 0) {
		fn->port = port_of_type(pciconfig_port_type(&c));
		fn->is_port_known = true;
	}
}

/* The nearest folder above that is a host bridge's: "pci0000:00". */
static char *root_of(const char *place)
{
	const char *end = place + strlen(place);

	while (end > place) {
		const char *start = end;

		while (start > place && start[-1] != '/')
			start--;
		if (end - start > 3 && strncmp(start, "pci", 3) == 0 &&
		    memchr(start, ':', (size_t)(end - start)))
			return xstrndup(start, (size_t)(end - start));
		end = start > place ? start - 1 : place;
	}
	return NULL;
}

/* false: the function is gone. */
static bool fill(struct topofn *fn)
{
	_cleanup_free_ char *link = NULL, *methods = NULL;
	char addr[PCIADDR_STRLEN], text[SYSFS_MAX];

	link = root_path("/sys/bus/pci/devices/%s", pciaddr_format(&fn->dev.addr, addr));
	fn->place = realpath(link, NULL);
	if (!fn->place)
		return false;
	fn->root = root_of(fn->place);
	fn->is_port_known = !fn->dev.is_bridge;
	fill_config(fn);
	methods = xasprintf("%s/reset_method", fn->place);
	if (sysfs_read(methods, text, sizeof(text)) >= 0)
		fn->reset_method = xstrdup(text);
	fn->boot_vga = number_of(fn, "boot_vga", 0) == 1;
	fn->numa_node = number_of(fn, "numa_node", -1);
	fn->numvfs = number_of(fn, "sriov_numvfs", -1);
	fn->totalvfs = number_of(fn, "sriov_totalvfs", -1);
	return true;
}

static void fn_done(struct topofn *fn)
{
	free(fn->dev.driver);
	free(fn->place);
	free(fn->root);
	free(fn->reset_method);
}

/* sysfs nests a function's folder in that of the bridge above it. */
static int parent_of(const struct topology *t, const struct topofn *fn)
{
	_cleanup_free_ char *above = xstrdup(fn->place);
	struct pciaddr addr;
	char *slash = strrchr(above, '/');

	if (!slash)
		return -1;
	*slash = '\0';
	slash = strrchr(above, '/');
	return slash && pciaddr_parse(slash + 1, &addr) ? topology_find(t, &addr) : -1;
}

static bool has_bridges_only(const struct topology *t, int bridge)
{
	bool any = false;

	for (size_t i = 0; i < t->n; i++) {
		if (t->fns[i].parent != bridge)
			continue;
		if (!t->fns[i].dev.is_bridge)
			return false;
		any = true;
	}
	return any;
}

static enum topology_port guess_port(const struct topology *t, int fn)
{
	int parent = t->fns[fn].parent;

	if (parent < 0)
		return TOPOLOGY_ROOT_PORT;
	if (t->fns[parent].port == TOPOLOGY_UPSTREAM)
		return TOPOLOGY_DOWNSTREAM;
	return has_bridges_only(t, fn) ? TOPOLOGY_UPSTREAM : TOPOLOGY_BRIDGE;
}

/* What is above a bridge is guessed before the bridge itself. */
static void settle_port(struct topology *t, int fn)
{
	struct topofn *f = &t->fns[fn];

	if (f->is_port_known || f->port != TOPOLOGY_ENDPOINT)
		return;
	if (f->parent >= 0)
		settle_port(t, f->parent);
	f->port = guess_port(t, fn);
}

int topology_read(struct topology *t)
{
	struct pcidev *devs = NULL;
	size_t n = 0;
	int rc = pcidev_list(PCIDEV_IDENT | PCIDEV_BIND, &devs, &n);

	if (rc < 0)
		return rc;
	*t = (struct topology){ .fns = xcalloc(n, sizeof(*t->fns)) };
	for (size_t i = 0; i < n; i++) {
		struct topofn *fn = &t->fns[t->n];

		*fn = (struct topofn){ .dev = devs[i], .parent = -1 };
		if (fill(fn))
			t->n++;
		else
			fn_done(fn);
	}
	free(devs);		/* their drivers have moved */
	for (size_t i = 0; i < t->n; i++)
		t->fns[i].parent = parent_of(t, &t->fns[i]);
	for (size_t i = 0; i < t->n; i++)
		settle_port(t, (int)i);
	return 0;
}

void topology_done(struct topology *t)
{
	for (size_t i = 0; i < t->n; i++)
		fn_done(&t->fns[i]);
	free(t->fns);
	*t = (struct topology){ 0 };
}

int topology_find(const struct topology *t, const struct pciaddr *addr)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = pciaddr_compare(addr, &t->fns[mid].dev.addr);

		if (order == 0)
			return (int)mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return -1;
}

bool topology_is_below(const struct topology *t, int fn, int bridge)
{
	const char *place = t->fns[fn].place, *base = t->fns[bridge].place;
	size_t len = strlen(base);

	/* By the folder, so that what is behind a VMD controller is below it, too. */
	return strncmp(place, base, len) == 0 && place[len] == '/';
}

int topology_next_below(const struct topology *t, int bridge, int prev)
{
	for (int i = prev + 1; i < (int)t->n; i++)
		if (topology_is_below(t, i, bridge))
			return i;
	return -1;
}

int topology_next_mate(const struct topology *t, int fn, int prev)
{
	const struct topofn *f = &t->fns[fn];

	for (int i = prev + 1; i < (int)t->n; i++) {
		const struct topofn *other = &t->fns[i];

		if (i == fn || (!f->dev.is_vf && !other->dev.is_vf &&
				pciaddr_same_slot(&f->dev.addr, &other->dev.addr)))
			return i;
	}
	return -1;
}

int topology_next_vf(const struct topology *t, int fn, int prev)
{
	const struct pciaddr *addr = &t->fns[fn].dev.addr;

	for (int i = prev + 1; i < (int)t->n; i++)
		if (t->fns[i].dev.is_vf &&
		    pciaddr_compare(&t->fns[i].dev.physfn, addr) == 0)
			return i;
	return -1;
}
