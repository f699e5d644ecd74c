/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/cmdline.h"
#include "host/hostcheck-parts.h"
#include "pci/bind.h"

enum { INTERRUPTS_MAX = 64 * 1024 * 1024 };

/* An entry of /sys/class/iommu ("dmar0"), allocated; NULL without one. */
static char *iommu_at_work(void)
{
	_cleanup_free_ char *path = root_path("/sys/class/iommu");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			return xstrdup(entry->d_name);
	return NULL;
}

/* The word that switches the IOMMU off, or NULL. */
static const char *word_off(const struct hostcheck_facts *facts)
{
	static const char *const words[] = {
		"intel_iommu=off", "amd_iommu=off", "iommu=off",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (cmdline_has(facts->cmdline, words[i]))
			return words[i];
	return NULL;
}

/* Did the firmware describe an IOMMU? 1, 0, or -1 when its tables cannot be seen. */
static int firmware_has_iommu(void)
{
	_cleanup_free_ char *tables = root_path("/sys/firmware/acpi/tables");
	_cleanup_free_ char *intel = xasprintf("%s/DMAR", tables);
	_cleanup_free_ char *amd = xasprintf("%s/IVRS", tables);

	if (access(intel, F_OK) == 0 || access(amd, F_OK) == 0)
		return 1;
	return access(tables, F_OK) == 0 ? 0 : -1;
}

static void check_iommu(struct hostcheck *hc, const struct hostcheck_input *in,
			const struct hostcheck_facts *facts)
{
	const char *off = word_off(facts);
	const char *firmware = artifacts_cpu_is_intel() ?
		"switch VT-d on in the firmware's set-up" :
		"switch AMD-Vi (IOMMU) on in the firmware's set-up";

	if (off)
		hostcheck_tell(hc, HOSTCHECK_TODO, "iommu",
			       "take the word off the kernel's command line, then reboot",
			       "switched off by %s", off);
	else if (firmware_has_iommu() == 0)
		hostcheck_tell(hc, HOSTCHECK_FAIL, "iommu", firmware,
			       "the firmware describes none");
	else if (strlist_has(&in->plan->words, "intel_iommu=on") &&
		 !cmdline_has(facts->cmdline, "intel_iommu=on"))
		hostcheck_tell(hc, HOSTCHECK_TODO, "iommu", hostcheck_next(in),
			       "none at work: this kernel needs intel_iommu=on");
	else if (artifacts_needs_intel_iommu(in->cards) &&
		 !cmdline_has(facts->cmdline, "intel_iommu=on"))
		hostcheck_tell(hc, HOSTCHECK_TODO, "iommu",
			       "vfio-setup apply --gpu ADDR adds it",
			       "none at work: this kernel needs intel_iommu=on");
	else
		hostcheck_tell(hc, HOSTCHECK_FAIL, "iommu", firmware,
			       "none at work, though the kernel would use it");
}

/*
 * The interrupt chips of /proc/interrupts are called "IR-…" when interrupts are
 * remapped; the kernel's log, which says so too, may have gone by.
 */
static void check_interrupts(struct hostcheck *hc, const struct hostcheck_facts *facts)
{
	_cleanup_free_ char *path = root_path("/proc/interrupts");
	_cleanup_free_ char *text = readfile_string(path, INTERRUPTS_MAX);
	_cleanup_free_ char *options = NULL;

	if (text && strstr(text, " IR-")) {
		hostcheck_tell(hc, HOSTCHECK_OK, "interrupts", NULL, "remapped");
		return;
	}
	if (!text || (!strstr(text, "PCI-MSI") && !strstr(text, "IO-APIC"))) {
		hostcheck_tell(hc, HOSTCHECK_WARN, "interrupts",
			       "without, vfio refuses the card unless allow_unsafe_interrupts is set",
			       "cannot tell whether they are remapped");
		return;
	}
	if (facts->kmod)
		options = kmodconf_options(facts->kmod, "vfio_iommu_type1");
	if (options && strstr(options, "allow_unsafe_interrupts"))
		hostcheck_tell(hc, HOSTCHECK_WARN, "interrupts",
			       "a guest can send the host any interrupt: for guests you trust",
			       "not remapped; allowed by allow_unsafe_interrupts");
	else
		hostcheck_tell(hc, HOSTCHECK_FAIL, "interrupts",
			       "firmware's set-up (VT-d, x2APIC), or for guests you trust: options vfio_iommu_type1 allow_unsafe_interrupts=1",
			       "not remapped");
}

/* What a member that is not given away means for the guest's start; false: nothing. */
static bool check_mate(struct hostcheck *hc, const struct pcidev *mate)
{
	_cleanup_free_ char *vital = NULL;
	char name[PCIADDR_STRLEN];
	unsigned base = mate->class >> 16;
	bool is_hosts = base == 0x01 || base == 0x02;
	const char *how = "the host loses it when a guest gets the card";

	if (!mate->driver || bind_is_vfio_driver(mate->driver) ||
	    strcmp(mate->driver, "pci-stub") == 0)
		return false;
	if (is_hosts)
		how = "the host would lose it; another slot for the card, or give it away by --id";
	if (bind_is_host_vital(&mate->addr, &vital))
		how = vital;
	hostcheck_tell(hc, is_hosts || vital ? HOSTCHECK_FAIL : HOSTCHECK_WARN, "group", how,
		       "%d holds %s (%s, driver %s), too", mate->iommu_group,
		       hostcheck_name(mate, name), topology_class_word(mate->class),
		       mate->driver);
	return true;
}

/* Debian's kernels leave the processor's graphics out until they are told. */
static void check_groupless(struct hostcheck *hc, const struct hostcheck_input *in,
			    const struct hostcheck_facts *facts, const struct pcidev *dev)
{
	bool is_due = strlist_has(&in->plan->words, "intel_iommu=on") &&
		      !cmdline_has(facts->cmdline, "intel_iommu=on");
	char name[PCIADDR_STRLEN];

	hostcheck_tell(hc, is_due ? HOSTCHECK_TODO : HOSTCHECK_FAIL, "group",
		       is_due ? hostcheck_next(in) :
		       "the IOMMU does not reach it; another slot for the card",
		       "%s is in none%s", hostcheck_name(dev, name),
		       is_due ? " without intel_iommu=on" : "");
}

/* "0000:01:00.0, 0000:01:00.1": what is given away of a group, allocated. */
static char *members_text(const struct cards *cards, int group)
{
	char *all = NULL;

	for (size_t i = 0; i < cards->n; i++) {
		char name[PCIADDR_STRLEN], *longer;

		if (cards->fns[i].dev->iommu_group != group)
			continue;
		hostcheck_name(cards->fns[i].dev, name);
		longer = all ? xasprintf("%s, %s", all, name) : xstrdup(name);
		free(all);
		all = longer;
	}
	return all;
}

static void check_group(struct hostcheck *hc, const struct cards *cards, int group)
{
	_cleanup_free_ char *members = NULL;
	bool alone = true;

	for (size_t i = 0; i < cards->n_mates; i++)
		if (cards->mates[i]->iommu_group == group &&
		    check_mate(hc, cards->mates[i]))
			alone = false;
	if (!alone)
		return;
	members = members_text(cards, group);
	hostcheck_tell(hc, HOSTCHECK_OK, "group", NULL,
		       "%d holds %s and nothing of the host", group, members);
}

static void check_groups(struct hostcheck *hc, const struct hostcheck_input *in,
			 const struct hostcheck_facts *facts)
{
	const struct cards *cards = in->cards;

	for (size_t i = 0; i < cards->n; i++) {
		int group = cards->fns[i].dev->iommu_group;
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen = seen || cards->fns[k].dev->iommu_group == group;
		if (group < 0)
			check_groupless(hc, in, facts, cards->fns[i].dev);
		else if (!seen)
			check_group(hc, cards, group);
	}
}

void hostcheck_iommu(struct hostcheck *hc, const struct hostcheck_input *in,
		     const struct hostcheck_facts *facts)
{
	_cleanup_free_ char *iommu = iommu_at_work();

	if (!iommu) {
		check_iommu(hc, in, facts);
		return;
	}
	hostcheck_tell(hc, HOSTCHECK_OK, "iommu", NULL, "at work (%s)", iommu);
	check_interrupts(hc, facts);
	check_groups(hc, in, facts);
}
