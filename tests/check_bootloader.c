/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which boot loader is in use, what it is configured with, and how far a word has come.
 */
#include "testroot.h"

#include "base/cleanup.h"
#include "host/bootentry.h"
#include "host/bootloader.h"
#include "host/cmdline.h"
#include "host/grubconf.h"

static char commands[64];

static void setup(void)
{
	testroot_setup();
	strcpy(commands, "/tmp/testcommands.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(commands));
	setenv("PVE_GPU_COMMANDS", commands, 1);
}

static void teardown(void)
{
	testroot_teardown();
	nftw(commands, testroot_rm, 16, FTW_DEPTH | FTW_PHYS);
}

/* A proxmox-boot-tool that prints text and ends with status. */
static void pbt_says(const char *text, int status)
{
	char *path = xasprintf("%s/proxmox-boot-tool", commands);
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "#!/bin/sh\ncat <<'EOF'\n%s\nEOF\nexit %d\n", text, status);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	free(path);
}

/* --- detection -------------------------------------------------------------- */

#define BOOTED "System currently booted with uefi\n"

static const struct {
	const char *uuids;	/* NULL: no such file */
	const char *status;	/* NULL: no proxmox-boot-tool */
	int rc;
	const char *files;	/* made empty, separated by blanks */
	bool found, grub, cmdline_file, pbt, kernel_install, guessed;
	const char *name;
} hosts[] = {
	{ NULL, NULL, 0, "/usr/sbin/update-grub /etc/default/grub",
	  true, true, false, false, false, false, "GRUB" },
	{ NULL, NULL, 0, "/usr/sbin/update-grub /boot/grub/grub.cfg",
	  true, true, false, false, false, false, "GRUB" },
	/* a left-over of either says nothing */
	{ NULL, NULL, 0, "/etc/kernel/cmdline", false, false, false, false, false, false,
	  "none known" },
	{ NULL, NULL, 0, "/usr/sbin/update-grub", false, false, false, false, false, false,
	  "none known" },
	{ NULL, NULL, 0, "/usr/bin/kernel-install", false, false, false, false, false, false,
	  "none known" },
	{ NULL, "E: /etc/kernel/proxmox-boot-uuids does not exist.", 1,
	  "/usr/sbin/update-grub /etc/default/grub /etc/kernel/cmdline /usr/sbin/proxmox-boot-tool",
	  true, true, false, false, false, false, "GRUB" },
	{ "", "E: nothing", 1, "/usr/sbin/update-grub /etc/default/grub",
	  true, true, false, false, false, false, "GRUB" },
	{ "8357-FBD5\n", BOOTED "8357-FBD5 is configured with: uefi (versions: 6.8.12-1-pve)", 0,
	  "/usr/sbin/update-grub /etc/default/grub",
	  true, false, true, true, false, false, "systemd-boot by proxmox-boot-tool" },
	{ "8357-FBD5\n", "8357-FBD5 is configured with: grub (versions: 6.8.12-1-pve)", 0,
	  "/etc/kernel/cmdline",
	  true, true, false, true, false, false, "GRUB by proxmox-boot-tool" },
	{ "8357-FBD5\n", BOOTED "8357-FBD5 is configured with: uefi (versions: 6.8), grub (versions: 6.8)",
	  0, "", true, true, true, true, false, false, "systemd-boot and GRUB by proxmox-boot-tool" },
	{ "8357-FBD5\n8358-0000\n",
	  "8357-FBD5 is configured with: uefi (versions: 6.8)\n"
	  "8358-0000 is configured with: grub (versions: 6.8)", 0, "",
	  true, true, true, true, false, false, "systemd-boot and GRUB by proxmox-boot-tool" },
	/* one ESP is gone: what is said of the other counts */
	{ "8357-FBD5\n8358-0000\n",
	  "WARN: /dev/disk/by-uuid/8358-0000 does not exist - clean - skipping\n"
	  "8357-FBD5 is configured with: uefi (versions: 6.8)", 2, "",
	  true, false, true, true, false, false, "systemd-boot by proxmox-boot-tool" },
	{ "8357-FBD5\n", "WARN: skipping", 0, "", true, true, true, true, false, true,
	  "systemd-boot and GRUB by proxmox-boot-tool" },
	{ "8357-FBD5\n", NULL, 0, "", true, true, true, true, false, true,
	  "systemd-boot and GRUB by proxmox-boot-tool" },
	{ NULL, NULL, 0, "/usr/bin/kernel-install /boot/efi/loader/entries/a-6.1.conf",
	  true, false, true, false, true, false, "systemd-boot by kernel-install" },
	{ NULL, NULL, 0, "/usr/bin/kernel-install /efi/loader/entries/a-6.1.conf",
	  true, false, true, false, true, false, "systemd-boot by kernel-install" },
	{ NULL, NULL, 0, "/usr/bin/kernel-install /boot/loader/entries/a-6.1.conf "
	  "/usr/sbin/update-grub /etc/default/grub",
	  true, true, true, false, true, true, "systemd-boot by kernel-install and GRUB" },
};

static void make_files(const char *list)
{
	while (*list) {
		size_t len = strcspn(list, " ");
		char *path = xstrndup(list, len);

		testroot_file(path, "");
		free(path);
		list += len + strspn(list + len, " ");
	}
}

START_TEST(test_detect)
{
	struct bootloader b;
	int rc;

	if (hosts[_i].uuids)
		testroot_file("/etc/kernel/proxmox-boot-uuids", hosts[_i].uuids);
	if (hosts[_i].status)
		pbt_says(hosts[_i].status, hosts[_i].rc);
	make_files(hosts[_i].files);
	rc = bootloader_detect(&b);
	ck_assert_int_eq(rc, hosts[_i].found ? 0 : -ENOENT);
	ck_assert_str_eq(b.name, hosts[_i].name);
	ck_assert_ptr_nonnull(b.evidence);
	ck_assert_int_eq(b.grub, hosts[_i].grub);
	ck_assert_int_eq(b.cmdline_file, hosts[_i].cmdline_file);
	ck_assert_int_eq(b.pbt, hosts[_i].pbt);
	ck_assert_int_eq(b.kernel_install, hosts[_i].kernel_install);
	ck_assert_int_eq(b.guessed, hosts[_i].guessed);
	/* Only where all are skipped is none there. */
	ck_assert_int_eq(b.no_esp, hosts[_i].status && strcmp(hosts[_i].status, "WARN: skipping") == 0);
	bootloader_done(&b);
}
END_TEST

/* What the loader says of itself decides between two that are installed. */
static const struct {
	const char *info;
	bool grub, entries;
} running[] = {
	{ "systemd-boot 252.38-1", false, true },
	{ "GRUB 2.12-9", true, false },
	{ "other", true, true },
};

START_TEST(test_running)
{
	char data[128] = { 7, 0, 0, 0 };
	size_t len = 4;
	struct bootloader b;

	for (const char *s = running[_i].info; *s; s++, len += 2)
		data[len] = *s;
	testroot_data("/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
		      data, len);
	make_files("/usr/bin/kernel-install /boot/efi/loader/entries/a-6.1.conf "
		   "/usr/sbin/update-grub /etc/default/grub");
	ck_assert_int_eq(bootloader_detect(&b), 0);
	ck_assert_int_eq(b.grub, running[_i].grub);
	ck_assert_int_eq(b.kernel_install, running[_i].entries);
	bootloader_done(&b);
}
END_TEST

/* --- commands ----------------------------------------------------------------- */

static char *commands_of(const struct bootloader *b)
{
	struct hostcmds cmds = { 0 };
	char *all = xstrdup("");

	bootloader_initramfs_commands(&cmds);
	bootloader_commands(b, &cmds);
	for (size_t i = 0; i < cmds.n; i++) {
		char *one = hostcmd_text(&cmds.argv[i]), *old = all;

		all = xasprintf("%s%s\n", old, one);
		free(old);
		free(one);
	}
	hostcmds_done(&cmds);
	return all;
}

START_TEST(test_commands)
{
	const struct bootloader grub = { .grub = true },
				pbt = { .pbt = true, .grub = true },
				sd = { .cmdline_file = true, .kernel_install = true };
	char *text = commands_of(&grub);

	ck_assert_str_eq(text, "/usr/sbin/update-grub\n");
	free(text);
	make_files("/usr/bin/dracut");
	text = commands_of(&pbt);
	ck_assert_str_eq(text, "/usr/bin/dracut --regenerate-all --force\n"
			       "/usr/sbin/proxmox-boot-tool refresh\n");
	free(text);
	make_files("/usr/sbin/update-initramfs /boot/vmlinuz-6.1.0-9 /boot/initrd.img-6.1.0-9 "
		   "/boot/vmlinuz-6.1.0-10 /boot/vmlinuz-gone /lib/modules/6.1.0-9/x "
		   "/lib/modules/6.1.0-10/x");
	text = commands_of(&sd);
	ck_assert_str_eq(text, "/usr/sbin/update-initramfs -u -k all\n"
			       "/usr/bin/kernel-install add 6.1.0-9 /boot/vmlinuz-6.1.0-9 "
			       "/boot/initrd.img-6.1.0-9\n"
			       "/usr/bin/kernel-install add 6.1.0-10 /boot/vmlinuz-6.1.0-10\n");
	free(text);
	/* Without stand-ins nothing of another root is run. */
	unsetenv("PVE_GPU_COMMANDS");
	ck_assert(!hostcmd_are_run());
	text = commands_of(&grub);
	ck_assert_ptr_nonnull(strstr(text, " /usr/sbin/update-grub\n"));
	ck_assert_int_eq(strncmp(text, "chroot /tmp/testroot.", 21), 0);
	free(text);
}
END_TEST

/* proxmox-boot-tool ends well when it skips an ESP. */
static const struct {
	const char *text;
	int status, result;
} refreshes[] = {
	{ "Copying and configuring kernels on /dev/disk/by-uuid/8357-FBD5", 0, 0 },
	{ "WARN: /dev/disk/by-uuid/8357-FBD5 does not exist - skipping", 0, HOSTCMD_SKIPPED },
	{ "WARN: /dev/disk/by-uuid/1 does not exist - skipping\n"
	  "Copying and configuring kernels on /dev/disk/by-uuid/2", 0, 0 },
	{ "Copying and configuring kernels", 3, 3 },
};

START_TEST(test_refresh)
{
	char *words[] = { (char *)BOOTLOADER_PBT, (char *)"refresh" };
	const struct strlist argv = { words, 2, 0 };

	pbt_says(refreshes[_i].text, refreshes[_i].status);
	ck_assert_int_eq(hostcmd_run(&argv), refreshes[_i].result);
}
END_TEST

/* --- GRUB's files --------------------------------------------------------------- */

static const struct {
	const char *file, *dropin;	/* dropin: zz.cfg, read after ours */
	const char *always, *normal;
	bool unclear;
	const char *reset;
} grubs[] = {
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\nGRUB_CMDLINE_LINUX=\"\"\n", NULL,
	  "", "quiet splash", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT='quiet'\nGRUB_CMDLINE_LINUX=a\\ b\n", NULL,
	  "a b", "quiet", false, NULL },
	{ "#GRUB_CMDLINE_LINUX_DEFAULT=x\n  GRUB_CMDLINE_LINUX_DEFAULT=a # b\n", NULL,
	  "", "a", false, NULL },
	{ "export GRUB_CMDLINE_LINUX_DEFAULT=a\nGRUB_CMDLINE_LINUX_DEFAULT+=\" b\"\n", NULL,
	  "", "a b", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"a\"'b'c\n", NULL, "", "abc", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"a \\\nb\"\n", NULL, "", "a b", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=a\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX_DEFAULT c\"\n", NULL,
	  "a c", "a", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"${GRUB_CMDLINE_LINUX_DEFAULT} a\"\n", NULL,
	  "", " a", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"a $(cat x)\"\n", NULL, "", "a (cat x)", true, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"a `x`\"\n", NULL, "", "a `x`", true, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"a $OTHER b\"\n", NULL, "", "a  b", true, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULTS=a\nGRUB_CMDLINE_LINUX_XEN=b\n", NULL, "", "", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\r\nGRUB_TIMEOUT=5\r\n", NULL, "", "quiet", false,
	  NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=a", NULL, "", "a", false, NULL },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=a\n", "x=1\nGRUB_CMDLINE_LINUX_DEFAULT=b\n", "", "b", false,
	  "/etc/default/grub.d/zz.cfg:2" },
	{ "GRUB_CMDLINE_LINUX_DEFAULT=a\n", "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT b\"\n",
	  "", "a b", false, NULL },
	{ NULL, NULL, "", "", false, NULL },
};

START_TEST(test_grubconf)
{
	struct grubconf g;

	if (grubs[_i].file)
		testroot_file("/etc/default/grub", grubs[_i].file);
	if (grubs[_i].dropin)
		testroot_file("/etc/default/grub.d/zz.cfg", grubs[_i].dropin);
	testroot_file("/etc/default/grub.d/read.not", "GRUB_CMDLINE_LINUX_DEFAULT=no\n");
	ck_assert_int_eq(grubconf_read(false, &g), 0);
	ck_assert_str_eq(g.always, grubs[_i].always);
	ck_assert_str_eq(g.normal, grubs[_i].normal);
	ck_assert_int_eq(g.unclear, grubs[_i].unclear);
	if (grubs[_i].reset)
		ck_assert_str_eq(g.reset, grubs[_i].reset);
	else
		ck_assert_ptr_null(g.reset);
	grubconf_done(&g);
}
END_TEST

/* Our own file does what a shell makes of it. */
START_TEST(test_dropin)
{
	struct strlist words = { 0 };
	struct grubconf g;
	char *text, *command;

	strlist_add(&words, "intel_iommu=on");
	strlist_add(&words, "a=~!*#?[1]");
	text = grubconf_dropin(&words);
	testroot_file(GRUBCONF_DROPIN, text);
	testroot_file("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n");
	ck_assert_int_eq(grubconf_read(false, &g), 0);
	ck_assert_str_eq(g.normal, "quiet intel_iommu=on a=~!*#?[1]");
	ck_assert(grubconf_has(&g, "intel_iommu=on"));
	ck_assert_ptr_null(g.reset);
	grubconf_done(&g);
	ck_assert_int_eq(grubconf_read(true, &g), 0);
	ck_assert_str_eq(g.normal, "quiet");
	grubconf_done(&g);
	command = xasprintf("cd '%s/etc/default' && set -eu && . ./grub && . ./grub.d/pve-gpu-utils.cfg && "
			    "[ \"$GRUB_CMDLINE_LINUX_DEFAULT\" = 'quiet intel_iommu=on a=~!*#?[1]' ]",
			    testroot);
	ck_assert_int_eq(system(command), 0);
	free(command);
	free(text);
	strlist_done(&words);
}
END_TEST

/* --- how far a word has come -------------------------------------------------------- */

static const char grub_cfg[] =
	"menuentry 'Debian' {\n"
	"	linux	/vmlinuz-6.1 root=/dev/sda1 ro quiet %s\n"
	"}\n"
	"menuentry 'recovery' {\n"
	"	linux	/vmlinuz-6.1 root=/dev/sda1 ro single\n"
	"}\n";

START_TEST(test_word_grub)
{
	const struct bootloader b = { .grub = true };
	char *with = xasprintf(grub_cfg, "a=1"), *without = xasprintf(grub_cfg, "");
	struct bootword w;

	bootloader_word(&b, "a=1", &w);
	ck_assert(!w.configured && !w.staged_known && !w.staged && !w.active);
	testroot_file("/etc/default/grub", "GRUB_CMDLINE_LINUX=a=1\n");
	testroot_file("/boot/grub/grub.cfg", without);
	testroot_file("/proc/cmdline", "root=/dev/sda1 a=1,2\n");
	bootloader_word(&b, "a=1", &w);
	ck_assert(w.configured && w.staged_known && !w.staged && !w.active);
	testroot_file("/boot/grub/grub.cfg", with);
	testroot_file("/proc/cmdline", "root=/dev/sda1 a=1\n");
	bootloader_word(&b, "a=1", &w);
	ck_assert(w.configured && w.staged && w.active);
	free(with);
	free(without);
}
END_TEST

START_TEST(test_word_pbt)
{
	const struct bootloader b = { .grub = true, .cmdline_file = true, .pbt = true };
	struct bootword w;
	char *text;

	testroot_file("/etc/kernel/cmdline", "root=ZFS=rpool a=1\n");
	testroot_file("/boot/grub/grub.cfg", "linux /vmlinuz root=x a=1\n");
	bootloader_word(&b, "a=1", &w);
	/* GRUB has it not, and /boot's grub.cfg is not the one that counts. */
	ck_assert(!w.configured && !w.staged_known);
	testroot_file("/etc/default/grub.d/x.cfg", "GRUB_CMDLINE_LINUX_DEFAULT=a=1\n");
	testroot_file("/var/tmp/espmounts/8357-FBD5/loader/entries/proxmox-6.8.4-2-pve.conf",
		      "title Proxmox\noptions root=ZFS=rpool\n");
	testroot_file("/var/tmp/espmounts/8357-FBD5/loader/entries/proxmox-6.8.12-1-pve.conf",
		      "title Proxmox\noptions  root=ZFS=rpool a=1\n");
	bootloader_word(&b, "a=1", &w);
	ck_assert(w.configured && w.staged_known && w.staged && !w.active);
	testroot_file("/var/tmp/espmounts/8357-FBD5/grub/grub.cfg", "\tlinux /v root=x\n");
	bootloader_word(&b, "a=1", &w);
	ck_assert(w.configured && w.staged_known && !w.staged);
	text = bootloader_configured(&b);
	ck_assert_str_eq(text, "root=ZFS=rpool a=1\n");
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bootloader");
	TCase *tc = tcase_create("bootloader");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_detect, 0, (int)ARRAY_SIZE(hosts));
	tcase_add_loop_test(tc, test_running, 0, (int)ARRAY_SIZE(running));
	tcase_add_test(tc, test_commands);
	tcase_add_loop_test(tc, test_refresh, 0, (int)ARRAY_SIZE(refreshes));
	tcase_add_loop_test(tc, test_grubconf, 0, (int)ARRAY_SIZE(grubs));
	tcase_add_test(tc, test_dropin);
	tcase_add_test(tc, test_word_grub);
	tcase_add_test(tc, test_word_pbt);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
