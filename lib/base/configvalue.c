/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/configvalue.h"
#include "base/xalloc.h"

enum {
	VMID_MIN = 100,
	VMID_MAX = 999999999,
};

char *configvalue_next_word(const char **list)
{
	const char *start = *list + strspn(*list, " \t,");
	size_t len = strcspn(start, " \t,");

	*list = start + len;
	return len ? xstrndup(start, len) : NULL;
}

bool configvalue_number(const char *text, unsigned min, unsigned max, unsigned *value)
{
	size_t len = strspn(text, "0123456789");
	unsigned long v;

	if (len == 0 || len > 9 || text[len])
		return false;
	v = strtoul(text, NULL, 10);
	if (v < min || v > max)
		return false;
	*value = (unsigned)v;
	return true;
}

bool configvalue_choice(const char *text, const char *const names[], size_t n,
			 int *value)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(text, names[i]) == 0) {
			*value = (int)i;
			return true;
		}
	}
	return false;
}

bool configvalue_bool(const char *text, bool *value)
{
	static const char *const words[] = { "no",    "yes",  "off", "on",
					     "false", "true", "0",   "1" };
	int i;

	if (!configvalue_choice(text, words, ARRAY_SIZE(words), &i))
		return false;
	*value = i & 1;
	return true;
}

/* A VMID with or without its kind; VMIDs are unique in a cluster. */
static bool parse_vmid(const char *text, uint32_t *vmid)
{
	unsigned v;

	if (strncmp(text, "qemu/", 5) == 0)
		text += 5;
	else if (strncmp(text, "lxc/", 4) == 0)
		text += 4;
	if (!configvalue_number(text, VMID_MIN, VMID_MAX, &v) || *text == '0')
		return false;
	*vmid = v;
	return true;
}

static int compare_vmid(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

bool configvalue_add_vmids(const char *list, uint32_t **vmids, size_t *n)
{
	uint32_t *all = xreallocarray(NULL, *n + strlen(list) + 1, sizeof(*all));
	size_t total = *n, kept = 0;

	if (*n)
		memcpy(all, *vmids, *n * sizeof(*all));
	for (;;) {
		_cleanup_free_ char *word = configvalue_next_word(&list);

		if (!word)
			break;
		if (!parse_vmid(word, &all[total++])) {
			free(all);
			return false;
		}
	}
	qsort(all, total, sizeof(*all), compare_vmid);
	for (size_t i = 0; i < total; i++)
		if (kept == 0 || all[i] != all[kept - 1])
			all[kept++] = all[i];
	free(*vmids);
	*vmids = all;
	*n = kept;
	return true;
}

bool configvalue_has_unit_suffix(const char *name)
{
	static const char *const suffixes[] = {
		".service", ".socket", ".target", ".timer",
		".mount",   ".slice",  ".scope",  ".path",
	};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(suffixes); i++)
		if (strcmp(dot, suffixes[i]) == 0)
			return true;
	return false;
}

bool configvalue_is_unit(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789:-_.\\@";

	return *name != '-' && *name != '.' && !name[strspn(name, allowed)];
}

bool configvalue_is_addr(const char *text)
{
	size_t colons = 0;

	for (const char *p = text; *p; p++)
		colons += *p == ':';
	return (colons == 1 || colons == 2) && *text != ':' &&
		!text[strspn(text, "0123456789abcdefABCDEF:.")];
}
