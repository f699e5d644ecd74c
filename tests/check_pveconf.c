/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pve/pveconf.h"

/* Keep everything but lines that cannot be read; "bad" stands for an invalid value. */
static bool keep(const struct pveconf_item *item, void *arg)
{
	(void)arg;
	return item->what != PVECONF_JUNK
	       && !(item->value_len == 3 && memcmp(item->value, "bad", 3) == 0);
}

/* "key=value;key=value", in the order of the pick. */
static char *pick(enum pveconf_rules rules, const char *text, size_t len,
		  enum pveconf_choice choice, const char *name, bool *found)
{
	struct pveconf_pick picked = { 0 };
	char *out = xstrdup("");

	pveconf_pick(&picked, rules, text, len, choice, name, keep, NULL);
	for (size_t i = 0; i < picked.n; i++) {
		const struct pveconf_item *item = &picked.items[i];
		char *more = xasprintf("%s%s%.*s=%.*s", out, i ? ";" : "",
				       (int)item->key_len, item->key,
				       (int)item->value_len, item->value);

		free(out);
		out = more;
	}
	*found = picked.found;
	free(picked.items);
	return out;
}

static const struct {
	const char *text;
	enum pveconf_rules rules;
	enum pveconf_choice choice;
	const char *name;
	const char *want;	/* NULL: the section is not there */
} cases[] = {
	/* lines */
	{ "a: 1\nb:2\nc:  3 4  \n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=1;b=2;c=3 4" },
	{ "a: 1\r\nb: 2\r\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=1;b=2" },
	{ "a: 1", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=1" },
	{ "", PVECONF_QEMU, PVECONF_CURRENT, NULL, "" },
	{ "\n \t\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "" },
	{ " a: 1\nb : 2\nC: 3\nd\ne:\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "" },
	{ "a: \n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a= " },
	{ "a1b: 1\nx-y_z9: 2\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "x-y_z9=2" },
	{ "#a: 1\n# b: 2\nc: 3\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "c=3" },
	{ "a: 1\nb: x\na: 2\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=2;b=x" },
	{ "a: 1\na: bad\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=1" },
	{ "a: x snapstate: delete\nb: snapstate:prepare \nc: 1\n", PVECONF_QEMU,
	  PVECONF_CURRENT, NULL, "c=1" },
	{ "a: snapstate: deleted\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=snapstate: deleted" },
	{ "delete: a\na: 1\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=1" },
	{ "a: b: c\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=b: c" },
	/* sections of VMs */
	{ "a: 1\n[PENDING]\na: 2\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=1" },
	{ "a: 1\n[PENDING]\na: 2\n", PVECONF_QEMU, PVECONF_NEXT_START, NULL, "a=2" },
	{ "a: 1\n[pending]  \nb: 2\n", PVECONF_QEMU, PVECONF_NEXT_START, NULL, "a=1;b=2" },
	{ "a: 1\nb: 2\nc: 3\n[PENDING]\ndelete: a,!b;x\n", PVECONF_QEMU, PVECONF_NEXT_START,
	  NULL, "c=3" },
	{ "a: 1\n[PENDING]\na: 2\ndelete: a\n", PVECONF_QEMU, PVECONF_NEXT_START, NULL, "" },
	{ "a: 1\n[PENDING]\na: 2\n", PVECONF_QEMU, PVECONF_PENDING_ONLY, NULL, "a=2" },
	{ "a: 1\n", PVECONF_QEMU, PVECONF_PENDING_ONLY, NULL, NULL },
	{ "a: 1\n[PENDING]\na: bad\n", PVECONF_QEMU, PVECONF_NEXT_START, NULL, "a=1" },
	{ "a: 1\n[PENDING]\na: 2\ndelete: a\n[PENDING]\nb: 3\n", PVECONF_QEMU,
	  PVECONF_NEXT_START, NULL, "a=1;b=3" },
	{ "a: 1\n[snap]\na: 2\n[snap]\nb: 3\n", PVECONF_QEMU, PVECONF_OF_SNAPSHOT, "snap", "b=3" },
	{ "a: 1\n[Snap-1_x]\na: 2\n", PVECONF_QEMU, PVECONF_OF_SNAPSHOT, "Snap-1_x", "a=2" },
	{ "a: 1\n[snap]\na: 2\n", PVECONF_QEMU, PVECONF_OF_SNAPSHOT, "sna", NULL },
	{ "a: 1\n[x]\na: 2\n[1bad]\na: 3\n[special:cloudinit]\na: 4\n[]\na: 5\n[snap]\nb: 1\n",
	  PVECONF_QEMU, PVECONF_OF_SNAPSHOT, "snap", "b=1" },
	{ "a: 1\n[snap]\nb: 1\n[x]\nc: 2\n", PVECONF_QEMU, PVECONF_OF_SNAPSHOT, "snap", "b=1" },
	{ "a: 1\n[open\nb: 1\n", PVECONF_QEMU, PVECONF_CURRENT, NULL, "a=1;b=1" },
	/* containers */
	{ "dev0: /dev/a\nx-y: 1\n", PVECONF_LXC, PVECONF_CURRENT, NULL, "dev0=/dev/a" },
	{ "lxc.a: 1\nlxc.a = 2\nlxc.a=3\nlxc.a :4\n", PVECONF_LXC, PVECONF_CURRENT, NULL,
	  "lxc.a=1;lxc.a=2;lxc.a=3" },
	{ "lxc.mount.entry: /dev/dri dev/dri none bind 0 0\n", PVECONF_LXC, PVECONF_CURRENT,
	  NULL, "lxc.mount.entry=/dev/dri dev/dri none bind 0 0" },
	{ "a: 1\n[pve:PENDING]\na: 2\n", PVECONF_LXC, PVECONF_NEXT_START, NULL, "a=2" },
	{ "a: 1\n[x]\nb: 2\n[special:no]\nc: 3\n[snap]\nd: 4\n", PVECONF_LXC, PVECONF_CURRENT,
	  NULL, "a=1;b=2;c=3" },
	{ "a: 1\n[PENDING]\nb: 2\n", PVECONF_LXC, PVECONF_OF_SNAPSHOT, "PENDING", "b=2" },
};

START_TEST(lines_and_sections)
{
	bool found;
	_cleanup_free_ char *got = pick(cases[_i].rules, cases[_i].text,
					strlen(cases[_i].text),
					cases[_i].choice, cases[_i].name, &found);

	ck_assert_msg(found == (cases[_i].want != NULL), "'%s'", cases[_i].text);
	ck_assert_str_eq(got, cases[_i].want ? cases[_i].want : "");
}
END_TEST

START_TEST(nul_bytes_stay_in_their_line)
{
	static const char text[] = "a: x\0y\nb\0: 1\nlxc.\0: 2\nc: 3\n";
	struct pveconf_scan scan;
	struct pveconf_item item;

	pveconf_start(&scan, PVECONF_LXC, text, sizeof(text) - 1);
	ck_assert(pveconf_next(&scan, &item));
	ck_assert_int_eq(item.what, PVECONF_SETTING);
	ck_assert_uint_eq(item.value_len, 3);
	ck_assert(pveconf_next(&scan, &item));
	ck_assert_int_eq(item.what, PVECONF_JUNK);
	ck_assert(pveconf_next(&scan, &item));
	ck_assert_int_eq(item.what, PVECONF_JUNK);
	ck_assert(pveconf_next(&scan, &item));
	ck_assert_int_eq(item.what, PVECONF_SETTING);
	ck_assert_uint_eq(item.line, 4);
	ck_assert(!pveconf_next(&scan, &item));
}
END_TEST

START_TEST(one_line_of_a_mebibyte)
{
	size_t len = PVECONF_MAX;
	_cleanup_free_ char *text = xcalloc(len, 1);
	struct pveconf_scan scan;
	struct pveconf_item item;

	memset(text, 'x', len);
	memcpy(text, "args: ", 6);
	pveconf_start(&scan, PVECONF_QEMU, text, len);
	ck_assert(pveconf_next(&scan, &item));
	ck_assert_uint_eq(item.value_len, len - 6);
	ck_assert(!pveconf_next(&scan, &item));
}
END_TEST

START_TEST(index_of_a_key)
{
	static const struct {
		const char *key;
		int index;	/* -1: none */
	} keys[] = {
		{ "hostpci0", 0 }, { "hostpci15", 15 }, { "hostpci16", -1 }, { "hostpci00", -1 },
		{ "hostpci01", -1 }, { "hostpci", -1 }, { "hostpci1x", -1 }, { "xhostpci1", -1 },
		{ "hostpci99999999999999999999", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct pveconf_item item = { .key = keys[i].key,
					     .key_len = strlen(keys[i].key) };
		unsigned index = 99;
		bool ok = pveconf_key_index(&item, "hostpci", 15, &index);

		ck_assert_msg(ok == (keys[i].index >= 0), "%s", keys[i].key);
		if (ok)
			ck_assert_int_eq((int)index, keys[i].index);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pveconf");
	TCase *tcase = tcase_create("pveconf");

	tcase_add_loop_test(tcase, lines_and_sections, 0, ARRAY_SIZE(cases));
	tcase_add_test(tcase, nul_bytes_stay_in_their_line);
	tcase_add_test(tcase, one_line_of_a_mebibyte);
	tcase_add_test(tcase, index_of_a_key);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
