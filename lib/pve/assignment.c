/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/msg.h"
#include "base/xalloc.h"
#include "pve/assignment.h"

enum field { GUEST, KEY, ALT, ADDR, MDEV_TYPE, MAPPING, STATE, NODE, STATUS, HELD };

const struct record_field assignment_fields[ASSIGNMENT_FIELDS] = {
	[GUEST] = { "guest", RECORD_STRING },
	[KEY] = { "key", RECORD_STRING },
	[ALT] = { "alt", RECORD_NUMBER },
	[ADDR] = { "addr", RECORD_STRING },
	[MDEV_TYPE] = { "mdev_type", RECORD_STRING },
	[MAPPING] = { "mapping", RECORD_STRING },
	[STATE] = { "state", RECORD_STRING },
	[NODE] = { "node", RECORD_STRING },
	[STATUS] = { "status", RECORD_STRING },
	[HELD] = { "held", RECORD_STRING },
};

static const char *const state_names[] = {
	[ASSIGNMENT_ELSEWHERE] = NULL,
	[ASSIGNMENT_RUNNING] = "running",
	[ASSIGNMENT_STOPPED] = "stopped",
};

const char *assignment_addr(const struct assignment *a, char buf[PCIADDR_STRLEN])
{
	pciaddr_format(&a->addr, buf);
	if (a->is_slot)
		*strrchr(buf, '.') = '\0';
	return buf;
}

void assignment_put(struct record_writer *w, const struct assignment *a)
{
	char guest[GUEST_STRLEN], alt[sizeof("-2147483648")], addr[PCIADDR_STRLEN];
	const char *values[ASSIGNMENT_FIELDS];

	snprintf(alt, sizeof(alt), "%d", a->alt);
	values[GUEST] = guest_format(a->guest, guest);
	values[KEY] = a->key;
	values[ALT] = alt;
	values[ADDR] = a->has_addr ? assignment_addr(a, addr) : NULL;
	values[MDEV_TYPE] = a->mdev_type;
	values[MAPPING] = a->mapping;
	values[STATE] = state_names[a->state];
	values[NODE] = a->node;
	values[STATUS] = a->status;
	values[HELD] = a->held;
	record_put(w, values);
}

void assignment_done(struct assignment *a)
{
	free(a->key);
	free(a->mdev_type);
	free(a->mapping);
	free(a->node);
	free(a->status);
	free(a->held);
	*a = (struct assignment){ 0 };
}

void assignments_free(struct assignment *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assignment_done(&a[i]);
	free(a);
}

static bool parse_addr(const char *text, struct assignment *a)
{
	if (!text)
		return true;
	a->has_addr = true;
	if (pciaddr_parse(text, &a->addr))
		return true;
	a->is_slot = pciaddr_parse_slot(text, &a->addr);
	return a->is_slot;
}

static bool parse_alt(const char *text, int *alt)
{
	char *end;
	long value;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || *end || value > 65535)
		return false;
	*alt = (int)value;
	return true;
}

static bool parse_state(const char *text, enum assignment_state *state)
{
	if (!text)
		*state = ASSIGNMENT_ELSEWHERE;
	else if (strcmp(text, "running") == 0)
		*state = ASSIGNMENT_RUNNING;
	else if (strcmp(text, "stopped") == 0)
		*state = ASSIGNMENT_STOPPED;
	else
		return false;
	return true;
}

/* An empty field says as little as "-". */
static char *copy(const char *s)
{
	return s && *s ? xstrdup(s) : NULL;
}

/* Name of the field that is wrong, NULL when the record is taken. */
static const char *parse(char *const *values, size_t n, struct assignment *a)
{
	*a = (struct assignment){ 0 };
	if (n < ASSIGNMENT_FIELDS)
		return "fields: too few";
	if (!values[GUEST] || !guest_parse(values[GUEST], &a->guest))
		return "guest";
	if (!values[KEY] || !*values[KEY])
		return "key";
	if (!parse_alt(values[ALT], &a->alt))
		return "alt";
	if (!parse_addr(values[ADDR], a))
		return "addr";
	if (!parse_state(values[STATE], &a->state))
		return "state";
	a->key = xstrdup(values[KEY]);
	a->mdev_type = copy(values[MDEV_TYPE]);
	a->mapping = copy(values[MAPPING]);
	a->node = copy(values[NODE]);
	a->status = copy(values[STATUS]);
	a->held = copy(values[HELD]);
	return NULL;
}

int assignments_read(FILE *in, const char *name, bool null, struct assignment **a,
		     size_t *n)
{
	struct record_reader reader = { .in = in, .null = null };
	struct assignment *list = NULL;
	size_t used = 0, room = 0;
	int rc, bad = 0;

	while ((rc = record_get(&reader)) != 0) {
		const char *wrong = "escape";

		/* a bad escape is one line's fault, anything else the end */
		if (rc < 0 && rc != -EBADMSG)
			break;
		list = xgrow(list, used, &room, sizeof(*list));
		if (rc > 0)
			wrong = parse(reader.values, reader.n, &list[used]);
		if (!wrong) {
			used++;
			continue;
		}
		say("%s:%lu: no assignment record (%s)", name, reader.line, wrong);
		bad = -EBADMSG;
	}
	record_reader_done(&reader);
	*a = list;
	*n = used;
	return rc < 0 ? rc : bad;
}

struct array {
	struct assignment *list;
	size_t n, room;
};

static void keep(const struct assignment *a, void *arg)
{
	struct array *all = arg;
	struct assignment copied = *a;

	copied.key = xstrdup(a->key);
	copied.mdev_type = copy(a->mdev_type);
	copied.mapping = copy(a->mapping);
	copied.node = copy(a->node);
	copied.status = copy(a->status);
	copied.held = copy(a->held);
	all->list = xgrow(all->list, all->n, &all->room, sizeof(copied));
	all->list[all->n++] = copied;
}

int assignments_load(struct assignment **a, size_t *n)
{
	struct array all = { 0 };
	const struct assignment_query query = { .silent = true };
	int vms, containers;

	vms = assignments_qemu(&query, keep, &all);
	containers = assignments_lxc(&query, keep, &all);
	*a = all.list;
	*n = all.n;
	/* what could not be understood is no reason to hide the rest */
	if (vms < 0 && vms != -EBADMSG)
		return vms;
	if (containers < 0 && containers != -EBADMSG)
		return containers;
	return vms < 0 ? vms : containers;
}
