/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of bind_records_write(), bind_records_read() and bind_records_keep(). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/record.h"
#include "base/xalloc.h"
#include "pci/bind.h"

enum { FILE_MAX = 1024 * 1024 };

static const struct record_field file_fields[] = {
	{ "addr", RECORD_STRING },
	{ "driver", RECORD_STRING },
	{ "driver_override", RECORD_STRING },
};

int bind_records_write(const char *path, const struct bind_record *recs, size_t n)
{
	static const struct record_opts opts = { .raw = true, .header = true };
	_cleanup_free_ char *text = NULL, *bad = NULL;
	struct record_writer *w;
	size_t len;
	FILE *out = xcheck(open_memstream(&text, &len));

	w = record_writer_new(out, file_fields, ARRAY_SIZE(file_fields), &opts, &bad);
	for (size_t i = 0; i < n; i++) {
		const char *values[3];
		char addr[PCIADDR_STRLEN];

		values[0] = pciaddr_format(&recs[i].addr, addr);
		values[1] = recs[i].driver;
		values[2] = recs[i].override;
		record_put(w, values);
	}
	record_writer_free(w);
	fprintf(out, "#end %zu\n", n);
	if (fclose(out) != 0)
		return -ENOMEM;
	return atomicfile_write(path, text, len, 0600);
}

/* What stands in a path must be one name. */
static bool is_driver_name(const char *name)
{
	return !name || (*name && *name != '.' && !strchr(name, '/'));
}

static bool has_end(const char *text, size_t n)
{
	_cleanup_free_ char *end = xasprintf("\n#end %zu\n", n);
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

int bind_records_read(const char *path, struct bind_record **recs, size_t *n)
{
	_cleanup_free_ char *text = readfile_string(path, FILE_MAX);
	struct record_reader in = { 0 };
	struct bind_record *list = NULL;
	size_t used = 0, room = 0;
	int rc;

	if (!text)
		return -errno;
	if (!*text)
		return -EBADMSG;
	in.in = xcheck(fmemopen(text, strlen(text), "r"));
	while ((rc = record_get(&in)) > 0) {
		struct bind_record r = { 0 };

		if (in.n < 3 || !in.values[0] || !pciaddr_parse(in.values[0], &r.addr) ||
		    !is_driver_name(in.values[1]) || !is_driver_name(in.values[2])) {
			rc = -EBADMSG;
			break;
		}
		r.driver = in.values[1] ? xstrdup(in.values[1]) : NULL;
		r.override = in.values[2] ? xstrdup(in.values[2]) : NULL;
		list = xgrow(list, used, &room, sizeof(*list));
		list[used++] = r;
	}
	fclose(in.in);
	record_reader_done(&in);
	if (rc == 0 && !has_end(text, used))
		rc = -EBADMSG;
	if (rc < 0) {
		bind_records_free(list, used);
		return rc;
	}
	*recs = list;
	*n = used;
	return 0;
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static bool may_be_ours(const struct bind_record *r, const char *driver)
{
	return !r->driver || strcmp(r->driver, driver) == 0 ||
	       (r->override && strcmp(r->override, driver) == 0);
}

void bind_records_keep(const char *path, const char *driver, struct bind_record *recs,
		       size_t n)
{
	struct bind_record *old = NULL;
	size_t n_old = 0;

	if (bind_records_read(path, &old, &n_old) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct bind_record *r = &recs[i];

		for (size_t k = 0; k < n_old && may_be_ours(r, driver); k++) {
			if (pciaddr_compare(&old[k].addr, &r->addr) != 0)
				continue;
			free(r->driver);
			free(r->override);
			r->driver = copy(old[k].driver);
			r->override = copy(old[k].override);
			break;
		}
	}
	bind_records_free(old, n_old);
}
