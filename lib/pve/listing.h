/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking through configs for assignments: what VMs and containers have in common. */
#ifndef PVE_LISTING_H
#define PVE_LISTING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/readfile.h"
#include "pve/assignment.h"
#include "pve/guestdir.h"
#include "pve/pveconf.h"

struct listing {
	/* set by the caller */
	enum guest_kind kind;
	const struct assignment_query *query;
	void (*one)(struct listing *l, void *arg);	/* per config that was read */
	void *arg;
	/* the guest at hand */
	uint32_t vmid;
	const char *node;
	bool is_local;
	struct readfile text;
	/* own */
	char *local;
	struct guestdir dir;
	int rc;			/* the first failure */
};

/*
 * Open the folders that the query asks for. 0, or -errno, said. *wants_local
 * tells whether this node is among them. listing_close() only after a 0.
 */
int listing_open(struct listing *l, bool *wants_local);
/* Go through the configs in order of VMID. What cannot be read is said. */
void listing_run(struct listing *l);
int listing_close(struct listing *l);		/* returns the first failure */

void listing_fail(struct listing *l, int rc);
/*
 * Say what PVE drops or refuses of the guest at hand: "qemu/100: …"; the result becomes
 * -EBADMSG.
 */
void listing_complain(struct listing *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Say a line that PVE does not understand. */
void listing_complain_junk(struct listing *l, const struct pveconf_item *item);

bool listing_is_effective(const struct listing *l);
/* The section that counts for the guest at hand. */
enum pveconf_choice listing_choice(const struct listing *l, bool is_running);
/*
 * pveconf_pick() of that section; a snapshot that was asked for by VMID and is not there
 * is said.
 */
void listing_pick(struct listing *l, struct pveconf_pick *pick,
		  enum pveconf_choice choice,
		  bool (*keep)(const struct pveconf_item *item, void *arg), void *arg);
enum assignment_state listing_state(const struct listing *l, bool is_running);

/* A value as a string of its own, allocated; NUL bytes stay in it. */
char *listing_value(const struct pveconf_item *item);
/* A record borrows its texts: they are not const there because most records own them. */
char *listing_lend(const char *text);

#endif
