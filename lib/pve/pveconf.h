/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest configs: /etc/pve/nodes/NODE/qemu-server/VMID.conf and lxc/VMID.conf.
 * Lines and sections as PVE's own two parsers take them, which differ from each
 * other. Source: qemu-server, QemuServer.pm parse_vm_config; pve-container,
 * LXC/Config.pm parse_pct_config.
 */
#ifndef PVE_PVECONF_H
#define PVE_PVECONF_H

#include <stdbool.h>
#include <stddef.h>

enum { PVECONF_MAX = 1 << 20 };		/* pmxcfs holds no longer file */

enum pveconf_rules {
	PVECONF_QEMU,
	PVECONF_LXC,
};

enum pveconf_part {
	PVECONF_MAIN,		/* before the first header: the current config */
	PVECONF_PENDING,
	PVECONF_SNAPSHOT,
	PVECONF_IGNORED,	/* VM: [special:*] and unknown sections */
};

enum pveconf_what {
	PVECONF_HEADER,		/* a section begins; it replaces an earlier one of its name */
	PVECONF_SETTING,
	PVECONF_RAW,		/* CT: lxc.KEY */
	PVECONF_DELETE,		/* pending only; value lists the keys to delete */
	PVECONF_JUNK,		/* a line that PVE warns of and ignores: value */
};

/* Slices point into the text and are not NUL-terminated. */
struct pveconf_item {
	enum pveconf_what what;
	enum pveconf_part part;
	unsigned long line;	/* from 1 */
	const char *section;	/* name of the snapshot; NULL else */
	size_t section_len;
	const char *key;	/* SETTING, RAW */
	size_t key_len;
	const char *value;	/* blanks around it are off; may hold NUL and CR inside */
	size_t value_len;
};

struct pveconf_scan {
	enum pveconf_rules rules;
	const char *next, *end;
	struct pveconf_item at;	/* where the scan is: part, section, line */
};

void pveconf_start(struct pveconf_scan *s, enum pveconf_rules rules,
		   const char *text, size_t len);

/*
 * The next item in file order; notes, blank lines and lines of ignored sections are
 * passed over.
 */
bool pveconf_next(struct pveconf_scan *s, struct pveconf_item *item);

/* Does the key consist of prefix and a number without leading zero, at most max? */
bool pveconf_key_index(const struct pveconf_item *item, const char *prefix,
		       unsigned max, unsigned *index);
bool pveconf_key_is(const struct pveconf_item *item, const char *key);

/*
 * Fit for a snapshot's name: a letter, then one or more of letters, digits, '-' and '_'.
 */
bool pveconf_is_config_id(const char *name, size_t len);

enum pveconf_choice {
	PVECONF_CURRENT,	/* the main section */
	PVECONF_NEXT_START,	/* main, changed by what is pending */
	PVECONF_PENDING_ONLY,
	PVECONF_OF_SNAPSHOT,
};

struct pveconf_pick {
	struct pveconf_item *items;	/* owned */
	size_t n, room;
	bool found;		/* the chosen section is there */
};

/*
 * Collect the settings of one section. Of a repeated key the last that keep()
 * accepts counts, raw lines count all.
 *
 * name: of the snapshot, for PVECONF_OF_SNAPSHOT.
 * keep: asked for every SETTING, RAW and JUNK of the sections that matter;
 * items that it does not want leave an earlier one of the same key in force.
 * pick: reused from file to file; start with { 0 }, free(items) at the end.
 */
void pveconf_pick(struct pveconf_pick *pick, enum pveconf_rules rules,
		  const char *text, size_t len,
		  enum pveconf_choice choice, const char *name,
		  bool (*keep)(const struct pveconf_item *item, void *arg), void *arg);

#endif
