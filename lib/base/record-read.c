/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading records. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/record.h"
#include "base/text.h"
#include "base/xalloc.h"

/* Turn \xHH back into bytes, in place; NUL cannot stand in a string. */
static bool unescape(char *s)
{
	char *to = strchr(s, '\\');

	if (!to)
		return true;
	for (s = to; *s; ) {
		int high, low;

		if (*s != '\\') {
			*to++ = *s++;
			continue;
		}
		if (s[1] != 'x')
			return false;
		high = text_hex_digit(s[2]);
		low = high < 0 ? -1 : text_hex_digit(s[3]);
		if (low < 0 || (high | low) == 0)
			return false;
		*to++ = (char)(high << 4 | low);
		s += 4;
	}
	*to = '\0';
	return true;
}

static int split(struct record_reader *r)
{
	r->n = 0;
	for (char *p = r->buf, *tab; p; p = tab) {
		tab = strchr(p, '\t');
		if (tab)
			*tab++ = '\0';
		r->values = xgrow(r->values, r->n, &r->values_room, sizeof(*r->values));
		r->values[r->n++] = strcmp(p, "-") == 0 ? NULL : p;
		if (!unescape(p))
			return -EBADMSG;
	}
	return 1;
}

/* Why getdelim(3) gave nothing: 0 at the end of the file. */
static int read_error(FILE *in)
{
	if (ferror(in))
		return errno ? -errno : -EIO;
	return errno == ENOMEM ? -ENOMEM : 0;
}

int record_get(struct record_reader *r)
{
	int end = r->null ? '\0' : '\n';
	ssize_t len;

	for (;;) {
		errno = 0;
		len = getdelim(&r->buf, &r->room, end, r->in);
		if (len < 0)
			return read_error(r->in);
		r->line++;
		if (len && r->buf[len - 1] == end)
			r->buf[--len] = '\0';
		if (*r->buf == '#')
			continue;
		if (strlen(r->buf) != (size_t)len) {
			r->n = 0;
			return -EBADMSG;
		}
		return split(r);
	}
}

void record_reader_done(struct record_reader *r)
{
	free(r->buf);
	free(r->values);
	r->buf = NULL;
	r->values = NULL;
	r->n = r->room = r->values_room = 0;
}
