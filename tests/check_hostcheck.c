/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testhost.h"

#include <sysexits.h>

#include "host/hostcheck.h"

static struct setup_request request;
static struct cards cards;
static struct artifacts plan;
static struct bootloader loader;
static struct hostcheck hc;

static void setup(void)
{
	testroot_setup();
	testhost_board();
	testroot_file("/proc/interrupts", "  1:  9  IR-IO-APIC    1-edge  i8042\n");
	request = (struct setup_request){ 0 };
	loader = (struct bootloader){ 0 };
	hc = (struct hostcheck){ 0 };
}

static void teardown(void)
{
	testroot_teardown();
}

static void run(const char *gpu, bool applied)
{
	char *error = NULL;

	request.force = true;
	if (gpu)
		strlist_add(&request.gpus, gpu);
	ck_assert_int_eq(cards_find(&request, &cards, &error), 0);
	ck_assert_int_eq(artifacts_plan(&request, &cards, &plan, &error), 0);
	if (applied)
		for (size_t i = 0; i < plan.files.n; i++)
			testroot_file(plan.files.f[i].path, plan.files.f[i].data);
	bootloader_detect(&loader);
	hostcheck_run(&hc, &(struct hostcheck_input){ &cards, &plan, &loader, applied });
}

static void done(void)
{
	hostcheck_done(&hc);
	bootloader_done(&loader);
	artifacts_done(&plan);
	cards_done(&cards);
	request_done(&request);
}

/* A line that has all of these parts; NULL parts match. */
static const struct hostcheck_line *find(enum hostcheck_level level, const char *topic,
					 const char *what, const char *how)
{
	for (size_t i = 0; i < hc.n; i++) {
		const struct hostcheck_line *l = &hc.lines[i];

		if (l->level == level && strcmp(l->topic, topic) == 0 &&
		    strstr(l->what, what) && (!how || (l->how && strstr(l->how, how))))
			return l;
	}
	return NULL;
}

static void print(void)
{
	for (size_t i = 0; i < hc.n; i++)
		fprintf(stderr, "%s %s %s | %s\n", hostcheck_level_name(hc.lines[i].level),
			hc.lines[i].topic, hc.lines[i].what, hc.lines[i].how ? hc.lines[i].how : "");
}

static void expect(enum hostcheck_level level, const char *topic, const char *what,
		   const char *how)
{
	if (!find(level, topic, what, how))
		print();
	ck_assert_msg(find(level, topic, what, how) != NULL, "no line \"%s %s %s\"",
		      hostcheck_level_name(level), topic, what);
}

static void expect_not(const char *topic)
{
	for (size_t i = 0; i < hc.n; i++)
		ck_assert_str_ne(hc.lines[i].topic, topic);
}

/* The host as it is when all is done and booted. */
static void boot(void)
{
	static const char *const modules[] = { "vfio", "vfio_iommu_type1", "vfio_pci" };

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		char *path = xasprintf("/sys/module/%s", modules[i]);

		testroot_dir(path);
		free(path);
	}
	for (int i = 0; i < 2; i++) {
		char *link = xasprintf("%s/sys/devices/pci0000:00/0000:01:00.%d/driver",
				       testroot, i), *addr = xasprintf("0000:01:00.%d", i);

		ck_assert_int_eq(unlink(link), 0);
		testroot_driver(addr, "vfio-pci");
		free(addr);
		free(link);
	}
}

START_TEST(order_of_the_topics)
{
	static const char *const order[] = {
		"iommu", "interrupts", "group", "driver", "claim", "display", "modules", "boot",
		"acs", "secure-boot",
	};
	size_t at = 0;

	run("01:00.0", false);
	for (size_t i = 0; i < hc.n; i++) {
		while (strcmp(order[at], hc.lines[i].topic) != 0)
			ck_assert_uint_lt(++at, ARRAY_SIZE(order));
	}
	ck_assert_uint_eq(at, ARRAY_SIZE(order) - 1);
	ck_assert_int_eq(hostcheck_exit(&hc), 1);
	done();
}
END_TEST

START_TEST(before_and_after)
{
	run("01:00.0", false);
	expect(HOSTCHECK_OK, "iommu", "dmar0", NULL);
	expect(HOSTCHECK_OK, "interrupts", "remapped", NULL);
	expect(HOSTCHECK_OK, "group", "14 holds 0000:01:00.0, 0000:01:00.1", NULL);
	expect(HOSTCHECK_TODO, "driver", "0000:01:00.0 is on nouveau", "vfio-setup apply, then reboot");
	expect(HOSTCHECK_TODO, "claim", "0000:01:00.0: taken at boot by nouveau, nvidiafb", "apply");
	expect(HOSTCHECK_TODO, "claim", "0000:01:00.1: taken at boot by snd_hda_intel", "apply");
	expect(HOSTCHECK_OK, "display", "0000:01:00.0 is not the boot display", NULL);
	expect(HOSTCHECK_TODO, "modules", "vfio_pci: not loaded", "apply");
	ck_assert_int_eq(hostcheck_exit(&hc), 1);
	done();
	run("01:00.0", true);
	expect(HOSTCHECK_TODO, "driver", "0000:01:00.0 is on nouveau", "reboot");
	expect(HOSTCHECK_OK, "claim", "0000:01:00.0: vfio-pci takes it by its ids before nouveau, nvidiafb",
	       NULL);
	expect(HOSTCHECK_OK, "claim", "0000:01:00.1: vfio-pci takes it by its ids before snd_hda_intel",
	       NULL);
	ck_assert_int_eq(hostcheck_exit(&hc), 1);
	done();
	boot();
	run("01:00.0", true);
	expect(HOSTCHECK_OK, "driver", "0000:01:00.0 is on vfio-pci", NULL);
	expect(HOSTCHECK_OK, "modules", "vfio_pci: loaded", NULL);
	ck_assert_int_eq(hostcheck_exit(&hc), EX_OK);
	done();
}
END_TEST

START_TEST(the_host_alone)
{
	run(NULL, false);
	expect(HOSTCHECK_OK, "modules", "vfio_pci: there, not loaded", NULL);
	expect_not("driver");
	expect_not("claim");
	expect_not("group");
	ck_assert_int_eq(hostcheck_exit(&hc), EX_OK);
	done();
}
END_TEST

static void testroot_unlink(const char *path)
{
	char *full = testroot_path(path);

	ck_assert_int_eq(remove(full), 0);
	free(full);
}

static const struct {
	const char *cmdline, *config, *table, *cpu;
	enum hostcheck_level level;
	const char *what, *how;
} iommus[] = {
	{ "quiet", "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n", NULL, "GenuineIntel",
	  HOSTCHECK_FAIL, "none at work", "VT-d" },
	{ "quiet", "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n", NULL, "AuthenticAMD",
	  HOSTCHECK_FAIL, "none at work", "AMD-Vi" },
	{ "quiet", "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n", "APIC", "GenuineIntel",
	  HOSTCHECK_FAIL, "the firmware describes none", "VT-d" },
	{ "intel_iommu=off", "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n", "DMAR", "GenuineIntel",
	  HOSTCHECK_TODO, "switched off by intel_iommu=off", "take the word" },
	{ "iommu=off", "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n", NULL, "AuthenticAMD",
	  HOSTCHECK_TODO, "switched off by iommu=off", "take the word" },
	{ "quiet", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n", "DMAR", "GenuineIntel",
	  HOSTCHECK_TODO, "needs intel_iommu=on", "apply" },
	{ "quiet intel_iommu=on", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n", NULL,
	  "GenuineIntel", HOSTCHECK_FAIL, "none at work", "VT-d" },
};

START_TEST(no_iommu_at_work)
{
	char *cpu = xasprintf("vendor_id\t: %s\n", iommus[_i].cpu);
	char *table = xasprintf("/sys/firmware/acpi/tables/%s", iommus[_i].table ?
				iommus[_i].table : "");

	testroot_unlink("/sys/class/iommu/dmar0");
	testroot_file("/usr/sbin/update-grub", "");
	testroot_file("/etc/default/grub", "");
	testroot_file("/proc/cpuinfo", cpu);
	testroot_file("/proc/cmdline", iommus[_i].cmdline);
	testroot_file("/boot/config-6.8.12-1-pve", iommus[_i].config);
	if (iommus[_i].table)
		testroot_file(table, "");
	run("01:00.0", false);
	expect(iommus[_i].level, "iommu", iommus[_i].what, iommus[_i].how);
	expect_not("interrupts");
	expect_not("group");
	ck_assert_int_eq(hostcheck_exit(&hc),
			 iommus[_i].level == HOSTCHECK_FAIL ? EX_UNAVAILABLE : 1);
	done();
	free(cpu);
	free(table);
}
END_TEST

static const struct {
	const char *interrupts, *modprobe;
	enum hostcheck_level level;
	const char *what;
} interrupts[] = {
	{ " 24: 0 PCI-MSI 512-edge nvme0q0\n", NULL, HOSTCHECK_FAIL, "not remapped" },
	{ " 24: 0 PCI-MSI 512-edge nvme0q0\n",
	  "options vfio_iommu_type1 allow_unsafe_interrupts=1\n", HOSTCHECK_WARN, "not remapped; allowed" },
	{ " 24: 0 IR-PCI-MSIX-0000:01:00.0 0-edge nvme0q0\n", NULL, HOSTCHECK_OK, "remapped" },
	{ "LOC: 1 Local timer interrupts\n", NULL, HOSTCHECK_WARN, "cannot tell" },
};

START_TEST(interrupts_remapped)
{
	testroot_file("/proc/interrupts", interrupts[_i].interrupts);
	if (interrupts[_i].modprobe)
		testroot_file("/etc/modprobe.d/unsafe.conf", interrupts[_i].modprobe);
	run("01:00.0", false);
	expect(interrupts[_i].level, "interrupts", interrupts[_i].what, NULL);
	done();
}
END_TEST

static const struct {
	const char *class, *driver;
	enum hostcheck_level level;
	const char *what;
} mates[] = {
	{ "010802", "nvme", HOSTCHECK_FAIL, "14 holds 0000:06:00.0 (disk, driver nvme), too" },
	{ "020000", "igc", HOSTCHECK_FAIL, "0000:06:00.0 (network card, driver igc)" },
	{ "0c0330", "xhci_hcd", HOSTCHECK_WARN, "0000:06:00.0 (USB controller" },
	{ "010802", NULL, HOSTCHECK_OK, "14 holds 0000:01:00.0, 0000:01:00.1 and nothing of the host" },
	{ "010802", "vfio-pci", HOSTCHECK_OK, "14 holds 0000:01:00.0, 0000:01:00.1" },
};

START_TEST(members_of_the_group)
{
	testhost_function("0000:06:00.0", mates[_i].class, "144d:a80a", "144d:a801",
			  mates[_i].driver, 14);
	run("01:00.0", false);
	expect(mates[_i].level, "group", mates[_i].what, NULL);
	ck_assert_int_eq(hostcheck_exit(&hc),
			 mates[_i].level == HOSTCHECK_FAIL ? EX_UNAVAILABLE : 1);
	done();
}
END_TEST

START_TEST(no_group)
{
	testhost_function("0000:07:00.0", "030000", "1002:73bf", "1458:2315", "amdgpu", -1);
	run("07:00.0", false);
	expect(HOSTCHECK_FAIL, "group", "0000:07:00.0 is in none", "another slot");
	done();
	/* Debian: on, but for the processor's graphics. */
	testroot_file("/boot/config-6.8.12-1-pve", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n"
		      "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n");
	testroot_unlink("/sys/devices/pci0000:00/0000:00:02.0/iommu_group");
	run("00:02.0", false);
	expect(HOSTCHECK_TODO, "group", "0000:00:02.0 is in none without intel_iommu=on", "apply");
	done();
}
END_TEST

START_TEST(others_set_ids_again)
{
	testroot_file("/etc/modprobe.d/vfio.conf", "# mine\noptions vfio-pci ids=144d:a80a,8086:7ad0\n");
	run("01:00.0", true);
	expect(HOSTCHECK_OK, "claim", "0000:01:00.0: vfio-pci takes it by its slot", NULL);
	expect(HOSTCHECK_WARN, "claim", "0000:00:1f.3: vfio-pci takes it as well, by /etc/modprobe.d/vfio.conf:2",
	       NULL);
	done();
}
END_TEST

START_TEST(an_equal_card_by_its_slot)
{
	testhost_twin();
	testroot_file("/etc/modprobe.d/vfio.conf", "options vfio-pci ids=10de:2204\n");
	run("65:00.0", false);
	expect(HOSTCHECK_TODO, "claim", "0000:65:00.0: taken at boot by", "apply");
	expect(HOSTCHECK_WARN, "claim", "0000:01:00.0: vfio-pci takes it as well", NULL);
	done();
	run("65:00.0", true);
	expect(HOSTCHECK_OK, "claim", "0000:65:00.0: vfio-pci takes it by its slot", NULL);
	done();
}
END_TEST

START_TEST(driverctl_has_a_say)
{
	testroot_file("/etc/driverctl.d/pci-0000:01:00.0", "nouveau\n");
	testroot_file("/etc/driverctl.d/pci-0000:01:00.1", "vfio-pci\n");
	run("01:00.0", true);
	expect(HOSTCHECK_TODO, "claim", "driverctl gives it to nouveau",
	       "driverctl unset-override 0000:01:00.0");
	expect(HOSTCHECK_OK, "claim", "0000:01:00.1: driverctl gives it to vfio-pci", NULL);
	done();
}
END_TEST

START_TEST(a_driver_in_the_kernel_itself)
{
	testhost_kernel("6.8.12-1-pve", TESTHOST_VFIO "+nouveau alias=pci:v000010DEd*sv*sd*bc03sc*i*\n");
	run("01:00.0", true);
	expect(HOSTCHECK_WARN, "driver", "0000:01:00.0 is on nouveau", "built into the kernel");
	expect(HOSTCHECK_WARN, "claim",
	       "0000:01:00.0: nouveau is built into the kernel and comes before vfio-pci", NULL);
	done();
}
END_TEST

START_TEST(virtual_functions)
{
	testroot_attribute("0000:01:00.0", "sriov_numvfs", "2\n");
	testroot_attribute("0000:01:00.0", "sriov_totalvfs", "8\n");
	run("01:00.0", false);
	expect(HOSTCHECK_TODO, "driver", "0000:01:00.0 has 2 virtual functions",
	       "echo 0 > /sys/bus/pci/devices/0000:01:00.0/sriov_numvfs");
	done();
}
END_TEST

static const struct {
	const char *iomem, *cmdline, *boot_vga;
	enum hostcheck_level level;
	const char *what, *how;
} displays[] = {
	{ "      6000000000-60007e8fff : BOOTFB\n", "quiet", "1\n",
	  HOSTCHECK_TODO, "framebuffer (BOOTFB) is in BAR 1", "apply" },
	{ "      6000000000-60007e8fff : simplefb\n", "quiet", "0\n",
	  HOSTCHECK_TODO, "framebuffer (simplefb) is in BAR 1", "--cmdline initcall_blacklist=sysfb_init" },
	{ "      6000000000-60007e8fff : BOOTFB\n", "initcall_blacklist=sysfb_init", "1\n",
	  HOSTCHECK_WARN, "in spite of", "first display" },
	{ "      7000000000-70007e8fff : BOOTFB\n", "quiet", "1\n",
	  HOSTCHECK_WARN, "is the boot display", NULL },
	/* What others than root see. */
	{ "      00000000-00000000 : BOOTFB\n", "quiet", "0\n",
	  HOSTCHECK_OK, "is not the boot display", NULL },
};

START_TEST(the_boot_display)
{
	testroot_attribute("0000:01:00.0", "boot_vga", displays[_i].boot_vga);
	testroot_attribute("0000:01:00.0", "resource",
			   "0x0000000081000000 0x0000000081ffffff 0x0000000000040200\n"
			   "0x0000006000000000 0x000000600fffffff 0x000000000014220c\n"
			   "0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
	testroot_file("/proc/iomem", displays[_i].iomem);
	testroot_file("/proc/cmdline", displays[_i].cmdline);
	run("01:00.0", false);
	expect(displays[_i].level, "display", displays[_i].what, displays[_i].how);
	done();
}
END_TEST

static const struct {
	const char *ids, *resize;
	enum hostcheck_level level;
	const char *what;
} bars[] = {
	{ "8086:56a0", "0000000000007f00\n", HOSTCHECK_WARN, "BAR 1 has 256 of 16384 MiB" },
	{ "1002:73bf", "0000000000007f00\n", HOSTCHECK_OK, "BAR 1 has 256 of 16384 MiB" },
	{ "8086:56a0", "0000000000000100\n", HOSTCHECK_OK, "BAR 1 has its largest size (256 MiB)" },
};

START_TEST(resizable_bars)
{
	testhost_function("0000:07:00.0", "030000", bars[_i].ids, "8086:1020", NULL, 30);
	testroot_attribute("0000:07:00.0", "resource",
			   "0x0000000081000000 0x0000000081ffffff 0x0000000000040200\n"
			   "0x0000006000000000 0x000000600fffffff 0x000000000014220c\n");
	testroot_attribute("0000:07:00.0", "resource1_resize", bars[_i].resize);
	run("07:00.0", false);
	expect(bars[_i].level, "bar", bars[_i].what, NULL);
	done();
}
END_TEST

START_TEST(modules_that_are_missing)
{
	testhost_kernel("6.9.0-1-pve", "vfio\n+vfio_iommu_type1\n" TESTHOST_DRIVERS);
	testroot_file("/proc/sys/kernel/osrelease", "6.9.0-1-pve\n");
	testroot_file("/etc/modules", "# x\nvfio\nvfio-virqfd\n");
	run("01:00.0", false);
	expect(HOSTCHECK_FAIL, "modules", "vfio_pci: not in kernel 6.9.0-1-pve", NULL);
	expect(HOSTCHECK_OK, "modules", "vfio_iommu_type1: built into the kernel", NULL);
	expect(HOSTCHECK_WARN, "modules", "/etc/modules:3: vfio_virqfd is no module since Linux 6.2", NULL);
	ck_assert_int_eq(hostcheck_exit(&hc), EX_UNAVAILABLE);
	done();
}
END_TEST

START_TEST(virqfd_of_an_old_kernel)
{
	testhost_kernel("6.1.0-37-amd64", TESTHOST_VFIO "vfio_virqfd\n");
	testroot_file("/proc/sys/kernel/osrelease", "6.1.0-37-amd64\n");
	testroot_file("/etc/modules", "vfio_virqfd\n");
	run("01:00.0", false);
	ck_assert_ptr_null(find(HOSTCHECK_WARN, "modules", "vfio_virqfd", NULL));
	done();
}
END_TEST

START_TEST(age_of_the_initramfs)
{
	const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	char *path;

	testroot_file("/boot/initrd.img-6.8.12-1-pve", "x");
	path = testroot_path("/boot/initrd.img-6.8.12-1-pve");
	ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
	run("01:00.0", true);
	expect(HOSTCHECK_TODO, "initramfs",
	       "/boot/initrd.img-6.8.12-1-pve is older than /etc/modprobe.d/pve-gpu-utils.conf",
	       "update-initramfs -u -k all");
	done();
	run("01:00.0", true);		/* written again, then the initramfs made */
	ck_assert_int_eq(utimensat(AT_FDCWD, path, NULL, 0), 0);
	hostcheck_done(&hc);
	hostcheck_run(&hc, &(struct hostcheck_input){ &cards, &plan, &loader, true });
	expect(HOSTCHECK_OK, "initramfs", "is newer than what was applied", NULL);
	done();
	free(path);
}
END_TEST

START_TEST(words_of_the_loader)
{
	testroot_file("/usr/sbin/update-grub", "");
	testroot_file("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet iommu=pt\"\n");
	testroot_file("/boot/grub/grub.cfg",
		      "menuentry 'x' {\n\tlinux /vmlinuz-6.8.12-1-pve root=/dev/sda1 ro quiet iommu=pt\n}\n");
	testroot_file("/proc/cmdline", "root=/dev/sda1 ro quiet acpi=x nomodeset video=efifb:off amd_iommu=on pcie_acs_override=downstream\n");
	strlist_add(&request.cmdline, "iommu=pt");
	strlist_add(&request.cmdline, "acpi=x");
	run("01:00.0", false);
	expect(HOSTCHECK_OK, "boot", "GRUB", NULL);
	expect(HOSTCHECK_TODO, "boot", "iommu=pt: staged, not active", "reboot");
	expect(HOSTCHECK_TODO, "boot", "acpi=x: not configured, active only until", "apply");
	expect(HOSTCHECK_WARN, "cmdline", "amd_iommu=on means nothing", NULL);
	expect(HOSTCHECK_WARN, "cmdline", "video=efifb:off has no effect", NULL);
	expect(HOSTCHECK_WARN, "cmdline", "nomodeset", NULL);
	expect(HOSTCHECK_WARN, "acs", "pcie_acs_override=downstream", NULL);
	done();
}
END_TEST

START_TEST(no_loader)
{
	strlist_add(&request.cmdline, "iommu=pt");
	run("01:00.0", false);
	expect(HOSTCHECK_FAIL, "boot", "no boot loader", NULL);
	done();
	run("01:00.0", false);
	expect(HOSTCHECK_WARN, "boot", "no boot loader", NULL);
	done();
}
END_TEST

START_TEST(secure_boot)
{
	testroot_data("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
		      "\6\0\0\0\1", 5);
	run(NULL, false);
	expect(HOSTCHECK_WARN, "secure-boot", "Secure Boot is on", NULL);
	done();
	testroot_data("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
		      "\6\0\0\0\0", 5);
	run(NULL, false);
	expect(HOSTCHECK_OK, "secure-boot", "neither", NULL);
	done();
	testroot_file("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	run(NULL, false);
	expect(HOSTCHECK_WARN, "secure-boot", "locked down", NULL);
	done();
}
END_TEST

START_TEST(exit_codes)
{
	ck_assert_int_eq(hostcheck_exit(&hc), EX_OK);
	hostcheck_add(&hc, HOSTCHECK_WARN, "x", xstrdup("w"), NULL);
	ck_assert_int_eq(hostcheck_exit(&hc), EX_OK);
	hostcheck_add(&hc, HOSTCHECK_TODO, "x", xstrdup("t"), NULL);
	ck_assert_int_eq(hostcheck_exit(&hc), 1);
	hostcheck_add(&hc, HOSTCHECK_FAIL, "x", xstrdup("f"), xstrdup("h"));
	hostcheck_add(&hc, HOSTCHECK_TODO, "x", xstrdup("t"), NULL);
	ck_assert_int_eq(hostcheck_exit(&hc), EX_UNAVAILABLE);
	hostcheck_done(&hc);
	ck_assert_uint_eq(hc.n, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hostcheck");
	TCase *tc = tcase_create("hostcheck");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, order_of_the_topics);
	tcase_add_test(tc, before_and_after);
	tcase_add_test(tc, the_host_alone);
	tcase_add_loop_test(tc, no_iommu_at_work, 0, ARRAY_SIZE(iommus));
	tcase_add_loop_test(tc, interrupts_remapped, 0, ARRAY_SIZE(interrupts));
	tcase_add_loop_test(tc, members_of_the_group, 0, ARRAY_SIZE(mates));
	tcase_add_test(tc, no_group);
	tcase_add_test(tc, others_set_ids_again);
	tcase_add_test(tc, an_equal_card_by_its_slot);
	tcase_add_test(tc, driverctl_has_a_say);
	tcase_add_test(tc, a_driver_in_the_kernel_itself);
	tcase_add_test(tc, virtual_functions);
	tcase_add_loop_test(tc, the_boot_display, 0, ARRAY_SIZE(displays));
	tcase_add_loop_test(tc, resizable_bars, 0, ARRAY_SIZE(bars));
	tcase_add_test(tc, modules_that_are_missing);
	tcase_add_test(tc, virqfd_of_an_old_kernel);
	tcase_add_test(tc, age_of_the_initramfs);
	tcase_add_test(tc, words_of_the_loader);
	tcase_add_test(tc, no_loader);
	tcase_add_test(tc, secure_boot);
	tcase_add_test(tc, exit_codes);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
