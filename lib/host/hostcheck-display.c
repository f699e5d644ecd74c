/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "host/cmdline.h"
#include "host/hostcheck-parts.h"

enum { N_BARS = 6, VENDOR_INTEL = 0x8086 };

struct range {
	uint64_t start, end;	/* inclusive; 0, 0 for none */
};

/* The function's BARs. Source: Documentation/ABI/testing/sysfs-bus-pci, resource. */
static void read_bars(const struct pcidev *dev, struct range bars[N_BARS])
{
	_cleanup_free_ char *path = NULL, *line = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	char name[PCIADDR_STRLEN];
	size_t room = 0;

	path = root_path("/sys/bus/pci/devices/%s/resource", hostcheck_name(dev, name));
	f = fopen(path, "re");
	for (int i = 0; i < N_BARS; i++) {
		bars[i] = (struct range){ 0 };
		if (f && getline(&line, &room, f) > 0 &&
		    sscanf(line, "%" SCNx64 " %" SCNx64, &bars[i].start,
			   &bars[i].end) != 2)
			bars[i] = (struct range){ 0 };
	}
}

/* The firmware's framebuffer by any of the names that it has had in /proc/iomem. */
static bool is_framebuffer(const char *name)
{
	static const char *const names[] = {
		"BOOTFB", "efifb", "simplefb", "simple-framebuffer", "vesafb",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The BAR with the firmware's framebuffer, -1 for none; *what: its name, allocated. */
static int framebuffer_bar(const struct range bars[N_BARS], char **what)
{
	_cleanup_free_ char *path = root_path("/proc/iomem"), *line = NULL;
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		struct range fb;
		int at = 0;

		if (sscanf(line, " %" SCNx64 "-%" SCNx64 " : %n", &fb.start, &fb.end,
			   &at) != 2 || !at || !fb.end || !is_framebuffer(line + at))
			continue;
		for (int i = 0; i < N_BARS; i++) {
			if (!bars[i].end || fb.start < bars[i].start ||
			    fb.end > bars[i].end)
				continue;
			*what = xstrndup(line + at, strcspn(line + at, "\n"));
			return i;
		}
	}
	return -1;
}

static void check_display(struct hostcheck *hc, const struct hostcheck_input *in,
			  const struct hostcheck_facts *facts, const struct card_fn *fn)
{
	static const char word_by_hand[] =
		"vfio-setup apply --cmdline initcall_blacklist=sysfb_init, then reboot";
	bool is_kept_off = cmdline_has(facts->cmdline, "initcall_blacklist=sysfb_init");
	_cleanup_free_ char *what = NULL;
	struct range bars[N_BARS];
	char name[PCIADDR_STRLEN];
	int bar;

	read_bars(fn->dev, bars);
	bar = framebuffer_bar(bars, &what);
	hostcheck_name(fn->dev, name);
	if (bar >= 0 && is_kept_off)
		hostcheck_tell(hc, HOSTCHECK_WARN, "display",
			       "choose another first display in the firmware's set-up",
			       "%s: %s is in BAR %d in spite of initcall_blacklist=sysfb_init",
			       name, what, bar);
	else if (bar >= 0)
		hostcheck_tell(hc, HOSTCHECK_TODO, "display",
			       fn->is_boot ? hostcheck_next(in) : word_by_hand,
			       "%s: the firmware's framebuffer (%s) is in BAR %d", name, what,
			       bar);
	else if (fn->is_boot)
		hostcheck_tell(hc, HOSTCHECK_WARN, "display",
			       "the host's console on it goes dark; another first display in the firmware's set-up spares that",
			       "%s is the boot display", name);
	else
		hostcheck_tell(hc, HOSTCHECK_OK, "display", NULL,
			       "%s is not the boot display", name);
}

void hostcheck_display(struct hostcheck *hc, const struct hostcheck_input *in,
		       const struct hostcheck_facts *facts)
{
	for (size_t i = 0; i < in->cards->n; i++)
		if (in->cards->fns[i].is_display)
			check_display(hc, in, facts, &in->cards->fns[i]);
}

/*
 * Resizable BARs: bit n of resourceN_resize stands for 2^n MiB.
 * Source: Documentation/ABI/testing/sysfs-bus-pci, resourceN_resize.
 */
static void check_bar(struct hostcheck *hc, const struct pcidev *dev, int bar,
		      const struct range *range)
{
	_cleanup_free_ char *path = NULL;
	uint64_t now = (range->end - range->start + 1) >> 20, possible = 0;
	bool is_arc = dev->vendor == VENDOR_INTEL;	/* slow without a large BAR */
	char name[PCIADDR_STRLEN], text[SYSFS_MAX];
	int bit = 63;

	path = root_path("/sys/bus/pci/devices/%s/resource%d_resize",
			 hostcheck_name(dev, name), bar);
	if (sysfs_read(path, text, sizeof(text)) <= 0 ||
	    sscanf(text, "%" SCNx64, &possible) != 1 || !possible)
		return;
	while (!(possible >> bit))
		bit--;
	if (now >= UINT64_C(1) << bit)
		hostcheck_tell(hc, HOSTCHECK_OK, "bar", NULL,
			       "%s: BAR %d has its largest size (%" PRIu64 " MiB)", name,
			       bar, now);
	else
		hostcheck_tell(hc, is_arc ? HOSTCHECK_WARN : HOSTCHECK_OK, "bar",
			       "firmware's set-up: Above 4G Decoding and Resizable BAR make it larger",
			       "%s: BAR %d has %" PRIu64 " of %" PRIu64 " MiB", name, bar,
			       now, UINT64_C(1) << bit);
}

void hostcheck_bars(struct hostcheck *hc, const struct hostcheck_input *in)
{
	for (size_t i = 0; i < in->cards->n; i++) {
		const struct card_fn *fn = &in->cards->fns[i];
		struct range bars[N_BARS];

		if (!fn->is_display)
			continue;
		read_bars(fn->dev, bars);
		for (int bar = 0; bar < N_BARS; bar++)
			if (bars[bar].end)
				check_bar(hc, fn->dev, bar, &bars[bar]);
	}
}
