/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the ctconf modules: the lines of a container's config. Nobody else includes it.
 */
#ifndef PVE_CTCONF_LINE_H
#define PVE_CTCONF_LINE_H

#include "pve/ctconf.h"
#include "pve/pveconf.h"

enum { CTCONF_DEV_MAX = 256 };	/* dev0..dev255 */

enum ctconf_kind {
	CTCONF_OTHER,
	CTCONF_HEADER,
	CTCONF_IS_DEV,		/* devN, own or not; also in the pending section */
	CTCONF_IS_MOUNT,	/* lxc.mount.entry */
	CTCONF_IS_RULE,		/* lxc.cgroup2.devices.allow */
};

struct ctconf_line {
	const char *text;	/* with its line end; points into the file's text */
	size_t len;
	enum ctconf_kind kind;
	bool own;
	bool pending;		/* of the pending section; DEV only */
	bool in_force;		/* DEV: the one of its index that the next start will use */
	unsigned index;		/* DEV */
	char *path;		/* owned; DEV, MOUNT: on the host; NULL when it has none */
	char *dest;		/* owned; MOUNT: without '/' in front */
	bool is_dir;		/* MOUNT, own */
	int gid;		/* DEV, own; -1 */
	unsigned mode;		/* DEV, own */
	int major, minor;	/* RULE; -1 is "*" */
	bool reads_writes;	/* RULE: allows both for character devices */
};

/* Tell what the item is; line's text, len and in_force are left alone. */
void ctconf_line_parse(const struct pveconf_item *item, struct ctconf_line *line);

struct ctconf_lines {
	struct ctconf_line *l;	/* owned; every line of the file, in order */
	size_t n, room;
	size_t end;		/* where the main section's new lines go: before this line */
	bool crlf;		/* the first line ends so */
	bool open_end;		/* the last line has no LF */
	bool deleted[CTCONF_DEV_MAX];	/* devN that a pending change deletes */
};

/* Kinds are told for the main section and devN of the pending one; all else is OTHER. */
void ctconf_lines_read(struct ctconf_lines *lines, const char *text, size_t len);
void ctconf_lines_done(struct ctconf_lines *lines);

#endif
