/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "host/cmdline.h"

/* What means nothing to GRUB's shell, to sh inside double quotes and to the kernel. */
static const char PLAIN[] =
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	"-_.,:=/+@%*!~^#?[]";

const char *cmdline_word_error(const char *word)
{
	static const char *const reserved[] = { "root", "initrd", "BOOT_IMAGE" };

	if (!*word)
		return "an empty word";
	if (word[strspn(word, PLAIN)])
		return "has a blank, a quote or another character with a meaning for boot loaders";
	if (*word == '#' || *word == '=')
		return "not a word of a kernel command line";
	if (strcmp(word, "--") == 0)
		return "ends the kernel's part of the command line";
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		size_t len = strlen(reserved[i]);

		if (strncmp(word, reserved[i], len) == 0 &&
		    (word[len] == '=' || !word[len]))
			return "is for the boot loader to set";
	}
	return NULL;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One word of a text: [start, end). */
struct span {
	size_t start, end;
};

/* Next word at or after *pos: false at the end. */
static bool next_word(const char *text, size_t *pos, struct span *w)
{
	bool quoted = false;
	size_t i = *pos;

	while (is_blank(text[i]))
		i++;
	if (!text[i])
		return false;
	w->start = i;
	for (; text[i] && (quoted || !is_blank(text[i])); i++)
		if (text[i] == '"')
			quoted = !quoted;
	w->end = *pos = i;
	return true;
}

static bool span_is(const char *text, struct span w, const char *word)
{
	return strlen(word) == w.end - w.start
	       && strncmp(text + w.start, word, w.end - w.start) == 0;
}

void cmdline_split(const char *text, struct strlist *words)
{
	struct span w;
	size_t pos = 0;

	while (text && next_word(text, &pos, &w) && !span_is(text, w, "--")) {
		_cleanup_free_ char *word = xstrndup(text + w.start, w.end - w.start);

		strlist_add(words, word);
	}
}

bool cmdline_has(const char *text, const char *word)
{
	struct span w;
	size_t pos = 0;

	while (text && next_word(text, &pos, &w) && !span_is(text, w, "--"))
		if (span_is(text, w, word))
			return true;
	return false;
}

char *cmdline_value(const char *text, const char *key)
{
	size_t len = strlen(key), pos = 0;
	char *value = NULL;
	struct span w;

	while (text && next_word(text, &pos, &w) && !span_is(text, w, "--")) {
		const char *s = text + w.start;

		if (w.end - w.start < len || strncmp(s, key, len) != 0)
			continue;
		if (w.end - w.start > len && s[len] != '=')
			continue;
		free(value);
		value = w.end - w.start == len ? xstrdup("") :
			xstrndup(s + len + 1, w.end - w.start - len - 1);
	}
	return value;
}

/* One line that is not empty at most, and every quote has its end? */
static bool is_one_line(const char *text)
{
	bool quoted = false, ended = false, begun = false;

	for (; *text; text++) {
		if (*text == '"')
			quoted = !quoted;
		if (*text == '\n') {
			ended = begun;
		} else if (!is_blank(*text)) {
			if (ended)
				return false;
			begun = true;
		}
	}
	return !quoted;
}

/* Text with more put in at a place, allocated. */
static char *insert(const char *text, size_t at, const char *more)
{
	return xasprintf("%.*s%s%s", (int)at, text, more, text + at);
}

/* Where words are put in: behind the last one, or before a "--". */
static size_t place_of_new(const char *text, bool *before)
{
	struct span w;
	size_t pos = 0, end = 0;

	*before = false;
	while (next_word(text, &pos, &w)) {
		if (span_is(text, w, "--")) {
			*before = end == 0;
			return *before ? w.start : end;
		}
		end = w.end;
	}
	return end;
}

char *cmdline_add(const char *text, const struct strlist *words, struct strlist *added)
{
	char *out;

	if (!is_one_line(text)) {
		errno = EBADMSG;
		return NULL;
	}
	out = xstrdup(text);
	for (size_t i = 0; i < words->n; i++) {
		_cleanup_free_ char *old = NULL, *more = NULL;
		bool before;
		size_t at;

		if (cmdline_has(out, words->s[i]))
			continue;
		at = place_of_new(out, &before);
		/* Without a word there is no blank to put before the first one. */
		more = xasprintf("%s%s%s", before || at == 0 ? "" : " ", words->s[i],
				 before ? " " : "");
		old = out;
		out = insert(old, at, more);
		if (added)
			strlist_add(added, words->s[i]);
	}
	return out;
}

char *cmdline_remove(const char *text, const struct strlist *words)
{
	char *out;

	if (!is_one_line(text)) {
		errno = EBADMSG;
		return NULL;
	}
	out = xstrdup(text);
	for (size_t i = words->n; i-- > 0;) {
		struct span w, last = { 0 };
		size_t pos = 0;

		while (next_word(out, &pos, &w) && !span_is(out, w, "--"))
			if (span_is(out, w, words->s[i]))
				last = w;
		if (last.end == 0)
			continue;
		/* One blank came with it: the one before, or behind the first word. */
		if (last.start > 0 && out[last.start - 1] == ' ')
			last.start--;
		else if (out[last.end] == ' ')
			last.end++;
		else if (last.start > 0 && out[last.start - 1] != '\n')
			last.start--;
		memmove(out + last.start, out + last.end, strlen(out + last.end) + 1);
	}
	return out;
}

bool cmdline_loses_root(const char *before, const char *after)
{
	_cleanup_free_ char *had = cmdline_value(before, "root");
	_cleanup_free_ char *has = cmdline_value(after, "root");

	return had && (!has || strcmp(had, has) != 0);
}

char *cmdline_from_running(const char *proc_cmdline)
{
	char *line = xstrdup("");
	struct span w;
	size_t pos = 0;

	while (next_word(proc_cmdline, &pos, &w)) {
		const char *s = proc_cmdline + w.start;
		_cleanup_free_ char *old = line;

		if (strncmp(s, "BOOT_IMAGE=", 11) == 0 || strncmp(s, "initrd=", 7) == 0)
			line = xstrdup(old);
		else
			line = xasprintf("%s%s%.*s", old, *old ? " " : "",
					 (int)(w.end - w.start), s);
	}
	pos = strlen(line);
	line = xreallocarray(line, pos + 2, 1);
	line[pos] = '\n';
	line[pos + 1] = '\0';
	return line;
}
