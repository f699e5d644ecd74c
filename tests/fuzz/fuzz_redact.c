/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes into a bug report. */
#include <ctype.h>

#include "base/redact.h"
#include "fuzz.h"

static bool is_word(unsigned char c)
{
	return isalnum(c) || c == '_' || c == '-' || c == '.' || c >= 0x80;
}

/* Is the name there as a word of its own? */
static bool has_word(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = text; (p = strcasestr(p, name)); p++)
		if ((p == text || !is_word((unsigned char)p[-1])) && !is_word((unsigned char)p[len]))
			return true;
	return false;
}

#define SECRETS "203.0.113.77 webshop 52:54:00:ab:cd:ef 2001:db8::77"

/* Is one of the secrets among the last four words? */
static bool ends_with_any(const char *text)
{
	const char *p = text + strlen(text);
	char *words, *rest, *word;
	bool found = false;

	for (int blanks = 0; p > text && blanks < 4; )
		blanks += *--p == ' ';
	words = rest = xstrdup(p);
	while ((word = strsep(&rest, " ")))
		if (*word && strstr(SECRETS, word))
			found = true;
	free(words);
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = fuzz_string(data, size), *more, *once, *again;
	struct redactor *r = redactor_new();

	redactor_add(r, "guest", "webshop");
	redactor_add(r, "host", "node17.example.org");
	once = redactor_line(r, line);
	FUZZ_MUST(once);
	FUZZ_MUST(!has_word(once, "webshop"));
	/* The same text is the same text the second time. */
	again = redactor_line(r, line);
	FUZZ_MUST(strcmp(once, again) == 0);
	free(again);
	free(once);
	/* What stands before it does not save it. */
	more = xasprintf("%s %s", line, SECRETS);
	once = redactor_line(r, more);
	FUZZ_MUST(!ends_with_any(once));
	free(once);
	free(more);
	free(line);
	redactor_free(r);
	return 0;
}
