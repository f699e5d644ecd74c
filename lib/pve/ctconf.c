/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/ctconf-change.h"
#include "pve/propstr.h"

/* ---- the new text ---- */

static void put(char **text, size_t *len, const char *more, size_t n)
{
	memcpy(*text + *len, more, n);
	*len += n;
	(*text)[*len] = '\0';
}

static void put_added(struct ctconf_change *c, bool devs, char **text, size_t *len)
{
	for (size_t i = 0; i < c->n_added; i++) {
		if (c->added[i].is_dev && !devs)
			continue;
		if (*len && (*text)[*len - 1] != '\n')
			put(text, len, "\n", 1);
		put(text, len, c->added[i].text, strlen(c->added[i].text));
		put(text, len, c->lines.crlf ? "\r\n" : "\n", c->lines.crlf ? 2 : 1);
	}
}

static const struct ctconf_mark as_it_is = { 0 };

static void put_line(struct ctconf_change *c, size_t i, bool devs, char **text,
		     size_t *len)
{
	const struct ctconf_line *line = &c->lines.l[i];
	const struct ctconf_mark *mark = &c->marks[i];
	const char *value;

	if (line->kind == CTCONF_IS_DEV && !devs)
		mark = &as_it_is;
	if (mark->drop)
		return;
	if (*len && (*text)[*len - 1] != '\n')
		put(text, len, "\n", 1);
	if (!mark->value) {
		put(text, len, line->text, line->len);
		return;
	}
	value = memchr(line->text, ':', line->len);
	put(text, len, line->text, (size_t)(value + 1 - line->text));
	put(text, len, " ", 1);
	put(text, len, mark->value, strlen(mark->value));
	if (line->len >= 2 && line->text[line->len - 2] == '\r')
		put(text, len, "\r", 1);
	put(text, len, "\n", 1);
}

static char *render(struct ctconf_change *c, bool devs, size_t *len)
{
	size_t room = 1;
	char *text;

	for (size_t i = 0; i < c->lines.n; i++)
		room += c->lines.l[i].len + 4
			+ (c->marks[i].value ? strlen(c->marks[i].value) : 0);
	for (size_t i = 0; i < c->n_added; i++)
		room += strlen(c->added[i].text) + 3;
	text = xcalloc(room, 1);
	*len = 0;
	for (size_t i = 0; i < c->lines.n; i++) {
		if (i == c->lines.end)
			put_added(c, devs, &text, len);
		put_line(c, i, devs, &text, len);
	}
	if (c->lines.end == c->lines.n)
		put_added(c, devs, &text, len);
	/* The text ends as it did: the LF that a new last line needed goes with it. */
	if (c->lines.open_end && *len && text[*len - 1] == '\n')
		text[--*len] = '\0';
	return text;
}

static void change_done(struct ctconf_change *c)
{
	for (size_t i = 0; i < c->lines.n; i++)
		free(c->marks[i].value);
	for (size_t i = 0; i < c->n_added; i++)
		free(c->added[i].text);
	free(c->added);
	free(c->marks);
	free(c->met);
	ctconf_lines_done(&c->lines);
}

int ctconf_change(const char *text, size_t len, enum ctconf_style style,
		  const struct ctconf_want *wants, size_t n, struct ctconf_edit *edit)
{
	struct ctconf_edit e = { 0 };
	struct ctconf_change c = {
		.style = style, .wants = wants, .n_wants = n, .edit = &e,
	};
	int rc = 0;

	ctconf_lines_read(&c.lines, text, len);
	c.marks = xcalloc(c.lines.n + 1, sizeof(*c.marks));
	c.met = xcalloc(n + 1, sizeof(*c.met));
	ctconf_judge_devs(&c);
	ctconf_judge_raw(&c);
	if (style == CTCONF_DEV)
		rc = ctconf_add_devs(&c);
	else
		ctconf_add_mounts(&c);
	if (rc == 0) {
		e.text = render(&c, true, &e.len);
		e.raw = render(&c, false, &e.raw_len);
		e.raw_changed = e.raw_len != len
				|| (len && memcmp(e.raw, text, len) != 0);
		rc = e.len > PVECONF_MAX ? -EFBIG : 0;
	}
	change_done(&c);
	if (rc < 0)
		ctconf_edit_done(&e);
	else
		*edit = e;
	return rc;
}

void ctconf_edit_done(struct ctconf_edit *edit)
{
	for (size_t i = 0; i < edit->n_devs; i++)
		free(edit->devs[i].value);
	free(edit->devs);
	free(edit->text);
	free(edit->raw);
	*edit = (struct ctconf_edit){ 0 };
}

/* ---- other facts ---- */

static bool keep_facts(const struct pveconf_item *item, void *arg)
{
	(void)arg;
	return item->what == PVECONF_SETTING;
}

void ctconf_facts(const char *text, size_t len, struct ctconf_facts *facts)
{
	struct pveconf_pick pick = { 0 };

	*facts = (struct ctconf_facts){ 0 };
	pveconf_pick(&pick, PVECONF_LXC, text, len, PVECONF_CURRENT, NULL, keep_facts,
		     NULL);
	for (size_t i = 0; i < pick.n; i++) {
		const struct pveconf_item *item = &pick.items[i];
		char *value = xstrndup(item->value, item->value_len);

		if (pveconf_key_is(item, "lock") && !facts->lock) {
			facts->lock = TAKE_PTR(value);
		} else if (pveconf_key_is(item, "rootfs") && !facts->rootfs) {
			value[strcspn(value, ",")] = '\0';
			facts->rootfs = TAKE_PTR(value);
		} else if (pveconf_key_is(item, "unprivileged")) {
			facts->unprivileged = propstr_is_true(value);
		}
		free(value);
	}
	free(pick.items);
}

void ctconf_facts_done(struct ctconf_facts *facts)
{
	free(facts->lock);
	free(facts->rootfs);
	*facts = (struct ctconf_facts){ 0 };
}
