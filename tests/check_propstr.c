/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <jansson.h>

#include "base/cleanup.h"
#include "pve/hostpci.h"
#include "pve/propstr.h"

static const char *check_number(const char *value)
{
	return value[strspn(value, "0123456789")] ? "is no number" : NULL;
}

static const struct propstr_key keys[] = {
	{ "path", NULL, true },
	{ "size", check_number, false },
	{ "ro", propstr_check_bool, false },
};

static const struct propstr_schema with_default = { keys, 3, 0 };
static const struct propstr_schema without_default = { keys, 3, -1 };

static const struct {
	const char *text;
	bool needs_key;
	const char *path, *size, *ro;	/* NULL path: refused */
	const char *why;
} cases[] = {
	{ "/a", false, "/a", NULL, NULL, NULL },
	{ "path=/a,size=3", false, "/a", "3", NULL, NULL },
	{ "size=3,/a", false, "/a", "3", NULL, NULL },
	{ "/a,,size=3,", false, "/a", "3", NULL, NULL },
	{ " ,\t,/a", false, "/a", NULL, NULL, NULL },
	{ "/a,ro=yes", false, "/a", NULL, "yes", NULL },
	{ "path=a=b", false, "a=b", NULL, NULL, NULL },
	{ "path= a ", false, " a ", NULL, NULL, NULL },
	{ "/a,ro=2", false, NULL, NULL, NULL, "ro: '2' is no boolean (0 or 1)" },
	{ "/a,size=x", false, NULL, NULL, NULL, "size: 'x' is no number" },
	{ "/a, size=1", false, NULL, NULL, NULL, "unknown key ' size'" },
	{ "/a,Size=1", false, NULL, NULL, NULL, "unknown key 'Size'" },
	{ "/a,/b", false, NULL, NULL, NULL, "duplicate key 'path'" },
	{ "/a,path=/b", false, NULL, NULL, NULL, "duplicate key 'path'" },
	{ "size=1,size=1,/a", false, NULL, NULL, NULL, "duplicate key 'size'" },
	{ "/a,size=", false, NULL, NULL, NULL, "'size=': missing key or value" },
	{ "/a,=1", false, NULL, NULL, NULL, "'=1': missing key or value" },
	{ "size=1", false, NULL, NULL, NULL, "path: is missing" },
	{ "", false, NULL, NULL, NULL, "path: is missing" },
	/* what is wrong with the form is found before what is wrong with a key */
	{ "/a,nokey=1,size=", false, NULL, NULL, NULL, "'size=': missing key or value" },
	{ "/a", true, NULL, NULL, NULL, "'/a': value without a key" },
	{ "path=/a", true, "/a", NULL, NULL, NULL },
};

static void same(const char *got, const char *want)
{
	ck_assert_msg(got && want ? strcmp(got, want) == 0 : !got && !want,
		      "'%s' instead of '%s'", got ? got : "-", want ? want : "-");
}

START_TEST(splits_and_checks)
{
	_cleanup_free_ char *text = xstrdup(cases[_i].text), *why = NULL;
	const char *values[3];
	bool ok = propstr_parse(cases[_i].needs_key ? &without_default : &with_default,
				text, strlen(text), values, &why);

	ck_assert_msg(ok == (cases[_i].path != NULL), "'%s': %s", cases[_i].text, why);
	same(why, cases[_i].why);
	if (!ok)
		return;
	same(values[0], cases[_i].path);
	same(values[1], cases[_i].size);
	same(values[2], cases[_i].ro);
}
END_TEST

START_TEST(nul_byte_is_refused)
{
	char text[] = "/a\0,size=1";
	_cleanup_free_ char *why = NULL;
	const char *values[3];

	ck_assert(!propstr_parse(&with_default, text, sizeof(text) - 1, values, &why));
	ck_assert_str_eq(why, "NUL byte in the value");
}
END_TEST

/* A line of 1 MiB of parts: in time, and its message stays short. */
START_TEST(long_value)
{
	size_t len = 1 << 20;
	_cleanup_free_ char *text = xcalloc(len + 1, 1), *why = NULL;
	const char *values[3];

	for (size_t i = 0; i < len; i++)
		text[i] = "k=1,"[i % 4];
	ck_assert(!propstr_parse(&with_default, text, len, values, &why));
	free(why);
	memset(text, 'x', len);
	ck_assert(!propstr_parse(&without_default, text, len, values, &why));
	ck_assert_uint_lt(strlen(why), 200);
}
END_TEST

/* ---- what PVE's own parser says of 56 values of hostpciN ---- */

/* The key that an error text of PVE is about: "format error\nKEY: …" or "…: KEY". */
static char *key_of(const char *error)
{
	const char *line = strstr(error, "format error\n");

	if (line) {
		line += strlen("format error\n");
		return xstrndup(line, strcspn(line, ":"));
	}
	line = strstr(error, "list property: ");
	return line ? xstrdup(line + strlen("list property: ")) : NULL;
}

static void check_reason(const char *error, const char *why)
{
	_cleanup_free_ char *key = key_of(error), *want = NULL;

	if (strstr(error, "not defined in schema"))
		want = xasprintf("unknown key '%s'", key);
	else if (strstr(error, "duplicate key"))
		want = xasprintf("duplicate key '%s'", key);
	else if (strstr(error, "missing key"))
		want = xstrdup("missing key or value");
	else
		want = xasprintf("%s: ", key);
	ck_assert_msg(strstr(why, want) != NULL, "'%s' does not say '%s'", why, want);
}

static void check_values(const json_t *want, const char *const values[])
{
	size_t n = 0;

	for (size_t i = 0; i < hostpci_schema.n; i++) {
		const json_t *value = json_object_get(want, hostpci_schema.keys[i].name);

		ck_assert_msg(!value == !values[i], "%s", hostpci_schema.keys[i].name);
		if (!value)
			continue;
		n++;
		if (json_is_integer(value))
			ck_assert_int_eq(json_integer_value(value),
					 propstr_is_true(values[i]));
		else
			ck_assert_str_eq(json_string_value(value), values[i]);
	}
	ck_assert_uint_eq(n, json_object_size(want));
}

static void check_file(const char *name, bool has_driver)
{
	const char *dir = getenv("TEST_SRC");
	_cleanup_free_ char *path = xasprintf("%s/fixtures/%s", dir ? dir : "tests", name);
	_cleanup_fclose_ FILE *f = fopen(path, "r");
	char line[1024];
	int lines = 0;

	ck_assert_msg(f != NULL, "%s", path);
	for (; fgets(line, sizeof(line), f); lines++) {
		const char *values[16];
		json_t *want = json_loads(line, 0, NULL);
		const char *in = json_string_value(json_object_get(want, "in"));
		const char *error = json_string_value(json_object_get(want, "error"));
		_cleanup_free_ char *text = xstrdup(in), *why = NULL;
		bool ok = propstr_parse(&hostpci_schema, text, strlen(in), values, &why);
		bool is_newer = !has_driver && strstr(in, "driver=");

		ck_assert_uint_le(hostpci_schema.n, 16);
		if (!is_newer)
			ck_assert_msg(ok == json_is_true(json_object_get(want, "ok")), "'%s'", in);
		if (ok && !is_newer)
			check_values(json_object_get(want, "value"), values);
		if (!ok && !is_newer)
			check_reason(error, why);
		json_decref(want);
	}
	ck_assert_int_eq(lines, 56);
}

START_TEST(agrees_with_pve9)
{
	check_file("hostpci-edge.pve9.jsonl", true);
}
END_TEST

START_TEST(agrees_with_pve8)
{
	check_file("hostpci-edge.pve8.jsonl", false);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("propstr");
	TCase *tcase = tcase_create("propstr");

	tcase_add_loop_test(tcase, splits_and_checks, 0, ARRAY_SIZE(cases));
	tcase_add_test(tcase, nul_byte_is_refused);
	tcase_add_test(tcase, long_value);
	tcase_add_test(tcase, agrees_with_pve9);
	tcase_add_test(tcase, agrees_with_pve8);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
