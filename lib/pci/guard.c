/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/bind.h"
#include "pci/guard.h"
#include "pci/mdev.h"

/* The order is that of the findings. */
enum {
	DEAD, BOOT_VGA, IGPU, IS_VF, VFS, MDEV, VGPU, VITAL, DISK, NIC, USB, OTHER, NAMES
};

static const char *const names[NAMES + 1] = {
	[DEAD] = "dead", [BOOT_VGA] = "boot-vga", [IGPU] = "igpu", [IS_VF] = "is-vf",
	[VFS] = "vfs", [MDEV] = "mdev", [VGPU] = "vgpu", [VITAL] = "vital",
	[DISK] = "disk", [NIC] = "nic", [USB] = "usb", [OTHER] = "other",
};

enum { INTEL = 0x8086 };

struct check {
	const struct topology *t;
	enum guard_act act;
	bool *hit;		/* owned; one for each of t */
	bool *meant;		/* owned; named, or a part of the same card */
	char **vital;		/* owned; why the host needs it; NULL */
	struct mdev_instance *mdevs;	/* owned */
	size_t n_mdevs;
	struct guard_finding *found;	/* owned */
	size_t n, room;
};

const char *const *guard_names(void)
{
	return names;
}

static void add(struct check *c, int name, int fn, char *text)
{
	c->found = xgrow(c->found, c->n, &c->room, sizeof(*c->found));
	c->found[c->n++] = (struct guard_finding){
		.name = names[name],
		.addr = c->t->fns[fn].dev.addr,
		.text = text,
	};
}

/* Instances whose parent is no PCI function are passed over. */
static int read_mdevs(struct check *c)
{
	_cleanup_free_ char *path = root_path("/sys/bus/mdev/devices");
	_cleanup_closedir_ DIR *dir = opendir(path);
	size_t room = 0;
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		struct mdev_instance m;

		if (*entry->d_name == '.' || mdev_instance_read(entry->d_name, &m) < 0)
			continue;
		c->mdevs = xgrow(c->mdevs, c->n_mdevs, &room, sizeof(*c->mdevs));
		c->mdevs[c->n_mdevs++] = m;
	}
	return 0;
}

/* The vGPU type that is set at an NVIDIA virtual function; 0: none. */
static uint64_t vgpu_type(const struct topofn *fn)
{
	_cleanup_free_ char *path = xasprintf("%s/nvidia/current_vgpu_type", fn->place);
	uint64_t type = 0;

	return sysfs_read_u64(path, &type) < 0 ? 0 : type;
}

static size_t count_vfs(const struct topology *t, int fn)
{
	size_t n = 0;

	for (int i = -1; (i = topology_next_vf(t, fn, i)) >= 0; )
		n++;
	return n ? n : t->fns[fn].numvfs > 0 ? (size_t)t->fns[fn].numvfs : 0;
}

/*
 * Is a function that is hit below this bridge? Config space of all below goes through it.
 */
static bool leads_to_hit(const struct check *c, int bridge)
{
	for (int i = -1; (i = topology_next_below(c->t, bridge, i)) >= 0; )
		if (c->hit[i])
			return true;
	return false;
}

static void check_dead(struct check *c, int i, const char *addr)
{
	const struct topofn *fn = &c->t->fns[i];

	if (fn->is_dead && (c->hit[i] || (fn->dev.is_bridge && leads_to_hit(c, i))))
		add(c, DEAD, i, xasprintf("%s (%s) does not answer: config space reads ffff",
					  addr, topology_class_word(fn->dev.class)));
}

static void check_display(struct check *c, int i, const char *addr)
{
	const struct topofn *fn = &c->t->fns[i];

	if (fn->boot_vga)
		add(c, BOOT_VGA, i,
		    xasprintf("%s is the display that the firmware started (boot_vga)", addr));
	if (fn->dev.vendor == INTEL && fn->dev.class >> 16 == 0x03 && fn->parent < 0 &&
	    fn->dev.addr.bus == 0 && fn->dev.addr.slot == 2)
		add(c, IGPU, i, xasprintf("%s is Intel's built-in display: a reset may hang "
					  "the host", addr));
}

static void check_virtual(struct check *c, int i, const char *addr)
{
	const struct topofn *fn = &c->t->fns[i];
	size_t n = count_vfs(c->t, i);
	int physfn = fn->dev.is_vf ? topology_find(c->t, &fn->dev.physfn) : -1;

	if (c->act == GUARD_REMOVE && fn->dev.is_vf && (physfn < 0 || !c->hit[physfn]))
		add(c, IS_VF, i, xasprintf("%s is a virtual function: no rescan would find "
					   "it again", addr));
	if (n)
		add(c, VFS, i, xasprintf("%s has %zu virtual function%s", addr, n,
					 n == 1 ? "" : "s"));
}

/* Is the parent the function, or a virtual function of it that is not hit itself? */
static bool is_or_has(const struct check *c, int i, const struct pciaddr *parent)
{
	int at = topology_find(c->t, parent);

	return at == i || (at >= 0 && c->t->fns[at].dev.is_vf && !c->hit[at] &&
			   pciaddr_compare(&c->t->fns[at].dev.physfn,
					   &c->t->fns[i].dev.addr) == 0);
}

static void check_mdev(struct check *c, int i, const char *addr)
{
	for (size_t k = 0; k < c->n_mdevs; k++)
		if (is_or_has(c, i, &c->mdevs[k].parent))
			add(c, MDEV, i, xasprintf("%s has the mediated device %s", addr,
						  c->mdevs[k].uuid));
}

static void check_vgpu(struct check *c, int i, const char *addr)
{
	uint64_t type = vgpu_type(&c->t->fns[i]);
	char text[PCIADDR_STRLEN];

	if (type)
		add(c, VGPU, i, xasprintf("%s has the NVIDIA vGPU type %llu set", addr,
					  (unsigned long long)type));
	for (int v = -1; (v = topology_next_vf(c->t, i, v)) >= 0; ) {
		type = c->hit[v] ? 0 : vgpu_type(&c->t->fns[v]);
		if (type)
			add(c, VGPU, v,
			    xasprintf("%s has the NVIDIA vGPU type %llu set",
				      pciaddr_format(&c->t->fns[v].dev.addr, text),
				      (unsigned long long)type));
	}
}

static int name_of_stranger(uint32_t class)
{
	if (class >> 16 == 0x01)
		return DISK;
	if (class >> 16 == 0x02)
		return NIC;
	return class >> 8 == 0x0c03 ? USB : OTHER;
}

/* What would be hit without being meant. A virtual function goes by the one it is of. */
static void check_stranger(struct check *c, int i, const char *addr)
{
	const struct topofn *fn = &c->t->fns[i];

	if (c->meant[i] || fn->dev.is_bridge || fn->dev.is_vf || c->vital[i])
		return;
	add(c, name_of_stranger(fn->dev.class), i,
	    xasprintf("%s (%s) would be %s too", addr, topology_class_word(fn->dev.class),
		      c->act == GUARD_REMOVE ? "removed" : "reset"));
}

static void check_vital(struct check *c, int i, const char *addr)
{
	if (c->vital[i])
		add(c, VITAL, i, xasprintf("the host needs %s: %s", addr, c->vital[i]));
}

static int compare_finding(const void *a, const void *b)
{
	const struct guard_finding *x = a, *y = b;
	int order[2] = { 0, 0 };

	for (int i = 0; i < NAMES; i++) {
		order[0] = x->name == names[i] ? i : order[0];
		order[1] = y->name == names[i] ? i : order[1];
	}
	if (order[0] != order[1])
		return order[0] - order[1];
	order[0] = pciaddr_compare(&x->addr, &y->addr);
	return order[0] ? order[0] : strcmp(x->text, y->text);
}

static void mark(struct check *c, const int *fns, size_t n, int bridge)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ int *card = NULL;
		size_t n_card;

		c->hit[fns[i]] = c->meant[fns[i]] = true;
		topology_card_functions(c->t, fns[i], &card, &n_card);
		for (size_t k = 0; k < n_card; k++)
			c->meant[card[k]] = true;
	}
	if (bridge < 0)
		return;
	c->hit[bridge] = true;
	for (int i = -1; (i = topology_next_below(c->t, bridge, i)) >= 0; )
		c->hit[i] = true;
}

static void check_all(struct check *c)
{
	static void (*const checks[])(struct check *c, int i, const char *addr) = {
		check_display, check_virtual, check_mdev, check_vgpu, check_vital,
		check_stranger,
	};

	for (int i = 0; i < (int)c->t->n; i++) {
		const struct topofn *fn = &c->t->fns[i];
		char addr[PCIADDR_STRLEN];

		pciaddr_format(&fn->dev.addr, addr);
		check_dead(c, i, addr);
		if (!c->hit[i])
			continue;
		if (!fn->dev.is_bridge)
			bind_is_host_vital(&fn->dev.addr, &c->vital[i]);
		for (size_t k = 0; k < ARRAY_SIZE(checks); k++)
			checks[k](c, i, addr);
	}
}

int guard_check(const struct topology *t, enum guard_act act, const int *fns, size_t n,
		int bridge, struct guard_finding **found, size_t *n_found)
{
	struct check c = {
		.t = t,
		.act = act,
		.hit = xcalloc(t->n, sizeof(*c.hit)),
		.meant = xcalloc(t->n, sizeof(*c.meant)),
		.vital = xcalloc(t->n, sizeof(*c.vital)),
	};
	int rc = read_mdevs(&c);

	if (rc == 0) {
		mark(&c, fns, n, bridge);
		check_all(&c);
		if (c.n)
			qsort(c.found, c.n, sizeof(*c.found), compare_finding);
		*found = c.found;
		*n_found = c.n;
	}
	for (size_t i = 0; i < t->n; i++)
		free(c.vital[i]);
	for (size_t i = 0; i < c.n_mdevs; i++)
		mdev_instance_done(&c.mdevs[i]);
	free(c.mdevs);
	free(c.vital);
	free(c.meant);
	free(c.hit);
	return rc;
}

void guard_free(struct guard_finding *found, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(found[i].text);
	free(found);
}

/* Is the word, len long, one of the list's? */
static bool has_word(const char *list, const char *word, size_t len)
{
	for (const char *p = list; ; p += strcspn(p, ",") + 1) {
		if (strcspn(p, ",") == len && strncmp(p, word, len) == 0)
			return true;
		if (!p[strcspn(p, ",")])
			return false;
	}
}

bool guard_is_forced(const char *list, const char *name)
{
	return list && (has_word(list, "all", 3) || has_word(list, name, strlen(name)));
}

char *guard_unknown_name(const char *list)
{
	for (const char *p = list; ; p += strcspn(p, ",") + 1) {
		size_t len = strcspn(p, ",");
		bool known = len == 3 && strncmp(p, "all", 3) == 0;

		for (size_t i = 0; i < NAMES; i++)
			known |=
				strlen(names[i]) == len && strncmp(p, names[i], len) == 0;
		if (!known)
			return xstrndup(p, len);
		if (!p[len])
			return NULL;
	}
}
