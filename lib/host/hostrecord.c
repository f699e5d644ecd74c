/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/record.h"
#include "base/xalloc.h"
#include "host/hostrecord.h"

void hostrecord_start(struct hostrecord_writer *w)
{
	*w = (struct hostrecord_writer){ 0 };
	w->out = xcheck(open_memstream(&w->text, &w->size));
}

static void put_field(struct hostrecord_writer *w, const char *field, bool first)
{
	if (!first)
		fputc('\t', w->out);
	/* "-" stands for nothing: a text that is "-" must not. */
	if (strcmp(field, "-") == 0)
		fputs("\\x2d", w->out);
	else
		record_escape(w->out, *field ? field : "-");
}

void hostrecord_put_list(struct hostrecord_writer *w, const char *kind,
			 const char *const fields[], size_t n)
{
	put_field(w, kind, true);
	for (size_t i = 0; i < n; i++)
		put_field(w, fields[i], false);
	fputc('\n', w->out);
	w->n++;
}

char *hostrecord_end(struct hostrecord_writer *w)
{
	fprintf(w->out, "#end %zu\n", w->n);
	/* Nothing can fail but the memory. */
	if (fclose(w->out) != 0)
		xcheck(NULL);
	return w->text;
}

/* Records that the last line counts; -1 when it is not the end that we write. */
static long counted(const char *text)
{
	size_t len = strlen(text);
	const char *last;
	char *end;
	long n;

	if (len == 0 || text[len - 1] != '\n')
		return -1;
	for (last = text + len - 1; last > text && last[-1] != '\n'; last--)
		;
	if (strncmp(last, "#end ", 5) != 0)
		return -1;
	n = strtol(last + 5, &end, 10);
	return *end == '\n' ? n : -1;
}

/* What we write has no empty field. */
static bool is_whole(const struct record_reader *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->values[i] && !*r->values[i])
			return false;
	return r->values[0];
}

int hostrecord_read(const char *text, hostrecord_handler *take, void *arg)
{
	struct record_reader r = { 0 };
	long n = counted(text);
	int rc;

	if (n < 0)
		return -EBADMSG;
	r.in = fmemopen((char *)text, strlen(text), "r");
	if (!r.in)
		return -errno;
	while ((rc = record_get(&r)) > 0) {
		rc = is_whole(&r) ? take(arg, r.values, r.n) : -EBADMSG;
		if (rc < 0)
			break;
		n--;
	}
	fclose(r.in);
	record_reader_done(&r);
	if (rc < 0)
		return rc;
	return n == 0 ? 0 : -EBADMSG;
}

char *hostrecord_mode(const struct hostfile *f)
{
	return f->data ? xasprintf("%o", (unsigned)f->mode) : xstrdup("");
}

char *hostrecord_data(const struct hostfile *f)
{
	return xasprintf(":%s", f->data ? f->data : "");
}

bool hostrecord_take_file(const char *mode, const char *data, struct hostfile *f)
{
	char *end;

	if (!data || *data != ':')
		return false;
	f->data = NULL;
	f->len = 0;
	f->mode = 0;
	if (!mode)
		return true;
	f->mode = (mode_t)strtoul(mode, &end, 8);
	if (*end || end == mode || f->mode > 07777)
		return false;
	f->data = xstrdup(data + 1);
	f->len = strlen(f->data);
	return true;
}
