/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of others as people get to see it: nothing in it is obeyed by a terminal. */
#include "base/record.h"
#include "base/text.h"
#include "fuzz.h"

static void check_shown(const char *shown)
{
	for (const unsigned char *s = (const unsigned char *)shown; *s; ) {
		size_t len = text_utf8_length(s);

		FUZZ_MUST(len > 0);
		FUZZ_MUST(*s >= 0x20 && *s != 0x7f);
		FUZZ_MUST(*s != 0xc2 || s[1] >= 0xa0);
		s += len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_string(data, size), *shown = NULL, *escaped = NULL;
	struct record_reader reader = { 0 };
	size_t len;
	FILE *out = xcheck(open_memstream(&shown, &len));

	text_put_shown(out, text);
	FUZZ_MUST(fclose(out) == 0);
	check_shown(shown);

	out = xcheck(open_memstream(&escaped, &len));
	fputs("x\t", out);
	record_escape(out, text);
	FUZZ_MUST(fclose(out) == 0);
	check_shown(escaped + 2);
	reader.in = xcheck(fmemopen(escaped, len, "r"));
	FUZZ_MUST(record_get(&reader) == 1 && reader.n == 2);
	/* "-" is written by who knows that it is no text. */
	if (strcmp(text, "-") != 0)
		FUZZ_MUST(strcmp(reader.values[1], text) == 0);
	fclose(reader.in);
	record_reader_done(&reader);
	free(escaped);
	free(shown);
	free(text);
	return 0;
}
