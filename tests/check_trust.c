/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom root may believe, folders of our own, text for people. */
#include "testroot.h"

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/trust.h"

static void mode(const char *path, mode_t mode)
{
	char *full = testroot_path(path);

	ck_assert_int_eq(chmod(full, mode), 0);
	free(full);
}

static mode_t mode_of(const char *path)
{
	char *full = testroot_path(path);
	struct stat st;

	ck_assert_int_eq(lstat(full, &st), 0);
	free(full);
	return st.st_mode & 07777;
}

static const struct {
	mode_t dir, file;
	bool good;
} modes[] = {
	{ 0755, 0644, true }, { 0700, 0600, true }, { 0755, 0664, false },
	{ 0755, 0646, false }, { 0755, 0666, false }, { 0775, 0644, false },
	{ 0777, 0644, false }, { 01777, 0644, true }, { 01777, 0646, false },
};

START_TEST(what_others_may_write_is_not_trusted)
{
	_cleanup_free_ char *file = root_path("/etc/x/conf"), *link = root_path("/link");

	testroot_file("/etc/x/conf", "a\n");
	testroot_link("/link", "etc/x/conf");
	mode("/etc/x", modes[_i].dir);
	mode("/etc/x/conf", modes[_i].file);
	ck_assert_int_eq(!trust_problem(file), modes[_i].good);
	/* It is the file behind a link that counts. */
	ck_assert_int_eq(!trust_problem(link), modes[_i].good);
}
END_TEST

START_TEST(other_owners_are_not_trusted)
{
	_cleanup_free_ char *file = root_path("/etc/x/conf"), *dir = root_path("/etc/x");

	if (geteuid() != 0)
		return;
	testroot_file("/etc/x/conf", "a\n");
	ck_assert_int_eq(chown(file, 65534, 0), 0);
	ck_assert_ptr_nonnull(trust_problem(file));
	ck_assert_int_eq(chown(file, 0, 65534), 0);
	ck_assert_ptr_null(trust_problem(file));
	ck_assert_int_eq(chown(dir, 65534, 0), 0);
	ck_assert_ptr_nonnull(trust_problem(file));
}
END_TEST

START_TEST(nothing_there_is_no_problem)
{
	ck_assert_ptr_null(trust_problem("/nowhere/at/all"));
	ck_assert_ptr_null(trust_problem("/dev/null"));
}
END_TEST

START_TEST(state_folders_are_private)
{
	_cleanup_free_ char *dir = root_path("/var/lib/ours"), *link = root_path("/var/lib/link");

	ck_assert_int_eq(atomicfile_state_dir(dir), 0);
	ck_assert_uint_eq(mode_of("/var/lib/ours"), 0700);
	ck_assert_uint_eq(mode_of("/var/lib"), 0755);
	/* One that was there before, and wider. */
	mode("/var/lib/ours", 0755);
	ck_assert_int_eq(atomicfile_state_dir(dir), 0);
	ck_assert_uint_eq(mode_of("/var/lib/ours"), 0700);
	testroot_dir("/var/other");
	testroot_link("/var/lib/link", "../other");
	ck_assert_int_eq(atomicfile_state_dir(link), -ENOTDIR);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(dir, 65534, 0), 0);
		ck_assert_int_eq(atomicfile_state_dir(dir), -EPERM);
	}
}
END_TEST

static const struct {
	const char *text, *line, *json;
} texts[] = {
	{ "a b", "a b\n", "\"a b\"" },
	{ "", "\n", "\"\"" },
	{ "x\x1b[31m\n\"\\", "x\\x1b[31m\\x0a\"\\\n", "\"x\\u001b[31m\\u000a\\\"\\\\\"" },
	{ "\xc2\x9b" "31m", "\\xc2\\x9b31m\n", "\"\\u009b31m\"" },
	{ "\xff\xc3\xa4", "\\xff\xc3\xa4\n", "\"\\ufffd\xc3\xa4\"" },
};

START_TEST(text_is_shown_so)
{
	char *text = NULL;
	size_t len;
	FILE *out = xcheck(open_memstream(&text, &len));

	text_put_line(out, "%s", texts[_i].text);
	text_put_json(out, texts[_i].text);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_uint_eq(strncmp(text, texts[_i].line, strlen(texts[_i].line)), 0);
	ck_assert_str_eq(text + strlen(texts[_i].line), texts[_i].json);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trust");
	TCase *tcase = tcase_create("trust");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tcase, what_others_may_write_is_not_trusted, 0,
			    ARRAY_SIZE(modes));
	tcase_add_test(tcase, other_owners_are_not_trusted);
	tcase_add_test(tcase, nothing_there_is_no_problem);
	tcase_add_test(tcase, state_folders_are_private);
	tcase_add_loop_test(tcase, text_is_shown_so, 0, ARRAY_SIZE(texts));
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
