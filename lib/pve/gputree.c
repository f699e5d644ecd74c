/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/table.h"
#include "base/xalloc.h"
#include "gpu/gpudev.h"
#include "pve/assignment.h"
#include "pve/gputree.h"
#include "pve/guest.h"

enum column { DEVICE, GROUP, DRIVER, RESET, WHAT, COLUMNS };

struct tree {
	const struct topology *topology;
	void **lines;		/* owned; per function the table's; NULL: not drawn yet */
	void **roots;		/* owned; a host bridge's, at its first function drawn */
	struct table *table;
	struct pcinames *names;
	struct assignment *given;
	size_t n_given;
	struct guest *guests;
	size_t n_guests;
};

static const char *const port_words[] = {
	[TOPOLOGY_ENDPOINT] = NULL,
	[TOPOLOGY_ROOT_PORT] = "root port",
	[TOPOLOGY_UPSTREAM] = "switch, upstream port",
	[TOPOLOGY_DOWNSTREAM] = "switch, downstream port",
	[TOPOLOGY_BRIDGE] = "bridge",
};

static void load_guests(struct tree *t)
{
	_cleanup_free_ char *pve = root_path("/etc/pve");
	int rc;

	if (access(pve, F_OK) < 0)
		return;
	rc = assignments_load(&t->given, &t->n_given);
	if (rc < 0 && rc != -EBADMSG && rc != -ENOENT) {
		errno = -rc;
		say_errno("cannot read what guests are given");
	}
	/* Only their names: a drawing without them is still one. */
	if (guest_list(NULL, &t->guests, &t->n_guests) < 0) {
		t->guests = NULL;
		t->n_guests = 0;
	}
}

static const char *guest_name(const struct tree *t, struct guest_id id)
{
	for (size_t i = 0; i < t->n_guests; i++)
		if (guest_compare(&t->guests[i].id, &id) == 0)
			return t->guests[i].name;
	return NULL;
}

/* Does an earlier record give the same guest the same function? */
static bool is_repeated(const struct tree *t, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (t->given[i].has_addr && !t->given[i].is_slot &&
		    guest_compare(&t->given[i].guest, &t->given[at].guest) == 0 &&
		    pciaddr_compare(&t->given[i].addr, &t->given[at].addr) == 0)
			return true;
	return false;
}

/* " (mapping gpu)", " (nvidia-63)", both, or ""; allocated. */
static char *label_of(const struct assignment *a)
{
	if (a->mapping && a->mdev_type)
		return xasprintf(" (mapping %s, %s)", a->mapping, a->mdev_type);
	if (a->mapping)
		return xasprintf(" (mapping %s)", a->mapping);
	return a->mdev_type ? xasprintf(" (%s)", a->mdev_type) : xstrdup("");
}

static bool is_same(const struct assignment *a, const struct assignment *b)
{
	return b->has_addr && guest_compare(&b->guest, &a->guest) == 0 &&
	       pciaddr_compare(&b->addr, &a->addr) == 0;
}

/* Keys of one label share it: "hostpci0 (mapping gpu),hostpci1,hostpci2 (nvidia-63)". */
static void put_keys(FILE *f, const struct tree *t, size_t at)
{
	const struct assignment *a = &t->given[at];
	_cleanup_free_ char *label = label_of(a);
	const char *key = a->key;

	fputs(key, f);
	for (size_t i = at; i < t->n_given; i++) {
		const struct assignment *b = &t->given[i];
		char *next;

		if (!is_same(a, b) || strcmp(key, b->key) == 0)
			continue;
		next = label_of(b);
		if (strcmp(label, next) != 0)
			fputs(label, f);
		free(label);
		label = next;
		key = b->key;
		fprintf(f, ",%s", key);
	}
	fputs(label, f);
}

/*
 * What the records from `at` on say of that guest and that function, allocated:
 * "running, holds it: win11, hostpci0 (mapping gpu)". The end may be cut.
 */
static char *describe_guest(const struct tree *t, size_t at)
{
	const struct assignment *a = &t->given[at];
	const char *name = guest_name(t, a->guest);
	bool held = false;
	char *text = NULL;
	size_t len;
	FILE *f = xcheck(open_memstream(&text, &len));

	for (size_t i = at; i < t->n_given; i++)
		held |= is_same(a, &t->given[i]) && t->given[i].held;
	fputs(a->state != ASSIGNMENT_RUNNING ? "stopped" :
	      held ? "running, holds it" : "running without it", f);
	if (a->status && strcmp(a->status, "ok") != 0)
		fprintf(f, ", %s", a->status);
	fprintf(f, ": %s%s", name ? name : "", name ? ", " : "");
	put_keys(f, t, at);
	if (fclose(f) != 0)
		xcheck(NULL);
	return text;
}

static void draw_guests(struct tree *t, void *parent, const struct pciaddr *addr)
{
	for (size_t i = 0; i < t->n_given; i++) {
		const struct assignment *a = &t->given[i];
		_cleanup_free_ char *what = NULL;
		char guest[GUEST_STRLEN];

		if (!a->has_addr || a->is_slot ||
		    pciaddr_compare(&a->addr, addr) != 0 || is_repeated(t, i))
			continue;
		what = describe_guest(t, i);
		table_add(t->table, parent, (const char *const[COLUMNS]){
			[DEVICE] = guest_format(a->guest, guest), [WHAT] = what });
	}
}

/* Two functions of one host bridge share its line. */
static void *draw_host_bridge(struct tree *t, int fn)
{
	const struct topofn *fns = t->topology->fns;
	_cleanup_free_ char *what = NULL;

	for (size_t i = 0; i < t->topology->n; i++)
		if (t->roots[i] && strcmp(fns[i].root, fns[fn].root) == 0)
			return t->roots[i];
	what = fns[fn].numa_node < 0 ? xstrdup("host bridge") :
		xasprintf("host bridge, NUMA node %d", fns[fn].numa_node);
	t->roots[fn] = table_add(t->table, NULL, (const char *const[COLUMNS]){
		[DEVICE] = fns[fn].root, [WHAT] = what });
	return t->roots[fn];
}

static char *describe_function(const struct tree *t, const struct topofn *fn)
{
	const struct pcidev *dev = &fn->dev;
	_cleanup_free_ char *model = pciname_device(t->names, dev->vendor, dev->device);
	char *text = NULL;
	size_t len;
	FILE *f = xcheck(open_memstream(&text, &len));

	/* The name comes last: it is long, and may be cut. */
	if (fn->boot_vga)
		fputs("boot display, ", f);
	if (dev->is_vf)
		fputs("virtual function, ", f);
	if (fn->totalvfs > 0)
		fprintf(f, "%d of %d VFs, ", fn->numvfs < 0 ? 0 : fn->numvfs,
			fn->totalvfs);
	if (dev->has_mdev)
		fputs("vGPU types, ", f);
	if (!gpudev_is_gpu(dev))
		fprintf(f, "%s: ", topology_class_word(dev->class));
	if (model)
		fputs(model, f);
	else
		fprintf(f, "%04x:%04x", dev->vendor, dev->device);
	if (fclose(f) != 0)
		xcheck(NULL);
	return text;
}

static void *draw(struct tree *t, int at)
{
	const struct topofn *fn = &t->topology->fns[at];
	_cleanup_free_ char *what = NULL, *reset = NULL;
	char addr[PCIADDR_STRLEN], group[16];
	const char *port = port_words[fn->port];
	void *parent;

	if (t->lines[at])
		return t->lines[at];
	parent = fn->parent < 0 ? draw_host_bridge(t, at) : draw(t, fn->parent);
	if (!port) {
		what = describe_function(t, fn);
		reset = gpudev_reset(fn);
	}
	snprintf(group, sizeof(group), "%d", fn->dev.iommu_group);
	t->lines[at] = table_add(t->table, parent, (const char *const[COLUMNS]){
		[DEVICE] = pciaddr_format(&fn->dev.addr, addr),
		[GROUP] = fn->dev.iommu_group < 0 ? NULL : group,
		[DRIVER] = fn->dev.driver, [RESET] = reset,
		[WHAT] = port ? port : what });
	draw_guests(t, t->lines[at], &fn->dev.addr);
	return t->lines[at];
}

/* A virtual function is worth a line where a guest is given it. */
static bool is_given_vf(const struct tree *t, const struct topofn *fn,
			const bool chosen[])
{
	int pf = fn->dev.is_vf ? topology_find(t->topology, &fn->dev.physfn) : -1;

	if (pf < 0 || !chosen[pf])
		return false;
	for (size_t i = 0; i < t->n_given; i++)
		if (t->given[i].has_addr && !t->given[i].is_slot &&
		    pciaddr_compare(&t->given[i].addr, &fn->dev.addr) == 0)
			return true;
	return false;
}

void gputree_print(FILE *out, const struct topology *topology, const bool chosen[])
{
	static const char *const columns[COLUMNS] = {
		"device", "group", "driver", "reset", "what",
	};
	static const bool right[COLUMNS] = { [GROUP] = true };
	struct tree t = { .topology = topology };

	t.table = table_new(columns, right, COLUMNS);
	table_may_cut(t.table, WHAT);
	t.lines = xcalloc(topology->n, sizeof(*t.lines));
	t.roots = xcalloc(topology->n, sizeof(*t.roots));
	t.names = pcinames_new();
	load_guests(&t);
	for (size_t i = 0; i < topology->n; i++)
		if (chosen[i] || is_given_vf(&t, &topology->fns[i], chosen))
			draw(&t, (int)i);
	table_print(t.table, out);
	pcinames_free(t.names);
	free(t.lines);
	free(t.roots);
	assignments_free(t.given, t.n_given);
	guest_list_free(t.guests, t.n_guests);
}
