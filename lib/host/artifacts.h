/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host needs for a choice of cards: contents of files, words of the command line. */
#ifndef HOST_ARTIFACTS_H
#define HOST_ARTIFACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "host/card.h"

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

struct artifact {
	const char *path;	/* absolute, without the root; one of the above */
	char *data;		/* owned; begins with HOSTFILE_MARK, ends with LF; NULL: no such file is wanted */
	mode_t mode;
	bool in_initramfs;	/* a change calls for a new initramfs */
};

struct artifacts_wish {
	const struct cards *cards;
	const char *const *words;	/* --cmdline; checked by the caller */
	size_t n_words;
	const char *const *blacklist;	/* --blacklist */
	size_t n_blacklist;
	bool early;		/* --early: vfio-pci is to be in the initramfs */
};

struct artifacts {
	struct artifact *files;	/* owned; always one for each path above */
	size_t n;
	char **words;		/* owned; for the kernel's command line, no word twice */
	size_t n_words;
	char **notes;		/* owned; what the user is to be warned of, a line each */
	size_t n_notes;
};

/* Which one makes the initramfs here? */
enum artifacts_initramfs artifacts_initramfs(void);

/* Is it a module's name ([A-Za-z0-9_-])? */
bool artifacts_is_module_name(const char *name);

bool artifacts_cpu_is_intel(void);

/* Does an installed kernel leave Intel's IOMMU off, for these cards, without intel_iommu=on? */
bool artifacts_needs_intel_iommu(const struct cards *cards);

/*
 * Decide what is to be in our files. The same cards and wishes give the same
 * bytes, whatever is applied or booted.
 *
 * Returns 0; -EINVAL (a module's name that is none), -EBUSY (--blacklist of a
 * module that sound, USB, network or storage of the host needs) with *error
 * (allocated). *out is empty then.
 */
int artifacts_plan(const struct artifacts_wish *wish, struct artifacts *out, char **error);
void artifacts_done(struct artifacts *a);

#endif
