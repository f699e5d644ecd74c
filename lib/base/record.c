/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/record.h"
#include "base/table.h"
#include "base/text.h"
#include "base/xalloc.h"

struct record_writer {
	FILE *out;
	const struct record_field *fields;
	size_t *order;		/* owned; indexes of fields, as -o wants them */
	size_t n;		/* of order */
	bool json;
	char end;
	struct table *table;	/* NULL: lines */
};

bool record_opt(struct record_opts *opts, int c, const char *arg)
{
	switch (c) {
	case '0': opts->null = true; return true;
	case 'H': opts->header = true; return true;
	case 'j': opts->json = true; return true;
	case 'o': opts->fields = arg; return true;
	case 'r': opts->raw = true; return true;
	default:  return false;
	}
}

static void escape(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		size_t len = *s == '\\' ? 0 : text_plain_length(s);

		if (len == 0)
			fprintf(out, "\\x%02x", *s++);
		for (; len > 0; len--)
			putc_unlocked(*s++, out);
	}
}

void record_escape(FILE *out, const char *s)
{
	escape(out, s);
}

/* What JSON takes for a whole number: no sign but minus, no leading zero. */
static bool is_json_number(const char *s)
{
	size_t digits;

	if (*s == '-')
		s++;
	digits = strspn(s, "0123456789");
	return digits && !s[digits] && (digits == 1 || *s != '0');
}

static void put_json(struct record_writer *w, const char *const values[])
{
	putc_unlocked('{', w->out);
	for (size_t i = 0; i < w->n; i++) {
		const struct record_field *field = &w->fields[w->order[i]];
		const char *value = values[w->order[i]];

		fprintf(w->out, "%s\"%s\":", i ? "," : "", field->name);
		if (!value || !*value)
			fputs("null", w->out);
		else if (field->type == RECORD_NUMBER && is_json_number(value))
			fputs(value, w->out);
		else
			text_put_json(w->out, value);
	}
	fputs("}\n", w->out);
}

/* One value as it stands in a line; is_first: of its line. */
static void put_value(FILE *out, const char *value, bool is_first)
{
	if (!value || !*value) {
		putc_unlocked('-', out);
		return;
	}
	/* A text that would be read as "unknown", or as a comment, must not be. */
	if (strcmp(value, "-") == 0 || (is_first && *value == '#'))
		fprintf(out, "\\x%02x", (unsigned char)*value++);
	escape(out, value);
}

/* libsmartcols itself shows as \xHH what a terminal would obey. */
static void put_row(struct record_writer *w, const char *const values[])
{
	_cleanup_free_ const char **cells = xcalloc(w->n, sizeof(*cells));

	for (size_t i = 0; i < w->n; i++) {
		const char *value = values[w->order[i]];

		cells[i] = value && *value ? value : "-";
	}
	table_add(w->table, NULL, cells);
}

void record_put(struct record_writer *w, const char *const values[])
{
	if (w->json) {
		put_json(w, values);
		return;
	}
	if (w->table) {
		put_row(w, values);
		return;
	}
	for (size_t i = 0; i < w->n; i++) {
		if (i)
			putc_unlocked('\t', w->out);
		put_value(w->out, values[w->order[i]], i == 0);
	}
	putc_unlocked(w->end, w->out);
}

/* Fill in w->order from "addr,guest"; false with *bad on an unknown name. */
static bool choose_fields(struct record_writer *w, size_t n, const char *list, char **bad)
{
	size_t room = 0;

	for (const char *p = list; ; p++) {
		size_t len = strcspn(p, ","), i;

		for (i = 0; i < n; i++)
			if (strlen(w->fields[i].name) == len &&
			    strncmp(w->fields[i].name, p, len) == 0)
				break;
		if (i == n) {
			*bad = xstrndup(p, len);
			return false;
		}
		w->order = xgrow(w->order, w->n, &room, sizeof(*w->order));
		w->order[w->n++] = i;
		p += len;
		if (!*p)
			return true;
	}
}

static void start_table(struct record_writer *w)
{
	const char **names = xcalloc(w->n, sizeof(*names));
	bool *right = xcalloc(w->n, sizeof(*right));

	for (size_t i = 0; i < w->n; i++) {
		names[i] = w->fields[w->order[i]].name;
		right[i] = w->fields[w->order[i]].type == RECORD_NUMBER;
	}
	w->table = table_new(names, right, w->n);
	free(names);
	free(right);
}

static void put_header(struct record_writer *w)
{
	for (size_t i = 0; i < w->n; i++)
		fprintf(w->out, "%s%s", i ? "\t" : "#", w->fields[w->order[i]].name);
	fputc(w->end, w->out);
}

struct record_writer *record_writer_new(FILE *out, const struct record_field *fields,
					size_t n, const struct record_opts *opts,
					char **bad)
{
	struct record_writer *w;

	*bad = NULL;
	if (opts->json && (opts->null || opts->header))
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->out = out;
	w->fields = fields;
	w->json = opts->json;
	w->end = opts->null ? '\0' : '\n';
	if (opts->fields && !choose_fields(w, n, opts->fields, bad)) {
		record_writer_free(w);
		return NULL;
	}
	if (!opts->fields) {
		w->order = xcalloc(n, sizeof(*w->order));
		w->n = n;
		for (size_t i = 0; i < n; i++)
			w->order[i] = i;
	}
	if (!opts->json && !opts->null && !opts->raw && isatty(fileno(out)))
		start_table(w);
	else if (opts->header)
		put_header(w);
	return w;
}

/* "addr,class,id", allocated. */
static char *field_names(const struct record_field *fields, size_t n)
{
	char *text = NULL;
	size_t len;
	FILE *out = xcheck(open_memstream(&text, &len));

	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%s", i ? "," : "", fields[i].name);
	if (fclose(out) != 0)
		xcheck(NULL);
	return text;
}

struct record_writer *record_stdout(const struct record_field *fields, size_t n,
				    const struct record_opts *opts)
{
	_cleanup_free_ char *bad = NULL, *names = NULL;
	struct record_writer *w = record_writer_new(stdout, fields, n, opts, &bad);

	names = w ? NULL : field_names(fields, n);
	if (!w && bad)
		say("%s: no such field; there are %s", bad, names);
	else if (!w)
		say("--json goes with neither --null nor --header");
	return w;
}

void record_writer_free(struct record_writer *w)
{
	if (!w)
		return;
	if (w->table)
		table_print(w->table, w->out);
	free(w->order);
	free(w);
}
