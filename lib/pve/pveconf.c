/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <strings.h>

#include "base/xalloc.h"
#include "pve/pveconf.h"

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

bool pveconf_is_config_id(const char *name, size_t len)
{
	if (len < 2 || !is_alpha(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alpha(name[i]) && !is_digit(name[i]) && name[i] != '-'
		    && name[i] != '_')
			return false;
	return true;
}

static bool same_name(const char *text, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(text, name, len) == 0;
}

/* Blanks off the start; a value of blanks alone keeps its last one, as PVE's patterns do.
 */
static void trim_left(const char **text, size_t *len)
{
	while (*len > 1 && is_blank(**text)) {
		(*text)++;
		(*len)--;
	}
}

/*
 * Take over the header on this line; false when PVE reads the line as something
 * else: an unknown header leaves a container's parser in the section it was in.
 */
static bool take_header(struct pveconf_scan *s, const char *line, size_t len)
{
	const char *pending = s->rules == PVECONF_QEMU ? "PENDING" : "pve:pending";
	enum pveconf_part part = PVECONF_IGNORED;
	const char *name = line + 1;

	if (len < 2 || line[len - 1] != ']')
		return false;
	len -= 2;
	if (same_name(name, len, pending))
		part = PVECONF_PENDING;
	else if (pveconf_is_config_id(name, len))
		part = PVECONF_SNAPSHOT;
	else if (s->rules == PVECONF_LXC)
		return false;
	s->at.part = part;
	s->at.section = part == PVECONF_SNAPSHOT ? name : NULL;
	s->at.section_len = part == PVECONF_SNAPSHOT ? len : 0;
	return true;
}

/* "snapstate: prepare" or "delete" at the end of any line is taken before all settings.
 */
static bool is_snapstate(const char *line, size_t len)
{
	static const char word[] = "snapstate:";
	size_t n = sizeof(word) - 1;
	const char *p;

	if (len >= 7 && memcmp(line + len - 7, "prepare", 7) == 0)
		len -= 7;
	else if (len >= 6 && memcmp(line + len - 6, "delete", 6) == 0)
		len -= 6;
	else
		return false;
	while (len > 0 && is_blank(line[len - 1]))
		len--;
	p = line + len;
	return len >= n && memcmp(p - n, word, n) == 0;
}

/* Length of a key with its colon at once behind it; 0 for none. */
static size_t key_length(enum pveconf_rules rules, const char *line, size_t len)
{
	size_t i = 0;

	if (len == 0 || !is_lower(line[0]))
		return 0;
	while (i < len && (is_lower(line[i]) || line[i] == '_'
			   || (line[i] == '-' && rules == PVECONF_QEMU)))
		i++;
	while (i < len && is_digit(line[i]))
		i++;
	return i < len && line[i] == ':' ? i : 0;
}

/* "lxc.KEY: V", "lxc.KEY = V", "lxc.KEY=V" */
static bool take_raw(struct pveconf_item *item, const char *line, size_t len)
{
	size_t i = 4, key_len;

	if (len < 6 || memcmp(line, "lxc.", 4) != 0)
		return false;
	while (i < len && (is_lower(line[i]) || is_digit(line[i]) || line[i] == '_'
			   || line[i] == '-' || line[i] == '.'))
		i++;
	key_len = i;
	if (i < len && line[i] != ':')
		while (i < len && is_blank(line[i]))
			i++;
	if (key_len == 4 || i >= len || (line[i] != '=' && line[i] != ':')
	    || (line[i] == ':' && i != key_len))
		return false;
	item->what = PVECONF_RAW;
	item->key = line;
	item->key_len = key_len;
	item->value = line + i + 1;
	item->value_len = len - i - 1;
	while (item->value_len > 0 && is_blank(item->value[0])) {
		item->value++;
		item->value_len--;
	}
	return true;
}

/*
 * One line without its blanks at the end (full_len with them); false when there is
 * nothing in it.
 */
static bool take_line(struct pveconf_scan *s, const char *line, size_t len,
		      size_t full_len, struct pveconf_item *item)
{
	size_t n;

	if (len == 0)
		return false;
	if (line[0] == '[' && take_header(s, line, len)) {
		*item = s->at;
		item->what = PVECONF_HEADER;
		return s->at.part != PVECONF_IGNORED;
	}
	if (s->at.part == PVECONF_IGNORED || line[0] == '#')
		return false;
	*item = s->at;
	if (s->rules == PVECONF_LXC && take_raw(item, line, len))
		return true;
	if (is_snapstate(line, len))
		return false;

	n = key_length(s->rules, line, len);
	item->what = PVECONF_SETTING;
	item->key = line;
	item->key_len = n;
	item->value = line + n + 1;
	/* "key: " has the blank for its value */
	item->value_len = (len == n + 1 ? full_len : len) - n - 1;
	if (n == 0 || item->value_len == 0) {
		item->what = PVECONF_JUNK;
		item->value = line;
		item->value_len = len;
		return true;
	}
	trim_left(&item->value, &item->value_len);
	if (pveconf_key_is(item, "delete")) {
		if (item->part != PVECONF_PENDING)
			return false;
		item->what = PVECONF_DELETE;
	}
	return true;
}

void pveconf_start(struct pveconf_scan *s, enum pveconf_rules rules,
		   const char *text, size_t len)
{
	*s = (struct pveconf_scan){ .rules = rules, .next = text, .end = text + len };
}

bool pveconf_next(struct pveconf_scan *s, struct pveconf_item *item)
{
	while (s->next < s->end) {
		const char *line = s->next;
		const char *lf = memchr(line, '\n', (size_t)(s->end - line));
		size_t full_len = (size_t)((lf ? lf : s->end) - line), len = full_len;

		s->next = lf ? lf + 1 : s->end;
		s->at.line++;
		while (len > 0 && is_blank(line[len - 1]))
			len--;
		if (take_line(s, line, len, full_len, item))
			return true;
	}
	return false;
}

bool pveconf_key_is(const struct pveconf_item *item, const char *key)
{
	return strlen(key) == item->key_len && memcmp(item->key, key, item->key_len) == 0;
}

bool pveconf_key_index(const struct pveconf_item *item, const char *prefix,
		       unsigned max, unsigned *index)
{
	size_t n = strlen(prefix);
	unsigned value = 0;

	if (item->key_len <= n || item->key_len > n + 6
	    || memcmp(item->key, prefix, n) != 0)
		return false;
	if (item->key[n] == '0' && item->key_len > n + 1)
		return false;
	for (size_t i = n; i < item->key_len; i++) {
		if (!is_digit(item->key[i]))
			return false;
		value = value * 10 + (unsigned)(item->key[i] - '0');
	}
	if (value > max)
		return false;
	*index = value;
	return true;
}

static void drop(struct pveconf_pick *pick, size_t i)
{
	memmove(pick->items + i, pick->items + i + 1,
		(pick->n - i - 1) * sizeof(*pick->items));
	pick->n--;
}

static void drop_part(struct pveconf_pick *pick, enum pveconf_part part)
{
	size_t kept = 0;

	for (size_t i = 0; i < pick->n; i++)
		if (pick->items[i].part != part)
			pick->items[kept++] = pick->items[i];
	pick->n = kept;
}

/* part is the setting's place; PVECONF_IGNORED looks in all of them. */
static size_t find_key(const struct pveconf_pick *pick, const char *key, size_t len,
		       enum pveconf_part part)
{
	size_t i = 0;

	while (i < pick->n
	       && (pick->items[i].what != PVECONF_SETTING || pick->items[i].key_len != len
		   || memcmp(pick->items[i].key, key, len) != 0
		   || (part != PVECONF_IGNORED && pick->items[i].part != part)))
		i++;
	return i;
}

static void add(struct pveconf_pick *pick, const struct pveconf_item *item)
{
	size_t i = pick->n;

	if (item->what == PVECONF_SETTING)
		i = find_key(pick, item->key, item->key_len, item->part);
	if (i == pick->n) {
		pick->items =
			xgrow(pick->items, pick->n, &pick->room, sizeof(*pick->items));
		pick->n++;
	}
	pick->items[i] = *item;
}

/* Pending values go over the main ones, then the deletions are made. */
static void apply_pending(struct pveconf_pick *pick, const char *deletions, size_t len)
{
	for (size_t i = 0; i < pick->n; ) {
		const struct pveconf_item *at = &pick->items[i];

		if (at->part == PVECONF_MAIN && at->what == PVECONF_SETTING
		    && find_key(pick, at->key, at->key_len, PVECONF_PENDING) < pick->n)
			drop(pick, i);
		else
			i++;
	}
	while (len > 0) {
		size_t n = 0, i;

		while (n < len && !is_blank(deletions[n]) && deletions[n] != ','
		       && deletions[n] != ';')
			n++;
		if (n > 0) {
			bool force = deletions[0] == '!';

			i = find_key(pick, deletions + force, n - force, PVECONF_IGNORED);
			if (i < pick->n)
				drop(pick, i);
		}
		n += n < len;
		deletions += n;
		len -= n;
	}
}

static bool is_chosen(const struct pveconf_item *item, enum pveconf_choice choice,
		      const char *name)
{
	switch (choice) {
	case PVECONF_CURRENT:
		return item->part == PVECONF_MAIN;
	case PVECONF_NEXT_START:
		return item->part == PVECONF_MAIN || item->part == PVECONF_PENDING;
	case PVECONF_PENDING_ONLY:
		return item->part == PVECONF_PENDING;
	case PVECONF_OF_SNAPSHOT:
		return item->part == PVECONF_SNAPSHOT && strlen(name) == item->section_len
		       && memcmp(item->section, name, item->section_len) == 0;
	}
	return false;
}

void pveconf_pick(struct pveconf_pick *pick, enum pveconf_rules rules,
		  const char *text, size_t len,
		  enum pveconf_choice choice, const char *name,
		  bool (*keep)(const struct pveconf_item *item, void *arg), void *arg)
{
	const char *deletions = NULL;
	size_t deletions_len = 0;
	struct pveconf_item item;
	struct pveconf_scan scan;

	pick->n = 0;
	pick->found = choice == PVECONF_CURRENT || choice == PVECONF_NEXT_START;
	pveconf_start(&scan, rules, text, len);
	while (pveconf_next(&scan, &item)) {
		/* nothing of the main section comes after a header */
		if (choice == PVECONF_CURRENT && item.what == PVECONF_HEADER)
			return;
		if (!is_chosen(&item, choice, name))
			continue;
		if (item.what == PVECONF_HEADER) {
			pick->found = true;
			drop_part(pick, item.part);
			deletions_len = 0;
		} else if (item.what == PVECONF_DELETE) {
			deletions = item.value;
			deletions_len = item.value_len;
		} else if (keep(&item, arg)) {
			add(pick, &item);
		}
	}
	if (choice == PVECONF_NEXT_START)
		apply_pending(pick, deletions, deletions_len);
}
