/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Assignment records: which guest is given, and which holds, which PCI function. */
#ifndef PVE_ASSIGNMENT_H
#define PVE_ASSIGNMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/record.h"
#include "pci/pciaddr.h"
#include "pci/pcidev.h"
#include "pve/guest.h"

enum assignment_state {
	ASSIGNMENT_ELSEWHERE,	/* "-": another node's guest */
	ASSIGNMENT_RUNNING,
	ASSIGNMENT_STOPPED,
};

/*
 * One line: guest key alt addr mdev_type mapping state node status held.
 * A running guest has a row for what it is given and one for what it holds,
 * which are one and the same where they agree. Without held it is given the
 * function, for its next start, but does not hold it now: another alternative
 * of a mapping, or a config that was changed since.
 */
struct assignment {
	struct guest_id guest;
	char *key;		/* owned; hostpci0, dev0, lxc.mount.entry; args */
	int alt;		/* alternative of a mapping, in PVE's order from 0 */
	bool has_addr;		/* false: no-mapping; refused; a container's missing node */
	struct pciaddr addr;	/* a slot that is missing: function 0 */
	bool is_slot;		/* a missing slot as configured, printed without ".F" */
	char *mdev_type;	/* owned; NULL */
	char *mapping;		/* owned; NULL */
	enum assignment_state state;
	char *node;		/* owned */
	char *status;		/* owned; ok, missing, mismatch:FIELD, no-mapping, refused; or
				   NULL */
	char *held;		/* owned; cmdline, reservation, config, or NULL for "-" */
};

enum { ASSIGNMENT_FIELDS = 10 };
extern const struct record_field assignment_fields[ASSIGNMENT_FIELDS];

/* Its address as configured, has_addr given: a slot without ".F". Returns buf. */
const char *assignment_addr(const struct assignment *a, char buf[PCIADDR_STRLEN]);

void assignment_put(struct record_writer *w, const struct assignment *a);
void assignment_done(struct assignment *a);
void assignments_free(struct assignment *a, size_t n);

/*
 * Read records. Lines with fewer fields or a bad field: say("FILE:LINE: …") with the
 * given name, skipped, and -EBADMSG in the end. 0 or -errno. The empty input is
 * 0 and n == 0.
 */
int assignments_read(FILE *in, const char *name, bool null, struct assignment **a,
		     size_t *n);

enum { ASSIGNMENT_SECTION_LEN = 41 };

struct assignment_query {
	const char *node;	/* NULL: this node */
	bool all_nodes;
	const char *section;	/* effective (NULL), current, pending, or a snapshot */
	const uint32_t *vmids;	/* NULL: all; sorted */
	size_t n_vmids;
	bool silent;		/* what PVE drops or refuses is not said */
};

/*
 * Resolve the hostpciN of VMs as PVE would at their next start, and what the
 * running ones hold.
 * each: called per record, ordered by VMID, hostpci index, alt, addr.
 * What PVE drops or refuses is said as "qemu/100: hostpci3: reason" and makes the
 * result -EBADMSG. A setting that PVE drops gives no record: the machine starts
 * without it. One for which PVE refuses to start gives one of status refused,
 * without an address: the start will fail, whatever else runs.
 * 0, -ENOENT (/etc/pve not there, or a VMID asked for that does not exist, said),
 * -EBADMSG, or another -errno.
 */
int assignments_qemu(const struct assignment_query *q,
		     void (*each)(const struct assignment *a, void *arg), void *arg);

/* The same for containers: devN and lxc.mount.entry. */
int assignments_lxc(const struct assignment_query *q,
		    void (*each)(const struct assignment *a, void *arg), void *arg);

/*
 * Both, of this node, effective: what `{ pve-hostpci-ls; lxc-gpu-ls; }` prints. What PVE
 * drops or refuses is not said again by everybody who asks: it is for these programs.
 */
int assignments_load(struct assignment **a, size_t *n);

#endif
