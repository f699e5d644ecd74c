/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is this host ready to give the cards away? An ordered list of answers. */
#ifndef HOST_HOSTCHECK_H
#define HOST_HOSTCHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "host/artifacts.h"
#include "host/bootloader.h"
#include "host/card.h"

enum hostcheck_level { HOSTCHECK_OK, HOSTCHECK_TODO, HOSTCHECK_WARN, HOSTCHECK_FAIL };

struct hostcheck_line {
	enum hostcheck_level level;
	const char *topic;	/* one word, static */
	char *what;		/* owned; what was found */
	char *how;		/* owned; why it matters, or the way out; NULL */
};

struct hostcheck {
	struct hostcheck_line *lines;	/* owned, in the order they were added */
	size_t n, room;
};

struct hostcheck_input {
	const struct cards *cards;	/* n = 0: the host itself is looked at, no card */
	const struct artifacts *plan;	/* what apply would write for them */
	const struct bootloader *boot;
	bool applied;		/* the files on disk are those of the plan */
};

/* Add one line; what and how become the list's own. */
void hostcheck_add(struct hostcheck *hc, enum hostcheck_level level, const char *topic,
		   char *what, char *how);

/*
 * All checks in their order: iommu, interrupts, group, driver, claim, display,
 * modules, initramfs, boot, cmdline, bar, acs, secure-boot. The caller adds
 * what it knows of its own files and of guests.
 */
void hostcheck_run(struct hostcheck *hc, const struct hostcheck_input *in);

const char *hostcheck_level_name(enum hostcheck_level level);	/* "ok", "todo", "warn", "fail" */

/* 69 (EX_UNAVAILABLE) with any fail, 1 with any todo, else 0. */
int hostcheck_exit(const struct hostcheck *hc);
void hostcheck_done(struct hostcheck *hc);

#endif
