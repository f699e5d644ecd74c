/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "host/claim.h"
#include "host/kmodconf.h"

char *claim_modalias(const struct pcidev *dev)
{
	_cleanup_free_ char *path = NULL;
	char name[PCIADDR_STRLEN], text[SYSFS_MAX];

	path = root_path("/sys/bus/pci/devices/%s/modalias",
			 pciaddr_format(&dev->addr, name));
	if (sysfs_read(path, text, sizeof(text)) > 0)
		return xstrdup(text);
	return xasprintf("pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", dev->vendor,
			 dev->device, dev->subvendor, dev->subdevice, dev->class >> 16,
			 dev->class >> 8 & 0xff, dev->class & 0xff);
}

static struct claim_module *find_module(struct claims *claims, const char *name)
{
	for (size_t i = 0; i < claims->n; i++)
		if (strcmp(claims->mods[i].name, name) == 0)
			return &claims->mods[i];
	return NULL;
}

/* Note one function's claimants; a function that stays with the host adds none. */
static void look_up(struct kmodconf *k, const struct pcidev *dev, bool given,
		    bool is_display, struct claims *claims, size_t *room)
{
	_cleanup_free_ char *modalias = claim_modalias(dev);
	struct strlist names = { 0 };

	kmodconf_claimants(k, modalias, &names);
	for (size_t i = 0; i < names.n; i++) {
		struct claim_module *mod = find_module(claims, names.s[i]);

		if (!mod && given) {
			claims->mods = xgrow(claims->mods, claims->n, room,
					     sizeof(*claims->mods));
			mod = &claims->mods[claims->n++];
			*mod = (struct claim_module){ .name = xstrdup(names.s[i]) };
		}
		if (mod && given) {
			mod->builtin = mod->builtin || kmodconf_is_builtin(k, mod->name);
			mod->for_display = mod->for_display || is_display;
		} else if (mod) {
			mod->needed = true;
		}
	}
	strlist_done(&names);
}

static void read_kernel(struct kmodconf *k, const struct cards *cards,
			struct claims *claims, size_t *room)
{
	const struct topology *t = &cards->topo;

	for (size_t i = 0; i < cards->n; i++)
		look_up(k, cards->fns[i].dev, true, cards->fns[i].is_display, claims,
			room);
	for (size_t i = 0; i < t->n; i++)
		if (!cards_has(cards, &t->fns[i].dev.addr))
			look_up(k, &t->fns[i].dev, false, false, claims, room);
	if (kmodconf_is_builtin(k, "vfio_pci"))
		claims->vfio_builtin = true;
}

static int compare_modules(const void *a, const void *b)
{
	const struct claim_module *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int claims_read(const struct cards *cards, struct claims *claims)
{
	struct strlist releases = { 0 };
	size_t room = 0;
	int rc;

	*claims = (struct claims){ 0 };
	kernel_releases(&releases);
	rc = releases.n ? 0 : -ENOENT;
	for (size_t i = 0; i < releases.n; i++) {
		struct kmodconf *k = kmodconf_open(releases.s[i]);

		if (k)
			read_kernel(k, cards, claims, &room);
		kmodconf_close(k);
	}
	strlist_done(&releases);
	if (claims->mods)
		qsort(claims->mods, claims->n, sizeof(*claims->mods), compare_modules);
	return rc;
}

void claims_done(struct claims *claims)
{
	for (size_t i = 0; i < claims->n; i++)
		free(claims->mods[i].name);
	free(claims->mods);
	*claims = (struct claims){ 0 };
}

/* What the host hears, stores, and is reached by: its drivers are not taken away. */
static bool is_host_class(unsigned class)
{
	return class >> 16 == 0x01 || class >> 16 == 0x02 || class >> 8 == 0x0c03 ||
	       class >> 8 == 0x0401 || class >> 8 == 0x0403;
}

static bool claims_one(struct kmodconf *k, const char *module, const struct pcidev *dev)
{
	_cleanup_free_ char *modalias = claim_modalias(dev);
	struct strlist names = { 0 };
	bool found = false;

	kmodconf_claimants(k, modalias, &names);
	for (size_t i = 0; i < names.n; i++)
		found = found || kmodconf_same_name(names.s[i], module);
	strlist_done(&names);
	return found;
}

const struct pcidev *claims_host_need(const struct cards *cards, const char *module)
{
	const struct topology *t = &cards->topo;
	struct strlist releases = { 0 };
	const struct pcidev *user = NULL;

	kernel_releases(&releases);
	for (size_t i = 0; i < releases.n; i++) {
		struct kmodconf *k = user ? NULL : kmodconf_open(releases.s[i]);

		for (size_t f = 0; k && !user && f < t->n; f++) {
			const struct pcidev *dev = &t->fns[f].dev;

			if (is_host_class(dev->class) && !cards_has(cards, &dev->addr) &&
			    claims_one(k, module, dev))
				user = dev;
		}
		kmodconf_close(k);
	}
	strlist_done(&releases);
	return user;
}
