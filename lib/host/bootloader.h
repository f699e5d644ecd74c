/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot loaders: which are in use, where their kernel command line is
 * configured, what makes a change effective, and how far a word has come.
 * Source: proxmox-boot-tool and kernel-install(8), grub-mkconfig(8).
 */
#ifndef HOST_BOOTLOADER_H
#define HOST_BOOTLOADER_H

#include <stdbool.h>

#include "host/hostcmd.h"
#include "host/strlist.h"

#define BOOTLOADER_CMDLINE	"/etc/kernel/cmdline"
#define BOOTLOADER_PBT_UUIDS	"/etc/kernel/proxmox-boot-uuids"
#define BOOTLOADER_PBT		"/usr/sbin/proxmox-boot-tool"

struct bootloader {
	bool grub;		/* words come from /etc/default/grub */
	bool cmdline_file;	/* words come from /etc/kernel/cmdline: systemd-boot */
	bool pbt;		/* ESPs are kept in step by proxmox-boot-tool */
	bool kernel_install;	/* loader entries are written by kernel-install(8) */
	bool guessed;		/* not clear which is in use: both are served */
	bool no_esp;		/* proxmox-boot-tool skips all of its ESPs */
	char *skipped;		/* owned; what it says of the last one skipped */
	char *name;		/* owned; "GRUB", "systemd-boot by …", "none known" */
	char *evidence;		/* owned; what tells so */
};

/*
 * Evidence, in this order: /etc/kernel/proxmox-boot-uuids with an entry and
 * what "proxmox-boot-tool status" says of each ESP ("configured with: uefi",
 * "grub" or both; without an answer both are served); update-grub with
 * /etc/default/grub or /boot/grub/grub.cfg; kernel-install with bootctl's
 * loader (loader/loader.conf or loader/entries on a mounted ESP at /boot/efi,
 * /efi or /boot). /etc/kernel/cmdline alone is no evidence.
 * In another root the status is asked only through PVE_GPU_COMMANDS: host/hostcmd.h.
 * Returns 0, -ENOENT when no boot loader is known (name is then "none known"),
 * or another -errno.
 */
int bootloader_detect(struct bootloader *b);
void bootloader_done(struct bootloader *b);

/* The commands that make new words effective at the next boot, added to *cmds. */
void bootloader_commands(const struct bootloader *b, struct hostcmds *cmds);

/* The same for the initramfs: update-initramfs or dracut; nothing without either. */
void bootloader_initramfs_commands(struct hostcmds *cmds);

/* How far a word of the command line has come. */
struct bootword {
	bool configured;	/* in every place that the loaders in use read */
	bool staged_known;	/* grub.cfg or loader entries could be read */
	bool staged;		/* in each normal entry of the newest kernel there */
	bool active;		/* in /proc/cmdline */
};

void bootloader_word(const struct bootloader *b, const char *word, struct bootword *w);

/*
 * The command line as it is configured, of the (first) loader in use; allocated,
 * "" when there is none.
 */
char *bootloader_configured(const struct bootloader *b);

#endif
