/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <strings.h>

#include "base/xalloc.h"
#include "pve/propstr.h"

bool propstr_is_true(const char *value)
{
	return strcmp(value, "1") == 0 || strcasecmp(value, "on") == 0
	       || strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0;
}

const char *propstr_check_bool(const char *value)
{
	if (propstr_is_true(value) || strcmp(value, "0") == 0
	    || strcasecmp(value, "off") == 0 || strcasecmp(value, "no") == 0
	    || strcasecmp(value, "false") == 0)
		return NULL;
	return "is no boolean (0 or 1)";
}

static bool is_all_blank(const char *s)
{
	return s[strspn(s, " \t\n\v\f\r")] == '\0';
}

static size_t find_key(const struct propstr_schema *schema, const char *name)
{
	size_t i = 0;

	while (i < schema->n && strcmp(schema->keys[i].name, name) != 0)
		i++;
	return i;
}

/* One part; *unknown is the first key that the schema does not have. */
static bool take_part(const struct propstr_schema *schema, char *part,
		      const char *values[], const char **unknown, char **why)
{
	char *equals = strchr(part, '=');
	size_t i;

	if (!equals) {
		if (schema->default_key < 0) {
			*why = xasprintf("'%.80s': value without a key", part);
			return false;
		}
		i = (size_t)schema->default_key;
	} else if (equals == part || equals[1] == '\0') {
		*why = xasprintf("'%.80s': missing key or value", part);
		return false;
	} else {
		*equals = '\0';
		i = find_key(schema, part);
	}
	if (i == schema->n) {
		if (!*unknown)
			*unknown = part;
		return true;
	}
	if (values[i]) {
		*why = xasprintf("duplicate key '%s'", schema->keys[i].name);
		return false;
	}
	values[i] = equals ? equals + 1 : part;
	return true;
}

static bool check_values(const struct propstr_schema *schema, const char *values[],
			 char **why)
{
	for (size_t i = 0; i < schema->n; i++) {
		const struct propstr_key *key = &schema->keys[i];
		const char *wrong = NULL;

		if (!values[i] && key->required) {
			*why = xasprintf("%s: is missing", key->name);
			return false;
		}
		if (values[i] && key->check)
			wrong = key->check(values[i]);
		if (wrong) {
			*why = xasprintf("%s: '%.80s' %s", key->name, values[i], wrong);
			return false;
		}
	}
	return true;
}

bool propstr_parse(const struct propstr_schema *schema, char *text, size_t len,
		   const char *values[], char **why)
{
	const char *unknown = NULL;
	char *rest = text;

	for (size_t i = 0; i < schema->n; i++)
		values[i] = NULL;
	if (strlen(text) != len) {
		*why = xstrdup("NUL byte in the value");
		return false;
	}
	while (rest) {
		char *part = strsep(&rest, ",");

		if (!is_all_blank(part)
		    && !take_part(schema, part, values, &unknown, why))
			return false;
	}
	if (unknown) {
		*why = xasprintf("unknown key '%.80s'", unknown);
		return false;
	}
	return check_values(schema, values, why);
}
