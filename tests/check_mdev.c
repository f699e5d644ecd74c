/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pci/mdev.h"

#define GPU "0000:82:00.0"
#define VF "0000:c1:00.4"

static struct pciaddr at(const char *text)
{
	struct pciaddr addr;

	ck_assert(pciaddr_parse(text, &addr));
	return addr;
}

static void add_type(const char *type, const char *available, const char *name,
		     const char *description)
{
	char *dir = xasprintf("mdev_supported_types/%s", type), *path;

	path = xasprintf("/sys/devices/pci0000:00/" GPU "/%s", dir);
	testroot_dir(path);
	free(path);
	path = xasprintf("%s/available_instances", dir);
	if (available)
		testroot_attribute(GPU, path, available);
	free(path);
	path = xasprintf("%s/name", dir);
	if (name)
		testroot_attribute(GPU, path, name);
	free(path);
	path = xasprintf("%s/description", dir);
	if (description)
		testroot_attribute(GPU, path, description);
	free(path);
	free(dir);
}

static const struct {
	const char *type, *available, *name, *description;
	int want_available, want_max, want_framebuffer;
	bool one_size;
} types[] = {
	{ "nvidia-63", "24\n", "GRID P40-1Q\n",
	  "num_heads=4, frl_config=45, framebuffer=1024M, max_resolution=4096x2160, max_instance=24\n",
	  24, 24, 1024, true },
	{ "nvidia-50", "0\n", "GRID P40-6Q\n", NULL, 0, -1, 6144, true },
	{ "nvidia-155", "4\n", "GRID M10-2B\n", NULL, 4, -1, 2048, true },
	{ "nvidia-36", "16\n", "GRID M10-0Q\n", NULL, 16, -1, 512, true },
	{ "nvidia-230", "16\n", "GRID T4-2B4\n", NULL, 16, -1, 2048, true },
	{ "nvidia-471", "7\n", "NVIDIA A100-1-5C\n", "max_instance=7\n", 7, 7, 5120, false },
	{ "nvidia-999", NULL, NULL, NULL, -1, -1, -1, true },
	{ "nvidia-998", "x\n", "no number", "framebuffer=, max_instance=many", -1, -1, -1, true },
	{ "i915-GVTg_V5_4", "1\n", "GVTg_V5_4\n",
	  "low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\nresolution: 1920x1200\nweight: 4\n",
	  1, -1, 512, false },
};

START_TEST(mdev_type_is_read_so)
{
	struct pciaddr parent = at(GPU);
	struct mdev_type *t;
	size_t n;

	testroot_function(GPU);
	add_type(types[_i].type, types[_i].available, types[_i].name,
		 types[_i].description);
	testroot_dir("/sys/devices/pci0000:00/" GPU "/mdev_supported_types/zz");
	ck_assert_int_eq(mdev_types_read(&parent, 1, &t, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(t->type, types[_i].type);
	ck_assert_int_eq(t->available, types[_i].want_available);
	if (types[_i].name)
		ck_assert_uint_eq(strlen(t->name), strcspn(types[_i].name, "\n"));
	else
		ck_assert_ptr_null(t->name);
	ck_assert_int_eq(t->max_instance, types[_i].want_max);
	ck_assert_int_eq(t->framebuffer, types[_i].want_framebuffer);
	ck_assert(t->one_size == types[_i].one_size);
	mdev_types_free(t, n);
}
END_TEST

START_TEST(vendor_specific_types)
{
	struct pciaddr parents[] = { at(VF), at("0000:ff:00.0") };
	struct mdev_type *t;
	size_t n;

	testroot_function(VF);
	testroot_attribute(VF, "nvidia/current_vgpu_type", "0\n");
	testroot_attribute(VF, "nvidia/creatable_vgpu_types",
			   "ID    : vGPU Name\n"
			   "1428  : NVIDIA H200X-141C\n"
			   "  660 :NVIDIA L40S-8Q  \n"
			   "junk\n"
			   "12 no colon\n");
	ck_assert_int_eq(mdev_types_read(parents, 2, &t, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(t[0].type, "nvidia-1428");
	ck_assert_str_eq(t[0].name, "NVIDIA H200X-141C");
	ck_assert_int_eq(t[0].available, 1);
	ck_assert_int_eq(t[0].framebuffer, 141 * 1024);
	ck_assert(t[0].one_size);
	ck_assert_str_eq(t[1].type, "nvidia-660");
	ck_assert_str_eq(t[1].name, "NVIDIA L40S-8Q");
	mdev_types_free(t, n);

	/* One is set: no other can be, and the set one need not be listed. */
	testroot_attribute(VF, "nvidia/current_vgpu_type", "662\n");
	ck_assert_int_eq(mdev_types_read(parents, 2, &t, &n), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_str_eq(t[2].type, "nvidia-662");
	ck_assert_ptr_null(t[2].name);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(t[i].available, 0);
	mdev_types_free(t, n);

	testroot_attribute(VF, "nvidia/creatable_vgpu_types", "");
	testroot_attribute(VF, "nvidia/current_vgpu_type", "0\n");
	ck_assert_int_eq(mdev_types_read(parents, 2, &t, &n), 0);
	ck_assert_uint_eq(n, 0);
	mdev_types_free(t, n);
	ck_assert_int_eq(mdev_types_read(NULL, 0, &t, &n), 0);
	ck_assert_uint_eq(n, 0);
}
END_TEST

#define UUID "00000000-0000-0000-0000-000000000100"

START_TEST(instance)
{
	struct mdev_instance inst;
	struct pciaddr parent = at(GPU);

	testroot_link("/sys/bus/mdev/devices/" UUID,
		      "../../../devices/pci0000:00/" GPU "/" UUID);
	testroot_link("/sys/devices/pci0000:00/" GPU "/" UUID "/mdev_type",
		      "../mdev_supported_types/nvidia-63");
	testroot_link("/sys/bus/mdev/devices/aaaaaaaa-0000-0000-0000-000000000000",
		      "../../../devices/virtual/mtty/mtty/aaaaaaaa-0000-0000-0000-000000000000");
	ck_assert_int_eq(mdev_instance_read(UUID, &inst), 0);
	ck_assert_str_eq(inst.uuid, UUID);
	ck_assert_str_eq(inst.type, "nvidia-63");
	ck_assert_int_eq(pciaddr_compare(&inst.parent, &parent), 0);
	mdev_instance_done(&inst);
	ck_assert_int_eq(mdev_instance_read("AAAAAAAA-0000-0000-0000-000000000000", &inst), -ENODEV);
	ck_assert_int_eq(mdev_instance_read("bbbbbbbb-0000-0000-0000-000000000000", &inst), -ENOENT);
	ck_assert_int_eq(mdev_instance_read("../../../../etc/passwd", &inst), -EINVAL);
	ck_assert_int_eq(mdev_instance_read(UUID "0", &inst), -EINVAL);
	ck_assert_int_eq(mdev_instance_read("", &inst), -EINVAL);
}
END_TEST

static const struct {
	unsigned hostpci;
	uint32_t vmid;
	const char *uuid;
} uuids[] = {
	{ 0, 100, "00000000-0000-0000-0000-000000000100" },
	{ 15, 999999999, "00000015-0000-0000-0000-000999999999" },
};

START_TEST(uuid_of_pve)
{
	char uuid[MDEV_UUID_LEN + 1];
	unsigned hostpci;
	uint32_t vmid;

	mdev_pve_uuid(uuids[_i].hostpci, uuids[_i].vmid, uuid);
	ck_assert_str_eq(uuid, uuids[_i].uuid);
	ck_assert(mdev_pve_uuid_parse(uuid, &hostpci, &vmid));
	ck_assert_uint_eq(hostpci, uuids[_i].hostpci);
	ck_assert_uint_eq(vmid, uuids[_i].vmid);
}
END_TEST

static const char *const foreign[] = {
	"0000000a-0000-0000-0000-000000000100", "00000000-0000-0000-0001-000000000100",
	"00000000-0000-0000-0000-00000000010a", "00000000-0000-0000-0000-000000000000",
	"00000000-0000-0000-0000-999999999999", "00000000-0000-0000-0000-00000000010",
	"00000000-0000-0000-0000-0000000001000", "", "nonsense",
	"4b20d080-1b54-4048-85b3-a6a62d165c01",
};

START_TEST(uuid_of_others)
{
	unsigned hostpci;
	uint32_t vmid;

	ck_assert(!mdev_pve_uuid_parse(foreign[_i], &hostpci, &vmid));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mdev");
	TCase *tcase = tcase_create("mdev");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tcase, mdev_type_is_read_so, 0, ARRAY_SIZE(types));
	tcase_add_test(tcase, vendor_specific_types);
	tcase_add_test(tcase, instance);
	tcase_add_loop_test(tcase, uuid_of_pve, 0, ARRAY_SIZE(uuids));
	tcase_add_loop_test(tcase, uuid_of_others, 0, ARRAY_SIZE(foreign));
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
