/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host needs for a choice of cards: contents of files, words of the command
 * line.
 */
#ifndef HOST_ARTIFACTS_H
#define HOST_ARTIFACTS_H

#include <stdbool.h>

#include "host/card.h"
#include "host/hostfile.h"
#include "host/request.h"
#include "host/strlist.h"

#define ARTIFACT_MODPROBE	"/etc/modprobe.d/pve-gpu-utils.conf"
#define ARTIFACT_MODULES_LOAD	"/etc/modules-load.d/pve-gpu-utils.conf"
#define ARTIFACT_UDEV		"/etc/udev/rules.d/10-pve-gpu-utils.rules"
#define ARTIFACT_INITRAMFS_HOOK	"/etc/initramfs-tools/hooks/pve-gpu-utils"
#define ARTIFACT_DRACUT		"/etc/dracut.conf.d/pve-gpu-utils.conf"

enum artifacts_initramfs {
	INITRAMFS_NONE,		/* nobody here makes one, as far as we can see */
	INITRAMFS_TOOLS,	/* update-initramfs of initramfs-tools */
	INITRAMFS_DRACUT,
};

struct artifacts {
	struct hostfiles files;	/* those of the paths above that are wanted */
	struct strlist words;	/* for the kernel's command line; no word twice */
	struct strlist notes;	/* what the user is to be warned of, a line each */
};

/* Does a change of this path call for a new initramfs? */
bool artifacts_is_in_initramfs(const char *path);

/* Which one makes the initramfs here? */
enum artifacts_initramfs artifacts_initramfs(void);

/* Is it a module's name ([A-Za-z0-9_-])? */
bool artifacts_is_module_name(const char *name);

bool artifacts_cpu_is_intel(void);

/*
 * Does an installed kernel leave Intel's IOMMU off, for these cards, without
 * intel_iommu=on?
 */
bool artifacts_needs_intel_iommu(const struct cards *cards);

/*
 * Decide what is to be in our files. The same cards and request give the same
 * bytes, whatever is applied or booted.
 *
 * cards: found for the request, whose cmdline, blacklist and early count here;
 * cmdline_word_error() is the caller's to ask.
 * Returns 0; -EINVAL (a module's name that is none), -EBUSY (blacklist of a
 * module that sound, USB, network or storage of the host needs) with *error
 * (allocated). *out is empty then.
 */
int artifacts_plan(const struct setup_request *request, const struct cards *cards,
		   struct artifacts *out, char **error);
void artifacts_done(struct artifacts *a);

#endif
