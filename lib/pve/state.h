/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State files: who ran, and the journal of who was stopped for a backup job.
 * Text: "#boot_id", "#time", "#node" (the journal also "#job PID START_TIME"),
 * one record per guest, "#end N". A file without its end is not believed.
 * Fields of a record: guest state pid node start_time, then in a state file
 * name lock template disks onboot, in the journal reason since.
 */
#ifndef PVE_STATE_H
#define PVE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pve/guest.h"

/* Holds all of it, mode 0700. */
#define STATE_DIR	"/var/lib/pve-gpu-utils"

/*
 * Complete paths below root_dir(): /var/lib/pve-gpu-utils/{state,journal,drivers/}.
 * Allocated.
 */
char *state_path(void);
char *state_journal_path(void);
char *state_drivers_dir(void);

struct state_entry {
	char *name;		/* owned; "qemu/100", "lxc/200", "unit/ollama.service" */
	struct guest_id id;	/* when is_guest */
	bool is_guest;
	bool running;		/* field state: running or stopped */
	pid_t pid;		/* then; 0 */
	uint64_t start_time;	/* of pid; of a container see state_instance() */
	char *node;		/* owned */
	char *reason;		/* owned; journal only: "conflict:qemu/101", "vzdump", "backup" */
	int64_t since;		/* journal only: epoch s */
	char *title;		/* owned; state file only: the guest's own name, NULL unknown */
	char *lock;		/* owned; state file only */
	bool template, has_disk, onboot;	/* state file only */
};

struct state_file {
	bool journal;		/* has (or shall have) the journal's line and fields */
	char boot_id[37];
	int64_t time;		/* epoch s */
	char *node;		/* owned */
	pid_t job_pid;		/* the vzdump worker; 0 unknown */
	uint64_t job_start;	/* its start time in clock ticks since boot */
	struct state_entry *entries;	/* owned */
	size_t n;
};

/*
 * Read a state file or a journal.
 * 0, -ENOENT, -EBADMSG when its end is missing or a line is damaged (what could
 * be read is still in *f, for telling the administrator), or another -errno.
 */
int state_read(const char *path, struct state_file *f);
/*
 * Write it as a whole (atomicfile_write, mode 0600, its directory made 0700). 0 or
 * -errno.
 */
int state_write(const char *path, const struct state_file *f);
void state_done(struct state_file *f);
void state_entry_done(struct state_entry *e);

/* Is it a guest whose backup starts a paused kvm, rather than one that was stopped? */
bool state_is_backup(const struct state_entry *e);

/* Fill boot_id, time and node as of now. 0 or -errno. */
int state_stamp(struct state_file *f);
/* Was it written in this boot? */
bool state_is_this_boot(const struct state_file *f);

/*
 * The journal is changed under an flock on journal.lock: read, change, write.
 * state_lock returns a descriptor (close it to unlock) or -errno.
 */
int state_lock(void);
/*
 * Add or replace the entry with this name and reason's kind (what is before its
 * colon); under the lock taken inside, on disk when it returns. The running
 * vzdump worker becomes the journal's job when that one's own is dead.
 * 0, -EBADMSG (the journal that is there is damaged) or another -errno.
 */
int state_journal_add(const struct state_entry *e);
/*
 * Take entries with this name (and this reason when not NULL) away; the last one takes
 * the file along. 0 or -errno.
 */
int state_journal_remove(const char *name, const char *reason);
/*
 * Keep a damaged journal as journal.bad (.bad2, … when taken) and put what is believed of
 * it, which may be nothing, in its place. Killed in between, the damaged one is still there.
 * *to: allocated, where it is kept. 0 or -errno.
 */
int state_journal_set_aside(const struct state_file *believed, char **to);

/*
 * The vzdump worker that runs now: pid and start time out of the UPID in /run/vzdump.pid.
 * 0, -ENOENT or another -errno.
 */
int state_vzdump_worker(pid_t *pid, uint64_t *start_time);
/* Is the process with this pid and start time still alive (no zombie)? */
bool state_is_alive(pid_t pid, uint64_t start_time);

/*
 * Which run of the guest is it? A VM: pid and start time of its QEMU; a
 * container: pid 0 and the inode of its command socket. false when it does not run.
 */
bool state_instance(struct guest_id id, pid_t *pid, uint64_t *start_time);
/* Does the guest of this entry still run as it did when the entry was made? */
bool state_is_same_run(const struct state_file *f, const struct state_entry *e);

#endif
