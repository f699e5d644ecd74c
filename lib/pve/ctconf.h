/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GPU lines in a container's config, changed as text: PVE's own form "devN: PATH,…" and
 * LXC's "lxc.mount.entry" with "lxc.cgroup2.devices.allow". Nothing here reads or writes
 * a file. Source: pve-container, LXC/Config.pm; lxc.container.conf(5).
 *
 * Own lines are told by their content, since PVE moves comments to the top and raw lines
 * to the end whenever it writes the file. In the main section these are own lines:
 *   devN: PATH[,gid=G],mode=0MMM
 *	with a GPU's node as PATH; any other option, or no mode, makes it somebody else's
 *   lxc.mount.entry: PATH DEST none bind,optional,create=file 0 0	(or create=dir)
 *	with a GPU's node as PATH, and one without the first '/' as DEST
 *   lxc.cgroup2.devices.allow: c MAJOR:MINOR wr
 *	"wr", not "rw": LXC takes both, and this tells our rule, whose major may be one of
 *	an older boot, from everybody else's
 * Also dev lines of [pve:pending], which are removed but never added there.
 */
#ifndef PVE_CTCONF_H
#define PVE_CTCONF_H

#include <stdbool.h>
#include <stddef.h>

enum ctconf_style {
	CTCONF_DEV,		/* devN */
	CTCONF_MOUNT,		/* lxc.mount.entry and lxc.cgroup2.devices.allow */
};

struct ctconf_want {		/* one node that the container is to have */
	const char *path;	/* on the host: "/dev/nvidia0" */
	const char *dest;	/* in the container, absolute; NULL: the same; MOUNT only */
	bool is_dir;		/* a folder of nodes: MOUNT only; nodes below need no entry */
	bool has_number;	/* else no cgroup rule: folders */
	unsigned major, minor;
	int gid;		/* of the container; -1: none; DEV only */
	unsigned mode;		/* 0666, 0660; DEV only */
};

struct ctconf_dev {		/* one change of a devN */
	unsigned index;		/* 0..255 */
	char *value;		/* owned; "/dev/nvidia0,mode=0666"; NULL: delete it */
};

struct ctconf_edit {
	char *text;		/* owned; the whole file with every change made, NUL-terminated */
	size_t len;
	char *raw;		/* owned; only raw lines changed: devN is left to "pct set" */
	size_t raw_len;
	struct ctconf_dev *devs;	/* owned; what "pct set" is to do, by index */
	size_t n_devs;
	bool raw_changed;	/* raw is not the old text */
	bool raw_adds;		/* and gains lines */
};

/*
 * Make the own lines exactly those that give these nodes; n = 0 takes all away.
 *
 * Lines that are right already stay where they are; new ones go to the end of the main
 * section, before the first header, with the line end of the file's first line; all
 * other bytes stay. Applied twice it changes nothing the second time, and n = 0 gives
 * back the bytes from before the first. A node that somebody else's line gives already
 * gets none of ours: a second devN of one path would keep the container from starting.
 * Where a pending change (of a running container) does what is wanted, devs has nothing.
 *
 * Returns 0, or -ENOSPC when dev0 to dev255 are taken, -EFBIG when the text would exceed
 * PVECONF_MAX. Untouched on failure, else ctconf_edit_done().
 */
int ctconf_change(const char *text, size_t len, enum ctconf_style style,
		  const struct ctconf_want *wants, size_t n, struct ctconf_edit *edit);
void ctconf_edit_done(struct ctconf_edit *edit);

/* Is this line, with or without its line end, an own one by its content? */
bool ctconf_is_own(const char *line, size_t len);

/* What the config says apart from GPUs. */
struct ctconf_facts {
	char *lock;		/* owned; lock: of the main section, NULL without */
	bool unprivileged;
	char *rootfs;		/* owned; volume of rootfs: without its options, NULL without */
};

void ctconf_facts(const char *text, size_t len, struct ctconf_facts *facts);
void ctconf_facts_done(struct ctconf_facts *facts);

#endif
