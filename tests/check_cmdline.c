/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel command lines as text: what is added comes out again, and nothing else. */
#include "testroot.h"

#include "base/cleanup.h"
#include "host/cmdline.h"
#include "host/request.h"

static const struct {
	const char *word;
	bool good;
} words[] = {
	{ "intel_iommu=on", true },
	{ "iommu=pt", true },
	{ "quiet", true },
	{ "initcall_blacklist=sysfb_init", true },
	{ "vfio-pci.ids=10de:2204,10de:1aef", true },
	{ "memmap=4G!4G", true },
	{ "pci=realloc,hpmmiosize=1G@0000:00:01.0", true },
	{ "-1", true },
	{ "rootdelay=10", true },
	{ "", false },
	{ " ", false },
	{ "a b", false },
	{ "a\tb", false },
	{ "a\nb", false },
	{ "a\rb", false },
	{ "a\001", false },
	{ "a\177", false },
	{ "a\"b", false },
	{ "a'b", false },
	{ "a$b", false },
	{ "a`b`", false },
	{ "a\\b", false },
	{ "a;b", false },
	{ "a&b", false },
	{ "a|b", false },
	{ "a<b", false },
	{ "a>b", false },
	{ "{a}", false },
	{ "a(b)", false },
	{ "\303\244", false },
	{ "#a", false },
	{ "=a", false },
	{ "--", false },
	{ "root=/dev/sda1", false },
	{ "root", false },
	{ "rootwait", true },
	{ "initrd=/x", false },
	{ "BOOT_IMAGE=/x", false },
};

START_TEST(test_word)
{
	const char *why = cmdline_word_error(words[_i].word);

	ck_assert_msg(!why == words[_i].good, "'%s': %s", words[_i].word, why ? why : "taken");
}
END_TEST

/* before, what is asked for, after; added: those that were put in. */
static const struct {
	const char *before, *ask, *after, *added;
} adds[] = {
	{ "root=/dev/sda1 quiet\n", "iommu=pt", "root=/dev/sda1 quiet iommu=pt\n", "iommu=pt" },
	{ "root=/dev/sda1 quiet", "a b", "root=/dev/sda1 quiet a b", "a b" },
	{ "root=x quiet\n", "quiet", "root=x quiet\n", "" },
	{ "root=x quiet\n", "quiet a", "root=x quiet a\n", "a" },
	{ "root=x a\n", "a a", "root=x a\n", "" },
	{ "root=x\r\n", "a", "root=x a\r\n", "a" },
	{ "root=x  \t\n\n", "a", "root=x a  \t\n\n", "a" },
	{ "\n\nroot=x\n", "a", "\n\nroot=x a\n", "a" },
	{ "  root=x\n", "a", "  root=x a\n", "a" },
	{ "root=x -- single\n", "a", "root=x a -- single\n", "a" },
	{ "root=x -- a\n", "a", "root=x a -- a\n", "a" },
	{ "-- a\n", "b", "b -- a\n", "b" },
	{ "\n -- a\n", "b c", "\n b c -- a\n", "b c" },
	{ "\t-- a\n", "b", "\tb -- a\n", "b" },
	{ "", "a b", "a b", "a b" },
	{ "\n", "a b", "a b\n", "a b" },
	{ "root=x dyndbg=\"file a.c +p; a\"\n", "a", "root=x dyndbg=\"file a.c +p; a\" a\n", "a" },
	{ "root=x iommu=pt,strict\n", "iommu=pt", "root=x iommu=pt,strict iommu=pt\n", "iommu=pt" },
	{ "root=x xiommu=pt\n", "iommu=pt", "root=x xiommu=pt iommu=pt\n", "iommu=pt" },
};

static struct strlist list_of(const char *text)
{
	struct strlist l = { 0 };

	cmdline_split(text, &l);
	return l;
}

START_TEST(test_add)
{
	struct strlist ask = list_of(adds[_i].ask), want = list_of(adds[_i].added),
		added = { 0 };
	_cleanup_free_ char *after = cmdline_add(adds[_i].before, &ask, &added),
		*back = NULL;

	ck_assert_ptr_nonnull(after);
	ck_assert_str_eq(after, adds[_i].after);
	ck_assert(strlist_equal(&want, &added));
	/* Twice adds nothing, and what was added comes out again. */
	back = cmdline_add(after, &ask, NULL);
	ck_assert_str_eq(back, after);
	free(back);
	back = cmdline_remove(after, &added);
	ck_assert_str_eq(back, adds[_i].before);
	strlist_done(&ask);
	strlist_done(&want);
	strlist_done(&added);
}
END_TEST

/* Edited since: only our words go. */
static const struct {
	const char *before, *ours, *after;
} removes[] = {
	{ "root=x a quiet b\n", "a b", "root=x quiet\n" },
	{ "root=x a\n", "a b", "root=x\n" },
	{ "a root=x\n", "a", "root=x\n" },
	{ "root=x a quiet a\n", "a", "root=x a quiet\n" },
	{ "root=x ab a=1\n", "a", "root=x ab a=1\n" },
	{ "root=x  a  b\n", "a", "root=x   b\n" },
	{ "root=x p=\"a a\" a", "a", "root=x p=\"a a\"" },
	{ "root=x -- a\n", "a", "root=x -- a\n" },
	{ "root=x\n", "a", "root=x\n" },
	{ "", "a", "" },
};

START_TEST(test_remove)
{
	struct strlist ours = list_of(removes[_i].ours);
	_cleanup_free_ char *after = cmdline_remove(removes[_i].before, &ours);

	ck_assert_ptr_nonnull(after);
	ck_assert_str_eq(after, removes[_i].after);
	strlist_done(&ours);
}
END_TEST

static const char *const bad_lines[] = {
	"root=x\nquiet\n", "root=x\n\nquiet", "root=x \"open\n", "# a comment\nroot=x\n",
};

START_TEST(test_not_one_line)
{
	struct strlist ask = list_of("a");

	errno = 0;
	ck_assert_ptr_null(cmdline_add(bad_lines[_i], &ask, NULL));
	ck_assert_int_eq(errno, EBADMSG);
	errno = 0;
	ck_assert_ptr_null(cmdline_remove(bad_lines[_i], &ask));
	ck_assert_int_eq(errno, EBADMSG);
	strlist_done(&ask);
}
END_TEST

START_TEST(test_ask)
{
	_cleanup_free_ char *root = cmdline_value("ro root=a quiet root=ZFS=rpool/b -- root=c", "root");
	_cleanup_free_ char *quiet = cmdline_value("quiet quieter", "quiet");
	_cleanup_free_ char *none = cmdline_value("xroot=a rootdelay=1", "root");

	ck_assert_str_eq(root, "ZFS=rpool/b");
	ck_assert_str_eq(quiet, "");
	ck_assert_ptr_null(none);
	ck_assert(cmdline_has("a b c", "b"));
	ck_assert(!cmdline_has("a bb c", "b"));
	ck_assert(!cmdline_has("a -- b", "b"));
	ck_assert(!cmdline_has(NULL, "b"));
	ck_assert(cmdline_loses_root("root=a quiet", "quiet"));
	ck_assert(cmdline_loses_root("root=a quiet", "root=b"));
	ck_assert(cmdline_loses_root("root=a quiet", ""));
	ck_assert(!cmdline_loses_root("root=a", "quiet root=a"));
	ck_assert(!cmdline_loses_root("quiet", "quiet a"));
	ck_assert(!cmdline_loses_root(NULL, "quiet a"));
}
END_TEST

START_TEST(test_from_running)
{
	_cleanup_free_ char *line = cmdline_from_running(
		"BOOT_IMAGE=/boot/vmlinuz-6.1 root=/dev/sda1  ro initrd=\\a\\b p=\"x y\" -- single\n");

	ck_assert_str_eq(line, "root=/dev/sda1 ro p=\"x y\" -- single\n");
}
END_TEST

static const struct {
	int option;
	const char *value;
	const char *spelled;	/* NULL: refused */
} options[] = {
	{ 'g', "01:00.0", "0000:01:00.0" },
	{ 'g', "0000:0A:00.1", "0000:0a:00.1" },
	{ 'g', "01:00", "0000:01:00.0" },
	{ 'g', "00000000:01:00.0", "0000:01:00.0" },
	{ 'g', "01:00.8", NULL },
	{ 'g', "nvidia", NULL },
	{ 'g', "", NULL },
	{ 'g', "01:00.0 ", NULL },
	{ 'i', "10DE:2204", "10de:2204" },
	{ 'i', "10de:220", NULL },
	{ 'i', "10de-2204", NULL },
	{ 'i', "10de:2204:1043", NULL },
	{ 'i', "10de:220g", NULL },
	{ 'i', "", NULL },
	{ 'b', "snd-hda-intel", "snd_hda_intel" },
	{ 'b', "nouveau", "nouveau" },
	{ 'b', "", NULL },
	{ 'b', "a b", NULL },
	{ 'b', "a\nb", NULL },
	{ 'b', "a/b", NULL },
	{ 'c', "iommu=pt", "iommu=pt" },
	{ 'c', "a b", NULL },
};

START_TEST(test_request)
{
	struct setup_request r = { 0 };
	struct strlist *l = options[_i].option == 'g' ? &r.gpus :
			    options[_i].option == 'i' ? &r.ids :
			    options[_i].option == 'b' ? &r.blacklist : &r.cmdline;
	const char *why = request_add(&r, options[_i].option, options[_i].value);

	ck_assert_msg(!why == !!options[_i].spelled, "'%s'", options[_i].value);
	ck_assert_uint_eq(l->n, options[_i].spelled ? 1 : 0);
	if (options[_i].spelled) {
		ck_assert_str_eq(l->s[0], options[_i].spelled);
		ck_assert_ptr_null(request_add(&r, options[_i].option,
					       options[_i].value));
		ck_assert_uint_eq(l->n, 1);
	}
	ck_assert(request_is_empty(&r) == !options[_i].spelled);
	request_done(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cmdline");
	TCase *tc = tcase_create("cmdline");

	tcase_add_loop_test(tc, test_word, 0, (int)ARRAY_SIZE(words));
	tcase_add_loop_test(tc, test_add, 0, (int)ARRAY_SIZE(adds));
	tcase_add_loop_test(tc, test_remove, 0, (int)ARRAY_SIZE(removes));
	tcase_add_loop_test(tc, test_not_one_line, 0, (int)ARRAY_SIZE(bad_lines));
	tcase_add_test(tc, test_ask);
	tcase_add_test(tc, test_from_running);
	tcase_add_loop_test(tc, test_request, 0, (int)ARRAY_SIZE(options));
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
