/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel modules under the root and their configuration, through libkmod. */
#ifndef HOST_KMODCONF_H
#define HOST_KMODCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "host/strlist.h"

/*
 * Release of the kernel whose modules count: the running one
 * (/proc/sys/kernel/osrelease) when /lib/modules has it, else the newest of
 * /lib/modules. Allocated; NULL when there is none.
 */
char *kernel_release(void);

/* Releases in /lib/modules that have modules, added oldest first by version. */
void kernel_releases(struct strlist *releases);

/* Is "6.8.12-4-pve" at least major.minor? */
bool kernel_is_at_least(const char *release, unsigned major, unsigned minor);

/*
 * Value of an option in /boot/config-RELEASE, or in
 * /lib/modules/RELEASE/config: 'y', 'm', 'n' (not set), 's' for any other
 * value; 0 when no such file can be read or it does not know the option.
 */
char kernel_option(const char *release, const char *option);

struct kmodconf;

/*
 * libkmod for one kernel, with the modprobe.d folders of the root. libkmod
 * also takes what the running kernel's command line says, whatever the root.
 *
 * release: NULL for kernel_release().
 * Returns NULL with errno when there are no modules of that kernel.
 */
struct kmodconf *kmodconf_open(const char *release);
void kmodconf_close(struct kmodconf *k);	/* NULL is allowed */

/*
 * Names of the modules that claim a modalias, with '_', sorted, without vfio's own,
 * added.
 */
void kmodconf_claimants(struct kmodconf *k, const char *modalias, struct strlist *names);

/* '-' and '_' are the same in all names. */
bool kmodconf_is_builtin(struct kmodconf *k, const char *module);
/* As a file or built in. */
bool kmodconf_exists(struct kmodconf *k, const char *module);
/*
 * Kept from being loaded by its alias ("blacklist") or at all ("install MODULE
 * /bin/false").
 */
bool kmodconf_is_blacklisted(struct kmodconf *k, const char *module);
/* Is before loaded before module: "softdep MODULE pre: BEFORE" in a modprobe.d file? */
bool kmodconf_has_pre(struct kmodconf *k, const char *module, const char *before);
/*
 * Options in force for a module as one text ("ids=10de:2204 disable_vga=1"), allocated;
 * NULL without any.
 */
char *kmodconf_options(struct kmodconf *k, const char *module);

/* One line of a modprobe.d, modules-load.d or /etc/modules file. */
struct kmodconf_line {
	char *path;		/* owned; without the root */
	unsigned long line;	/* from 1 */
	char *text;		/* owned; trimmed, no comment, continued lines joined */
};

/*
 * Lines in force of others' modprobe.d files (a file of the same name in an
 * earlier folder hides the later one); word is the first word, "options".
 * n = 0 without any.
 */
struct kmodconf_line *kmodconf_lines(const char *word, size_t *n);
/*
 * The same for the modules to load at boot: modules-load.d, /etc/modules,
 * initramfs-tools/modules.
 */
struct kmodconf_line *kmodconf_load_lines(size_t *n);
void kmodconf_lines_free(struct kmodconf_line *lines, size_t n);

/*
 * The list of ids that others set for vfio-pci, of which the kernel takes the
 * last one: on the command line (unless vfio-pci is built in, where that is our
 * own way), else in a modprobe.d file.
 * where: "FILE:LINE" or "/proc/cmdline". Both allocated; NULL without a list.
 */
char *kmodconf_foreign_ids(char **where);

/* Are two module names the same one? */
bool kmodconf_same_name(const char *a, const char *b);

#endif
