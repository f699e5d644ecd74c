/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "host/claim.h"
#include "host/cmdline.h"
#include "host/hostcheck-parts.h"
#include "pci/bind.h"

/* vfio-pci.ids as they count: the command line's, else the last of modprobe.d. */
static char *ids_in_force(const struct hostcheck_facts *facts)
{
	_cleanup_free_ char *options = NULL;
	char *last = cmdline_value(facts->cmdline, "vfio-pci.ids");

	if (!last)
		last = cmdline_value(facts->cmdline, "vfio_pci.ids");
	if (last || !facts->kmod || kmodconf_is_builtin(facts->kmod, "vfio_pci"))
		return last;
	options = kmodconf_options(facts->kmod, "vfio_pci");
	for (char *word, *rest = options; rest && (word = strsep(&rest, " \t"));)
		if (strncmp(word, "ids=", 4) == 0)
			last = word + 4;
	return last ? xstrdup(last) : NULL;
}

struct rivals {			/* who claims a function in the running kernel */
	char *all;		/* owned; "nouveau, nvidiafb", NULL without any */
	char *first;		/* owned; those not held back for vfio-pci; NULL */
	char *builtin;		/* owned; NULL without any */
};

static void append(char **list, const char *name)
{
	char *longer = *list ? xasprintf("%s, %s", *list, name) : xstrdup(name);

	free(*list);
	*list = longer;
}

static void rivals_read(const struct hostcheck_facts *facts, const struct pcidev *dev,
			struct rivals *r)
{
	_cleanup_free_ char *modalias = claim_modalias(dev);
	struct strlist names = { 0 };

	*r = (struct rivals){ 0 };
	if (!facts->kmod)
		return;
	kmodconf_claimants(facts->kmod, modalias, &names);
	for (size_t i = 0; i < names.n; i++) {
		append(&r->all, names.s[i]);
		if (kmodconf_is_builtin(facts->kmod, names.s[i]))
			append(&r->builtin, names.s[i]);
		else if (!kmodconf_has_pre(facts->kmod, names.s[i], "vfio_pci") &&
			 !kmodconf_is_blacklisted(facts->kmod, names.s[i]))
			append(&r->first, names.s[i]);
	}
	strlist_done(&names);
}

static void rivals_done(struct rivals *r)
{
	free(r->all);
	free(r->first);
	free(r->builtin);
}

static void check_driver(struct hostcheck *hc, const struct hostcheck_input *in,
			 const struct card_fn *fn, const struct rivals *rivals)
{
	int at = topology_find(&in->cards->topo, &fn->dev->addr);
	const char *driver = fn->dev->driver;
	_cleanup_free_ char *no_vfs = NULL;
	char name[PCIADDR_STRLEN];

	hostcheck_name(fn->dev, name);
	no_vfs = xasprintf("echo 0 > /sys/bus/pci/devices/%s/sriov_numvfs", name);
	if (at >= 0 && in->cards->topo.fns[at].numvfs > 0)
		hostcheck_tell(hc, HOSTCHECK_TODO, "driver", no_vfs,
			       "%s has %d virtual functions, which need its driver", name,
			       in->cards->topo.fns[at].numvfs);
	if (driver && bind_is_vfio_driver(driver))
		hostcheck_tell(hc, HOSTCHECK_OK, "driver", NULL, "%s is on %s", name,
			       driver);
	else if (rivals->builtin)
		hostcheck_tell(hc, HOSTCHECK_WARN, "driver",
			       "a driver for it is built into the kernel; the start of the guest takes it from that",
			       "%s is on %s", name, driver ? driver : "none");
	else
		hostcheck_tell(hc, HOSTCHECK_TODO, "driver", hostcheck_next(in),
			       "%s is on %s", name, driver ? driver : "none");
}

/* An override of driverctl's comes after ours and wins. */
static void check_driverctl(struct hostcheck *hc, const char *name)
{
	_cleanup_free_ char *path = root_path("/etc/driverctl.d/pci-%s", name);
	_cleanup_free_ char *unset = xasprintf("driverctl unset-override %s", name);
	char driver[SYSFS_MAX];

	if (sysfs_read(path, driver, sizeof(driver)) <= 0)
		return;
	if (bind_is_vfio_driver(driver))
		hostcheck_tell(hc, HOSTCHECK_OK, "claim", NULL,
			       "%s: driverctl gives it to %s, too", name, driver);
	else
		hostcheck_tell(hc, HOSTCHECK_TODO, "claim", unset,
			       "%s: driverctl gives it to %s", name, driver);
}

static void check_claim(struct hostcheck *hc, const struct hostcheck_input *in,
			const struct card_fn *fn, const struct rivals *rivals,
			const char *ids)
{
	bool held = fn->how == CARD_BY_SLOT ? in->applied : card_ids_match(ids, fn->dev);
	const char *way = fn->how == CARD_BY_SLOT ? "its slot" : "its ids";
	char name[PCIADDR_STRLEN];

	hostcheck_name(fn->dev, name);
	if (held && rivals->builtin)
		hostcheck_tell(hc, HOSTCHECK_WARN, "claim",
			       "the start of the guest takes it from that driver",
			       "%s: %s is built into the kernel and comes before vfio-pci",
			       name, rivals->builtin);
	else if (held && (fn->how == CARD_BY_SLOT || !rivals->first))
		hostcheck_tell(hc, HOSTCHECK_OK, "claim", NULL,
			       "%s: vfio-pci takes it by %s%s%s", name, way,
			       rivals->all ? " before " : "",
			       rivals->all ? rivals->all : "");
	else if (held)
		hostcheck_tell(hc, HOSTCHECK_TODO, "claim", "vfio-setup apply",
			       "%s: %s may take it before vfio-pci", name, rivals->first);
	else if (rivals->all)
		hostcheck_tell(hc, HOSTCHECK_TODO, "claim", hostcheck_next(in),
			       "%s: taken at boot by %s", name, rivals->all);
	else
		hostcheck_tell(hc, HOSTCHECK_TODO, "claim", hostcheck_next(in),
			       "%s: vfio-pci does not take it at boot", name);
	check_driverctl(hc, name);
}

/* Ids of somebody else that take what is to stay with the host. */
static void check_strangers(struct hostcheck *hc, const struct hostcheck_input *in)
{
	_cleanup_free_ char *where = NULL, *ids = kmodconf_foreign_ids(&where);
	const struct topology *t = &in->cards->topo;

	for (size_t i = 0; in->cards->n && ids && i < t->n; i++) {
		const struct pcidev *dev = &t->fns[i].dev;
		char name[PCIADDR_STRLEN];

		if (cards_has(in->cards, &dev->addr) || !card_ids_match(ids, dev))
			continue;
		hostcheck_tell(hc, HOSTCHECK_WARN, "claim",
			       "others have set that up; without it, it stays with the host",
			       "%s: vfio-pci takes it as well, by %s",
			       hostcheck_name(dev, name), where);
	}
}

void hostcheck_drivers(struct hostcheck *hc, const struct hostcheck_input *in,
		       const struct hostcheck_facts *facts)
{
	_cleanup_free_ char *ids = ids_in_force(facts);
	struct rivals *rivals = xcalloc(in->cards->n + 1, sizeof(*rivals));

	for (size_t i = 0; i < in->cards->n; i++) {
		rivals_read(facts, in->cards->fns[i].dev, &rivals[i]);
		check_driver(hc, in, &in->cards->fns[i], &rivals[i]);
	}
	for (size_t i = 0; i < in->cards->n; i++) {
		check_claim(hc, in, &in->cards->fns[i], &rivals[i], ids);
		rivals_done(&rivals[i]);
	}
	free(rivals);
	check_strangers(hc, in);
}
