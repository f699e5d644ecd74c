/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The suite's records: man page pve-gpu-utils(7), RECORDS. */
#ifndef BASE_RECORD_H
#define BASE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum record_type {
	RECORD_STRING,
	RECORD_NUMBER,		/* JSON number; the value is passed as decimal text */
};

struct record_field {
	const char *name;
	enum record_type type;
};

/* What the common options -0 -H -j -r -o ask for. */
struct record_opts {
	bool null;		/* -0: records end with NUL */
	bool header;		/* -H: first line "#field<TAB>field..." */
	bool json;		/* -j: JSON Lines */
	bool raw;		/* -r: TAB-separated even on a terminal */
	const char *fields;	/* -o: "addr,guest"; NULL = all */
};

/*
 * The options in getopt form, for every listing program:
 * RECORD_SHORTOPTS "…", { RECORD_LONGOPTS, … }, case RECORD_CASES.
 */
#define RECORD_SHORTOPTS "0Hjo:r"
#define RECORD_LONGOPTS \
	{ "null", no_argument, NULL, '0' }, { "header", no_argument, NULL, 'H' }, \
	{ "json", no_argument, NULL, 'j' }, { "output", required_argument, NULL, 'o' }, \
	{ "raw", no_argument, NULL, 'r' }

/* Take one option of RECORD_SHORTOPTS; false when c is none of them. */
bool record_opt(struct record_opts *opts, int c, const char *arg);

struct record_writer;

/*
 * fields: n of them, kept (not copied) while the writer lives.
 * An aligned table with a heading when out is a terminal and neither raw, json
 * nor null is asked for; else one line a record.
 * Returns NULL with *bad set to the unknown field name of opts->fields
 * (allocated), or *bad = NULL when options exclude each other (-j with -0 or -H).
 */
struct record_writer *record_writer_new(FILE *out, const struct record_field *fields,
					size_t n, const struct record_opts *opts,
					char **bad);

/*
 * The same on standard output, with what is wrong said: return msg_usage_error() after a
 * NULL.
 */
struct record_writer *record_stdout(const struct record_field *fields, size_t n,
				    const struct record_opts *opts);

/* Write one record; values[i] belongs to fields[i], NULL or "" is unknown ("-", null). */
void record_put(struct record_writer *w, const char *const values[]);

/* Write what is held back (the table) and free the writer; w may be NULL. */
void record_writer_free(struct record_writer *w);

/* A reader of TAB-separated records, ended by LF or (null) NUL; "#" lines are skipped. */
struct record_reader {
	FILE *in;
	bool null;
	unsigned long line;	/* number of the line read last, from 1 */
	char *buf;		/* owned */
	size_t room;
	char **values;		/* owned; point into buf, unescaped; "-" is NULL */
	size_t n, values_room;
};

/*
 * 1 = r->values[0..n) is the next record, 0 = end, -errno on a read error, -EBADMSG for a
 * bad \xHH escape.
 */
int record_get(struct record_reader *r);
void record_reader_done(struct record_reader *r);

/* Append s to out with '\' and all that is not plain (text_plain_length()) as \xHH. */
void record_escape(FILE *out, const char *s);

#endif
