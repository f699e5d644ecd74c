/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/artifacts-files.h"
#include "host/kmodconf.h"

enum { CPUINFO_MAX = 16 * 1024 * 1024, VENDOR_INTEL = 0x8086 };

bool artifacts_is_module_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

	return *name && *name != '-' && strlen(name) < 56 &&
	       strspn(name, letters) == strlen(name);
}

bool artifacts_cpu_is_intel(void)
{
	_cleanup_free_ char *path = root_path("/proc/cpuinfo");
	_cleanup_free_ char *text = readfile_string(path, CPUINFO_MAX);
	const char *vendor = text ? strstr(text, "vendor_id") : NULL;

	if (!vendor)
		return false;
	vendor += strlen("vendor_id");
	vendor += strspn(vendor, " \t:");
	return strncmp(vendor, "GenuineIntel", strlen("GenuineIntel")) == 0;
}

/*
 * Does this kernel leave Intel's IOMMU off for the function unless it is told
 * otherwise? Debian's own option leaves out the processor's graphics alone.
 */
static bool intel_is_off(const char *release, bool is_igpu)
{
	char on = kernel_option(release, "CONFIG_INTEL_IOMMU_DEFAULT_ON");
	char but_igpu = kernel_option(release,
				      "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF");

	if (on == 'y')
		return false;
	if (but_igpu == 'y')
		return is_igpu;
	/* Proxmox' kernels have it on since 6.8 (pve-docs, qm-pci-passthrough). */
	return on || !strstr(release, "-pve") || !kernel_is_at_least(release, 6, 8);
}

bool artifacts_needs_intel_iommu(const struct cards *cards)
{
	bool is_igpu = false, off = false;
	char **releases;
	size_t n;

	if (!artifacts_cpu_is_intel())
		return false;
	for (size_t i = 0; i < cards->n; i++) {
		const struct pcidev *dev = cards->fns[i].dev;

		is_igpu = is_igpu || (cards->fns[i].is_display &&
				      dev->vendor == VENDOR_INTEL &&
				      dev->addr.bus == 0 && dev->addr.slot == 2);
	}
	releases = kernel_releases(&n);
	for (size_t i = 0; i < n; i++) {
		off = off || intel_is_off(releases[i], is_igpu);
		free(releases[i]);
	}
	free(releases);
	return off || !n;
}

static bool has_key(const struct artifacts *a, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < a->n_words; i++)
		if (strncmp(a->words[i], key, len) == 0 && a->words[i][len] == '=')
			return true;
	return false;
}

static void add_word(struct artifacts *a, char *word)
{
	for (size_t i = 0; i < a->n_words; i++) {
		if (strcmp(a->words[i], word) == 0) {
			free(word);
			return;
		}
	}
	a->words = xreallocarray(a->words, a->n_words + 1, sizeof(*a->words));
	a->words[a->n_words++] = word;
}

static void add_note(struct artifacts *a, char *note)
{
	a->notes = xreallocarray(a->notes, a->n_notes + 1, sizeof(*a->notes));
	a->notes[a->n_notes++] = note;
}

static void add_words(const struct artifacts_wish *wish, const struct claims *claims,
		      struct artifacts *a)
{
	for (size_t i = 0; i < wish->n_words; i++)
		add_word(a, xstrdup(wish->words[i]));
	if (wish->cards->n && !has_key(a, "intel_iommu") &&
	    artifacts_needs_intel_iommu(wish->cards))
		add_word(a, xstrdup("intel_iommu=on"));
	for (size_t i = 0; i < wish->cards->n; i++)
		if (wish->cards->fns[i].is_boot)
			add_word(a, xstrdup("initcall_blacklist=sysfb_init"));
	if (claims->vfio_builtin) {
		_cleanup_free_ char *ids = artifacts_ids(wish->cards);

		if (ids)
			add_word(a, xasprintf("vfio-pci.ids=%s", ids));
	}
}

static void note_word(const char *word, struct artifacts *a)
{
	if (strcmp(word, "amd_iommu=on") == 0)
		add_note(a, xstrdup("amd_iommu=on means nothing to the kernel: AMD's IOMMU is on by itself"));
	if (strncmp(word, "video=efifb:", 12) == 0)
		add_note(a, xasprintf("%s has no effect since Linux 5.15: initcall_blacklist=sysfb_init is the word", word));
	if (strncmp(word, "pcie_acs_override=", 18) == 0)
		add_note(a, xasprintf("%s splits IOMMU groups in name only: guests may reach each other's devices", word));
}

/* The first function that is equal and stays with the host. */
static const struct pcidev *twin_of(const struct cards *cards, const struct pcidev *dev)
{
	for (size_t i = 0; i < cards->topo.n; i++) {
		const struct pcidev *other = &cards->topo.fns[i].dev;

		if (other->vendor == dev->vendor && other->device == dev->device &&
		    other->subvendor == dev->subvendor &&
		    other->subdevice == dev->subdevice && !cards_has(cards, &other->addr))
			return other;
	}
	return NULL;
}

static void note_cards(const struct cards *cards, struct artifacts *a)
{
	char name[PCIADDR_STRLEN], other[PCIADDR_STRLEN];

	for (size_t i = 0; i < cards->n; i++) {
		const struct card_fn *fn = &cards->fns[i];
		const struct pcidev *twin =
			fn->how == CARD_BY_SLOT ? twin_of(cards, fn->dev) : NULL;

		pciaddr_format(&fn->dev->addr, name);
		if (fn->is_boot)
			add_note(a, xasprintf("%s is the boot display: the host's console on it goes dark after the boot loader", name));
		if (twin)
			add_note(a, xasprintf("%s has the same ids as %s, which stays with the host: it is taken by its slot, and only while it is in this slot",
					      name, pciaddr_format(&twin->addr, other)));
	}
	for (size_t i = 0; i < cards->n_mates; i++) {
		const struct pcidev *mate = cards->mates[i];

		add_note(a, xasprintf("%s (%s) is in IOMMU group %d, too: the host loses it when a guest gets the card",
				      pciaddr_format(&mate->addr, name),
				      topology_class_word(mate->class), mate->iommu_group));
	}
}

static void note_modules(const struct artifacts_wish *wish, const struct claims *claims,
			 struct artifacts *a)
{
	struct kmodconf *k;

	for (size_t i = 0; i < claims->n; i++)
		if (claims->mods[i].builtin)
			add_note(a, xasprintf("%s is built into the kernel: it takes its function before vfio-pci can; the start of the guest takes it back",
					      claims->mods[i].name));
	if (wish->early && wish->cards->n && artifacts_initramfs() == INITRAMFS_NONE)
		add_note(a, xstrdup("neither initramfs-tools nor dracut is here: --early adds nothing"));
	if (!wish->n_blacklist)
		return;
	k = kmodconf_open(NULL);
	for (size_t i = 0; k && i < wish->n_blacklist; i++)
		if (!kmodconf_exists(k, wish->blacklist[i]))
			add_note(a, xasprintf("%s: the kernel has no module of this name", wish->blacklist[i]));
	kmodconf_close(k);
}

static int check_blacklist(const struct artifacts_wish *wish, char **error)
{
	for (size_t i = 0; i < wish->n_blacklist; i++) {
		const char *module = wish->blacklist[i];
		const struct pcidev *user;
		char name[PCIADDR_STRLEN];

		if (!artifacts_is_module_name(module)) {
			*error = xasprintf("%s: not the name of a module", module);
			return -EINVAL;
		}
		user = claims_host_need(wish->cards, module);
		if (!user)
			continue;
		*error = xasprintf("%s: not blacklisted, the host needs it for %s (%s); the card does without: vfio-pci is loaded first",
				   module, pciaddr_format(&user->addr, name),
				   topology_class_word(user->class));
		return -EBUSY;
	}
	return 0;
}

int artifacts_plan(const struct artifacts_wish *wish, struct artifacts *out, char **error)
{
	struct claims claims;
	int rc;

	*out = (struct artifacts){ 0 };
	rc = check_blacklist(wish, error);
	if (rc < 0)
		return rc;
	if (claims_read(wish->cards, &claims) < 0 && wish->cards->n)
		add_note(out, xstrdup("/lib/modules: no kernel's modules; nothing is known of the drivers"));
	artifacts_files(wish, &claims, out);
	add_words(wish, &claims, out);
	for (size_t i = 0; i < out->n_words; i++)
		note_word(out->words[i], out);
	note_cards(wish->cards, out);
	note_modules(wish, &claims, out);
	claims_done(&claims);
	return 0;
}
