/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "gpu/gpudev.h"

#define GPU "0000:01:00.0"

static const char pci_ids[] =
	"10de  NVIDIA Corporation\n"
	"\t2204  GA102 [GeForce RTX 3090]\n"
	"\t\t1043 8798  TUF\n"
	"8086  Intel Corporation\n"
	"C 03  Display controller\n";

static void use_pci_ids(const char *text)
{
	testroot_file("/usr/share/misc/pci.ids", text);
}

static const struct {
	uint16_t vendor, device;
	const char *maker, *model, *full;
} names[] = {
	{ 0x10de, 0x2204, "NVIDIA Corporation", "GA102 [GeForce RTX 3090]",
	  "NVIDIA Corporation GA102 [GeForce RTX 3090]" },
	{ 0x10de, 0x2205, "NVIDIA Corporation", NULL, "NVIDIA Corporation Device 2205" },
	{ 0x8086, 0x56a6, "Intel Corporation", NULL, "Intel Corporation Device 56a6" },
	{ 0x1002, 0x2204, NULL, NULL, NULL },
	{ 0xffff, 0xffff, NULL, NULL, NULL },
};

static void assert_text(const char *got, const char *want)
{
	if (want)
		ck_assert_str_eq(got, want);
	else
		ck_assert_ptr_null(got);
}

START_TEST(names_of_ids)
{
	struct pcinames *all = pcinames_new();
	_cleanup_free_ char *maker = NULL, *model = NULL, *full = NULL;

	use_pci_ids(pci_ids);
	maker = pciname_vendor(all, names[_i].vendor);
	model = pciname_device(all, names[_i].vendor, names[_i].device);
	full = pciname_full(all, names[_i].vendor, names[_i].device);
	assert_text(maker, names[_i].maker);
	assert_text(model, names[_i].model);
	assert_text(full, names[_i].full);
	pcinames_free(all);
}
END_TEST

/* No file, an empty one, and one that libpci would leave the program for. */
static const char *const unusable[] = { NULL, "", "10de  NVIDIA\nnonsense\n", "\t2204  x\n" };

START_TEST(no_names)
{
	struct pcinames *all = pcinames_new();

	if (unusable[_i])
		use_pci_ids(unusable[_i]);
	assert_text(pciname_full(all, 0x8086, 0x2204), NULL);
	assert_text(pciname_full(all, 0x8086, 0x2204), NULL);
	pcinames_free(all);
}
END_TEST

static const struct {
	uint32_t class;
	bool is_gpu;
} classes[] = {
	{ 0x030000, true }, { 0x030200, true }, { 0x038000, true }, { 0x120000, true },
	{ 0x040300, false }, { 0x060400, false }, { 0x010802, false },
	{ 0x000300, false },
	{ 0x130000, false }, { 0x0b4000, false },
};

START_TEST(classes_of_gpus)
{
	struct pcidev dev = { .class = classes[_i].class };

	ck_assert(gpudev_is_gpu(&dev) == classes[_i].is_gpu);
}
END_TEST

static const struct {
	const char *method, *want;
} resets[] = {
	{ "flr bus", "flr,bus" },
	{ "device_specific flr pm bus", "device_specific,flr,pm,bus" },
	{ "bus", "bus" },
	{ "", "none" },
	{ NULL, "none" },
};

START_TEST(reset_methods)
{
	struct topofn fn = { .reset_method = (char *)(uintptr_t)resets[_i].method };
	_cleanup_free_ char *reset = gpudev_reset(&fn);

	ck_assert_str_eq(reset, resets[_i].want);
}
END_TEST

static char *put(const struct topofn *fn)
{
	static const struct record_opts raw = { .raw = true };
	struct pcinames *all = pcinames_new();
	struct record_writer *w;
	char *text, *bad;
	size_t len;
	FILE *f = xcheck(open_memstream(&text, &len));

	w = record_writer_new(f, gpudev_fields, GPUDEV_FIELDS, &raw, &bad);
	gpudev_put(w, fn, all);
	record_writer_free(w);
	pcinames_free(all);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

START_TEST(bare_record)
{
	static const struct topofn fn = {
		.dev = { .addr = { .bus = 1 }, .class = 0x038000, .vendor = 0x1234,
			 .device = 0x1111, .iommu_group = -1 },
		.numvfs = -1, .totalvfs = -1, .numa_node = -1,
	};
	_cleanup_free_ char *text = put(&fn);

	ck_assert_str_eq(text, GPU "\t038000\t1234:1111\t-\t-\t-\tnone\t-\t-\t-\t-\t-\n");
}
END_TEST

START_TEST(full_record)
{
	char driver[] = "nvidia", method[] = "flr bus";
	struct topofn fn = {
		.dev = { .addr = { .bus = 1 }, .class = 0x030000, .vendor = 0x10de,
			 .device = 0x2204, .driver = driver, .iommu_group = 14,
			 .has_mdev = true },
		.reset_method = method, .numvfs = 4, .totalvfs = 16, .boot_vga = true,
		.numa_node = 0,
	};
	_cleanup_free_ char *first = NULL, *second = NULL;

	use_pci_ids(pci_ids);
	testroot_function(GPU);
	testroot_attribute(GPU, "mdev_supported_types/nvidia-64/available_instances", "1\n");
	testroot_attribute(GPU, "mdev_supported_types/nvidia-63/available_instances", "2\n");
	first = put(&fn);
	ck_assert_str_eq(first, GPU "\t030000\t10de:2204\tNVIDIA Corporation GA102 [GeForce RTX 3090]"
			 "\tnvidia\t14\tflr,bus\t4\t16\tnvidia-63,nvidia-64\t1\t0\n");
	fn.boot_vga = false;
	fn.dev.has_mdev = false;
	second = put(&fn);
	ck_assert_str_eq(second, GPU "\t030000\t10de:2204\tNVIDIA Corporation GA102 [GeForce RTX 3090]"
			 "\tnvidia\t14\tflr,bus\t4\t16\t-\t0\t0\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gpudev");
	TCase *tc = tcase_create("gpudev");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tc, names_of_ids, 0, ARRAY_SIZE(names));
	tcase_add_loop_test(tc, no_names, 0, ARRAY_SIZE(unusable));
	tcase_add_loop_test(tc, classes_of_gpus, 0, ARRAY_SIZE(classes));
	tcase_add_loop_test(tc, reset_methods, 0, ARRAY_SIZE(resets));
	tcase_add_test(tc, bare_record);
	tcase_add_test(tc, full_record);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
