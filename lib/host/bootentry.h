/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a boot loader will boot next: grub.cfg and loader entries, as they are on disk. */
#ifndef HOST_BOOTENTRY_H
#define HOST_BOOTENTRY_H

#include <stdbool.h>

#include "host/strlist.h"

enum bootentry_loader { BOOTENTRY_UNKNOWN, BOOTENTRY_GRUB, BOOTENTRY_SYSTEMD_BOOT };

/*
 * Which loader booted this system, as it told in the EFI variable LoaderInfo
 * (systemd-boot always, GRUB from 2.12 on).
 * Source: The Boot Loader Interface, uapi-group.org.
 */
enum bootentry_loader bootentry_running_loader(void);

/* Is there a loader entry at /efi, /boot/efi or /boot, where ESPs are mounted? */
bool bootentry_has_entries(void);

/*
 * Command line of the first entry in grub.cfg that boots Linux and is not a
 * recovery one, allocated; NULL when no grub.cfg can be read.
 * on_esp: the one of an ESP that proxmox-boot-tool has mounted, not /boot/grub/grub.cfg.
 */
char *bootentry_grub_line(bool on_esp);

/* The same for loader entries: the "options" of the newest one with root=. */
char *bootentry_loader_line(void);

/* Releases with modules and a /boot/vmlinuz-RELEASE, the oldest first. */
void bootentry_kernels(struct strlist *releases);

#endif
