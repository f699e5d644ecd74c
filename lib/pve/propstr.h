/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PVE's property strings: "VALUE,key=value,...". No quoting, no blanks trimmed;
 * empty parts are passed over. Source: pve-common, JSONSchema.pm
 * parse_property_string.
 */
#ifndef PVE_PROPSTR_H
#define PVE_PROPSTR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * One key of a schema. check: NULL takes anything; else NULL for a good value, or what
 * is wrong with it.
 */
struct propstr_key {
	const char *name;
	const char *(*check)(const char *value);
	bool required;
};

struct propstr_schema {
	const struct propstr_key *keys;
	size_t n;
	int default_key;	/* index of the key that may stand alone; -1 for none */
};

/*
 * Split text and check it against a schema.
 *
 * text: cut into pieces, which values[] then points to. len may count NUL bytes,
 * which no schema takes.
 * values: one per key of the schema; NULL when absent.
 * why: what is wrong, "mdev: …"; allocated. Untouched when true is returned.
 */
bool propstr_parse(const struct propstr_schema *schema, char *text, size_t len,
		   const char *values[], char **why);

const char *propstr_check_bool(const char *value);
/* 1, on, yes, true in any case; false for all else. */
bool propstr_is_true(const char *value);

#endif
