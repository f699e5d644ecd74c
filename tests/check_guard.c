/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pcitree.h"

#include "pci/guard.h"

#define ROOT "pci0000:00/0000:00:01.0"
#define UP ROOT "/0000:01:00.0"
#define DOWN_A UP "/0000:02:00.0"
#define DOWN_B UP "/0000:02:01.0"
#define GPU DOWN_A "/0000:03:00.0"
#define AUDIO DOWN_B "/0000:04:00.0"
#define DOWN_C UP "/0000:02:02.0"
#define EXTRA DOWN_C "/0000:05:00.0"

#define UUID "00000000-0000-0000-0000-000000000100"

/* A GPU and its audio behind a switch. */
static void build_card(void)
{
	pcitree_bridge(ROOT);
	pcitree_bridge(UP);
	pcitree_bridge(DOWN_A);
	pcitree_bridge(DOWN_B);
	pcitree_function(GPU, 0x8086, 0x56a6, 0x030000);
	pcitree_function(AUDIO, 0x8086, 0x4f92, 0x040300);
	testroot_file("/proc/self/mountinfo", "");
}

static void build_extra(unsigned vendor, unsigned class)
{
	pcitree_bridge(DOWN_C);
	pcitree_function(EXTRA, vendor, 1, class);
}

/* A disk of the extra function, with the root file system on it. */
static void mount_extra(void)
{
	testroot_link("/sys/block/nvme0n1", "../devices/" EXTRA "/nvme/nvme0/nvme0n1");
	testroot_file("/sys/devices/" EXTRA "/nvme/nvme0/nvme0n1/dev", "259:0\n");
	testroot_file("/proc/self/mountinfo", "22 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n");
}

static void add_vf(const char *addr)
{
	_cleanup_free_ char *place = xasprintf(DOWN_A "/%s", addr);

	pcitree_function(place, 0x8086, 0x56a7, 0x030000);
	pcitree_vf(place, "0000:03:00.0");
}

static void add_mdev(const char *parent)
{
	_cleanup_free_ char *dir = xasprintf("/sys/devices/%s/" UUID, parent);
	_cleanup_free_ char *target = xasprintf("../../../devices/%s/" UUID, parent);

	testroot_dir(dir);
	testroot_link("/sys/bus/mdev/devices/" UUID, target);
}

/* All findings, one a line, "name text". */
static char *check(enum guard_act act, const char *fn, const char *bridge)
{
	struct guard_finding *found = NULL;
	char *text = xstrdup("");
	struct pciaddr addr = at(fn);
	struct topology t;
	int i, below = -1;
	size_t n = 0;

	ck_assert_int_eq(topology_read(&t), 0);
	i = topology_find(&t, &addr);
	ck_assert_int_ge(i, 0);
	if (bridge) {
		addr = at(bridge);
		below = topology_find(&t, &addr);
		ck_assert_int_ge(below, 0);
	}
	ck_assert_int_eq(guard_check(&t, act, &i, 1, below, &found, &n), 0);
	for (size_t k = 0; k < n; k++) {
		char *longer = xasprintf("%s%s %s\n", text, found[k].name, found[k].text);

		free(text);
		text = longer;
	}
	guard_free(found, n);
	topology_done(&t);
	return text;
}

static void wants(enum guard_act act, const char *fn, const char *bridge,
		  const char *want)
{
	_cleanup_free_ char *text = check(act, fn, bridge);

	ck_assert_str_eq(text, want);
}

#define GPU_ADDR "0000:03:00.0"
#define UP_ADDR "0000:01:00.0"

START_TEST(nothing_in_the_way)
{
	build_card();
	wants(GUARD_RESET, GPU_ADDR, NULL, "");
	wants(GUARD_REMOVE, GPU_ADDR, NULL, "");
	/* The card's own audio is hit by design. */
	wants(GUARD_REMOVE, GPU_ADDR, UP_ADDR, "");
	wants(GUARD_RESET, "0000:04:00.0", "0000:00:01.0", "");
}
END_TEST

START_TEST(displays)
{
	build_card();
	pcitree_attribute(GPU, "boot_vga", "1\n");
	pcitree_function("pci0000:00/0000:00:02.0", 0x8086, 0x4680, 0x030000);
	wants(GUARD_RESET, GPU_ADDR, NULL,
	      "boot-vga 0000:03:00.0 is the display that the firmware started (boot_vga)\n");
	wants(GUARD_REMOVE, "0000:04:00.0", NULL, "");
	wants(GUARD_RESET, "0000:00:02.0", NULL,
	      "igpu 0000:00:02.0 is Intel's built-in display: a reset may hang the host\n");
}
END_TEST

START_TEST(dead)
{
	unsigned char ones[64];

	memset(ones, 0xff, sizeof(ones));
	build_card();
	pcitree_config_bytes(GPU, ones, sizeof(ones));
	pcitree_config_bytes(UP, ones, sizeof(ones));
	pcitree_config_bytes(AUDIO, ones, sizeof(ones));
	wants(GUARD_RESET, GPU_ADDR, NULL,
	      "dead 0000:01:00.0 (bridge) does not answer: config space reads ffff\n"
	      "dead 0000:03:00.0 (GPU) does not answer: config space reads ffff\n");
	wants(GUARD_REMOVE, GPU_ADDR, UP_ADDR,
	      "dead 0000:01:00.0 (bridge) does not answer: config space reads ffff\n"
	      "dead 0000:03:00.0 (GPU) does not answer: config space reads ffff\n"
	      "dead 0000:04:00.0 (audio) does not answer: config space reads ffff\n");
}
END_TEST

START_TEST(virtual_functions)
{
	build_card();
	pcitree_attribute(GPU, "sriov_numvfs", "2\n");
	wants(GUARD_RESET, GPU_ADDR, NULL, "vfs 0000:03:00.0 has 2 virtual functions\n");
	add_vf("0000:03:00.1");
	wants(GUARD_REMOVE, GPU_ADDR, UP_ADDR, "vfs 0000:03:00.0 has 1 virtual function\n");
	/* One alone may be reset, not removed. */
	wants(GUARD_RESET, "0000:03:00.1", NULL, "");
	wants(GUARD_REMOVE, "0000:03:00.1", NULL,
	      "is-vf 0000:03:00.1 is a virtual function: no rescan would find it again\n");
}
END_TEST

static const struct {
	const char *parent, *fn, *bridge, *want;
} mediated_rows[] = {
	{ GPU, GPU_ADDR, NULL, "mdev 0000:03:00.0 has the mediated device " UUID "\n" },
	{ GPU, "0000:04:00.0", NULL, "" },
	{ GPU, "0000:04:00.0", UP_ADDR,
	  "mdev 0000:03:00.0 has the mediated device " UUID "\n" },
	{ DOWN_A "/0000:03:00.1", GPU_ADDR, NULL,	/* a virtual function of it */
	  "vfs 0000:03:00.0 has 1 virtual function\n"
	  "mdev 0000:03:00.0 has the mediated device " UUID "\n" },
	{ DOWN_A "/0000:03:00.1", GPU_ADDR, UP_ADDR,
	  "vfs 0000:03:00.0 has 1 virtual function\n"
	  "mdev 0000:03:00.1 has the mediated device " UUID "\n" },
	{ "pci0000:00/0000:00:1f.0", GPU_ADDR, NULL, "" },
	{ "virtual/mtty/mtty", GPU_ADDR, NULL, "" },
};

START_TEST(mediated)
{
	build_card();
	if (strstr(mediated_rows[_i].parent, "0000:03:00.1"))
		add_vf("0000:03:00.1");
	add_mdev(mediated_rows[_i].parent);
	wants(GUARD_RESET, mediated_rows[_i].fn, mediated_rows[_i].bridge,
	      mediated_rows[_i].want);
}
END_TEST

START_TEST(vgpu_types)
{
	build_card();
	add_vf("0000:03:00.1");
	pcitree_attribute(DOWN_A "/0000:03:00.1", "nvidia/current_vgpu_type", "1428\n");
	wants(GUARD_RESET, GPU_ADDR, NULL,
	      "vfs 0000:03:00.0 has 1 virtual function\n"
	      "vgpu 0000:03:00.1 has the NVIDIA vGPU type 1428 set\n");
	wants(GUARD_RESET, GPU_ADDR, UP_ADDR,
	      "vfs 0000:03:00.0 has 1 virtual function\n"
	      "vgpu 0000:03:00.1 has the NVIDIA vGPU type 1428 set\n");
	pcitree_attribute(DOWN_A "/0000:03:00.1", "nvidia/current_vgpu_type", "0\n");
	wants(GUARD_RESET, "0000:03:00.1", NULL, "");
}
END_TEST

static const struct {
	unsigned vendor, class;
	const char *removed, *reset;
} strangers[] = {
	{ 0x144d, 0x010802, "disk 0000:05:00.0 (disk) would be removed too\n",
	  "disk 0000:05:00.0 (disk) would be reset too\n" },
	{ 0x8086, 0x020000, "nic 0000:05:00.0 (network card) would be removed too\n",
	  "nic 0000:05:00.0 (network card) would be reset too\n" },
	{ 0x1b21, 0x0c0330, "usb 0000:05:00.0 (USB controller) would be removed too\n",
	  "usb 0000:05:00.0 (USB controller) would be reset too\n" },
	{ 0x10de, 0x030000, "other 0000:05:00.0 (GPU) would be removed too\n",
	  "other 0000:05:00.0 (GPU) would be reset too\n" },
	{ 0x8086, 0x0c0330, "", "" },	/* the card's own */
};

START_TEST(what_would_be_hit_too)
{
	_cleanup_free_ char *removed = NULL, *reset = NULL, *alone = NULL;

	build_card();
	build_extra(strangers[_i].vendor, strangers[_i].class);
	removed = check(GUARD_REMOVE, GPU_ADDR, UP_ADDR);
	reset = check(GUARD_RESET, GPU_ADDR, UP_ADDR);
	alone = check(GUARD_REMOVE, GPU_ADDR, "0000:02:00.0");
	/*
	 * With a stranger below it is no card of its own, and the audio none of its
	 * parts.
	 */
	if (*strangers[_i].removed) {
		ck_assert_ptr_nonnull(strstr(removed, "other 0000:04:00.0 (audio)"));
		ck_assert_ptr_nonnull(strstr(reset, "other 0000:04:00.0 (audio)"));
		ck_assert_ptr_nonnull(strstr(removed, strangers[_i].removed));
		ck_assert_ptr_nonnull(strstr(reset, strangers[_i].reset));
	} else {
		ck_assert_str_eq(removed, "");
		ck_assert_str_eq(reset, "");
	}
	ck_assert_str_eq(alone, "");
}
END_TEST

START_TEST(the_host_needs_it)
{
	build_card();
	build_extra(0x144d, 0x010802);
	mount_extra();
	wants(GUARD_REMOVE, GPU_ADDR, UP_ADDR,
	      "vital the host needs 0000:05:00.0: disk nvme0n1 is mounted on /\n"
	      "other 0000:04:00.0 (audio) would be removed too\n");
	wants(GUARD_RESET, GPU_ADDR, NULL, "");
	/* Even when it is named. */
	wants(GUARD_RESET, "0000:05:00.0", NULL,
	      "vital the host needs 0000:05:00.0: disk nvme0n1 is mounted on /\n");
}
END_TEST

/* A disk that the caller names and that nothing uses is the caller's business. */
START_TEST(a_disk_that_is_meant)
{
	build_card();
	build_extra(0x144d, 0x010802);
	wants(GUARD_REMOVE, "0000:05:00.0", NULL, "");
	wants(GUARD_REMOVE, "0000:05:00.0", "0000:02:02.0", "");
}
END_TEST

START_TEST(forced_names)
{
	static const struct {
		const char *list, *name;
		bool forced;
	} rows[] = {
		{ NULL, "disk", false }, { "", "disk", false }, { "disk", "disk", true },
		{ "boot-vga,disk", "disk", true }, { "boot-vga,disk", "boot-vga", true },
		{ "boot-vga,disk", "nic", false }, { "dis", "disk", false },
		{ "disks", "disk", false }, { "all", "vital", true }, { "nic,all", "vfs", true },
		{ "vfs", "is-vf", false },
	};
	static const struct {
		const char *list, *unknown;
	} words[] = {
		{ "disk", NULL }, { "all", NULL }, { "disk,boot-vga,all", NULL },
		{ "disks", "disks" }, { "disk,,nic", "" }, { "disk,", "" }, { "", "" },
		{ "nic,boot_vga", "boot_vga" }, { "alll", "alll" },
	};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ck_assert_int_eq(guard_is_forced(rows[i].list, rows[i].name),
				 rows[i].forced);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		_cleanup_free_ char *word = guard_unknown_name(words[i].list);

		ck_assert_pstr_eq(word, words[i].unknown);
	}
	while (guard_names()[n])
		n++;
	ck_assert_uint_eq(n, 12);
	ck_assert_str_eq(guard_names()[0], "dead");
	ck_assert_str_eq(guard_names()[11], "other");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guard");
	TCase *tc = tcase_create("guard");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_test(tc, nothing_in_the_way);
	tcase_add_test(tc, displays);
	tcase_add_test(tc, dead);
	tcase_add_test(tc, virtual_functions);
	tcase_add_loop_test(tc, mediated, 0, ARRAY_SIZE(mediated_rows));
	tcase_add_test(tc, vgpu_types);
	tcase_add_loop_test(tc, what_would_be_hit_too, 0, ARRAY_SIZE(strangers));
	tcase_add_test(tc, the_host_needs_it);
	tcase_add_test(tc, a_disk_that_is_meant);
	tcase_add_test(tc, forced_names);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
