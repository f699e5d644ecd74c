/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testhost.h"

#include "host/kmodconf.h"

#define KERNEL "6.1.0-37-amd64"

START_TEST(releases_are_sorted)
{
	struct strlist releases = { 0 };

	ck_assert_ptr_null(kernel_release());
	kernel_releases(&releases);
	ck_assert_uint_eq(releases.n, 0);
	ck_assert_ptr_null(kmodconf_open(NULL));
	ck_assert_int_eq(errno, ENOENT);

	testhost_kernel("6.10.2-1-pve", TESTHOST_VFIO);
	testhost_kernel("6.8.12-4-pve", TESTHOST_VFIO);
	testroot_dir("/lib/modules/5.15.0-removed");	/* left over, without indexes */
	kernel_releases(&releases);
	ck_assert_uint_eq(releases.n, 2);
	ck_assert_str_eq(releases.s[0], "6.8.12-4-pve");
	ck_assert_str_eq(releases.s[1], "6.10.2-1-pve");
	strlist_done(&releases);
}
END_TEST

static const struct {
	const char *running, *release;
} running[] = {
	{ "6.8.12-4-pve\n", "6.8.12-4-pve" },
	{ "6.99.0-container\n", "6.10.2-1-pve" },	/* a chroot on another kernel */
	{ "../6.8.12-4-pve\n", "6.10.2-1-pve" },
	{ "", "6.10.2-1-pve" },
};

START_TEST(the_running_kernel_counts)
{
	char *release;

	testhost_kernel("6.10.2-1-pve", TESTHOST_VFIO);
	testhost_kernel("6.8.12-4-pve", TESTHOST_VFIO);
	testroot_file("/proc/sys/kernel/osrelease", running[_i].running);
	release = kernel_release();
	ck_assert_pstr_eq(release, running[_i].release);
	free(release);
}
END_TEST

static const struct {
	const char *release;
	unsigned major, minor;
	bool at_least;
} versions[] = {
	{ "6.8.12-4-pve", 6, 8, true }, { "6.8.12-4-pve", 6, 9, false },
	{ "6.10.2-1-pve", 6, 8, true }, { "5.15.0", 6, 2, false }, { "7.0.1", 6, 12, true },
	{ "nonsense", 1, 0, false },
};

START_TEST(versions_compare_by_number)
{
	ck_assert(kernel_is_at_least(versions[_i].release, versions[_i].major,
				     versions[_i].minor) == versions[_i].at_least);
}
END_TEST

static const struct {
	const char *option;
	char value;
} options[] = {
	{ "CONFIG_INTEL_IOMMU", 'y' }, { "CONFIG_VFIO_PCI", 'm' },
	{ "CONFIG_INTEL_IOMMU_DEFAULT_ON", 'n' }, { "CONFIG_HZ", 's' },
	{ "CONFIG_INTEL", 0 }, { "CONFIG_ELSEWHERE", 'y' },
};

START_TEST(kernel_options)
{
	testroot_file("/boot/config-" KERNEL, "CONFIG_INTEL_IOMMU=y\nCONFIG_VFIO_PCI=m\n"
		      "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\nCONFIG_HZ=250\n");
	testroot_file("/lib/modules/" KERNEL "/config", "CONFIG_ELSEWHERE=y\n");
	ck_assert_int_eq(kernel_option(KERNEL, options[_i].option), options[_i].value);
	ck_assert_int_eq(kernel_option("1.0", options[_i].option), 0);
}
END_TEST

static const struct {
	const char *modalias, *names;	/* names: "a b", sorted */
} aliases[] = {
	{ "pci:v000010DEd00002204sv00001043sd000087B3bc03sc00i00", "nouveau nvidiafb" },
	{ "pci:v000010DEd00001AEFsv00001043sd000087B3bc04sc03i00", "snd_hda_intel" },
	{ "pci:v00001022d000043F6sv00001B21sd00001062bc0Csc03i30", "xhci_pci" },
	{ "pci:v00001234d00001111sv00000000sd00000000bc05sc80i00", "" },
	{ "vfio_pci:v000010DEd00002204sv00001043sd000087B3bc03sc00i00", "" },
};

START_TEST(modules_claim_by_modalias)
{
	struct strlist found = { 0 };
	char *all = xstrdup("");
	struct kmodconf *k;

	testhost_kernel(KERNEL, TESTHOST_VFIO TESTHOST_DRIVERS);
	k = kmodconf_open(KERNEL);
	ck_assert_ptr_nonnull(k);
	kmodconf_claimants(k, aliases[_i].modalias, &found);
	for (size_t i = 0; i < found.n; i++) {
		char *longer = xasprintf("%s%s%s", all, i ? " " : "", found.s[i]);

		free(all);
		all = longer;
	}
	strlist_done(&found);
	ck_assert_str_eq(all, aliases[_i].names);
	free(all);
	kmodconf_close(k);
}
END_TEST

START_TEST(what_is_built_in)
{
	struct strlist found = { 0 };
	struct kmodconf *k;

	testhost_kernel(KERNEL, TESTHOST_VFIO "+xhci_pci alias=pci:v*d*sv*sd*bc0Csc03i30*\nahci\n");
	k = kmodconf_open(KERNEL);
	ck_assert(kmodconf_is_builtin(k, "xhci_pci"));
	ck_assert(kmodconf_is_builtin(k, "xhci-pci"));
	ck_assert(kmodconf_exists(k, "xhci_pci"));
	ck_assert(!kmodconf_is_builtin(k, "vfio_pci"));
	ck_assert(kmodconf_exists(k, "vfio-pci"));
	ck_assert(!kmodconf_exists(k, "nouveau"));
	ck_assert(!kmodconf_is_builtin(k, "nouveau"));
	kmodconf_claimants(k, "pci:v00001022d000043F6sv00001B21sd00001062bc0Csc03i30", &found);
	ck_assert_uint_eq(found.n, 1);
	ck_assert_str_eq(found.s[0], "xhci_pci");
	strlist_done(&found);
	kmodconf_close(k);
}
END_TEST

START_TEST(modprobe_d_in_force)
{
	struct kmodconf *k;
	char *text;

	testhost_kernel(KERNEL, TESTHOST_VFIO TESTHOST_DRIVERS);
	testroot_file("/etc/modprobe.d/a.conf",
		      "options vfio-pci ids=10de:2204\nblacklist nvidiafb\n"
		      "softdep snd-hda-intel pre: vfio-pci post: snd_x\n"
		      "softdep ahci post: vfio-pci\ninstall i915 /bin/false\n");
	testroot_file("/usr/lib/modprobe.d/a.conf", "blacklist ahci\n");	/* hidden */
	testroot_file("/usr/lib/modprobe.d/z.conf", "options vfio_pci disable_vga=1\n");
	k = kmodconf_open(KERNEL);
	ck_assert(kmodconf_is_blacklisted(k, "nvidiafb"));
	ck_assert(kmodconf_is_blacklisted(k, "i915"));
	ck_assert(!kmodconf_is_blacklisted(k, "ahci"));
	ck_assert(!kmodconf_is_blacklisted(k, "nouveau"));
	ck_assert(kmodconf_has_pre(k, "snd_hda_intel", "vfio_pci"));
	ck_assert(!kmodconf_has_pre(k, "snd_hda_intel", "snd_x"));
	ck_assert(!kmodconf_has_pre(k, "ahci", "vfio_pci"));
	text = kmodconf_options(k, "vfio_pci");
	ck_assert_pstr_eq(text, "ids=10de:2204 disable_vga=1");
	free(text);
	ck_assert_ptr_null(kmodconf_options(k, "nouveau"));
	kmodconf_close(k);
}
END_TEST

static void expect_line(const struct kmodconf_line *line, const char *path,
			unsigned long number, const char *text)
{
	ck_assert_str_eq(line->path, path);
	ck_assert_uint_eq(line->line, number);
	ck_assert_str_eq(line->text, text);
}

START_TEST(lines_of_others)
{
	struct kmodconf_line *lines;
	size_t n;

	lines = kmodconf_lines("options", &n);
	ck_assert_uint_eq(n, 0);
	kmodconf_lines_free(lines, n);
	testroot_file("/etc/modprobe.d/pve-gpu-utils.conf", "options vfio-pci ids=1:1\n");
	testroot_file("/etc/modprobe.d/vfio.conf",
		      "# options vfio-pci ids=2:2\n\n  options vfio-pci \\\n  ids=10de:2204\n"
		      "optionsx y\nblacklist options\n\toptions kvm ignore_msrs=1");
	testroot_file("/usr/lib/modprobe.d/vfio.conf", "options hidden x=1\n");
	testroot_file("/usr/lib/modprobe.d/kvm.conf", "options kvm nested=1\n");
	testroot_file("/etc/modprobe.d/old.conf.bak", "options old x=1\n");
	lines = kmodconf_lines("options", &n);
	ck_assert_uint_eq(n, 3);
	expect_line(&lines[0], "/usr/lib/modprobe.d/kvm.conf", 1, "options kvm nested=1");
	expect_line(&lines[1], "/etc/modprobe.d/vfio.conf", 3,
		    "options vfio-pci     ids=10de:2204");
	expect_line(&lines[2], "/etc/modprobe.d/vfio.conf", 7, "options kvm ignore_msrs=1");
	kmodconf_lines_free(lines, n);
}
END_TEST

START_TEST(modules_loaded_at_boot)
{
	struct kmodconf_line *lines;
	size_t n;

	testroot_file("/etc/modules-load.d/pve-gpu-utils.conf", "vfio\n");
	testroot_file("/etc/modules-load.d/vfio.conf", "vfio_virqfd\n");
	testroot_link("/etc/modules-load.d/modules.conf", "../modules");
	testroot_file("/etc/modules", "# first\nvfio\n\nvfio_virqfd\n");
	testroot_file("/etc/initramfs-tools/modules", "vfio_pci ids=10de:2204\n");
	lines = kmodconf_load_lines(&n);
	ck_assert_uint_eq(n, 4);
	expect_line(&lines[0], "/etc/modules-load.d/vfio.conf", 1, "vfio_virqfd");
	expect_line(&lines[1], "/etc/modules", 2, "vfio");
	expect_line(&lines[2], "/etc/modules", 4, "vfio_virqfd");
	expect_line(&lines[3], "/etc/initramfs-tools/modules", 1, "vfio_pci ids=10de:2204");
	kmodconf_lines_free(lines, n);
}
END_TEST

START_TEST(names)
{
	ck_assert(kmodconf_same_name("vfio-pci", "vfio_pci"));
	ck_assert(kmodconf_same_name("a", "a"));
	ck_assert(!kmodconf_same_name("vfio", "vfio_pci"));
	ck_assert(!kmodconf_same_name("vfio_pci", "vfio"));
	ck_assert(!kmodconf_same_name("", "a"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kmodconf");
	TCase *tc = tcase_create("kmodconf");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_test(tc, releases_are_sorted);
	tcase_add_loop_test(tc, the_running_kernel_counts, 0, ARRAY_SIZE(running));
	tcase_add_loop_test(tc, versions_compare_by_number, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(tc, kernel_options, 0, ARRAY_SIZE(options));
	tcase_add_loop_test(tc, modules_claim_by_modalias, 0, ARRAY_SIZE(aliases));
	tcase_add_test(tc, what_is_built_in);
	tcase_add_test(tc, modprobe_d_in_force);
	tcase_add_test(tc, lines_of_others);
	tcase_add_test(tc, modules_loaded_at_boot);
	tcase_add_test(tc, names);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
