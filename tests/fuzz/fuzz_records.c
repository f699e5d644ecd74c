/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Assignment records: read, written, read again; as JSON too. */
#include <jansson.h>

#include "fuzz.h"
#include "pve/assignment.h"

static char *write_all(const struct assignment *a, size_t n, const struct record_opts *opts,
		       size_t *len)
{
	struct record_writer *w;
	char *text = NULL, *bad;
	FILE *out = xcheck(open_memstream(&text, len));

	w = record_writer_new(out, assignment_fields, ASSIGNMENT_FIELDS, opts, &bad);
	FUZZ_MUST(w);
	for (size_t i = 0; i < n; i++)
		assignment_put(w, &a[i]);
	record_writer_free(w);
	FUZZ_MUST(fclose(out) == 0);
	return text;
}

static int read_all(const void *text, size_t len, bool null, struct assignment **a, size_t *n)
{
	FILE *in = xcheck(fmemopen((void *)text, len, "r"));
	int rc = assignments_read(in, "input", null, a, n);

	fclose(in);
	return rc;
}

static void check_same(const struct assignment *a, const struct assignment *b)
{
	FUZZ_MUST(guest_compare(&a->guest, &b->guest) == 0);
	FUZZ_MUST(a->alt == b->alt && a->has_addr == b->has_addr && a->is_slot == b->is_slot);
	FUZZ_MUST(!a->has_addr || pciaddr_compare(&a->addr, &b->addr) == 0);
	FUZZ_MUST(a->state == b->state && fuzz_same(a->key, b->key));
	FUZZ_MUST(fuzz_same(a->mdev_type, b->mdev_type) && fuzz_same(a->mapping, b->mapping));
	FUZZ_MUST(fuzz_same(a->node, b->node) && fuzz_same(a->status, b->status));
	FUZZ_MUST(fuzz_same(a->held, b->held));
}

static void check_json(const struct assignment *a, size_t n)
{
	const struct record_opts opts = { .json = true };
	size_t len, lines = 0;
	char *text = write_all(a, n, &opts, &len), *rest = text, *line;

	while ((line = strsep(&rest, "\n")) && *line) {
		json_t *object = json_loads(line, 0, NULL);

		FUZZ_MUST(json_is_object(object));
		FUZZ_MUST(json_object_size(object) == ASSIGNMENT_FIELDS);
		json_decref(object);
		lines++;
	}
	FUZZ_MUST(lines == n);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct assignment *a, *b;
	struct record_opts opts = { .raw = true };
	size_t n, m, len;
	char *text;

	if (size < 2)
		return 0;
	opts.null = data[0] & 1;
	read_all(data + 1, size - 1, opts.null, &a, &n);
	if (n > 0) {
		text = write_all(a, n, &opts, &len);
		/* All that a terminal would obey is escaped. */
		for (size_t i = 0; i < len; i++) {
			unsigned char c = (unsigned char)text[i];

			FUZZ_MUST((c >= 0x20 && c != 0x7f) || c == '\t' ||
				  c == (opts.null ? '\0' : '\n'));
			FUZZ_MUST(c != 0xc2 || (unsigned char)text[i + 1] >= 0xa0);
		}
		FUZZ_MUST(read_all(text, len, opts.null, &b, &m) == 0);
		FUZZ_MUST(n == m);
		for (size_t i = 0; i < n; i++)
			check_same(&a[i], &b[i]);
		assignments_free(b, m);
		free(text);
		check_json(a, n);
	}
	assignments_free(a, n);
	return 0;
}
