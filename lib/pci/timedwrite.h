/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes to sysfs that may never return. */
#ifndef PCI_TIMEDWRITE_H
#define PCI_TIMEDWRITE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct timedwrite {		/* one write, for reports */
	char *path;		/* owned; complete, see root_path() */
	char *value;		/* owned; without a final LF */
	int result;		/* 0, -errno, -ETIMEDOUT */
	int64_t us;		/* the write(2) alone; 0 in a dry run */
	pid_t left;		/* a child that SIGKILL did not end yet; 0 = none */
};

struct timedwriter {
	unsigned limit;		/* ms for each write; 0 = no limit */
	int lock;		/* the one descriptor that the child keeps; -1 */
	struct timedwrite *done;	/* owned; every write so far, in order */
	size_t n, room;
};

/*
 * Write value to an attribute in one write(2), as sysfs_write() does, in a child
 * that is killed after the writer's time limit. The write is appended to
 * w->done. Honours sysfs_dry_run, and -v as sysfs_write().
 *
 * Start with { .limit = …, .lock = -1 }.
 *
 * Returns 0 or -errno; -ETIMEDOUT when the kernel was still at it: then it may
 * yet happen. A child that cannot be killed (state D) is not waited for: its pid is
 * in .left, and it has none of our descriptors but the lock.
 *
 * The child ignores the signals that may end us, so a write is never cut by ^C; it dies
 * with us, before its write or as soon as the kernel is through with it. It
 * keeps w->lock open, so a flock(2) of ours outlasts our own SIGKILL until the
 * write is over: who gets the lock knows that no write is under way. Who ends in order
 * with a child left says flock(LOCK_UN) if the next run shall not find it held.
 */
int timedwrite(struct timedwriter *w, const char *path, const char *value);

/* The last write of the writer; NULL before the first. */
const struct timedwrite *timedwrite_last(const struct timedwriter *w);

/* Sum of the microseconds of all writes. */
int64_t timedwrite_total(const struct timedwriter *w);

/* Free the list; the writer can be used again. */
void timedwrite_done(struct timedwriter *w);

/* State letter of /proc/PID/stat ('D' cannot be killed now); 0 when it is gone. */
char timedwrite_state(pid_t pid);

#endif
