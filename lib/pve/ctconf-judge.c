/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/ctconf-change.h"

static void add_line(struct ctconf_change *c, char *text, bool is_dev)
{
	c->added = xgrow(c->added, c->n_added, &c->room, sizeof(*c->added));
	c->added[c->n_added++] = (struct ctconf_added){ text, is_dev };
}

static void add_dev(struct ctconf_change *c, unsigned index, const char *value)
{
	struct ctconf_edit *e = c->edit;
	size_t i = e->n_devs;

	e->devs = xreallocarray(e->devs, e->n_devs + 1, sizeof(*e->devs));
	for (; i > 0 && e->devs[i - 1].index > index; i--)
		e->devs[i] = e->devs[i - 1];
	e->devs[i] = (struct ctconf_dev){ index, value ? xstrdup(value) : NULL };
	e->n_devs++;
}

/* ---- devN ---- */

static char *dev_value(const struct ctconf_want *w)
{
	if (w->gid < 0)
		return xasprintf("%s,mode=0%03o", w->path, w->mode & 0777);
	return xasprintf("%s,gid=%d,mode=0%03o", w->path, w->gid, w->mode & 0777);
}

/* Has it got a line already that no change is needed for? */
static bool is_foreign_dev(const struct ctconf_change *c, const char *path)
{
	for (size_t i = 0; i < c->lines.n; i++) {
		const struct ctconf_line *line = &c->lines.l[i];

		if (line->kind == CTCONF_IS_DEV && line->in_force && !line->own
		    && line->path && strcmp(line->path, path) == 0)
			return true;
	}
	return false;
}

/* The want that this own devN is for; SIZE_MAX: none, or it has one already. */
static size_t want_of_dev(const struct ctconf_change *c, const struct ctconf_line *line)
{
	for (size_t i = 0; c->style == CTCONF_DEV && i < c->n_wants; i++)
		if (!c->met[i] && !c->wants[i].is_dir
		    && strcmp(c->wants[i].path, line->path) == 0)
			return i;
	return SIZE_MAX;
}

static void judge_dev(struct ctconf_change *c, size_t at)
{
	const struct ctconf_line *line = &c->lines.l[at];
	size_t i = want_of_dev(c, line);
	const struct ctconf_want *w;

	if (i == SIZE_MAX) {
		c->marks[at].drop = true;
		add_dev(c, line->index, NULL);
		return;
	}
	w = &c->wants[i];
	c->met[i] = true;
	if (line->gid == w->gid && line->mode == w->mode)
		return;
	c->marks[at].value = dev_value(w);
	add_dev(c, line->index, c->marks[at].value);
}

static bool is_dropped(const struct ctconf_change *c, unsigned index)
{
	for (size_t i = 0; i < c->lines.n; i++)
		if (c->lines.l[i].kind == CTCONF_IS_DEV && c->lines.l[i].in_force
		    && c->lines.l[i].index == index)
			return c->marks[i].drop;
	return false;
}

/*
 * Own lines that another one of their index stands before: they would come into force
 * with that one's end, so they go with it. Those that a pending change will replace
 * stay until it does.
 */
static void judge_hidden(struct ctconf_change *c, size_t at)
{
	const struct ctconf_line *line = &c->lines.l[at];

	for (size_t i = 0; c->n_wants && i < c->lines.n; i++) {
		const struct ctconf_line *other = &c->lines.l[i];

		if (other->kind == CTCONF_IS_DEV && other->index == line->index
		    && other->in_force && other->pending != line->pending)
			c->marks[at].drop = c->marks[i].drop;
		else if (other->kind == CTCONF_IS_DEV && other->index == line->index
			 && other->in_force)
			c->marks[at].drop = true;
	}
	if (c->n_wants == 0)
		c->marks[at].drop = true;
}

void ctconf_judge_devs(struct ctconf_change *c)
{
	memcpy(c->used, c->lines.deleted, sizeof(c->used));
	for (size_t i = 0; i < c->n_wants; i++)
		c->met[i] = is_foreign_dev(c, c->wants[i].path);
	for (size_t i = 0; i < c->lines.n; i++) {
		const struct ctconf_line *line = &c->lines.l[i];

		if (line->kind != CTCONF_IS_DEV)
			continue;
		c->used[line->index] = true;
		if (line->own && line->in_force)
			judge_dev(c, i);
	}
	for (size_t i = 0; i < c->lines.n; i++)
		if (c->lines.l[i].kind == CTCONF_IS_DEV && c->lines.l[i].own
		    && !c->lines.l[i].in_force)
			judge_hidden(c, i);
}

/* With no index left, an own line that was to go is taken for the new node. */
static bool reuse_dev(struct ctconf_change *c, char *value)
{
	for (size_t i = 0; i < c->edit->n_devs; i++) {
		struct ctconf_dev *dev = &c->edit->devs[i];

		if (dev->value || !is_dropped(c, dev->index))
			continue;
		dev->value = xstrdup(value);
		for (size_t k = 0; k < c->lines.n; k++)
			if (c->lines.l[k].kind == CTCONF_IS_DEV && c->lines.l[k].in_force
			    && c->lines.l[k].index == dev->index) {
				c->marks[k].drop = false;
				c->marks[k].value = value;
			}
		return true;
	}
	return false;
}

int ctconf_add_devs(struct ctconf_change *c)
{
	unsigned index = 0;

	for (size_t i = 0; i < c->n_wants; i++) {
		_cleanup_free_ char *value = NULL;

		if (c->met[i] || c->wants[i].is_dir)
			continue;
		value = dev_value(&c->wants[i]);
		while (index < CTCONF_DEV_MAX && c->used[index])
			index++;
		if (index < CTCONF_DEV_MAX) {
			add_dev(c, index, value);
			add_line(c, xasprintf("dev%u: %s", index, value), true);
			c->used[index] = true;
		} else if (reuse_dev(c, value)) {
			(void)TAKE_PTR(value);
		} else {
			return -ENOSPC;
		}
	}
	return 0;
}

/* ---- raw lines ---- */

static const char *dest_of(const struct ctconf_want *w)
{
	return (w->dest ? w->dest : w->path) + 1;
}

/* A node in a folder that is wanted too comes with the folder. */
static bool is_in_folder(const struct ctconf_change *c, const struct ctconf_want *w)
{
	for (size_t i = 0; i < c->n_wants; i++) {
		size_t len = strlen(c->wants[i].path);

		if (c->wants[i].is_dir && strncmp(w->path, c->wants[i].path, len) == 0
		    && w->path[len] == '/')
			return true;
	}
	return false;
}

static bool is_mount_of(const struct ctconf_line *line, const struct ctconf_want *w)
{
	return line->kind == CTCONF_IS_MOUNT && line->path
	       && strcmp(line->path, w->path) == 0 && strcmp(line->dest, dest_of(w)) == 0
	       && (!line->own || line->is_dir == w->is_dir);
}

static bool is_rule_of(const struct ctconf_line *line, const struct ctconf_want *w)
{
	if (line->kind != CTCONF_IS_RULE || !w->has_number || !line->reads_writes)
		return false;
	return (line->major == -1 || line->major == (int)w->major)
	       && (line->minor == -1 || line->minor == (int)w->minor);
}

typedef bool is_line_of(const struct ctconf_line *line, const struct ctconf_want *w);

/* Some line that stays; earlier than line "before". */
static bool is_given(const struct ctconf_change *c, is_line_of *is, size_t before,
		     bool own, const struct ctconf_want *w)
{
	for (size_t i = 0; i < before; i++)
		if (c->lines.l[i].own == own && !c->marks[i].drop
		    && is(&c->lines.l[i], w))
			return true;
	return false;
}

/* The first own line of a want stays, others go. */
static void judge_line(struct ctconf_change *c, size_t at)
{
	const struct ctconf_line *line = &c->lines.l[at];
	is_line_of *is = line->kind == CTCONF_IS_MOUNT ? is_mount_of : is_rule_of;

	c->marks[at].drop = true;
	for (size_t i = 0; c->style == CTCONF_MOUNT && i < c->n_wants; i++) {
		const struct ctconf_want *w = &c->wants[i];

		if (c->met[i] || !is(line, w) || is_given(c, is, at, true, w)
		    || (line->kind == CTCONF_IS_MOUNT && is_in_folder(c, w)))
			continue;
		c->marks[at].drop = false;
		return;
	}
}

void ctconf_judge_raw(struct ctconf_change *c)
{
	for (size_t i = 0; i < c->lines.n; i++)
		if (c->lines.l[i].own && c->lines.l[i].kind != CTCONF_IS_DEV)
			judge_line(c, i);
}

/* Is the same line among those added already: two wants of one number. */
static bool is_added(const struct ctconf_change *c, const char *text)
{
	for (size_t i = 0; i < c->n_added; i++)
		if (strcmp(c->added[i].text, text) == 0)
			return true;
	return false;
}

static void add_raw(struct ctconf_change *c, char *text)
{
	if (is_added(c, text)) {
		free(text);
		return;
	}
	add_line(c, text, false);
	c->edit->raw_adds = true;
}

void ctconf_add_mounts(struct ctconf_change *c)
{
	size_t n = c->lines.n;

	for (size_t i = 0; i < c->n_wants; i++) {
		const struct ctconf_want *w = &c->wants[i];

		if (c->met[i])
			continue;
		if (!is_in_folder(c, w) && !is_given(c, is_mount_of, n, true, w)
		    && !is_given(c, is_mount_of, n, false, w))
			add_raw(c, xasprintf("lxc.mount.entry: %s %s none "
					     "bind,optional,create=%s 0 0", w->path,
					     dest_of(w), w->is_dir ? "dir" : "file"));
		if (w->has_number && !is_given(c, is_rule_of, n, true, w)
		    && !is_given(c, is_rule_of, n, false, w))
			add_raw(c, xasprintf("lxc.cgroup2.devices.allow: c %u:%u wr",
					     w->major, w->minor));
	}
}
