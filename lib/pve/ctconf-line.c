/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/ctconf-line.h"

static const char mount_key[] = "lxc.mount.entry";
static const char rule_key[] = "lxc.cgroup2.devices.allow";

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* A node, or folder of nodes, that this suite gives to containers. */
static bool is_gpu_path(const char *path)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/:._-";

	if (path[strspn(path, chars)] != '\0' || strstr(path, "/.") || strstr(path, "//"))
		return false;
	return (starts(path, "/dev/nvidia") && path[11] != '/')
	       || (starts(path, "/dev/dri/") && path[9]) || strcmp(path, "/dev/kfd") == 0;
}

/* A decimal number of up to six digits: its value, and *text behind it; -1 else. */
static int take_number(const char **text)
{
	const char *p = *text;
	int value = 0;

	for (; isdigit((unsigned char)*p) && p - *text < 6; p++)
		value = value * 10 + (*p - '0');
	if (p == *text || isdigit((unsigned char)*p))
		return -1;
	*text = p;
	return value;
}

/* ---- devN ---- */

static bool take_mode(const char *text, unsigned *mode)
{
	if (*text != '0' || strlen(text) != 4 || strspn(text, "01234567") != 4)
		return false;
	*mode = (unsigned)strtoul(text, NULL, 8);
	return true;
}

static bool take_gid(const char *text, int *gid)
{
	const char *end = text;

	/* beyond six digits lies nothing that a container maps */
	*gid = take_number(&end);
	return *gid >= 0 && *end == '\0';
}

/* "PATH,gid=G,mode=0666", in any order; what is more makes it somebody else's. */
static void parse_dev(char *value, struct ctconf_line *line)
{
	bool ours = true, has_mode = false;
	char *part, *rest = value;

	line->gid = -1;
	while ((part = strsep(&rest, ","))) {
		if (starts(part, "path=") || (part == value && !strchr(part, '='))) {
			ours = ours && !line->path;
			free(line->path);
			line->path = xstrdup(part + (starts(part, "path=") ? 5 : 0));
		} else if (starts(part, "mode=") && !has_mode) {
			has_mode = true;
			ours = take_mode(part + 5, &line->mode) && ours;
		} else if (starts(part, "gid=") && line->gid < 0) {
			ours = take_gid(part + 4, &line->gid) && ours;
		} else {
			ours = false;
		}
	}
	line->own = ours && has_mode && line->path && is_gpu_path(line->path);
}

/* ---- raw lines ---- */

static void parse_mount(char *value, struct ctconf_line *line)
{
	char *rest = value, *src = strsep(&rest, " \t"), *dest;

	while (rest && (*rest == ' ' || *rest == '\t'))
		rest++;
	dest = strsep(&rest, " \t");
	if (!dest || !*dest)
		return;
	line->path = xstrdup(src);
	line->dest = xstrdup(dest);
	if (!rest || *dest == '/')
		return;
	line->is_dir = strcmp(rest, "none bind,optional,create=dir 0 0") == 0;
	if (line->is_dir || strcmp(rest, "none bind,optional,create=file 0 0") == 0) {
		_cleanup_free_ char *absolute = xasprintf("/%s", dest);

		line->own = is_gpu_path(src) && is_gpu_path(absolute);
	}
}

/* A device's number or "*"; false for what is neither. */
static bool take_device(const char **text, int *number)
{
	if (**text == '*') {
		(*text)++;
		*number = -1;
		return true;
	}
	*number = take_number(text);
	return *number >= 0;
}

static bool take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* "c MAJOR:MINOR ACCESS" as LXC takes it; "a" alone allows all. */
static void parse_rule(const char *value, struct ctconf_line *line)
{
	const char *p = value;

	line->major = line->minor = -2;		/* of no device */
	if (strcmp(value, "a") == 0) {
		line->major = line->minor = -1;
		line->reads_writes = true;
		return;
	}
	if ((*p != 'c' && *p != 'a') || p[1] != ' ')
		return;
	p += 2;
	if (!take_device(&p, &line->major) || !take_char(&p, ':')
	    || !take_device(&p, &line->minor) || !take_char(&p, ' ')) {
		line->major = line->minor = -2;
		return;
	}
	line->reads_writes = strchr(p, 'r') && strchr(p, 'w')
			     && p[strspn(p, "rwm")] == '\0';
	line->own = *value == 'c' && line->major >= 0 && line->minor >= 0
		    && strcmp(p, "wr") == 0;
}

void ctconf_line_parse(const struct pveconf_item *item, struct ctconf_line *line)
{
	_cleanup_free_ char *value = xstrndup(item->value ? item->value : "",
					      item->value_len);
	bool whole = strlen(value) == item->value_len;	/* no NUL inside */

	if (item->what == PVECONF_SETTING
	    && pveconf_key_index(item, "dev", CTCONF_DEV_MAX - 1, &line->index)) {
		line->kind = CTCONF_IS_DEV;
		line->pending = item->part == PVECONF_PENDING;
		parse_dev(value, line);
		line->own = line->own && whole;
	} else if (item->what == PVECONF_RAW && item->part == PVECONF_MAIN && whole) {
		if (pveconf_key_is(item, mount_key)) {
			line->kind = CTCONF_IS_MOUNT;
			parse_mount(value, line);
		} else if (pveconf_key_is(item, rule_key)) {
			line->kind = CTCONF_IS_RULE;
			parse_rule(value, line);
		}
	}
}

bool ctconf_is_own(const char *text, size_t len)
{
	struct ctconf_line line = { 0 };
	struct pveconf_item item;
	struct pveconf_scan scan;

	pveconf_start(&scan, PVECONF_LXC, text, len);
	if (pveconf_next(&scan, &item))
		ctconf_line_parse(&item, &line);
	free(line.path);
	free(line.dest);
	return line.own;
}

/* ---- the whole file ---- */

static bool is_blank(const struct ctconf_line *line)
{
	for (size_t i = 0; i < line->len; i++)
		if (!isspace((unsigned char)line->text[i]))
			return false;
	return true;
}

static void split(struct ctconf_lines *lines, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((lf ? lf + 1 : end) - text);

		lines->l = xgrow(lines->l, lines->n, &lines->room, sizeof(*lines->l));
		lines->l[lines->n++] = (struct ctconf_line){ .text = text, .len = n };
		text += n;
	}
}

static bool keep_devs(const struct pveconf_item *item, void *arg)
{
	unsigned index;

	(void)arg;
	return item->what == PVECONF_SETTING
	       && pveconf_key_index(item, "dev", CTCONF_DEV_MAX - 1, &index);
}

/* Of lines with the same index, and of main and pending ones, which will count? */
static void find_in_force(struct ctconf_lines *lines, const char *text, size_t len)
{
	struct pveconf_pick pick = { 0 };

	pveconf_pick(&pick, PVECONF_LXC, text, len, PVECONF_NEXT_START, NULL, keep_devs,
		     NULL);
	for (size_t i = 0; i < pick.n; i++)
		lines->l[pick.items[i].line - 1].in_force = true;
	free(pick.items);
}

/* "dev0 !dev1,mp0": what is to go at the next start, a new one of that name too. */
static void read_deletions(struct ctconf_lines *lines, const struct pveconf_item *item)
{
	static const char separators[] = " \t\v\f\r,;";
	const char *end = item->value + item->value_len;

	for (const char *p = item->value; p < end; p++) {
		struct pveconf_item key = { .key = p + (*p == '!') };
		unsigned index;

		while (p < end && !memchr(separators, *p, sizeof(separators) - 1))
			p++;
		key.key_len = p > key.key ? (size_t)(p - key.key) : 0;
		if (pveconf_key_index(&key, "dev", CTCONF_DEV_MAX - 1, &index))
			lines->deleted[index] = true;
	}
}

void ctconf_lines_read(struct ctconf_lines *lines, const char *text, size_t len)
{
	struct pveconf_item item;
	struct pveconf_scan scan;
	size_t main_end;

	*lines = (struct ctconf_lines){ 0 };
	split(lines, text, len);
	main_end = lines->n;
	pveconf_start(&scan, PVECONF_LXC, text, len);
	while (pveconf_next(&scan, &item)) {
		struct ctconf_line *line = &lines->l[item.line - 1];

		if (item.what == PVECONF_HEADER) {
			line->kind = CTCONF_HEADER;
			if (item.line - 1 < main_end)
				main_end = item.line - 1;
		} else if (item.what == PVECONF_DELETE) {
			read_deletions(lines, &item);
		} else if (item.part == PVECONF_MAIN || item.part == PVECONF_PENDING) {
			ctconf_line_parse(&item, line);
		}
	}
	find_in_force(lines, text, len);
	while (main_end > 0 && is_blank(&lines->l[main_end - 1]))
		main_end--;
	lines->end = main_end;
	if (lines->n) {
		const struct ctconf_line *first = &lines->l[0];

		lines->crlf = first->len >= 2 && first->text[first->len - 2] == '\r'
			      && first->text[first->len - 1] == '\n';
		lines->open_end = text[len - 1] != '\n';
	}
}

void ctconf_lines_done(struct ctconf_lines *lines)
{
	for (size_t i = 0; i < lines->n; i++) {
		free(lines->l[i].path);
		free(lines->l[i].dest);
	}
	free(lines->l);
	*lines = (struct ctconf_lines){ 0 };
}
