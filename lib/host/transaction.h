/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Change several files and run commands, all or nothing.
 *
 * Before the first change the old and the new bytes of every file are in
 * /var/lib/pve-gpu-utils/vfio-setup/journal, on disk; each file is replaced
 * as a whole. When a step fails, or the next run finds a journal, what was
 * changed is put back, the last change first, and the commands that had begun
 * are run again. A file that someone else has changed meanwhile is left alone.
 */
#ifndef HOST_TRANSACTION_H
#define HOST_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>

#include "host/hostcmd.h"
#include "host/hostfile.h"
#include "host/strlist.h"

#define TRANSACTION_JOURNAL	"/var/lib/pve-gpu-utils/vfio-setup/journal"

struct transaction {
	struct hostfiles from;	/* what is there; from.f[i] and to.f[i] have one path */
	struct hostfiles to;	/* what is to be there; no data: removed */
	struct strlist made;	/* folders to make first, the parent first */
	struct strlist unmade;	/* folders to remove at the end when they are empty */
	struct hostcmds cmds;	/* run after the changes, in this order */
	size_t begun;		/* how many of cmds were begun */
};

/* What happens, for the program to say. Strings live during the call. */
struct transaction_report {
	/* a file was written (data), removed (no data) or put back */
	void (*file)(const struct hostfile *f, bool back, void *arg);
	/* a command begins; back: once more, after files were put back */
	void (*command)(const char *text, bool back, void *arg);
	/* what went wrong: a path or a command; err: -errno or the exit status */
	void (*failed)(const char *subject, int err, bool back, void *arg);
	/* changed by someone else since: left as it is */
	void (*left)(const char *path, void *arg);
	void *arg;
};

/*
 * Add the change of one file from what is there to new (data NULL: remove);
 * nothing when they are equal. Folders that are missing are added to made.
 */
void transaction_add(struct transaction *t, const struct hostfile *now,
		     const struct hostfile *new);

/*
 * Lock against a second run. The state folder is made for it.
 * made: the folders that were made are added, the parent first.
 * Returns a descriptor for transaction_unlock(), -EAGAIN when another run, or a
 * command that one began, still has the lock after some seconds, or another -errno.
 */
int transaction_lock(struct strlist *made);

/*
 * Unlock; those of dirs that are empty are removed, the last one first, and
 * the state folder in any case.
 */
void transaction_unlock(int fd, const struct strlist *dirs);

/*
 * Do it, under the lock. Signals that would end us are held back: the step
 * under way is then the last, and what was done is put back.
 * Returns 0, or -errno or the exit status (> 0) of what failed first, told to
 * report; everything is then as it was, unless *back is not 0: what failed
 * while putting back, which the next run tries again.
 */
int transaction_run(struct transaction *t, const struct transaction_report *report,
		    int *back);

/* Is there a journal of a run that did not end? */
bool transaction_is_pending(void);

/*
 * Put back what a run that did not end has changed, under the lock.
 * made: the folders that it may have made, for transaction_unlock(), are added.
 * Returns 1 when there was one, 0 when not, -EBADMSG for a journal that is not
 * complete (nothing was changed then), another -errno, or > 1: the exit status of a
 * command that failed again.
 */
int transaction_heal(const struct transaction_report *report, struct strlist *made);

void transaction_done(struct transaction *t);

#endif
