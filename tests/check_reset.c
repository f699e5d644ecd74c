/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pcitree.h"
#include "fakekernel.h"

#include "base/sysfs.h"
#include "pci/reset.h"

#define BRIDGE "pci0000:00/0000:00:01.0"
#define GPU BRIDGE "/0000:01:00.0"
#define AUDIO BRIDGE "/0000:01:00.1"

static struct timedwriter writer;

static void build_card(const char *list, const char *works)
{
	_cleanup_free_ char *text = list ? xasprintf("%s\n", list) : NULL;

	writer = (struct timedwriter){ .limit = 10000, .lock = -1 };
	pcitree_bridge(BRIDGE);
	pcitree_driver(BRIDGE, "pcieport");
	pcitree_function(GPU, 0x1002, 1, 0x030000);
	pcitree_function(AUDIO, 0x1002, 2, 0x040300);
	pcitree_attribute(GPU, "reset", "");
	if (text)
		pcitree_attribute(GPU, "reset_method", text);
	strcpy(fake->works, works);
}

static void check_list(const char *want)
{
	_cleanup_free_ char *path = xasprintf("%s/sys/devices/" GPU "/reset_method", testroot);
	char text[SYSFS_MAX];

	ck_assert_int_ge(sysfs_read(path, text, sizeof(text)), 0);
	ck_assert_str_eq(text, want);
}

START_TEST(safe_drivers)
{
	ck_assert(reset_is_safe_driver(NULL));
	ck_assert(reset_is_safe_driver("vfio-pci"));
	ck_assert(reset_is_safe_driver("mlx5-vfio-pci"));
	ck_assert(reset_is_safe_driver("nvgrace_gpu_vfio_pci"));
	ck_assert(reset_is_safe_driver("pci-stub"));
	ck_assert(reset_is_safe_driver("pcieport"));
	ck_assert(!reset_is_safe_driver("amdgpu"));
	ck_assert(!reset_is_safe_driver("snd_hda_intel"));
}
END_TEST

/* The list before, what the kernel finds now, and the list that is left. */
static const struct {
	const char *list, *works, *after;
} lists[] = {
	{ "flr bus", "flr bus", "flr bus" },
	{ "bus flr", "flr bus", "bus flr" },		/* somebody's own order */
	{ "pm", "flr pm bus", "pm" },
	{ "bus", "", "bus" },				/* stale, and nothing took its place */
	{ "flr bus", "flr", "flr" },
	{ "bus pm", "device_specific pm", "pm" },
	{ "bus", "acpi", "acpi" },			/* nothing of it is left */
	{ "", "flr", "" },				/* disabled, and so it stays */
	{ "device_specific", "device_specific flr", "device_specific" },
};

START_TEST(probe)
{
	struct pciaddr addr = at("0000:01:00.0");
	struct reset_method *methods;
	size_t n, works = 0, listed = 0;

	build_card(lists[_i].list, lists[_i].works);
	ck_assert_int_eq(reset_probe(&writer, &addr, &methods, &n), 0);
	ck_assert_uint_eq(n, 7);
	ck_assert_str_eq(methods[0].name, "device_specific");
	ck_assert_str_eq(methods[6].name, "cxl_bus");
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(methods[i].err,
				 fake_works(methods[i].name) ? 0 : -EINVAL);
		works += methods[i].err == 0;
		listed += methods[i].is_listed;
	}
	ck_assert_uint_eq(works, (*lists[_i].works != 0) +
			  !!strchr(lists[_i].works, ' ') +
			  (strcmp(lists[_i].works, "flr pm bus") == 0));
	ck_assert_uint_eq(listed, (*lists[_i].list != 0) + !!strchr(lists[_i].list, ' '));
	ck_assert_ptr_null(strstr(fake->log, "reset=1"));
	check_list(lists[_i].after);
	free(methods);
	timedwrite_done(&writer);
}
END_TEST

START_TEST(probe_of_what_has_none)
{
	struct pciaddr addr = at("0000:01:00.0"), gone = at("0000:02:00.0");
	struct reset_method *methods;
	size_t n;

	build_card(NULL, "");
	ck_assert_int_eq(reset_probe(&writer, &addr, &methods, &n), -EOPNOTSUPP);
	ck_assert_int_eq(reset_probe(&writer, &gone, &methods, &n), -ENOENT);
	ck_assert_int_eq(fake->writes, 0);
}
END_TEST

START_TEST(probe_that_hangs)
{
	struct pciaddr addr = at("0000:01:00.0");
	struct reset_method *methods;
	size_t n;

	build_card("flr bus", "flr bus");
	writer.limit = 50;
	fake->hang_at = 3;
	ck_assert_int_eq(reset_probe(&writer, &addr, &methods, &n), -ETIMEDOUT);
	ck_assert_int_eq(fake->writes, 3);
	timedwrite_done(&writer);
}
END_TEST

/* Killed after any of its writes: the list that the caller kept can be put back. */
START_TEST(restore_after_a_kill)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card(_i ? "bus" : "", "flr bus");
	ck_assert_int_eq(reset_list_restore(&writer, &addr, "flr bus"), 0);
	check_list("flr bus");
	ck_assert_str_eq(fake->log, "reset_method=flr bus ");
	ck_assert_int_eq(reset_list_restore(&writer, &addr, "flr bus"), 0);
	ck_assert_int_eq(reset_list_restore(&writer, &addr, NULL), 0);
	ck_assert_int_eq(fake->writes, 1);
	ck_assert_int_eq(reset_list_restore(&writer, &addr, ""), 0);
	check_list("");
	timedwrite_done(&writer);
}
END_TEST

START_TEST(own_reset)
{
	struct pciaddr addr = at("0000:01:00.0"), gone = at("0000:02:00.0");

	build_card("bus flr", "flr bus");
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), 0);
	ck_assert_str_eq(fake->log, "reset_method=default reset=1 reset_method=bus flr ");
	ck_assert_int_eq(reset_function(&writer, &gone, NULL), -ENOENT);
	timedwrite_done(&writer);
}
END_TEST

START_TEST(own_reset_that_needs_no_restore)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card("flr bus", "flr bus");
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), 0);
	ck_assert_str_eq(fake->log, "reset_method=default reset=1 ");
	timedwrite_done(&writer);
}
END_TEST

START_TEST(own_reset_of_a_stale_list)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card("bus", "");
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), -ENOTTY);
	ck_assert_str_eq(fake->log, "reset_method=default reset_method=bus "
			 "reset_method=default ");
	check_list("");
	timedwrite_done(&writer);
}
END_TEST

START_TEST(one_method)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card("flr bus", "flr bus");
	ck_assert_int_eq(reset_function(&writer, &addr, "bus"), 0);
	ck_assert_str_eq(fake->log, "reset_method=bus reset=1 reset_method=flr bus ");
	*fake->log = '\0';
	ck_assert_int_eq(reset_function(&writer, &addr, "pm"), -EINVAL);
	ck_assert_str_eq(fake->log, "reset_method=pm ");
	timedwrite_done(&writer);
}
END_TEST

START_TEST(the_reset_fails)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card("bus flr", "flr bus");
	fake->reset_errno = EAGAIN;
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), -EAGAIN);
	check_list("bus flr");
	timedwrite_done(&writer);
}
END_TEST

/* Behind a write that hangs nothing else is written. */
START_TEST(the_reset_hangs)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card("bus flr", "flr bus");
	writer.limit = 50;
	fake->hang_at = _i + 1;
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), -ETIMEDOUT);
	ck_assert_int_eq(fake->writes, _i + 1);
	timedwrite_done(&writer);
}
END_TEST

START_TEST(no_reset_with_a_host_driver)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card("flr", "flr");
	pcitree_driver(GPU, "nouveau");
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), -EBUSY);
	ck_assert_int_eq(reset_function(&writer, &addr, "flr"), -EBUSY);
	ck_assert_int_eq(fake->writes, 0);
}
END_TEST

START_TEST(no_reset_at_all)
{
	struct pciaddr addr = at("0000:01:00.1");

	build_card("flr", "flr");
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), -EOPNOTSUPP);
	ck_assert_int_eq(fake->writes, 0);
}
END_TEST

START_TEST(old_kernel)
{
	struct pciaddr addr = at("0000:01:00.0");

	build_card(NULL, "");
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), 0);
	ck_assert_str_eq(fake->log, "reset=1 ");
	ck_assert_int_eq(reset_function(&writer, &addr, "flr"), -EOPNOTSUPP);
	timedwrite_done(&writer);
}
END_TEST

START_TEST(subordinate)
{
	struct pciaddr bridge = at("0000:00:01.0"), who;
	char text[PCIADDR_STRLEN];

	build_card("flr", "flr");
	pcitree_driver(GPU, "vfio-pci");
	ck_assert(!reset_has_subordinate(&bridge));
	ck_assert_int_eq(reset_subordinate(&writer, &bridge, &who), -EOPNOTSUPP);
	pcitree_attribute(BRIDGE, "reset_subordinate", "");
	ck_assert(reset_has_subordinate(&bridge));
	ck_assert_int_eq(reset_subordinate(&writer, &bridge, &who), 0);
	ck_assert_str_eq(fake->log, "reset_subordinate=1 ");
	fake->reset_errno = ENOTTY;
	ck_assert_int_eq(reset_subordinate(&writer, &bridge, NULL), -ENOTTY);

	/* However deep it is. */
	pcitree_bridge(BRIDGE "/0000:01:01.0");
	pcitree_function(BRIDGE "/0000:01:01.0/0000:02:00.0", 0x8086, 1, 0x020000);
	pcitree_driver(BRIDGE "/0000:01:01.0/0000:02:00.0", "e1000e");
	ck_assert_int_eq(reset_subordinate(&writer, &bridge, &who), -EBUSY);
	ck_assert_str_eq(pciaddr_format(&who, text), "0000:02:00.0");
	ck_assert_int_eq(reset_subordinate(&writer, &bridge, NULL), -EBUSY);
	ck_assert_int_eq(fake->writes, 2);
	timedwrite_done(&writer);
}
END_TEST

START_TEST(dry_runs_write_nothing)
{
	struct pciaddr addr = at("0000:01:00.0");
	_cleanup_fclose_ FILE *old = stdout;
	struct reset_method *methods;
	char *text = NULL;
	size_t n, len;

	build_card("flr bus", "flr");
	stdout = open_memstream(&text, &len);
	sysfs_dry_run = true;
	ck_assert_int_eq(reset_probe(&writer, &addr, &methods, &n), 0);
	ck_assert_int_eq(methods[2].err, 0);
	ck_assert_int_eq(methods[4].err, -EINVAL);
	free(methods);
	ck_assert_int_eq(reset_function(&writer, &addr, NULL), 0);
	sysfs_dry_run = false;
	fclose(stdout);
	stdout = TAKE_PTR(old);
	ck_assert_ptr_nonnull(strstr(text, "echo af_flr > "));
	ck_assert_ptr_nonnull(strstr(text, "echo default > "));
	ck_assert_ptr_nonnull(strstr(text, "/0000:01:00.0/reset\n"));
	free(text);
	ck_assert_int_eq(fake->writes, 0);
	check_list("flr bus");
	timedwrite_done(&writer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reset");
	TCase *tc = tcase_create("reset");

	tcase_add_checked_fixture(tc, fake_setup, testroot_teardown);
	tcase_add_test(tc, safe_drivers);
	tcase_add_loop_test(tc, probe, 0, ARRAY_SIZE(lists));
	tcase_add_test(tc, probe_of_what_has_none);
	tcase_add_test(tc, probe_that_hangs);
	tcase_add_loop_test(tc, restore_after_a_kill, 0, 2);
	tcase_add_test(tc, own_reset);
	tcase_add_test(tc, own_reset_that_needs_no_restore);
	tcase_add_test(tc, own_reset_of_a_stale_list);
	tcase_add_test(tc, one_method);
	tcase_add_test(tc, the_reset_fails);
	tcase_add_loop_test(tc, the_reset_hangs, 0, 2);
	tcase_add_test(tc, no_reset_with_a_host_driver);
	tcase_add_test(tc, no_reset_at_all);
	tcase_add_test(tc, old_kernel);
	tcase_add_test(tc, subordinate);
	tcase_add_test(tc, dry_runs_write_nothing);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
