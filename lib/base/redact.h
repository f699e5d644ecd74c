/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that strangers may read: names, addresses and serial numbers taken out. */
#ifndef BASE_REDACT_H
#define BASE_REDACT_H

#include <stdbool.h>

struct redactor;

struct redactor *redactor_new(void);
void redactor_free(struct redactor *r);		/* may be NULL */

/*
 * A name to take out, as a whole word and in either case: "guest", "web" makes it
 * guest-1. The kind is kept, not copied. False, and not taken, for what tells nothing
 * or would tear the text apart: one letter, a number, a word of this trade ("pve").
 */
bool redactor_add(struct redactor *r, const char *kind, const char *name);

/*
 * A line without them, allocated. Taken out as well: IPv4 and IPv6 addresses but the
 * unspecified one, loopback and net masks (ip-N), MAC addresses (mac-N), UUIDs but
 * those that Proxmox VE makes of a VMID (uuid-N), ids of 32 or 64 hexadecimal digits
 * (id-N), addresses of mail (mail-N), and what stands after "serial=", "by-id/" and
 * the like (serial-N). Equal texts get equal numbers as long as r lives.
 */
char *redactor_line(struct redactor *r, const char *line);

#endif
