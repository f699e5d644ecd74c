/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pci/mdevdef.h"

#define UUID1 "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
#define UUID2 "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"

static char *content(const char *path)
{
	_cleanup_free_ char *full = xasprintf("%s%s", testroot, path);
	_cleanup_fclose_ FILE *f = fopen(full, "r");
	char text[2048];
	size_t n;

	if (!f)
		return NULL;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	return xstrdup(text);
}

static struct mdevdef make(enum vgpu_backend backend, const char *parent, const char *id,
			   const char *type, bool is_auto)
{
	return (struct mdevdef){
		.backend = backend, .parent = xstrdup(parent), .id = xstrdup(id),
		.type = xstrdup(type), .is_auto = is_auto,
	};
}

/* Byte by byte what mdevctl 1.4.0 writes. */
START_TEST(text_of_mdevctl)
{
	struct mdevdef def = make(VGPU_MDEV, "0000:82:00.0", UUID1, "nvidia-50", true);
	_cleanup_free_ char *plain = mdevdef_text(&def), *full = NULL;

	ck_assert_str_eq(plain, "{\n  \"mdev_type\": \"nvidia-50\",\n  \"start\": \"auto\",\n"
			 "  \"attrs\": []\n}");
	def.is_auto = false;
	mdevdef_add_attr(&def, "nvidia/vgpu_params", "frame_rate_limiter=0");
	mdevdef_add_attr(&def, "a", "1");
	mdevdef_add_attr(&def, "a", "2");
	full = mdevdef_text(&def);
	ck_assert_str_eq(full, "{\n  \"mdev_type\": \"nvidia-50\",\n  \"start\": \"manual\",\n"
			 "  \"attrs\": [\n"
			 "    {\n      \"nvidia/vgpu_params\": \"frame_rate_limiter=0\"\n    },\n"
			 "    {\n      \"a\": \"1\"\n    },\n    {\n      \"a\": \"2\"\n    }\n"
			 "  ]\n}");
	mdevdef_done(&def);
}
END_TEST

static const struct {
	const char *text, *why;		/* why NULL: it is well */
} parsed[] = {
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[]}", NULL },
	{ "{\"start\":\"manual\",\"mdev_type\":\"a\"}\n", NULL },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[{\"k\":\"v\"}],\"more\":1}", NULL },
	{ "", "no JSON" },
	{ "mdev_type=a\nstart=auto\n", "no JSON" },
	{ "[]", "no JSON object" },
	{ "{\"start\":\"auto\"}", "no mdev_type" },
	{ "{\"mdev_type\":\"\",\"start\":\"auto\"}", "no mdev_type" },
	{ "{\"mdev_type\":1,\"start\":\"auto\"}", "no mdev_type" },
	{ "{\"mdev_type\":\"a\"}", "start is neither auto nor manual" },
	{ "{\"mdev_type\":\"a\",\"start\":\"Auto\"}", "start is neither auto nor manual" },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":{}}", "attrs is no array" },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[1]}",
	  "an attribute is no object of one key" },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[{}]}",
	  "an attribute is no object of one key" },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[{\"k\":\"v\",\"l\":\"w\"}]}",
	  "an attribute is no object of one key" },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[{\"k\":1}]}",
	  "an attribute's value is no string" },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[{\"../../b/c\":\"1\"}]}",
	  "an attribute's name leads out of its device" },
	{ "{\"mdev_type\":\"a\",\"start\":\"auto\",\"attrs\":[{\"/etc/c\":\"1\"}]}",
	  "an attribute's name leads out of its device" },
	{ "{\"mdev_type\":\"vf\",\"start\":\"auto\",\"numvfs\":-1}",
	  "numvfs is no number of virtual functions" },
	{ "{\"mdev_type\":\"vf\",\"start\":\"auto\",\"numvfs\":\"4\"}",
	  "numvfs is no number of virtual functions" },
};

START_TEST(parsing)
{
	struct mdevdef def = { 0 };
	const char *why = "unset";
	int rc = mdevdef_parse(parsed[_i].text, strlen(parsed[_i].text), &def, &why);

	ck_assert_int_eq(rc, parsed[_i].why ? -EINVAL : 0);
	ck_assert_pstr_eq(why, parsed[_i].why);
	if (rc == 0)
		ck_assert_str_eq(def.type, "a");
	else
		ck_assert_ptr_null(def.type);
	mdevdef_done(&def);
}
END_TEST

START_TEST(round_trip)
{
	struct mdevdef def = make(VGPU_MDEV, "mtty", UUID1, "mtty-1", true), again = { 0 };
	_cleanup_free_ char *text = NULL, *path = NULL, *second = NULL, *want = NULL;
	const char *why;
	struct stat st;

	mdevdef_add_attr(&def, "x/y", "quote \" and \\ and \xc3\xa9");
	ck_assert_int_eq(mdevdef_write(&def), 0);
	text = content("/etc/mdevctl.d/mtty/" UUID1);
	ck_assert_ptr_nonnull(text);
	path = mdevdef_path(&def);
	want = xasprintf("%s/etc/mdevctl.d/mtty/" UUID1, testroot);
	ck_assert_str_eq(path, want);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0644);
	ck_assert_int_eq(mdevdef_parse(text, strlen(text), &again, &why), 0);
	ck_assert_uint_eq(again.n_attrs, 1);
	ck_assert_str_eq(again.attrs[0].name, "x/y");
	ck_assert_str_eq(again.attrs[0].value, def.attrs[0].value);
	second = mdevdef_text(&again);
	ck_assert_str_eq(text, second);
	ck_assert_int_eq(mdevdef_remove(&def), 0);
	ck_assert_int_eq(mdevdef_remove(&def), -ENOENT);
	/* mdevctl leaves the folder of the parent. */
	free(want);
	want = xasprintf("%s/etc/mdevctl.d/mtty", testroot);
	ck_assert_int_eq(stat(want, &st), 0);
	mdevdef_done(&again);
	mdevdef_done(&def);
}
END_TEST

START_TEST(other_kinds)
{
	struct mdevdef vf = make(VGPU_NVIDIA, "0000:41:00.0", "0000:41:00.4", "nvidia-660", true);
	struct mdevdef all = make(VGPU_SRIOV, "0000:00:02.0", "0000:00:02.0", "vf", true);
	_cleanup_free_ char *text = NULL, *folder = NULL;
	struct mdevdef *defs;
	struct stat st;
	size_t n;

	all.count = 7;
	ck_assert_int_eq(mdevdef_write(&vf), 0);
	ck_assert_int_eq(mdevdef_write(&all), 0);
	text = content("/etc/pve-gpu-utils/vgpu.d/0000:00:02.0/0000:00:02.0");
	ck_assert_pstr_eq(text, "{\n  \"mdev_type\": \"vf\",\n  \"start\": \"auto\",\n"
			  "  \"numvfs\": 7,\n  \"attrs\": []\n}");
	ck_assert_int_eq(mdevdef_list(&defs, &n, NULL, NULL), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(defs[0].backend, VGPU_SRIOV);
	ck_assert_uint_eq(defs[0].count, 7);
	ck_assert_int_eq(defs[1].backend, VGPU_NVIDIA);
	ck_assert_str_eq(defs[1].parent, "0000:41:00.0");
	mdevdef_free(defs, n);
	ck_assert_int_eq(mdevdef_remove(&vf), 0);
	folder = xasprintf("%s/etc/pve-gpu-utils/vgpu.d/0000:41:00.0", testroot);
	ck_assert_int_eq(stat(folder, &st), -1);
	mdevdef_done(&vf);
	mdevdef_done(&all);
}
END_TEST

static void see_bad(const char *path, const char *why, void *arg)
{
	char *text = arg;

	snprintf(text + strlen(text), 1024 - strlen(text), "%s: %s\n",
		 path + strlen(testroot), why);
}

START_TEST(listing)
{
	char bad[1024] = "";
	struct mdevdef *defs;
	size_t n;

	ck_assert_int_eq(mdevdef_list(&defs, &n, NULL, NULL), 0);
	ck_assert_uint_eq(n, 0);
	testroot_file("/etc/mdevctl.d/mtty/" UUID2, "{\"mdev_type\":\"a\",\"start\":\"auto\"}");
	testroot_file("/etc/mdevctl.d/mtty/" UUID1, "{\"mdev_type\":\"b\",\"start\":\"manual\"}");
	testroot_file("/etc/mdevctl.d/0000:82:00.0/" UUID1,
		      "{\"mdev_type\":\"c\",\"start\":\"manual\"}");
	testroot_file("/etc/mdevctl.d/mtty/.hidden", "x");
	testroot_file("/etc/mdevctl.d/stray", "x");
	testroot_file("/etc/mdevctl.d/scripts.d/callouts/x.sh", "x");
	testroot_file("/etc/mdevctl.d/mtty/README", "x");
	testroot_file("/etc/mdevctl.d/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1003", "x");
	testroot_file("/etc/pve-gpu-utils/vgpu.d/0000:41:00.0/" UUID1, "{}");
	ck_assert_int_eq(mdevdef_list(&defs, &n, see_bad, bad), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_str_eq(defs[0].parent, "0000:82:00.0");
	ck_assert_str_eq(defs[1].type, "b");
	ck_assert(!defs[1].is_auto);
	ck_assert_str_eq(defs[2].id, UUID2);
	ck_assert(defs[2].is_auto);
	ck_assert_ptr_nonnull(strstr(bad, "/mtty/README: its name is no UUID\n"));
	ck_assert_ptr_nonnull(strstr(bad, "1003: no JSON\n"));
	ck_assert_ptr_nonnull(strstr(bad, UUID1 ": its name is no address\n"));
	ck_assert_ptr_eq(mdevdef_find(defs, n, "mtty", UUID1), &defs[1]);
	ck_assert_ptr_eq(mdevdef_find(defs, n, NULL, UUID1), &defs[0]);
	ck_assert_ptr_null(mdevdef_find(defs, n, "0000:82:00.0", UUID2));
	mdevdef_free(defs, n);
}
END_TEST

static const char *const unsafe[][2] = {
	{ "..", UUID1 }, { "a/b", UUID1 }, { "", UUID1 }, { ".x", UUID1 },
	{ "mtty", "../x" }, { "mtty", ".." }, { "mtty", "" },
};

START_TEST(names_that_lead_astray)
{
	struct mdevdef def = make(VGPU_MDEV, unsafe[_i][0], unsafe[_i][1], "t", false);

	ck_assert_int_eq(mdevdef_write(&def), -EINVAL);
	mdevdef_done(&def);
}
END_TEST

START_TEST(boot)
{
	ck_assert(!mdevdef_is_started_at_boot());
	testroot_file("/etc/pve-gpu-utils/mdev-autostart", "");
	ck_assert(mdevdef_is_started_at_boot());
	ck_assert_int_eq(mdevdef_start_at_boot(false), 0);
	ck_assert(!mdevdef_is_started_at_boot());
	ck_assert_int_eq(mdevdef_start_at_boot(false), 0);
	ck_assert_int_eq(mdevdef_start_at_boot(true), 0);
	ck_assert_int_eq(mdevdef_start_at_boot(true), 0);
	ck_assert(mdevdef_is_started_at_boot());
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mdevdef");
	TCase *t = tcase_create("mdevdef");

	tcase_add_checked_fixture(t, testroot_setup, testroot_teardown);
	tcase_add_test(t, text_of_mdevctl);
	tcase_add_loop_test(t, parsing, 0, ARRAY_SIZE(parsed));
	tcase_add_test(t, round_trip);
	tcase_add_test(t, other_kinds);
	tcase_add_test(t, listing);
	tcase_add_loop_test(t, names_that_lead_astray, 0, ARRAY_SIZE(unsafe));
	tcase_add_test(t, boot);
	suite_add_tcase(s, t);
	return testroot_run(s);
}
