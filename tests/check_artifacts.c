/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testhost.h"

#include "host/artifacts.h"

#define HEAD "# written by vfio-setup; \"vfio-setup undo\" takes this file away\n"

static struct setup_request request;
static struct cards cards;
static struct artifacts plan;

static void setup(void)
{
	testroot_setup();
	testhost_board();
	request = (struct setup_request){ 0 };
}

static void teardown(void)
{
	testroot_teardown();
}

static void make(void)
{
	char *error = NULL;

	ck_assert_int_eq(cards_find(&request, &cards, &error), 0);
	ck_assert_int_eq(artifacts_plan(&request, &cards, &plan, &error), 0);
	ck_assert_ptr_null(error);
}

static void done(void)
{
	artifacts_done(&plan);
	cards_done(&cards);
	request_done(&request);
}

/* Content of one file; NULL when it is not wanted. */
static const char *text_of(const char *path)
{
	const struct hostfile *f = hostfiles_find(&plan.files, path);

	return f ? f->data : NULL;
}

static bool has_note(const char *part)
{
	for (size_t i = 0; i < plan.notes.n; i++)
		if (strstr(plan.notes.s[i], part))
			return true;
	return false;
}

START_TEST(one_card)
{
	strlist_add(&request.gpus, "0000:01:00.0");
	make();
	ck_assert_uint_eq(plan.files.n, 2);
	ck_assert_str_eq(text_of(ARTIFACT_MODPROBE), HEAD
			 "options vfio-pci ids=10de:2204,10de:1aef\n"
			 "softdep nouveau pre: vfio-pci\nsoftdep nvidiafb pre: vfio-pci\n"
			 "softdep snd_hda_intel pre: vfio-pci\n"
			 "blacklist nouveau\nblacklist nvidiafb\n");
	ck_assert_str_eq(text_of(ARTIFACT_MODULES_LOAD), HEAD
			 "vfio\nvfio_iommu_type1\nvfio_pci\n");
	ck_assert_uint_eq(plan.words.n, 0);
	ck_assert_uint_eq(plan.notes.n, 0);
	for (size_t i = 0; i < plan.files.n; i++) {
		ck_assert_uint_eq(plan.files.f[i].mode, 0644);
		ck_assert(hostfile_is_marked(&plan.files.f[i]));
	}
	done();
}
END_TEST

/* What is written or bound must not change what is to be written. */
START_TEST(the_same_bytes_when_applied)
{
	char *before;

	strlist_add(&request.gpus, "0000:01:00.0");
	strlist_add(&request.blacklist, "nouveau");
	request.early = true;
	testroot_file("/usr/share/initramfs-tools/hook-functions", "");
	make();
	before = xstrdup(text_of(ARTIFACT_MODPROBE));
	for (size_t i = 0; i < plan.files.n; i++)
		testroot_file(plan.files.f[i].path, plan.files.f[i].data);
	artifacts_done(&plan);
	cards_done(&cards);
	make();
	ck_assert_str_eq(text_of(ARTIFACT_MODPROBE), before);
	ck_assert_uint_eq(plan.files.n, 3);
	/* Once, as it was asked for. */
	ck_assert_ptr_eq(strstr(strstr(before, "blacklist nouveau") + 1, "blacklist nouveau"), NULL);
	free(before);
	done();
}
END_TEST

START_TEST(an_equal_card_stays)
{
	const struct hostfile *hook;

	testhost_twin();
	testroot_file("/usr/share/initramfs-tools/hook-functions", "");
	strlist_add(&request.gpus, "0000:65:00.0");
	make();
	ck_assert_str_eq(text_of(ARTIFACT_MODPROBE), HEAD
			 "softdep nouveau pre: vfio-pci\nsoftdep nvidiafb pre: vfio-pci\n"
			 "softdep snd_hda_intel pre: vfio-pci\n");
	ck_assert_str_eq(text_of(ARTIFACT_UDEV), HEAD
			 "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"0000:65:00.0\", \\\n"
			 "  ATTR{vendor}==\"0x10de\", ATTR{device}==\"0x2204\", \\\n"
			 "  ATTR{subsystem_vendor}==\"0x1043\", ATTR{subsystem_device}==\"0x87b3\", \\\n"
			 "  ATTR{driver_override}=\"vfio-pci\", ATTR{[subsystem/pci]drivers_probe}=\"$kernel\", \\\n"
			 "  RUN{builtin}+=\"kmod load vfio-pci\"\n"
			 "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"0000:65:00.1\", \\\n"
			 "  ATTR{vendor}==\"0x10de\", ATTR{device}==\"0x1aef\", \\\n"
			 "  ATTR{subsystem_vendor}==\"0x1043\", ATTR{subsystem_device}==\"0x87b3\", \\\n"
			 "  ATTR{driver_override}=\"vfio-pci\", ATTR{[subsystem/pci]drivers_probe}=\"$kernel\", \\\n"
			 "  RUN{builtin}+=\"kmod load vfio-pci\"\n");
	hook = hostfiles_find(&plan.files, ARTIFACT_INITRAMFS_HOOK);
	ck_assert_ptr_nonnull(hook);		/* without --early, too */
	ck_assert_uint_eq(hook->mode, 0755);
	ck_assert(hostfile_is_marked(hook));
	ck_assert_ptr_nonnull(strstr(hook->data, "\nforce_load vfio_pci\n"));
	ck_assert_ptr_nonnull(strstr(hook->data, ARTIFACT_UDEV));
	ck_assert(has_note("0000:65:00.0 has the same ids as 0000:01:00.0"));
	done();
}
END_TEST

START_TEST(both_equal_cards_go)
{
	testhost_twin();
	strlist_add(&request.ids, "10de:2204");
	make();
	ck_assert_ptr_nonnull(strstr(text_of(ARTIFACT_MODPROBE),
				     "\noptions vfio-pci ids=10de:2204,10de:1aef\n"));
	ck_assert_ptr_nonnull(strstr(text_of(ARTIFACT_MODPROBE), "\nblacklist nouveau\n"));
	ck_assert_ptr_null(text_of(ARTIFACT_UDEV));
	done();
}
END_TEST

static const struct {
	const char *file, *text, *cmdline;
	const char *where;	/* NULL: our own list of ids does no harm */
} lists[] = {
	{ "/etc/modprobe.d/nic.conf", "options vfio-pci ids=8086:7ad0\n", "",
	  "/etc/modprobe.d/nic.conf:1" },
	{ "/etc/modprobe.d/vfio.conf", "\noptions vfio_pci disable_vga=1 ids=10de:2204\n", "",
	  "/etc/modprobe.d/vfio.conf:2" },
	{ "/etc/modprobe.d/vfio.conf", "options vfio-pci ids=10de:2204,10de:1aef\n", "", NULL },
	{ "/etc/modprobe.d/vfio.conf", "options vfio-pci ids=10de:1aef,10de:2204:1043:87b3,1234:5678\n",
	  "", NULL },
	{ "/etc/modprobe.d/vfio.conf", "options vfio-pci ids=10de:2204,10de:1aef:1458\n", "",
	  "/etc/modprobe.d/vfio.conf:1" },
	{ "/etc/modprobe.d/vfio.conf", "options vfio-pci disable_vga=1\n", "", NULL },
	{ "/etc/modprobe.d/kvm.conf", "options kvm ids=1:1\n", "", NULL },
	{ "/etc/modprobe.d/x.conf", "", "quiet vfio-pci.ids=10de:2204", "/proc/cmdline" },
	{ "/etc/modprobe.d/x.conf", "", "vfio_pci.ids=10de:2204,10de:1aef", NULL },
};

/* The kernel takes one list of ids: that of others is left alone. */
START_TEST(others_set_ids)
{
	testroot_file(lists[_i].file, lists[_i].text);
	testroot_file("/proc/cmdline", lists[_i].cmdline);
	strlist_add(&request.gpus, "0000:01:00.0");
	make();
	ck_assert_pstr_eq(cards.others_ids, lists[_i].where);
	ck_assert((strstr(text_of(ARTIFACT_MODPROBE), "\noptions ") == NULL) ==
		  (lists[_i].where != NULL));
	ck_assert((text_of(ARTIFACT_UDEV) != NULL) == (lists[_i].where != NULL));
	ck_assert(has_note("sets ids for vfio-pci; a second list") == (lists[_i].where != NULL));
	done();
}
END_TEST

START_TEST(told_apart_by_the_subsystem)
{
	testhost_function("0000:65:00.0", "030000", "10de:2204", "1458:403b", "nouveau", 15);
	strlist_add(&request.gpus, "0000:01:00.0");
	make();
	ck_assert_ptr_nonnull(strstr(text_of(ARTIFACT_MODPROBE),
				     "\noptions vfio-pci ids=10de:2204:1043:87b3,10de:1aef\n"));
	ck_assert_ptr_null(strstr(text_of(ARTIFACT_MODPROBE), "blacklist"));
	ck_assert_ptr_null(text_of(ARTIFACT_UDEV));
	done();
}
END_TEST

START_TEST(every_kernel_counts)
{
	testhost_kernel("6.14.0-1-pve", TESTHOST_VFIO "nova_core alias=pci:v000010DEd*sv*sd*bc03sc*i*\n");
	strlist_add(&request.gpus, "0000:01:00.0");
	make();
	ck_assert_ptr_nonnull(strstr(text_of(ARTIFACT_MODPROBE),
				     "\nsoftdep nova_core pre: vfio-pci\nsoftdep nvidiafb"));
	done();
}
END_TEST

enum { TOOLS = 1, DRACUT, NEITHER };

static const struct {
	int kind;
	bool early;
	const char *path;	/* of the one file more */
} makers[] = {
	{ TOOLS, true, ARTIFACT_INITRAMFS_HOOK }, { TOOLS, false, NULL },
	{ DRACUT, true, ARTIFACT_DRACUT }, { DRACUT, false, NULL },
	{ NEITHER, true, NULL },
};

START_TEST(who_makes_the_initramfs)
{
	if (makers[_i].kind == TOOLS)
		testroot_file("/usr/share/initramfs-tools/hook-functions", "");
	if (makers[_i].kind == DRACUT)
		testroot_file("/usr/bin/dracut", "");
	request.early = makers[_i].early;
	strlist_add(&request.gpus, "0000:01:00.0");
	make();
	ck_assert_uint_eq(plan.files.n, makers[_i].path ? 3 : 2);
	if (makers[_i].path)
		ck_assert_ptr_nonnull(text_of(makers[_i].path));
	if (makers[_i].kind == DRACUT && makers[_i].early)
		ck_assert_str_eq(text_of(ARTIFACT_DRACUT), HEAD
				 "force_drivers+=\" vfio vfio_iommu_type1 vfio_pci \"\n"
				 "install_items+=\" " ARTIFACT_MODPROBE " \"\n");
	ck_assert(has_note("--early adds nothing") == (makers[_i].kind == NEITHER));
	done();
}
END_TEST

static const struct {
	const char *cpu, *config, *release, *gpu;
	bool needed;
} processors[] = {
	{ "GenuineIntel", "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n", "6.8.12-1-pve", "01:00.0", false },
	{ "GenuineIntel", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n", "6.8.12-1-pve",
	  "01:00.0", true },
	{ "AuthenticAMD", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n", "6.8.12-1-pve",
	  "01:00.0", false },
	/* Debian's kernels: on, but for the processor's own graphics. */
	{ "GenuineIntel", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n"
	  "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n", "6.8.12-1-pve", "01:00.0", false },
	{ "GenuineIntel", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n"
	  "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n", "6.8.12-1-pve", "00:02.0", true },
	/* Without its configuration a kernel is known by its name. */
	{ "GenuineIntel", "", "6.8.12-1-pve", "01:00.0", false },
	{ "GenuineIntel", "", "6.5.13-1-pve", "01:00.0", true },
	{ "GenuineIntel", "", "6.8.0-custom", "01:00.0", true },
};

START_TEST(intel_iommu)
{
	char *cpu = xasprintf("vendor_id\t: %s\n", processors[_i].cpu);
	char *config = xasprintf("/boot/config-%s", processors[_i].release);

	if (strcmp(processors[_i].release, "6.8.12-1-pve") != 0) {
		char *path = testroot_path("/lib/modules/6.8.12-1-pve/modules.dep.bin");

		ck_assert_int_eq(unlink(path), 0);
		free(path);
		testhost_kernel(processors[_i].release, TESTHOST_VFIO TESTHOST_DRIVERS);
	}
	testroot_file("/proc/cpuinfo", cpu);
	testroot_file(config, processors[_i].config);
	strlist_add(&request.gpus, processors[_i].gpu);
	make();
	ck_assert(strlist_has(&plan.words, "intel_iommu=on") == processors[_i].needed);
	ck_assert_uint_eq(plan.words.n, processors[_i].needed);
	done();
	free(cpu);
	free(config);
}
END_TEST

START_TEST(words)
{
	testroot_file("/boot/config-6.8.12-1-pve", "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n");
	testroot_attribute("0000:01:00.0", "boot_vga", "1\n");
	strlist_add(&request.gpus, "0000:01:00.0");
	strlist_add(&request.cmdline, "intel_iommu=on,sm_on");
	strlist_add(&request.cmdline, "amd_iommu=on");
	strlist_add(&request.cmdline, "amd_iommu=on");
	make();
	ck_assert_uint_eq(plan.words.n, 3);
	ck_assert_str_eq(plan.words.s[0], "intel_iommu=on,sm_on");	/* ours would undo it */
	ck_assert_str_eq(plan.words.s[1], "amd_iommu=on");
	ck_assert_str_eq(plan.words.s[2], "initcall_blacklist=sysfb_init");
	ck_assert(has_note("amd_iommu=on means nothing"));
	ck_assert(has_note("0000:01:00.0 is the boot display"));
	done();
}
END_TEST

START_TEST(vfio_in_the_kernel_itself)
{
	testhost_kernel("6.8.12-1-pve", "+vfio\n+vfio_iommu_type1\n+vfio_pci\n" TESTHOST_DRIVERS);
	strlist_add(&request.gpus, "0000:01:00.0");
	make();
	ck_assert_uint_eq(plan.words.n, 1);
	ck_assert_str_eq(plan.words.s[0], "vfio-pci.ids=10de:2204,10de:1aef");
	done();
}
END_TEST

static const struct {
	const char *module;
	int rc;
	const char *error;
} blacklists[] = {
	{ "nouveau", 0, NULL }, { "i915", 0, NULL }, { "not_there", 0, NULL },
	{ "snd_hda_intel", -EBUSY, "snd_hda_intel: not blacklisted, the host needs it for 0000:00:1f.3 (audio)" },
	{ "snd-hda-intel", -EBUSY, "0000:00:1f.3" },
	{ "xhci_pci", -EBUSY, "0000:00:14.0 (USB controller)" },
	{ "ahci", -EBUSY, "0000:00:17.0 (disk)" },
	{ "a b", -EINVAL, "a b: not the name of a module" },
	{ "x\ny", -EINVAL, "not the name" }, { "", -EINVAL, "not the name" },
	{ "-x", -EINVAL, "not the name" },
};

START_TEST(what_may_be_blacklisted)
{
	char *error = NULL;

	strlist_add(&request.gpus, "0000:01:00.0");
	strlist_add(&request.blacklist, blacklists[_i].module);
	request.force = true;		/* no way around it */
	ck_assert_int_eq(cards_find(&request, &cards, &error), 0);
	ck_assert_int_eq(artifacts_plan(&request, &cards, &plan, &error),
			 blacklists[_i].rc);
	if (blacklists[_i].rc) {
		ck_assert_msg(strstr(error, blacklists[_i].error) != NULL, "%s", error);
		ck_assert_uint_eq(plan.files.n, 0);
		free(error);
	} else {
		char *line = xasprintf("\nblacklist %s\n", blacklists[_i].module);

		ck_assert_ptr_nonnull(strstr(text_of(ARTIFACT_MODPROBE), line));
		ck_assert(has_note("no module of this name") ==
			  (strcmp(blacklists[_i].module, "not_there") == 0));
		free(line);
	}
	done();
}
END_TEST

START_TEST(no_card)
{
	make();
	ck_assert_uint_eq(plan.files.n, 0);
	ck_assert_uint_eq(plan.words.n, 0);
	artifacts_done(&plan);
	cards_done(&cards);
	strlist_add(&request.blacklist, "nouveau");
	strlist_add(&request.cmdline, "iommu=pt");
	make();
	ck_assert_uint_eq(plan.files.n, 1);
	ck_assert_str_eq(text_of(ARTIFACT_MODPROBE), HEAD "blacklist nouveau\n");
	ck_assert_uint_eq(plan.words.n, 1);
	done();
}
END_TEST

START_TEST(in_the_initramfs)
{
	ck_assert(artifacts_is_in_initramfs(ARTIFACT_MODPROBE));
	ck_assert(artifacts_is_in_initramfs(ARTIFACT_UDEV));
	ck_assert(!artifacts_is_in_initramfs(ARTIFACT_MODULES_LOAD));
	ck_assert(!artifacts_is_in_initramfs("/etc/default/grub.d/pve-gpu-utils.cfg"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("artifacts");
	TCase *tc = tcase_create("artifacts");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_card);
	tcase_add_test(tc, the_same_bytes_when_applied);
	tcase_add_test(tc, an_equal_card_stays);
	tcase_add_test(tc, both_equal_cards_go);
	tcase_add_loop_test(tc, others_set_ids, 0, ARRAY_SIZE(lists));
	tcase_add_test(tc, told_apart_by_the_subsystem);
	tcase_add_test(tc, every_kernel_counts);
	tcase_add_loop_test(tc, who_makes_the_initramfs, 0, ARRAY_SIZE(makers));
	tcase_add_loop_test(tc, intel_iommu, 0, ARRAY_SIZE(processors));
	tcase_add_test(tc, words);
	tcase_add_test(tc, vfio_in_the_kernel_itself);
	tcase_add_loop_test(tc, what_may_be_blacklisted, 0, ARRAY_SIZE(blacklists));
	tcase_add_test(tc, no_card);
	tcase_add_test(tc, in_the_initramfs);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
