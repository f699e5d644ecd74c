/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vgputree.h"

#include "pci/vgpu.h"

#define P40 "pci0000:00/0000:82:00.0"
#define MTTY "virtual/mtty/mtty"
#define UUID1 "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
#define UUID2 "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"

static const struct vgpu_type *type_of(const struct vgpus *v, const char *parent,
				       const char *id)
{
	const struct vgpu_vf *vf;
	int p = vgpus_find_parent(v, parent, &vf), t;

	ck_assert_int_ge(p, 0);
	t = vgpus_find_type(v, (size_t)p, id);
	return t < 0 ? NULL : &v->types[t];
}

static void make_p40(int q6, int c12, int q1)
{
	vgputree_function("0000:82:00.0", "nvidia");
	vgputree_mdev_bus("0000:82:00.0", P40);
	vgputree_type(P40, "nvidia-50", "GRID P40-6Q\n", q6,
		      "num_heads=4, framebuffer=6144M, max_instance=4\n");
	vgputree_type(P40, "nvidia-286", "GRID P40-12C\n", c12,
		      "num_heads=1, framebuffer=12288M, max_instance=2\n");
	vgputree_type(P40, "nvidia-46", "GRID P40-1Q\n", q1,
		      "num_heads=4, framebuffer=1024M, max_instance=24\n");
}

START_TEST(bare_host)
{
	struct vgpus v;

	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents + v.n_types + v.n_instances, 0);
	vgpus_done(&v);
	vgputree_function("0000:03:00.0", "vfio-pci");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES | VGPUS_ANY_SRIOV), 0);
	ck_assert_uint_eq(v.n_parents, 0);
	vgpus_done(&v);
}
END_TEST

START_TEST(mdev_types)
{
	const struct vgpu_type *t;
	struct vgpus v;

	make_p40(4, 2, 24);
	vgputree_mdev_bus("mtty", MTTY);
	vgputree_type(MTTY, "mtty-1", NULL, 24, NULL);
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents, 2);
	ck_assert_str_eq(v.parents[0].name, "0000:82:00.0");
	ck_assert(v.parents[0].is_pci);
	ck_assert_str_eq(v.parents[0].driver, "nvidia");
	ck_assert_str_eq(v.parents[1].name, "mtty");
	ck_assert(!v.parents[1].is_pci);
	ck_assert_int_eq(v.parents[1].backend, VGPU_MDEV);
	ck_assert_uint_eq(v.n_types, 4);
	ck_assert_str_eq(v.types[0].id, "nvidia-286");
	ck_assert_str_eq(v.types[3].id, "mtty-1");
	t = type_of(&v, "82:00.0", "nvidia-50");
	ck_assert_str_eq(t->name, "GRID P40-6Q");
	ck_assert_str_eq(t->api, "vfio-pci");
	ck_assert_int_eq(t->available, 4);
	ck_assert_int_eq(t->framebuffer, 6144);
	ck_assert_int_eq(t->max_instance, 4);
	ck_assert_ptr_null(t->reason);
	t = type_of(&v, "mtty", "mtty-1");
	ck_assert_ptr_null(t->name);
	ck_assert_ptr_null(t->description);
	ck_assert_int_eq(t->framebuffer, -1);
	vgpus_done(&v);
}
END_TEST

/* The tree that has no /sys/class/mdev_bus. */
START_TEST(mdev_parent_by_its_function)
{
	struct vgpus v;

	vgputree_function("0000:82:00.0", "nvidia");
	vgputree_type(P40, "nvidia-50", "GRID P40-6Q\n", 4, NULL);
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents, 1);
	ck_assert_uint_eq(v.n_types, 1);
	ck_assert_int_eq(v.types[0].framebuffer, 6144);
	vgpus_done(&v);
}
END_TEST

START_TEST(mdev_instances)
{
	struct vgpus v;
	int at;

	make_p40(2, 0, 0);
	vgputree_mdev_bus("mtty", MTTY);
	vgputree_type(MTTY, "mtty-1", "Single port serial\n", 24, NULL);
	vgputree_instance(P40, UUID2, "nvidia-50", 91);
	vgputree_instance(P40, UUID1, "nvidia-50", 90);
	vgputree_instance(MTTY, "00000000-0000-0000-0000-000000000100", "mtty-1", -1);
	ck_assert_int_eq(vgpus_read(&v, 0), 0);
	ck_assert_uint_eq(v.n_types, 0);
	ck_assert_uint_eq(v.n_instances, 3);
	ck_assert_str_eq(v.instances[0].id, UUID1);
	ck_assert_int_eq(v.instances[0].group, 90);
	ck_assert_str_eq(v.instances[0].type, "nvidia-50");
	ck_assert_str_eq(v.instances[0].name, "GRID P40-6Q");
	ck_assert_str_eq(v.instances[1].id, UUID2);
	at = vgpus_find(&v, "00000000-0000-0000-0000-000000000100");
	ck_assert_int_eq(at, 2);
	ck_assert_int_eq(v.instances[at].group, -1);
	ck_assert_str_eq(v.parents[v.instances[at].parent].name, "mtty");
	ck_assert_int_eq(vgpus_find(&v, "83B8F4F2-509F-382F-3C1E-E6BFE0FA1002"), 1);
	ck_assert_int_eq(vgpus_find(&v, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003"), -1);
	vgpus_done(&v);
}
END_TEST

/* Its parent is registered no more, or never was. */
START_TEST(instance_of_unknown_parent)
{
	struct vgpus v;

	vgputree_instance("virtual/x/x", UUID1, "x-1", 7);
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents, 1);
	ck_assert_str_eq(v.parents[0].name, "x");
	ck_assert_uint_eq(v.n_instances, 1);
	vgpus_done(&v);
}
END_TEST

START_TEST(reasons)
{
	struct vgpus v;

	make_p40(0, 0, 0);
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_str_eq(v.types[0].reason, "nothing is in use: the driver offers none");
	vgpus_done(&v);
	vgputree_instance(P40, UUID1, "nvidia-50", 90);
	vgputree_instance(P40, UUID2, "nvidia-50", 91);
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_str_eq(type_of(&v, "82:00.0", "nvidia-46")->reason,
			 "another size is in use: 2 x GRID P40-6Q (nvidia-50)");
	ck_assert_str_eq(type_of(&v, "82:00.0", "nvidia-50")->reason,
			 "all are in use: 2 x GRID P40-6Q (nvidia-50)");
	vgpus_done(&v);
}
END_TEST

/* On some cards each VF is a parent of mdevs, of one instance: they share the card. */
START_TEST(mdevs_on_vfs)
{
	static const char place[] = "pci0000:00/0000:41:00.5";
	struct vgpus v;

	vgputree_function("0000:41:00.0", "nvidia");
	vgputree_sriov("0000:41:00.0", "16\n", "2\n");
	vgputree_vf("0000:41:00.4", "0000:41:00.0", "nvidia");
	vgputree_vf("0000:41:00.5", "0000:41:00.0", "nvidia");
	vgputree_type("pci0000:00/0000:41:00.4", "nvidia-558", "NVIDIA A40-8Q\n", 0, NULL);
	vgputree_type(place, "nvidia-558", "NVIDIA A40-8Q\n", 0, NULL);
	vgputree_type(place, "nvidia-560", "NVIDIA A40-12Q\n", 0, NULL);
	vgputree_instance("pci0000:00/0000:41:00.4", UUID1, "nvidia-558", 51);
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents, 2);	/* the PF is none */
	ck_assert_str_eq(v.parents[1].name, "0000:41:00.5");
	ck_assert(v.parents[1].is_vf);
	ck_assert_str_eq(type_of(&v, "41:00.5", "nvidia-560")->reason,
			 "another size is in use: 1 x NVIDIA A40-8Q (nvidia-558)");
	vgpus_done(&v);
}
END_TEST

static void make_a40(int second, const char *creatable)
{
	vgputree_function("0000:41:00.0", "nvidia");
	vgputree_sriov("0000:41:00.0", "16\n", "3\n");
	vgputree_nvidia_vf("0000:41:00.6", "0000:41:00.0", 0, creatable);
	vgputree_nvidia_vf("0000:41:00.4", "0000:41:00.0", 0, creatable);
	vgputree_nvidia_vf("0000:41:00.5", "0000:41:00.0", second, "");
}

START_TEST(nvidia_types)
{
	const struct vgpu_type *t;
	const struct vgpu_vf *vf;
	struct vgpus v;

	make_a40(660, "ID    : vGPU Name\n  660 : NVIDIA A40-8Q \n663:NVIDIA A40-48Q\nx\n0 : y\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents, 1);
	ck_assert_int_eq(v.parents[0].backend, VGPU_NVIDIA);
	ck_assert_uint_eq(v.parents[0].n_vfs, 3);
	ck_assert_str_eq(v.parents[0].vfs[0].name, "0000:41:00.4");
	ck_assert_int_eq(v.parents[0].vfs[1].current, 660);
	ck_assert_uint_eq(v.n_types, 2);
	t = type_of(&v, "41:00.0", "nvidia-660");
	ck_assert_int_eq(t->available, 2);
	ck_assert_str_eq(t->name, "NVIDIA A40-8Q");
	ck_assert_int_eq(t->framebuffer, 8192);
	ck_assert_uint_eq(v.n_instances, 1);
	ck_assert_str_eq(v.instances[0].id, "0000:41:00.5");
	ck_assert_str_eq(v.instances[0].type, "nvidia-660");
	ck_assert_str_eq(v.instances[0].name, "NVIDIA A40-8Q");
	ck_assert_int_eq(vgpus_find(&v, "00000000:41:00.5"), 0);
	ck_assert_int_eq(vgpus_find_parent(&v, "pci_0000_41_00_5", &vf), 0);
	ck_assert_str_eq(vf->name, "0000:41:00.5");
	ck_assert_int_eq(vgpus_find_parent(&v, "41:00.0", &vf), 0);
	ck_assert_ptr_null(vf);
	ck_assert_int_eq(vgpus_find_parent(&v, "42:00.0", &vf), -1);
	vgpus_done(&v);
}
END_TEST

/* What can be made no more is listed still, by the name that it had. */
START_TEST(nvidia_types_are_remembered)
{
	const struct vgpu_type *t;
	struct vgpus v;

	make_a40(0, "660 : NVIDIA A40-8Q\n663 : NVIDIA A40-48Q\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_int_eq(vgpus_remember(&v), 0);
	ck_assert_int_eq(vgpus_remember(&v), 0);
	vgpus_done(&v);
	testroot_attribute("0000:41:00.4", "nvidia/current_vgpu_type", "660\n");
	testroot_attribute("0000:41:00.4", "nvidia/creatable_vgpu_types", "");
	testroot_attribute("0000:41:00.6", "nvidia/creatable_vgpu_types", "660 : NVIDIA A40-8Q\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_types, 2);
	t = type_of(&v, "41:00.0", "nvidia-663");
	ck_assert_int_eq(t->available, 0);
	ck_assert_str_eq(t->name, "NVIDIA A40-48Q");
	ck_assert_str_eq(t->reason, "another size is in use: 1 x NVIDIA A40-8Q (nvidia-660)");
	ck_assert_int_eq(type_of(&v, "41:00.0", "nvidia-660")->available, 1);
	vgpus_done(&v);
	for (int i = 5; i <= 6; i++) {
		_cleanup_free_ char *vf = xasprintf("0000:41:00.%d", i);

		testroot_attribute(vf, "nvidia/current_vgpu_type", "660\n");
	}
	ck_assert_int_eq(vgpus_read(&v, 0), 0);
	ck_assert_uint_eq(v.n_instances, 3);
	ck_assert_str_eq(v.instances[2].name, "NVIDIA A40-8Q");
	ck_assert_str_eq(type_of(&v, "41:00.0", "nvidia-660")->reason,
			 "every VF is taken: 3 x NVIDIA A40-8Q (nvidia-660)");
	vgpus_done(&v);
}
END_TEST

START_TEST(nvidia_without_vfs)
{
	struct vgpus v;

	vgputree_function("0000:61:00.0", "nvidia");
	vgputree_sriov("0000:61:00.0", "32\n", "0\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents, 1);
	ck_assert_int_eq(v.parents[0].backend, VGPU_NVIDIA);
	ck_assert_uint_eq(v.n_types, 0);
	vgpus_done(&v);
}
END_TEST

START_TEST(plain_sriov)
{
	const struct vgpu_type *t;
	struct vgpus v;

	vgputree_function("0000:00:02.0", "i915");
	vgputree_sriov("0000:00:02.0", "7\n", "0\n");
	pcitree_function("pci0000:00/0000:05:00.0", 0x8086, 0x1528, 0x020000);
	vgputree_sriov("0000:05:00.0", "63\n", "0\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	ck_assert_uint_eq(v.n_parents, 1);	/* the network card only when asked for */
	ck_assert_int_eq(v.parents[0].backend, VGPU_SRIOV);
	t = type_of(&v, "00:02.0", "vf");
	ck_assert_int_eq(t->available, 7);
	vgpus_done(&v);
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES | VGPUS_ANY_SRIOV), 0);
	ck_assert_uint_eq(v.n_parents, 2);
	vgpus_done(&v);
	vgputree_sriov("0000:00:02.0", "7\n", "1\n");
	vgputree_vf("0000:00:02.1", "0000:00:02.0", "vfio-pci");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	t = type_of(&v, "00:02.0", "vf");
	ck_assert_int_eq(t->available, 0);
	ck_assert_str_eq(t->reason, "1 of 7 VFs exist; only from 0 on can others be made");
	ck_assert_uint_eq(v.n_instances, 1);
	ck_assert_str_eq(v.instances[0].id, "0000:00:02.1");
	ck_assert_str_eq(v.instances[0].type, "vf");
	ck_assert_str_eq(v.instances[0].driver, "vfio-pci");
	vgpus_done(&v);
}
END_TEST

static const struct {
	const char *text;
	size_t n;		/* types that it names */
	const char *first;
} names[] = {
	{ "nvidia-50", 1, "nvidia-50" },
	{ "NVIDIA-50", 0, NULL },
	{ "50", 0, NULL },		/* an mdev's id is the whole */
	{ "660", 1, "nvidia-660" },
	{ "GRID P40-6Q", 1, "nvidia-50" },
	{ "grid p40-6q", 1, "nvidia-50" },
	{ "P40-6Q", 1, "nvidia-50" },
	{ "NVIDIA P40-6Q", 1, "nvidia-50" },
	{ "6Q", 1, "nvidia-50" },
	{ "6q", 1, "nvidia-50" },
	{ "A40-8Q", 1, "nvidia-660" },
	{ "5c", 1, "nvidia-700" },
	{ "1-5c", 1, "nvidia-700" },
	{ "1q", 2, "nvidia-46" },	/* on both cards */
	{ "q", 0, NULL },
	{ "P40", 0, NULL },
	{ "", 0, NULL },
};

START_TEST(matching)
{
	size_t *types, n;
	struct vgpus v;

	make_p40(4, 2, 24);
	make_a40(0, "660 : NVIDIA A40-8Q\n661 : NVIDIA A40-1Q\n700 : NVIDIA A100-1-5C\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	vgpus_match(&v, -1, names[_i].text, &types, &n);
	ck_assert_uint_eq(n, names[_i].n);
	if (n)
		for (size_t i = 0; i < n; i++) {
			ck_assert(vgpu_type_matches(&v, &v.types[types[i]],
						    names[_i].text));
			if (i == n - 1 && names[_i].first)
				ck_assert_str_eq(v.types[types[i]].id, names[_i].first);
		}
	free(types);
	vgpus_done(&v);
}
END_TEST

START_TEST(matching_at_one_parent)
{
	size_t *types, n;
	struct vgpus v;

	make_p40(4, 2, 24);
	make_a40(0, "661 : NVIDIA A40-1Q\n662 : NVIDIA A40-1-1Q\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	vgpus_match(&v, 0, "1q", &types, &n);	/* both ends say so */
	ck_assert_uint_eq(n, 2);
	free(types);
	vgpus_match(&v, 0, "A40-1Q", &types, &n);	/* a whole name wins */
	ck_assert_uint_eq(n, 1);
	free(types);
	vgpus_match(&v, 1, "1q", &types, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(v.types[types[0]].id, "nvidia-46");
	free(types);
	vgpus_done(&v);
}
END_TEST

static const struct {
	const char *name;
	int max;
	char series;
	bool is_alone;		/* one vGPU in a VM */
} rules[] = {
	{ "GRID P40-6Q", 4, 'Q', true },
	{ "GRID P40-24Q", 1, 'Q', false },
	{ "GRID P40-24C", 1, 'C', false },
	{ "GRID P40-24A", 1, 'A', true },
	{ "GRID M10-2B", 4, 'B', true },
	{ "GRID T4-2B4", 8, 'B', true },
	{ "GRID T4-4Q", 4, 'Q', false },
	{ "GRID P4-2Q", -1, 'Q', true },
	{ "NVIDIA A40-8Q", -1, 'Q', false },
	{ "NVIDIA A100-1-5CME", -1, 'C', false },
	{ "NVIDIA RTX6000-Ada-12Q", -1, 'Q', false },
	{ "Single port serial", -1, 0, false },
	{ "i915-GVTg_V5_4", -1, 0, false },
	{ NULL, -1, 0, false },
};

START_TEST(one_to_a_vm)
{
	ck_assert_int_eq(vgpu_series(rules[_i].name), rules[_i].series);
	ck_assert(!!vgpu_one_per_vm(rules[_i].name, rules[_i].max) == rules[_i].is_alone);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vgpu");
	TCase *t = tcase_create("vgpu");

	tcase_add_checked_fixture(t, testroot_setup, testroot_teardown);
	tcase_add_test(t, bare_host);
	tcase_add_test(t, mdev_types);
	tcase_add_test(t, mdev_parent_by_its_function);
	tcase_add_test(t, mdev_instances);
	tcase_add_test(t, instance_of_unknown_parent);
	tcase_add_test(t, reasons);
	tcase_add_test(t, mdevs_on_vfs);
	tcase_add_test(t, nvidia_types);
	tcase_add_test(t, nvidia_types_are_remembered);
	tcase_add_test(t, nvidia_without_vfs);
	tcase_add_test(t, plain_sriov);
	tcase_add_loop_test(t, matching, 0, ARRAY_SIZE(names));
	tcase_add_test(t, matching_at_one_parent);
	tcase_add_loop_test(t, one_to_a_vm, 0, ARRAY_SIZE(rules));
	suite_add_tcase(s, t);
	return testroot_run(s);
}
