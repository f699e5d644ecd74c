/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testhost.h"

#include "host/card.h"

/* "0000:01:00.0 id, 0000:01:00.1 slot": what was found, and how it is taken. */
static char *found(const struct cards *cards)
{
	static const char *const ways[] = {
		[CARD_BY_ID] = "id", [CARD_BY_SUBSYSTEM] = "subsystem", [CARD_BY_SLOT] = "slot",
	};
	char *all = xstrdup("");

	for (size_t i = 0; i < cards->n; i++) {
		char name[PCIADDR_STRLEN], *longer;

		pciaddr_format(&cards->fns[i].dev->addr, name);
		longer = xasprintf("%s%s%s %s", all, i ? ", " : "", name + 5,
				   ways[cards->fns[i].how]);
		free(all);
		all = longer;
	}
	return all;
}

static void build(void)
{
	testhost_board();
	testhost_twin();
	/* A card of another model, and one that differs in its subsystem alone. */
	testhost_function("0000:b3:00.0", "030000", "10de:1e87", "10de:1e87", "nouveau", 20);
	testhost_function("0000:b3:00.1", "040300", "10de:10f8", "10de:1e87", NULL, 20);
	testhost_function("0000:b3:00.2", "0c0330", "10de:1ad8", "10de:1e87", "xhci_hcd", 20);
	testhost_function("0000:b3:00.3", "0c8000", "10de:1ad9", "10de:1e87", NULL, 20);
	testhost_function("0000:c1:00.0", "030000", "10de:1e87", "1043:0001", "nouveau", 21);
	/*
	 * A bridge, a server's own display, an NVMe disk, a display's virtual function.
	 */
	testhost_function("0000:00:01.0", "060400", "8086:460d", "0000:0000", "pcieport", 14);
	testroot_dir("/sys/devices/pci0000:00/0000:00:01.0/pci_bus");
	testhost_function("0000:02:00.0", "030000", "1a03:2000", "1a03:2000", "ast", 40);
	testhost_function("0000:04:00.0", "010802", "144d:a80a", "144d:a801", "nvme", 41);
	testhost_function("0000:05:00.0", "038000", "8086:56c1", "8086:4905", "i915", 42);
	testhost_function("0000:05:00.1", "038000", "8086:56c1", "8086:4905", NULL, 43);
	testroot_link("/sys/devices/pci0000:00/0000:05:00.1/physfn", "../0000:05:00.0");
	testroot_link("/sys/devices/pci0000:00/0000:05:00.0/virtfn0", "../0000:05:00.1");
	/* An AMD processor's display, with USB of the board in its slot. */
	testhost_function("0000:0b:00.0", "030000", "1002:164e", "1043:8877", "amdgpu", 50);
	testhost_function("0000:0b:00.1", "040300", "1002:1640", "1043:8877", NULL, 50);
	testhost_function("0000:0b:00.3", "0c0330", "1022:15b6", "1022:1000", "xhci_hcd", 51);
	testroot_attribute("0000:05:00.0", "sriov_numvfs", "1\n");
	testroot_attribute("0000:05:00.0", "sriov_totalvfs", "31\n");
}

static const struct {
	const char *gpu, *gpu2, *id;
	bool all, force;
	int rc;
	const char *found;	/* or a part of the error */
} choices[] = {
	{ .found = "" },
	{ .gpu = "01:00.0", .found = "01:00.0 slot, 01:00.1 slot" },
	{ .gpu = "0000:01:00.1", .found = "01:00.0 slot, 01:00.1 slot" },
	{ .gpu = "01:00.0", .gpu2 = "65:00.0",
	  .found = "01:00.0 id, 01:00.1 id, 65:00.0 id, 65:00.1 id" },
	{ .gpu = "01:00.0", .gpu2 = "01:00.1", .found = "01:00.0 slot, 01:00.1 slot" },
	{ .id = "10de:2204", .found = "01:00.0 id, 01:00.1 id, 65:00.0 id, 65:00.1 id" },
	{ .id = "10DE:2204", .found = "01:00.0 id, 01:00.1 id, 65:00.0 id, 65:00.1 id" },
	{ .id = "10de:1aef", .found = "01:00.1 id, 65:00.1 id" },
	{ .gpu = "b3:00.0", .found = "b3:00.0 subsystem, b3:00.1 id, b3:00.2 id, b3:00.3 id" },
	{ .gpu = "05:00.0", .force = true, .found = "05:00.0 id" },
	{ .id = "144d:a80a", .force = true, .found = "04:00.0 id" },
	{ .all = true, .force = true,
	  .found = "00:02.0 id, 01:00.0 id, 01:00.1 id, 05:00.0 id, 0b:00.0 id, "
		   "0b:00.1 id, 65:00.0 id, 65:00.1 id, "
		   "b3:00.0 id, b3:00.1 id, b3:00.2 id, b3:00.3 id, c1:00.0 id" },
	{ .gpu = "0b:00.1", .found = "0b:00.0 id, 0b:00.1 id" },
	{ .gpu = "0b:00", .found = "0b:00.0 id, 0b:00.1 id" },
	{ .gpu = "0b:00.3", .rc = -ENODEV,
	  .found = "not a GPU but a USB controller; to give it away all the same: --id 1022:15b6" },
	{ .gpu = "05:00.0", .rc = -EBUSY, .found = "has 1 virtual functions" },
	{ .id = "144d:a80a", .rc = -EBUSY, .found = "a disk that the host uses (driver nvme)" },
	{ .id = "8086:7ae0", .rc = -EBUSY, .found = "that the host uses (driver xhci_hcd)" },
	{ .id = "8086:7ae2", .rc = -EBUSY, .found = "--force" },
	{ .gpu = "07:00.0", .rc = -ENOENT, .found = "07:00.0: no such PCI function" },
	{ .gpu = "00:01.0", .rc = -ENODEV, .found = "a bridge, which stays with the host; gpu-ls" },
	{ .gpu = "05:00.1", .rc = -ENODEV, .found = "a virtual function of 0000:05:00.0" },
	{ .gpu = "04:00.0", .rc = -ENODEV, .found = "not a GPU but a disk; to give it away all the same: --id 144d:a80a" },
	{ .gpu = "banana", .rc = -EINVAL, .found = "banana: not the address" },
	{ .gpu = "01:00.8", .rc = -EINVAL, .found = "not the address" },
	{ .id = "10de:2206", .rc = -ENOENT, .found = "no PCI function of this host has this id" },
	{ .id = "8086:460d", .rc = -ENODEV, .found = "only a bridge has this id" },
	{ .id = "10de", .rc = -EINVAL, .found = "not the ids" },
	{ .id = "10de:22040", .rc = -EINVAL, .found = "not the ids" },
	{ .id = "10de:220g", .rc = -EINVAL, .found = "not the ids" },
};

START_TEST(cards_are_found)
{
	struct setup_request request = { .all_gpus = choices[_i].all,
					 .force = choices[_i].force };
	struct cards cards;
	char *error = NULL;

	build();
	if (choices[_i].gpu)
		strlist_add(&request.gpus, choices[_i].gpu);
	if (choices[_i].gpu2)
		strlist_add(&request.gpus, choices[_i].gpu2);
	if (choices[_i].id)
		strlist_add(&request.ids, choices[_i].id);
	ck_assert_int_eq(cards_find(&request, &cards, &error), choices[_i].rc);
	if (choices[_i].rc == 0) {
		char *all = found(&cards);

		ck_assert_str_eq(all, choices[_i].found);
		ck_assert_uint_gt(cards.topo.n, 10);
		free(all);
		cards_done(&cards);
	} else {
		ck_assert_ptr_nonnull(error);
		ck_assert_msg(strstr(error, choices[_i].found) != NULL, "%s", error);
		ck_assert_uint_eq(cards.n, 0);
		ck_assert_uint_eq(cards.topo.n, 0);
		free(error);
	}
	request_done(&request);
}
END_TEST

/* The one card of a host that has a disk mounted: refused, and why. */
START_TEST(a_mounted_disk_is_kept)
{
	struct setup_request request = { 0 };
	struct cards cards;
	char *error = NULL;

	testhost_board();
	testroot_file("/proc/self/mountinfo", "29 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
	testroot_file("/sys/devices/pci0000:00/0000:00:17.0/ata1/block/sda/dev", "8:0\n");
	testroot_file("/sys/devices/pci0000:00/0000:00:17.0/ata1/block/sda/sda1/partition", "1\n");
	testroot_file("/sys/devices/pci0000:00/0000:00:17.0/ata1/block/sda/sda1/dev", "8:1\n");
	testroot_link("/sys/block/sda", "../devices/pci0000:00/0000:00:17.0/ata1/block/sda");
	strlist_add(&request.ids, "8086:7ae2");
	ck_assert_int_eq(cards_find(&request, &cards, &error), -EBUSY);
	ck_assert_msg(strstr(error, "disk sda1 is mounted on /; --force") != NULL, "%s", error);
	free(error);
	request_done(&request);
}
END_TEST

START_TEST(no_bus_no_card)
{
	struct setup_request request = { .all_gpus = true };
	struct cards cards;
	char *error = NULL;

	ck_assert_int_eq(cards_find(&request, &cards, &error), -ENODEV);
	ck_assert_ptr_nonnull(strstr(error, "/sys/bus/pci"));
	free(error);
	error = NULL;
	testhost_function("0000:00:17.0", "010601", "8086:7ae2", "1043:8882", "ahci", 3);
	ck_assert_int_eq(cards_find(&request, &cards, &error), -ENOENT);
	ck_assert_str_eq(error, "this host has no GPU");
	free(error);
}
END_TEST

START_TEST(group_mates_and_the_boot_display)
{
	struct setup_request request = { 0 };
	struct cards cards;
	char *error = NULL;

	build();
	testroot_attribute("0000:01:00.0", "boot_vga", "1\n");
	testhost_function("0000:06:00.0", "010802", "144d:a80a", "144d:a801", "nvme", 14);
	strlist_add(&request.gpus, "0000:01:00.0");
	ck_assert_int_eq(cards_find(&request, &cards, &error), 0);
	ck_assert_uint_eq(cards.n, 2);
	ck_assert(cards.fns[0].is_boot && cards.fns[0].is_display);
	ck_assert(!cards.fns[1].is_boot && !cards.fns[1].is_display);
	ck_assert_uint_eq(cards.n_mates, 1);		/* the bridge is none */
	ck_assert_uint_eq(cards.mates[0]->addr.bus, 6);
	ck_assert(cards_has(&cards, &cards.fns[1].dev->addr));
	ck_assert(!cards_has(&cards, &cards.mates[0]->addr));
	cards_done(&cards);
	request_done(&request);
}
END_TEST

/* Intel Arc: display and sound are in two slots behind the card's own switch. */
START_TEST(a_card_behind_its_own_switch)
{
	static const struct {
		const char *path, *addr, *class, *ids;
	} fns[] = {
		{ "0000:00:01.0", "0000:00:01.0", "060400", "8086:460d" },
		{ "0000:00:01.0/0000:03:00.0", "0000:03:00.0", "060400", "8086:4fa1" },
		{ "0000:00:01.0/0000:03:00.0/0000:04:01.0", "0000:04:01.0", "060400", "8086:4fa4" },
		{ "0000:00:01.0/0000:03:00.0/0000:04:04.0", "0000:04:04.0", "060400", "8086:4fa4" },
		{ "0000:00:01.0/0000:03:00.0/0000:04:01.0/0000:05:00.0", "0000:05:00.0", "030000",
		  "8086:56a0" },
		{ "0000:00:01.0/0000:03:00.0/0000:04:04.0/0000:06:00.0", "0000:06:00.0", "040300",
		  "8086:4f90" },
	};
	struct setup_request request = { 0 };
	struct cards cards;
	char *error = NULL, *all;

	for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
		_cleanup_free_ char *dir = xasprintf("/sys/devices/pci0000:00/%s", fns[i].path);
		_cleanup_free_ char *link = xasprintf("/sys/bus/pci/devices/%s", fns[i].addr);
		_cleanup_free_ char *target =
			xasprintf("../../../devices/pci0000:00/%s", fns[i].path);
		_cleanup_free_ char *class = xasprintf("%s/class", dir);
		_cleanup_free_ char *vendor = xasprintf("%s/vendor", dir);
		_cleanup_free_ char *device = xasprintf("%s/device", dir);
		_cleanup_free_ char *bus = xasprintf("%s/pci_bus", dir);
		_cleanup_free_ char *text = xasprintf("0x%s\n", fns[i].class);
		_cleanup_free_ char *id = xasprintf("0x%s\n", fns[i].ids + 5);

		testroot_file(class, text);
		testroot_file(vendor, "0x8086\n");
		testroot_file(device, id);
		testroot_link(link, target);
		if (strcmp(fns[i].class, "060400") == 0)
			testroot_dir(bus);
	}
	strlist_add(&request.gpus, "0000:03:00.0");
	ck_assert_int_eq(cards_find(&request, &cards, &error), -ENODEV);
	ck_assert_str_eq(error, "0000:03:00.0: a bridge, which stays with the host; "
				"the GPU below it is 0000:05:00.0");
	free(error);
	request_done(&request);
	strlist_add(&request.gpus, "05:00.0");
	ck_assert_int_eq(cards_find(&request, &cards, &error), 0);
	all = found(&cards);
	ck_assert_str_eq(all, "05:00.0 id, 06:00.0 id");
	free(all);
	cards_done(&cards);
	request_done(&request);
}
END_TEST

START_TEST(another_card_in_the_slot)
{
	struct setup_request request = { 0 };
	struct strlist record = { 0 };
	struct cards cards;
	char *error = NULL;

	build();
	strlist_add(&request.gpus, "01:00.0");
	ck_assert_int_eq(cards_find(&request, &cards, &error), 0);
	cards_record(&cards, &record);
	ck_assert_uint_eq(record.n, 2);
	ck_assert_str_eq(record.s[0], "0000:01:00.0 10de:2204 1043:87b3");
	ck_assert_str_eq(record.s[1], "0000:01:00.1 10de:1aef 1043:87b3");
	ck_assert(cards_match_record(&cards, &record, &error));
	strlist_add(&record, "0000:b3:00.0 10de:2206 1043:87b3");
	ck_assert(!cards_match_record(&cards, &record, &error));
	ck_assert_str_eq(error, "0000:b3:00.0: holds 10de:1e87 10de:1e87, not 10de:2206 1043:87b3");
	free(error);
	strlist_done(&record);
	strlist_add(&record, "0000:99:00.0 10de:2206 1043:87b3");
	ck_assert(!cards_match_record(&cards, &record, &error));
	ck_assert_str_eq(error, "0000:99:00.0: is empty, not 10de:2206 1043:87b3");
	free(error);
	strlist_done(&record);
	cards_done(&cards);
	request_done(&request);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("card");
	TCase *tc = tcase_create("card");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tc, cards_are_found, 0, ARRAY_SIZE(choices));
	tcase_add_test(tc, a_mounted_disk_is_kept);
	tcase_add_test(tc, no_bus_no_card);
	tcase_add_test(tc, group_mates_and_the_boot_display);
	tcase_add_test(tc, a_card_behind_its_own_switch);
	tcase_add_test(tc, another_card_in_the_slot);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
