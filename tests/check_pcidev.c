/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pci/iommu.h"
#include "pci/pcidev.h"

static struct pciaddr at(const char *text)
{
	struct pciaddr addr;

	ck_assert(pciaddr_parse(text, &addr));
	return addr;
}

static void build_host(void)
{
	testroot_function("0000:82:00.4");
	testroot_function("0000:00:01.0");
	testroot_dir("/sys/devices/pci0000:00/0000:00:01.0/pci_bus");
	testroot_attribute("0000:00:01.0", "vendor", "0x8086\n");
	testroot_attribute("0000:00:01.0", "device", "0x1901\n");
	testroot_attribute("0000:00:01.0", "class", "0x060400\n");
	testroot_group("0000:00:01.0", 1);
	testroot_function("0000:01:00.0");
	testroot_attribute("0000:01:00.0", "vendor", "0x10de\n");
	testroot_attribute("0000:01:00.0", "device", "0x2204\n");
	testroot_attribute("0000:01:00.0", "class", "0x030000\n");
	testroot_attribute("0000:01:00.0", "revision", "0xa1\n");
	testroot_attribute("0000:01:00.0", "subsystem_vendor", "0x1043\n");
	testroot_attribute("0000:01:00.0", "subsystem_device", "0x8798\n");
	testroot_dir("/sys/devices/pci0000:00/0000:01:00.0/mdev_supported_types");
	testroot_driver("0000:01:00.0", "nvidia");
	testroot_group("0000:01:00.0", 1);
	testroot_function("10000:e1:00.0");
	testroot_link("/sys/devices/pci0000:00/0000:82:00.4/physfn", "../0000:82:00.0");
	testroot_dir("/sys/devices/pci0000:00/0000:82:00.4/nvidia");
	testroot_dir("/sys/bus/pci/devices/stray");
}

START_TEST(listed_in_order)
{
	static const char *const want[] = {
		"0000:00:01.0", "0000:01:00.0", "0000:82:00.4", "10000:e1:00.0",
	};
	struct pciaddr absent = at("0000:01:00.1");
	struct pcidev *devs;
	size_t n;

	build_host();
	ck_assert_int_eq(pcidev_list(PCIDEV_ADDR, &devs, &n), 0);
	ck_assert_uint_eq(n, ARRAY_SIZE(want));
	for (size_t i = 0; i < n; i++) {
		char text[PCIADDR_STRLEN];

		ck_assert_str_eq(pciaddr_format(&devs[i].addr, text), want[i]);
		ck_assert_ptr_eq(pcidev_find(devs, n, &devs[i].addr), &devs[i]);
	}
	ck_assert_ptr_null(pcidev_find(devs, n, &absent));
	ck_assert_ptr_null(pcidev_find(NULL, 0, &absent));
	pcidev_free(devs, n);
}
END_TEST

START_TEST(facts_of_a_function)
{
	struct pciaddr gpu = at("0000:01:00.0"), bridge = at("0000:00:01.0"), vf = at("0000:82:00.4");
	struct pciaddr pf = at("0000:82:00.0");
	const struct pcidev *d;
	struct pcidev *devs;
	size_t n;

	build_host();
	ck_assert_int_eq(pcidev_list(PCIDEV_IDENT | PCIDEV_BIND, &devs, &n), 0);
	ck_assert_uint_eq(n, 4);
	d = pcidev_find(devs, n, &gpu);
	ck_assert_uint_eq(d->class, 0x030000);
	ck_assert_uint_eq(d->vendor, 0x10de);
	ck_assert_uint_eq(d->device, 0x2204);
	ck_assert_uint_eq(d->subvendor, 0x1043);
	ck_assert_uint_eq(d->subdevice, 0x8798);
	ck_assert_str_eq(d->driver, "nvidia");
	ck_assert_int_eq(d->iommu_group, 1);
	ck_assert(!d->is_bridge && !d->is_vf && d->has_mdev);
	d = pcidev_find(devs, n, &bridge);
	ck_assert_uint_eq(d->class, 0x060400);
	ck_assert_uint_eq(d->subvendor, 0);
	ck_assert_ptr_null(d->driver);
	ck_assert(d->is_bridge && !d->has_mdev);
	d = pcidev_find(devs, n, &vf);
	ck_assert(d->is_vf && d->has_mdev);
	ck_assert_int_eq(pciaddr_compare(&d->physfn, &pf), 0);
	ck_assert_int_eq(d->iommu_group, -1);
	/* libpci ends the program where an attribute is missing; here it is a zero. */
	ck_assert_uint_eq(d->vendor, 0);
	pcidev_free(devs, n);
}
END_TEST

START_TEST(absent)
{
	struct pcidev dev = { .addr = at("0000:01:00.0") }, *devs;
	size_t n;

	ck_assert_int_eq(pcidev_list(PCIDEV_ADDR, &devs, &n), -ENOENT);
	ck_assert_int_eq(pcidev_fill(&dev, PCIDEV_IDENT | PCIDEV_BIND), -ENOENT);
	testroot_dir("/sys/bus/pci/devices");
	ck_assert_int_eq(pcidev_list(PCIDEV_IDENT, &devs, &n), 0);
	ck_assert_uint_eq(n, 0);
	pcidev_free(devs, n);
	testroot_function("0000:01:00.0");
	ck_assert_int_eq(pcidev_fill(&dev, PCIDEV_IDENT), -EIO);
	ck_assert_int_eq(pcidev_fill(&dev, PCIDEV_BIND), 0);
	pcidev_free(NULL, 0);
}
END_TEST

START_TEST(groups)
{
	struct pciaddr gpu = at("0000:01:00.0"), vf = at("0000:82:00.4"), *addrs = NULL;
	size_t n = 77;

	build_host();
	testroot_file("/sys/kernel/iommu_groups/1/devices/vmbus-thing", "");
	testroot_dir("/sys/kernel/iommu_groups/2/devices");
	ck_assert_int_eq(iommu_group_of(&gpu), 1);
	ck_assert_int_eq(iommu_group_of(&vf), -1);
	ck_assert_int_eq(iommu_group_read(3, &addrs, &n), -ENOENT);
	ck_assert_ptr_null(addrs);
	ck_assert_uint_eq(n, 77);
	ck_assert_int_eq(iommu_group_read(1, &addrs, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(pciaddr_compare(&addrs[1], &gpu), 0);
	free(addrs);
	ck_assert_int_eq(iommu_group_read(2, &addrs, &n), 0);
	ck_assert_uint_eq(n, 0);
	free(addrs);
}
END_TEST

START_TEST(of_the_board)
{
	static const struct {
		struct pcidev gpu, mate;
		bool board;
	} cases[] = {
		/* a Ryzen: its display, and the USB controller beside it */
		{ { .vendor = 0x1002, .iommu_group = 11 },
		  { .vendor = 0x1022, .addr.func = 3, .iommu_group = 12 }, true },
		{ { .vendor = 0x1002, .iommu_group = 11 },	/* no group of its own */
		  { .vendor = 0x1022, .addr.func = 3, .iommu_group = 11 }, false },
		{ { .vendor = 0x1002, .iommu_group = -1 },
		  { .vendor = 0x1022, .addr.func = 3, .iommu_group = -1 }, false },
		{ { .vendor = 0x1002, .iommu_group = 11 },	/* its own audio */
		  { .vendor = 0x1002, .addr.func = 1, .iommu_group = 12 }, false },
		{ { .vendor = 0x1002, .iommu_group = 11 },	/* another slot */
		  { .vendor = 0x1022, .addr.slot = 1, .iommu_group = 12 }, false },
		{ { .vendor = 0x10de, .iommu_group = 11 },
		  { .vendor = 0x1022, .addr.func = 3, .iommu_group = 12 }, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ck_assert_msg(pcidev_is_of_board(&cases[i].mate, &cases[i].gpu) ==
			      cases[i].board,
			      "case %zu", i);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pcidev");
	TCase *tcase = tcase_create("pcidev");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_test(tcase, listed_in_order);
	tcase_add_test(tcase, facts_of_a_function);
	tcase_add_test(tcase, absent);
	tcase_add_test(tcase, groups);
	tcase_add_test(tcase, of_the_board);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
