/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <fcntl.h>
#include <poll.h>

#include "base/cleanup.h"
#include "base/record.h"

static const struct record_field fields[] = {
	{ "addr", RECORD_STRING }, { "count", RECORD_NUMBER }, { "note", RECORD_STRING },
};

/* What the writer makes of one record, as a string of *len bytes; NULL with *bad. */
static char *written(const struct record_opts *opts, const char *const values[],
		     size_t *len,
		     char **bad)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	struct record_writer *w = record_writer_new(out, fields, ARRAY_SIZE(fields), opts,
						    bad);

	if (w)
		record_put(w, values);
	record_writer_free(w);
	fclose(out);
	if (w)
		return text;
	free(text);
	return NULL;
}

static const struct {
	struct record_opts opts;
	const char *values[3];
	const char *text;
} cases[] = {
	{ { .raw = true }, { "a", "1", "b" }, "a\t1\tb\n" },
	{ { 0 }, { "a", "1", "b" }, "a\t1\tb\n" },	/* no terminal: no table */
	{ { 0 }, { NULL, "", "x y" }, "-\t-\tx y\n" },
	{ { 0 }, { "-", "--", "\\" }, "\\x2d\t--\t\\x5c\n" },
	{ { 0 }, { "#a", "#", "\t\n\x7f\x01" }, "\\x23a\t#\t\\x09\\x0a\\x7f\\x01\n" },
	{ { 0 }, { "\xc3\xa4", "\xff", NULL }, "\xc3\xa4\t\\xff\t-\n" },
	/* U+009B begins a command to a terminal as ESC [ does. */
	{ { 0 }, { "\xc2\x9b" "31m", "\xc2\xa0", "\xc2" }, "\\xc2\\x9b31m\t\xc2\xa0\t\\xc2\n" },
	{ { .json = true, .fields = "note" }, { "", "", "\xc2\x9b" "31m" },
	  "{\"note\":\"\\u009b31m\"}\n" },
	{ { .header = true }, { "a", "1", "b" }, "#addr\tcount\tnote\na\t1\tb\n" },
	{ { .fields = "note,addr" }, { "a", "1", "b" }, "b\ta\n" },
	{ { .fields = "count,count", .header = true }, { "a", "1", "b" }, "#count\tcount\n1\t1\n" },
	{ { .json = true }, { "a", "1", "b" }, "{\"addr\":\"a\",\"count\":1,\"note\":\"b\"}\n" },
	{ { .json = true }, { NULL, "", "\"\\/" },
	  "{\"addr\":null,\"count\":null,\"note\":\"\\\"\\\\/\"}\n" },
	{ { .json = true }, { "-", "-5", "\n\x7f" },
	  "{\"addr\":\"-\",\"count\":-5,\"note\":\"\\u000a\\u007f\"}\n" },
	{ { .json = true, .fields = "count" }, { "a", "007", "" }, "{\"count\":\"007\"}\n" },
	{ { .json = true, .fields = "count" }, { "a", "0", "" }, "{\"count\":0}\n" },
	{ { .json = true, .fields = "count" }, { "a", "1e5", "" }, "{\"count\":\"1e5\"}\n" },
	{ { .json = true, .fields = "note" }, { "", "", "\xc3\xa4\xff\xc3" },
	  "{\"note\":\"\xc3\xa4\\ufffd\\ufffd\"}\n" },
	{ { .json = true, .fields = "note" }, { "", "", "\xed\xa0\x80" },	/* a surrogate */
	  "{\"note\":\"\\ufffd\\ufffd\\ufffd\"}\n" },
	{ { .json = true, .fields = "note" }, { "", "", "\xf0\x9f\x98\x80\xc0\xaf" },
	  "{\"note\":\"\xf0\x9f\x98\x80\\ufffd\\ufffd\"}\n" },
};

START_TEST(record_is_written_so)
{
	char *bad = NULL;
	size_t len;
	char *text = written(&cases[_i].opts, cases[_i].values, &len, &bad);

	ck_assert_str_eq(text, cases[_i].text);
	free(text);
}
END_TEST

START_TEST(null_ends_header_and_record)
{
	static const struct record_opts opts = { .null = true, .header = true, .fields = "addr" };
	const char *const values[] = { "a\n", NULL, NULL };
	char *bad = NULL;
	size_t len;
	char *text = written(&opts, values, &len, &bad);

	ck_assert_uint_eq(len, strlen("#addr") + 1 + strlen("a\\x0a") + 1);
	ck_assert_mem_eq(text, "#addr\0a\\x0a", len);
	free(text);
}
END_TEST

static const struct {
	struct record_opts opts;
	const char *bad;
} refused[] = {
	{ { .json = true, .null = true }, NULL },
	{ { .json = true, .header = true }, NULL },
	{ { .fields = "addr,nope" }, "nope" },
	{ { .fields = "" }, "" },
	{ { .fields = "addr," }, "" },
	{ { .fields = "add" }, "add" },
	{ { .fields = "Addr" }, "Addr" },
};

START_TEST(bad_options_are_named)
{
	const char *const values[3] = { NULL };
	char *bad = NULL;
	size_t len;

	ck_assert_ptr_null(written(&refused[_i].opts, values, &len, &bad));
	if (refused[_i].bad)
		ck_assert_str_eq(bad, refused[_i].bad);
	else
		ck_assert_ptr_null(bad);
	free(bad);
}
END_TEST

/* Every byte that a string can hold comes back, in either line form. */
START_TEST(round_trip)
{
	const struct record_opts opts = { .null = _i, .header = true };
	char all[256], *text = NULL, *bad;
	const char *const values[][3] = {
		{ "-", "#", "plain" }, { all, NULL, "\\x41" }, { "#c", "-", "" },
	};
	struct record_reader r = { .null = _i };
	struct record_writer *w;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	w = record_writer_new(out, fields, ARRAY_SIZE(fields), &opts, &bad);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		record_put(w, values[i]);
	record_writer_free(w);
	fclose(out);

	r.in = fmemopen(text, len, "r");
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		ck_assert_int_eq(record_get(&r), 1);
		ck_assert_uint_eq(r.n, 3);
		for (size_t k = 0; k < 3; k++) {
			if (!values[i][k] || !*values[i][k])
				ck_assert_ptr_null(r.values[k]);
			else
				ck_assert_str_eq(r.values[k], values[i][k]);
		}
	}
	ck_assert_uint_eq(r.line, 1 + ARRAY_SIZE(values));
	ck_assert_int_eq(record_get(&r), 0);
	fclose(r.in);
	record_reader_done(&r);
	free(text);
}
END_TEST

static const struct {
	const char *text;
	size_t len;
	int rc;
	size_t n;
	unsigned long line;
} inputs[] = {
	{ "", 0, 0, 0, 0 },
	{ "#only\n#comments\n", 16, 0, 0, 2 },
	{ "a\tb\n", 4, 1, 2, 1 },
	{ "#x\na\tb\tc", 8, 1, 3, 2 },		/* no final newline */
	{ "\n", 1, 1, 1, 1 },
	{ "\t\n", 2, 1, 2, 1 },
	{ "a\\x4\n", 5, -EBADMSG, 1, 1 },
	{ "a\\n\n", 4, -EBADMSG, 1, 1 },
	{ "a\\\n", 3, -EBADMSG, 1, 1 },
	{ "a\\x00\n", 6, -EBADMSG, 1, 1 },
	{ "a\\xzz\n", 6, -EBADMSG, 1, 1 },
	{ "a\0b\n", 4, -EBADMSG, 0, 1 },
};

START_TEST(input_is_read_so)
{
	struct record_reader r = { .in = tmpfile() };

	fwrite(inputs[_i].text, 1, inputs[_i].len, r.in);
	rewind(r.in);
	ck_assert_int_eq(record_get(&r), inputs[_i].rc);
	ck_assert_uint_eq(r.line, inputs[_i].line);
	if (inputs[_i].rc == 1)
		ck_assert_uint_eq(r.n, inputs[_i].n);
	fclose(r.in);
	record_reader_done(&r);
}
END_TEST

START_TEST(a_line_of_a_mebibyte)
{
	struct record_reader r = { .in = tmpfile() };

	for (int i = 0; i < 1 << 20; i++)
		fputc('x', r.in);
	fputs("\ty\n", r.in);
	rewind(r.in);
	ck_assert_int_eq(record_get(&r), 1);
	ck_assert_uint_eq(r.n, 2);
	ck_assert_uint_eq(strlen(r.values[0]), 1 << 20);
	ck_assert_str_eq(r.values[1], "y");
	fclose(r.in);
	record_reader_done(&r);
}
END_TEST

/* On a terminal: nothing that it would obey, and each escape once. */
START_TEST(a_table_is_plain)
{
	static const char *const values[] = { "a\x1b[31m\tb\nc\x9b\\", "", NULL };
	const struct record_opts opts = { 0 };
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	_cleanup_free_ char *bad = NULL;
	struct record_writer *w;
	struct pollfd ready = { .fd = master, .events = POLLIN };
	char text[512];
	size_t len = 0;
	FILE *out;

	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	setenv("LC_ALL", "C", 1);
	out = fopen(ptsname(master), "r+");
	ck_assert_ptr_nonnull(out);
	w = record_writer_new(out, fields, ARRAY_SIZE(fields), &opts, &bad);
	record_put(w, values);
	record_writer_free(w);
	fflush(out);
	while (len < sizeof(text) - 1 && poll(&ready, 1, 1000) > 0) {
		ssize_t n = read(master, text + len, sizeof(text) - 1 - len);

		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	}
	text[len] = '\0';
	ck_assert_msg(strstr(text, "\na\\x1b[31m\\x09b\\x0ac\\x9b\\"), "%s", text);
	ck_assert_ptr_nonnull(strstr(text, " - -"));
	fclose(out);
	close(master);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("record");
	TCase *tcase = tcase_create("record");

	tcase_add_loop_test(tcase, record_is_written_so, 0, ARRAY_SIZE(cases));
	tcase_add_test(tcase, null_ends_header_and_record);
	tcase_add_loop_test(tcase, bad_options_are_named, 0, ARRAY_SIZE(refused));
	tcase_add_loop_test(tcase, round_trip, 0, 2);
	tcase_add_loop_test(tcase, input_is_read_so, 0, ARRAY_SIZE(inputs));
	tcase_add_test(tcase, a_line_of_a_mebibyte);
	tcase_add_test(tcase, a_table_is_plain);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
