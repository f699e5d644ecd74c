/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the ctconf modules: a change in the making. Nobody else includes it. */
#ifndef PVE_CTCONF_CHANGE_H
#define PVE_CTCONF_CHANGE_H

#include "pve/ctconf-line.h"

struct ctconf_mark {			/* what becomes of a line */
	bool drop;
	char *value;		/* owned; a devN's new value; NULL: as it is */
};

struct ctconf_added {
	char *text;		/* owned; without line end */
	bool is_dev;
};

struct ctconf_change {
	struct ctconf_lines lines;
	struct ctconf_mark *marks;	/* one per line */
	enum ctconf_style style;
	const struct ctconf_want *wants;
	size_t n_wants;
	bool *met;		/* per want: some line gives it */
	bool used[CTCONF_DEV_MAX];	/* indexes that any line has */
	struct ctconf_added *added;
	size_t n_added, room;
	struct ctconf_edit *edit;
};

/* Which own devN lines stay, change or go; which wants are met. Before all else. */
void ctconf_judge_devs(struct ctconf_change *c);
/* Which own raw lines stay or go. */
void ctconf_judge_raw(struct ctconf_change *c);
/* Lines for what is not met. 0 or -ENOSPC. */
int ctconf_add_devs(struct ctconf_change *c);
void ctconf_add_mounts(struct ctconf_change *c);

#endif
