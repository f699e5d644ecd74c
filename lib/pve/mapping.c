/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/mapping.h"
#include "pve/propstr.h"
#include "pve/pveconf.h"

#define BLANKS " \t\v\f\r"

static bool is_hex(char c, bool any_case)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')
	       || (any_case && c >= 'A' && c <= 'F');
}

static size_t hex_run(const char *s, bool any_case)
{
	size_t n = 0;

	while (is_hex(s[n], any_case))
		n++;
	return n;
}

static const char *check_node(const char *value)
{
	size_t n = 0;

	while (isalnum((unsigned char)value[n]) || (n > 0 && value[n] == '-'))
		n++;
	return value[n] || value[n - 1] == '-' ? "is no node name" : NULL;
}

static const char *check_id(const char *value)
{
	if (hex_run(value, true) == 4 && value[4] == ':' && hex_run(value + 5, true) == 4
	    && value[9] == '\0')
		return NULL;
	return "is not VVVV:DDDD";
}

/* DDDD:BB:DD with or without .F; PVE takes any character for the dot. */
static const char *path_end(const char *p)
{
	size_t n = hex_run(p, false);

	if (n < 4 || p[n] != ':')
		return NULL;
	p += n + 1;
	if (hex_run(p, false) != 2 || p[2] != ':' || hex_run(p + 3, false) < 2)
		return NULL;
	p += 5;
	if (*p && *p != ';' && is_hex(p[1], false))
		p += 2;
	return p;
}

static const char *check_path(const char *value)
{
	const char *p = value;

	while ((p = path_end(p)) && *p == ';')
		p++;
	return p && *p == '\0' ? NULL : "is not DDDD:BB:DD[.F]";
}

static const char *check_int(const char *value)
{
	if (*value == '-' || *value == '+')
		value++;
	return *value && value[strspn(value, "0123456789")] == '\0'
		       ? NULL
		       : "is no whole number";
}

enum map_key { NODE, ID, SUBSYSTEM_ID, PATH, IOMMUGROUP, DESCRIPTION };

static const struct propstr_key map_keys[] = {
	[NODE] = { "node", check_node, true },
	[ID] = { "id", check_id, true },
	[SUBSYSTEM_ID] = { "subsystem-id", check_id, false },
	[PATH] = { "path", check_path, true },
	[IOMMUGROUP] = { "iommugroup", check_int, false },
	[DESCRIPTION] = { "description", NULL, false },
};

static const struct propstr_schema map_schema = { map_keys, ARRAY_SIZE(map_keys), -1 };

struct reader {
	struct mappings *m;
	size_t room, map_room;
	struct mapping *at;	/* the section; NULL outside, or when it is skipped */
	bool inside;
	bool has_mdev, has_description, has_live;
	unsigned long line;
	void (*bad)(unsigned long line, const char *why, void *arg);
	void *arg;
};

static void complain(struct reader *r, char *why)
{
	r->bad(r->line, why, r->arg);
	free(why);
}

static void add_map(struct reader *r, const char *value)
{
	const char *values[ARRAY_SIZE(map_keys)];
	struct mapping *m = r->at;
	struct mapping_map map;
	char *why;

	map.text = xstrdup(value);
	if (!propstr_parse(&map_schema, map.text, strlen(value), values, &why)) {
		free(map.text);
		complain(r, xasprintf("%.80s: map: %s", m->id, why));
		free(why);
		return;
	}
	map.line = r->line;
	map.node = values[NODE];
	map.path = values[PATH];
	map.id = values[ID];
	map.subsystem_id = values[SUBSYSTEM_ID];
	map.iommugroup = values[IOMMUGROUP];
	m->maps = xgrow(m->maps, m->n, &r->map_room, sizeof(*m->maps));
	m->maps[m->n++] = map;
}

/* A scalar's first good value counts; false when this one does not. */
static bool take_scalar(struct reader *r, const char *key, const char *value,
			bool is_bool, bool *seen)
{
	const char *wrong = is_bool && value ? propstr_check_bool(value) : NULL;

	if (*seen) {
		complain(r, xasprintf("%.80s: duplicate attribute '%s'", r->at->id, key));
		return false;
	}
	if (wrong) {
		complain(r, xasprintf("%.80s: %s: '%.80s' %s", r->at->id, key, value,
				      wrong));
		return false;
	}
	*seen = true;
	return true;
}

/* "<blanks>key[<blanks>value]" */
static void take_attribute(struct reader *r, char *line)
{
	char *key = line + strspn(line, BLANKS), *value = NULL;
	size_t n = strcspn(key, BLANKS), end = strlen(key);

	if (key == line || n == 0) {
		complain(r,
			 xasprintf("not an indented attribute, ignored: '%.80s'%s", line,
				   key == line ? " (a section ends at an empty line only)"
					       : ""));
		return;
	}
	while (end > n && strchr(BLANKS, key[end - 1]))
		end--;
	key[end] = '\0';
	if (key[n]) {
		key[n] = '\0';
		value = key + n + 1 + strspn(key + n + 1, BLANKS);
	}
	if (value && strchr(value, '\r'))
		complain(r, xasprintf("%.80s: %s: contains a line feed", r->at->id, key));
	else if (strcmp(key, "map") == 0 && value)
		add_map(r, value);
	else if (strcmp(key, "mdev") == 0
		 && take_scalar(r, key, value, true, &r->has_mdev))
		/* PVE takes "yes" and "on" for good, and then their number, which is 0 */
		r->at->mdev = !value || strcmp(value, "1") == 0;
	else if (strcmp(key, "description") == 0 && value)
		take_scalar(r, key, value, false, &r->has_description);
	else if (strcmp(key, "live-migration-capable") == 0)
		take_scalar(r, key, value, true, &r->has_live);
	else if (strcmp(key, "mdev") != 0)
		complain(r, xasprintf("%.80s: unexpected or empty property '%.80s'",
				      r->at->id, key));
}

static void take_header(struct reader *r, char *line)
{
	size_t n = strcspn(line, BLANKS);

	if (n == 0 || line[n + strspn(line + n, BLANKS)]) {
		complain(r, xasprintf("no section header, ignored: '%.80s'", line));
		return;
	}
	line[n] = '\0';
	r->inside = true;
	r->at = NULL;
	if (!pveconf_is_config_id(line, n)) {
		complain(r, xasprintf("invalid configuration ID '%.80s', section skipped",
				      line));
		return;
	}
	r->m->list = xgrow(r->m->list, r->m->n, &r->room, sizeof(*r->m->list));
	r->at = &r->m->list[r->m->n++];
	*r->at = (struct mapping){ .id = xstrdup(line) };
	r->map_room = 0;
	r->has_mdev = r->has_description = r->has_live = false;
}

void mappings_parse(struct mappings *m, char *text, size_t len,
		    void (*bad)(unsigned long line, const char *why, void *arg),
		    void *arg)
{
	struct reader r = { .m = m, .bad = bad, .arg = arg };
	char *end = text + len;

	*m = (struct mappings){ 0 };
	for (char *line = text, *next; line < end; line = next) {
		char *lf = memchr(line, '\n', (size_t)(end - line));

		r.line++;
		next = lf ? lf + 1 : end;
		if (lf)
			*lf = '\0';
		if (strlen(line) != (size_t)((lf ? lf : end) - line))
			complain(&r, xstrdup("NUL byte, line ignored"));
		else if (line[strspn(line, BLANKS)] == '#')
			continue;
		else if (*line == '\0')
			r.inside = false;
		else if (!r.inside)
			take_header(&r, line);
		else if (r.at)
			take_attribute(&r, line);
	}
}

int mappings_read(struct mappings *m,
		  void (*bad)(unsigned long line, const char *why, void *arg), void *arg)
{
	_cleanup_free_ char *path = root_path("/etc/pve/mapping/pci.cfg");
	struct readfile buf = { 0 };
	int rc = readfile_at(AT_FDCWD, path, PVECONF_MAX, &buf);

	*m = (struct mappings){ 0 };
	if (rc == 0 && buf.len > 0)
		mappings_parse(m, buf.data, buf.len, bad, arg);
	free(buf.data);
	return rc == -ENOENT ? 0 : rc;
}

void mappings_done(struct mappings *m)
{
	for (size_t i = 0; i < m->n; i++) {
		for (size_t j = 0; j < m->list[i].n; j++)
			free(m->list[i].maps[j].text);
		free(m->list[i].maps);
		free(m->list[i].id);
	}
	free(m->list);
	*m = (struct mappings){ 0 };
}

const struct mapping *mappings_find(const struct mappings *m, const char *id)
{
	for (size_t i = m->n; i-- > 0; )
		if (strcmp(m->list[i].id, id) == 0)
			return &m->list[i];
	return NULL;
}

/*
 * Equal once every "0x" is taken out of what was configured, as PVE does; have may be
 * NULL.
 */
static bool is_same(const char *configured, const char *have)
{
	if (!configured || !have)
		return !configured && !have;
	for (;;) {
		while (strncmp(configured, "0x", 2) == 0)
			configured += 2;
		if (*configured != *have)
			return false;
		if (*have == '\0')
			return true;
		configured++;
		have++;
	}
}

const char *mapping_mismatch(const struct mapping *m, const struct mapping_map *map,
			     const struct pcidev *dev, bool has_subsystem_id,
			     bool is_first)
{
	char id[sizeof("ffff:ffff")], subsystem[sizeof("ffff:ffff")], group[12];

	snprintf(id, sizeof(id), "%04x:%04x", dev->vendor, dev->device);
	snprintf(subsystem, sizeof(subsystem), "%04x:%04x", dev->subvendor,
		 dev->subdevice);
	snprintf(group, sizeof(group), "%d", dev->iommu_group);
	if (!is_same(map->id, id))
		return "id";
	if (is_first && !is_same(map->iommugroup, dev->iommu_group < 0 ? NULL : group))
		return "iommugroup";
	if (m->mdev != dev->has_mdev)
		return "mdev";
	if (!is_same(map->subsystem_id, has_subsystem_id ? subsystem : NULL))
		return "subsystem-id";
	return NULL;
}
