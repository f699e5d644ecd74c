/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the backup of a stopped guest leaves behind: its paused kvm and the
 * devices of that, `lock: backup`, functions bound to vfio-pci. Says what it does.
 */
#ifndef PVE_LEFTOVER_H
#define PVE_LEFTOVER_H

#include <stdbool.h>

#include "base/config.h"
#include "pve/guest.h"
#include "pve/state.h"

/*
 * Wait until the kvm of a guest's backup is gone and has let go of its devices.
 * 0, -EBUSY when the guest runs for itself (somebody started it), -ETIMEDOUT after so many seconds.
 */
int leftover_wait(struct guest_id id, unsigned seconds);

/*
 * No backup job runs any more (the caller holds vzdump's lock, or is the next
 * job): of every guest in the journal, end a paused backup kvm and take back
 * `lock: backup`; entries of kind backup that are settled are taken out.
 * dry_run: print the commands, run none.
 * 0 or the first -errno; what failed is said.
 */
int leftover_clear(const struct state_file *journal, bool dry_run);

/*
 * Give functions recorded in drivers/ back to the drivers that had them, and
 * forget the record; those that a running guest holds stay where they are.
 * With host-driver = leave the record is forgotten alone.
 *
 * guest: whose record ("qemu/100"); NULL: every record whose guest has no
 * backup entry in the journal (which may be NULL).
 * 0 or the first -errno; what was done and what failed is said.
 */
int leftover_drivers(const struct config *cfg, const char *guest,
		     const struct state_file *journal);

/* Forget all records: drivers of another boot mean nothing in this one. */
void leftover_forget_drivers(void);

#endif
