/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/xalloc.h"

size_t text_utf8_length(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t more;

	if (*s < 0x80)
		return 1;
	if (*s >= 0xc2 && *s <= 0xdf)
		more = 1;
	else if (*s >= 0xe0 && *s <= 0xef)
		more = 2;
	else if (*s >= 0xf0 && *s <= 0xf4)
		more = 3;
	else
		return 0;
	if (*s == 0xe0)
		low = 0xa0;
	else if (*s == 0xed)
		high = 0x9f;
	else if (*s == 0xf0)
		low = 0x90;
	else if (*s == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i <= more; i++) {
		if (s[i] < low || s[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return more + 1;
}

size_t text_plain_length(const unsigned char *s)
{
	if (*s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] < 0xa0))
		return 0;
	return text_utf8_length(s);
}

void text_put_shown(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		size_t len = text_plain_length(s);

		if (len == 0)
			fprintf(out, "\\x%02x", *s++);
		fwrite(s, 1, len, out);
		s += len;
	}
}

void text_put_line(FILE *out, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	text_put_shown(out, text);
	putc('\n', out);
}

void text_put_json(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	putc('"', out);
	while (*s) {
		size_t len = text_utf8_length(s);

		if (len == 0) {
			fputs("\\ufffd", out);
			s++;
			continue;
		}
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			fprintf(out, "\\u%04x", *s);
		else if (text_plain_length(s) == 0)
			fprintf(out, "\\u%04x", s[1]);	/* U+0080 to U+009F */
		else
			fwrite(s, 1, len, out);
		s += len;
	}
	putc('"', out);
}

char *text_shell_word(const char *text, size_t len)
{
	char *word = xcalloc(len + 1, 4), *end = stpcpy(word, "'");

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\'')
			end = stpcpy(end, "'\\''");
		else
			*end++ = text[i];
	}
	strcpy(end, "'");
	return word;
}

int text_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}
