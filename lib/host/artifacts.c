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
	bool is_igpu = false, off;
	struct strlist releases = { 0 };

	if (!artifacts_cpu_is_intel())
		return false;
	for (size_t i = 0; i < cards->n; i++) {
		const struct pcidev *dev = cards->fns[i].dev;

		is_igpu = is_igpu || (cards->fns[i].is_display &&
				      dev->vendor == VENDOR_INTEL &&
				      dev->addr.bus == 0 && dev->addr.slot == 2);
	}
	kernel_releases(&releases);
	off = !releases.n;
	for (size_t i = 0; i < releases.n; i++)
		off = off || intel_is_off(releases.s[i], is_igpu);
	strlist_done(&releases);
	return off;
}

static bool has_key(const struct strlist *words, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < words->n; i++)
		if (strncmp(words->s[i], key, len) == 0 && words->s[i][len] == '=')
			return true;
	return false;
}

static void add_words(const struct setup_request *request, const struct cards *cards,
		      const struct claims *claims, struct strlist *words)
{
	for (size_t i = 0; i < request->cmdline.n; i++)
		strlist_add_new(words, request->cmdline.s[i]);
	if (cards->n && !has_key(words, "intel_iommu") &&
	    artifacts_needs_intel_iommu(cards))
		strlist_add_new(words, "intel_iommu=on");
	for (size_t i = 0; i < cards->n; i++)
		if (cards->fns[i].is_boot)
			strlist_add_new(words, "initcall_blacklist=sysfb_init");
	if (claims->vfio_builtin) {
		_cleanup_free_ char *ids = artifacts_ids(cards), *word = NULL;

		if (!ids)
			return;
		word = xasprintf("vfio-pci.ids=%s", ids);
		strlist_add_new(words, word);
	}
}

static void __attribute__((format(printf, 2, 3)))
note(struct artifacts *a, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	strlist_add(&a->notes, text);
}

static void note_word(const char *word, struct artifacts *a)
{
	if (strcmp(word, "amd_iommu=on") == 0)
		note(a, "amd_iommu=on means nothing to the kernel: AMD's IOMMU is on by itself");
	if (strncmp(word, "video=efifb:", 12) == 0)
		note(a, "%s has no effect since Linux 5.15: initcall_blacklist=sysfb_init is the word", word);
	if (strncmp(word, "pcie_acs_override=", 18) == 0)
		note(a, "%s splits IOMMU groups in name only: guests may reach each other's devices", word);
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
			note(a, "%s is the boot display: the host's console on it goes dark after the boot loader", name);
		if (twin)
			note(a, "%s has the same ids as %s, which stays with the host: it is taken by its slot, and only while it is in this slot",
			     name, pciaddr_format(&twin->addr, other));
	}
	if (cards->others_ids && cards->n)
		note(a, "%s sets ids for vfio-pci; a second list would replace it, so the card is taken by its slot",
		     cards->others_ids);
	for (size_t i = 0; i < cards->n_mates; i++) {
		const struct pcidev *mate = cards->mates[i];

		note(a, "%s (%s) is in IOMMU group %d, too: the host loses it when a guest gets the card",
		     pciaddr_format(&mate->addr, name),
		     topology_class_word(mate->class), mate->iommu_group);
	}
}

static void note_modules(const struct setup_request *request, const struct cards *cards,
			 const struct claims *claims, struct artifacts *a)
{
	struct kmodconf *k;

	for (size_t i = 0; i < claims->n; i++)
		if (claims->mods[i].builtin)
			note(a, "%s is built into the kernel: it takes its function before vfio-pci can; the start of the guest takes it back",
			     claims->mods[i].name);
	if (request->early && cards->n && artifacts_initramfs() == INITRAMFS_NONE)
		note(a, "neither initramfs-tools nor dracut is here: --early adds nothing");
	if (!request->blacklist.n)
		return;
	k = kmodconf_open(NULL);
	for (size_t i = 0; k && i < request->blacklist.n; i++)
		if (!kmodconf_exists(k, request->blacklist.s[i]))
			note(a, "%s: the kernel has no module of this name", request->blacklist.s[i]);
	kmodconf_close(k);
}

static bool is_vfio_module(const char *name)
{
	static const char *const modules[] = {
		"vfio", "vfio_iommu_type1", "vfio_pci", "vfio_pci_core",
	};

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		if (kmodconf_same_name(name, modules[i]))
			return true;
	return false;
}

static int check_blacklist(const struct setup_request *request, const struct cards *cards,
			   char **error)
{
	for (size_t i = 0; i < request->blacklist.n; i++) {
		const char *module = request->blacklist.s[i];
		const struct pcidev *user;
		char name[PCIADDR_STRLEN];

		if (!artifacts_is_module_name(module)) {
			*error = xasprintf("%s: not the name of a module", module);
			return -EINVAL;
		}
		if (is_vfio_module(module)) {
			*error = xasprintf("%s: not blacklisted, it is what takes the card", module);
			return -EINVAL;
		}
		user = claims_host_need(cards, module);
		if (!user)
			continue;
		*error = xasprintf("%s: not blacklisted, the host needs it for %s (%s); the card does without: vfio-pci is loaded first",
				   module, pciaddr_format(&user->addr, name),
				   topology_class_word(user->class));
		return -EBUSY;
	}
	return 0;
}

int artifacts_plan(const struct setup_request *request, const struct cards *cards,
		   struct artifacts *out, char **error)
{
	struct claims claims;
	int rc;

	*out = (struct artifacts){ 0 };
	rc = check_blacklist(request, cards, error);
	if (rc < 0)
		return rc;
	if (claims_read(cards, &claims) < 0 && cards->n)
		note(out, "/lib/modules: no kernel's modules; nothing is known of the drivers");
	artifacts_files(request, cards, &claims, &out->files);
	add_words(request, cards, &claims, &out->words);
	for (size_t i = 0; i < out->words.n; i++)
		note_word(out->words.s[i], out);
	note_cards(cards, out);
	note_modules(request, cards, &claims, out);
	claims_done(&claims);
	return 0;
}

bool artifacts_is_in_initramfs(const char *path)
{
	static const char *const paths[] = {
		ARTIFACT_MODPROBE, ARTIFACT_UDEV, ARTIFACT_INITRAMFS_HOOK,
		ARTIFACT_DRACUT,
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (strcmp(path, paths[i]) == 0)
			return true;
	return false;
}

void artifacts_done(struct artifacts *a)
{
	hostfiles_done(&a->files);
	strlist_done(&a->words);
	strlist_done(&a->notes);
}
