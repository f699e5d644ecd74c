/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/table.h"

/* The test runs in a process of its own: stderr may go to a file. */
static char *captured;

static void capture(void)
{
	testroot_setup();
	captured = testroot_path("/stderr");
	ck_assert_ptr_nonnull(freopen(captured, "w", stderr));
	setvbuf(stderr, NULL, _IONBF, 0);
}

static void done(void)
{
	free(captured);
	testroot_teardown();
}

static void assert_said(const char *want)
{
	char *text = readfile_string(captured, 1 << 20);

	ck_assert_ptr_nonnull(text);
	ck_assert_str_eq(text, want);
	free(text);
}

START_TEST(text_and_control_bytes)
{
	say("%s: bad \"%s\"", "/x", "a\nb\x1b[31m\x7f\t\\ \xc3\xa4");
	assert_said("check_msg: /x: bad \"a\\x0ab\\x1b[31m\\x7f\\x09\\ \xc3\xa4\"\n");
}
END_TEST

static const struct {
	const char *text, *want;
} shown[] = {
	{ "\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80" },
	{ "\xc2\xa0", "\xc2\xa0" },
	{ "a\xc2\x9b" "31m", "a\\xc2\\x9b31m" },	/* CSI */
	{ "\x9b\x9b" "31m", "\\x9b\\x9b31m" },
	{ "\xe9t\xe9", "\\xe9t\\xe9" },		/* Latin 1 */
	{ "\xe2\x82", "\\xe2\\x82" },		/* cut short */
	{ "\xc0\x9b", "\\xc0\\x9b" },		/* longer than need be */
	{ "", "" },
};

START_TEST(what_a_terminal_would_obey_is_shown)
{
	_cleanup_free_ char *want = xasprintf("check_msg: %s\n", shown[_i].want);

	say("%s", shown[_i].text);
	assert_said(want);
}
END_TEST

START_TEST(errno_is_last_and_kept)
{
	errno = EACCES;
	say_errno("/etc/pve");
	ck_assert_int_eq(errno, EACCES);
	assert_said("check_msg: /etc/pve: Permission denied\n");
}
END_TEST

static const struct {
	int level;
	const char *want;
} levels[] = {
	{ -1, "check_msg: error\n" },
	{ 0, "check_msg: error\ncheck_msg: warning\n" },
	{ 1, "check_msg: error\ncheck_msg: warning\ncheck_msg: info\n" },
};

START_TEST(level_decides)
{
	msg_level = levels[_i].level;
	say("error");
	say_warn("warning");
	say_info("info");
	assert_said(levels[_i].want);
}
END_TEST

START_TEST(journal_gets_priorities)
{
	struct stat st;
	char *stream;

	ck_assert_int_eq(stat(captured, &st), 0);
	stream = xasprintf("%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino + _i);
	setenv("JOURNAL_STREAM", stream, 1);
	msg_level = 1;
	say("error");
	say_warn("warning");
	say_info("info");
	/* Somebody else's stream, inherited with the environment, is not ours. */
	assert_said(_i ? levels[2].want :
		    "<3>check_msg: error\n<4>check_msg: warning\n<6>check_msg: info\n");
	free(stream);
}
END_TEST

START_TEST(wrong_use)
{
	ck_assert_int_eq(msg_usage_error(), EX_USAGE);
	assert_said("Try 'check_msg --help'.\n");
}
END_TEST

START_TEST(output_that_is_lost_is_said)
{
	ck_assert_ptr_nonnull(freopen("/dev/full", "w", stdout));
	fputs("x", stdout);
	ck_assert(!close_stdout());
	assert_said("check_msg: write error: No space left on device\n");
}
END_TEST

static const struct {
	const char *dir, *path;
} roots[] = {
	{ "", "/etc/x1" }, { "/", "/etc/x1" }, { "//", "/etc/x1" }, { NULL, "/etc/x1" },
	{ "/tmp/r", "/tmp/r/etc/x1" }, { "rel", "rel/etc/x1" },
};

START_TEST(root_is_put_before)
{
	char *path;

	root_set(roots[_i].dir);
	path = root_path("/etc/%s%d", "x", 1);
	ck_assert_str_eq(path, roots[_i].path);
	ck_assert(root_is_host() == (strlen(path) == strlen("/etc/x1")));
	free(path);
}
END_TEST

START_TEST(table_is_aligned)
{
	static const char *const columns[] = { "name", "n" };
	static const bool right[] = { false, true };
	struct table *t = table_new(columns, right, 2);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	table_add(t, NULL, (const char *const[]){ "a", "1" });
	table_add(t, NULL, (const char *const[]){ "longer", "100" });
	table_print(t, out);
	fclose(out);
	ck_assert_str_eq(text, "name     n\na        1\nlonger 100\n");
	free(text);
}
END_TEST

START_TEST(table_draws_a_tree)
{
	static const char *const columns[] = { "name", "n" };
	struct table *t;
	char *text = NULL;
	void *top, *child;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	setenv("LC_ALL", "C", 1);
	t = table_new(columns, NULL, 2);
	top = table_add(t, NULL, (const char *const[]){ "top", "1" });
	child = table_add(t, top, (const char *const[]){ "child", NULL });
	table_add(t, child, (const char *const[]){ "leaf", "3" });
	table_print(t, out);
	fclose(out);
	ck_assert_str_eq(text, "name     n\ntop      1\n`-child  \n  `-leaf 3\n");
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("msg");
	TCase *tcase = tcase_create("msg");

	tcase_add_checked_fixture(tcase, capture, done);
	tcase_add_test(tcase, text_and_control_bytes);
	tcase_add_loop_test(tcase, what_a_terminal_would_obey_is_shown, 0,
			    ARRAY_SIZE(shown));
	tcase_add_test(tcase, errno_is_last_and_kept);
	tcase_add_loop_test(tcase, level_decides, 0, ARRAY_SIZE(levels));
	tcase_add_loop_test(tcase, journal_gets_priorities, 0, 2);
	tcase_add_test(tcase, wrong_use);
	tcase_add_test(tcase, output_that_is_lost_is_said);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("root and table");
	tcase_add_loop_test(tcase, root_is_put_before, 0, ARRAY_SIZE(roots));
	tcase_add_test(tcase, table_is_aligned);
	tcase_add_test(tcase, table_draws_a_tree);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
