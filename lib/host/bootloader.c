/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/bootentry.h"
#include "host/bootloader.h"
#include "host/cmdline.h"
#include "host/grubconf.h"

enum { TEXT_MAX = 1024 * 1024 };

static const char UPDATE_GRUB[] = "/usr/sbin/update-grub";
static const char KERNEL_INSTALL[] = "/usr/bin/kernel-install";
static const char UPDATE_INITRAMFS[] = "/usr/sbin/update-initramfs";
static const char DRACUT[] = "/usr/bin/dracut";

static bool exists(const char *path)
{
	_cleanup_free_ char *full = root_path("%s", path);

	return access(full, F_OK) == 0;
}

static char *read_text(const char *path)
{
	_cleanup_free_ char *full = root_path("%s", path);

	return readfile_string(full, TEXT_MAX);
}

/* Is an ESP listed? An empty list is left by "proxmox-boot-tool clean". */
static bool has_pbt(void)
{
	_cleanup_free_ char *text = read_text(BOOTLOADER_PBT_UUIDS);

	return text && text[strspn(text, " \t\r\n")];
}

/* "8357-FBD5 is configured with: uefi (versions: 6.8.4-2-pve), grub (versions: …)" */
static void take_status(struct bootloader *b, const char *line)
{
	static const char mark[] = "is configured with:";
	const char *modes = strstr(line, mark);

	if (!modes)
		return;
	modes += strlen(mark);
	b->cmdline_file = b->cmdline_file || strstr(modes, "uefi");
	b->grub = b->grub || strstr(modes, "grub");
}

static int detect_pbt(struct bootloader *b)
{
	struct strlist argv = { 0 }, lines = { 0 };

	b->pbt = true;
	strlist_add(&argv, BOOTLOADER_PBT);
	strlist_add(&argv, "status");
	/* One ESP that is not there makes it fail; what it says of the others counts. */
	if (exists(BOOTLOADER_PBT) || !root_is_host())
		hostcmd_ask(&argv, &lines);
	for (size_t i = 0; i < lines.n; i++) {
		take_status(b, lines.s[i]);
		if (strstr(lines.s[i], "skipping")) {
			free(b->skipped);
			b->skipped = xstrdup(lines.s[i]);
		}
	}
	strlist_done(&lines);
	strlist_done(&argv);
	b->guessed = !b->grub && !b->cmdline_file;
	b->no_esp = b->skipped && b->guessed;
	if (b->guessed) {
		b->grub = b->cmdline_file = true;
		b->evidence = xstrdup(BOOTLOADER_PBT_UUIDS
				      "; proxmox-boot-tool status does not say which");
	} else {
		b->evidence = xasprintf("proxmox-boot-tool status: %s%s%s",
					b->cmdline_file ? "uefi" : "",
					b->cmdline_file && b->grub ? ", " : "",
					b->grub ? "grub" : "");
	}
	b->name = xasprintf(
		"%s%s%s by proxmox-boot-tool", b->cmdline_file ? "systemd-boot" : "",
		b->cmdline_file && b->grub ? " and " : "", b->grub ? "GRUB" : "");
	return 0;
}

static int detect_debian(struct bootloader *b)
{
	enum bootentry_loader running = bootentry_running_loader();
	bool grub = exists(UPDATE_GRUB)
		    && (exists("/etc/default/grub") || exists("/boot/grub/grub.cfg"));
	bool entries = exists(KERNEL_INSTALL) && bootentry_has_entries();

	/* Both are installed: the one that booted us is the one in use. */
	if (grub && entries && running == BOOTENTRY_GRUB)
		entries = false;
	if (grub && entries && running == BOOTENTRY_SYSTEMD_BOOT)
		grub = false;
	b->grub = grub;
	b->cmdline_file = b->kernel_install = entries;
	b->guessed = grub && entries;
	if (!grub && !entries) {
		b->name = xstrdup("none known");
		b->evidence = xstrdup(
			"neither update-grub with /etc/default/grub nor loader entries");
		return -ENOENT;
	}
	b->name = xasprintf("%s%s%s", entries ? "systemd-boot by kernel-install" : "",
			    b->guessed ? " and " : "", grub ? "GRUB" : "");
	b->evidence = xasprintf("%s%s%s", entries ? "loader entries" : "",
				b->guessed ? ", " : "", grub ? UPDATE_GRUB : "");
	return 0;
}

int bootloader_detect(struct bootloader *b)
{
	*b = (struct bootloader){ 0 };
	return has_pbt() ? detect_pbt(b) : detect_debian(b);
}

void bootloader_done(struct bootloader *b)
{
	free(b->name);
	free(b->evidence);
	free(b->skipped);
	*b = (struct bootloader){ 0 };
}

/* kernel-install add, once for each kernel: "add-all" is not in Debian 12's. */
static void add_kernel_installs(struct hostcmds *cmds)
{
	struct strlist kernels = { 0 };

	bootentry_kernels(&kernels);
	for (size_t i = 0; i < kernels.n; i++) {
		const char *release = kernels.s[i];
		_cleanup_free_ char *image = xasprintf("/boot/vmlinuz-%s", release);
		_cleanup_free_ char *initrd = xasprintf("/boot/initrd.img-%s", release);

		hostcmds_add(cmds, "%s add %s %s%s%s", KERNEL_INSTALL, release, image,
			     exists(initrd) ? " " : "", exists(initrd) ? initrd : "");
	}
	strlist_done(&kernels);
}

void bootloader_commands(const struct bootloader *b, struct hostcmds *cmds)
{
	if (b->pbt) {
		/* It makes each ESP's grub.cfg as well. */
		hostcmds_add(cmds, BOOTLOADER_PBT " refresh");
		return;
	}
	if (b->grub)
		hostcmds_add(cmds, "%s", UPDATE_GRUB);
	if (b->kernel_install)
		add_kernel_installs(cmds);
}

void bootloader_initramfs_commands(struct hostcmds *cmds)
{
	if (exists(UPDATE_INITRAMFS))
		hostcmds_add(cmds, "%s -u -k all", UPDATE_INITRAMFS);
	else if (exists(DRACUT))
		hostcmds_add(cmds, "%s --regenerate-all --force", DRACUT);
}

static bool is_configured(const struct bootloader *b, const char *word)
{
	bool yes = b->grub || b->cmdline_file;

	if (b->grub) {
		struct grubconf g;

		yes = grubconf_read(false, &g) == 0 && grubconf_has(&g, word);
		grubconf_done(&g);
	}
	if (yes && b->cmdline_file) {
		_cleanup_free_ char *text = read_text(BOOTLOADER_CMDLINE);

		yes = text && cmdline_has(text, word);
	}
	return yes;
}

static void take_staged(struct bootword *w, const char *word, char *line)
{
	if (!line)
		return;
	w->staged = (!w->staged_known || w->staged) && cmdline_has(line, word);
	w->staged_known = true;
	free(line);
}

void bootloader_word(const struct bootloader *b, const char *word, struct bootword *w)
{
	_cleanup_free_ char *running = read_text("/proc/cmdline");

	*w = (struct bootword){ 0 };
	w->configured = is_configured(b, word);
	w->active = running && cmdline_has(running, word);
	/* With proxmox-boot-tool the grub.cfg that counts is on the ESPs. */
	if (b->grub)
		take_staged(w, word, bootentry_grub_line(b->pbt));
	if (b->cmdline_file)
		take_staged(w, word, bootentry_loader_line());
}

char *bootloader_configured(const struct bootloader *b)
{
	struct grubconf g;
	char *text;

	if (b->cmdline_file) {
		text = read_text(BOOTLOADER_CMDLINE);
		return text ? text : xstrdup("");
	}
	if (!b->grub || grubconf_read(false, &g) < 0)
		return xstrdup("");
	text = xasprintf("%s %s", g.always, g.normal);
	grubconf_done(&g);
	return text;
}
