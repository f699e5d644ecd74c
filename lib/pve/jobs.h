/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backup jobs: /etc/pve/jobs.cfg, the older /etc/pve/vzdump.cron, the defaults in
 * /etc/vzdump.conf, pools in /etc/pve/user.cfg.
 * Source: pve-manager, PVE/Jobs/VZDump.pm, PVE/VZDump.pm; pve-common, SectionConfig.pm.
 */
#ifndef PVE_JOBS_H
#define PVE_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pve/guest.h"

struct job {
	char *id;		/* owned; "backup-1f2e3d4c", or "vzdump.cron:4" by line */
	char *schedule;		/* owned; "02:00", "sat 18:15", or cron's fields; NULL */
	char *mode;		/* owned; snapshot, suspend, stop; NULL: vzdump.conf's */
	char *node;		/* owned; runs on that node only; NULL on every node */
	char *pool;		/* owned; guests of a pool; NULL */
	char *script;		/* owned; NULL: vzdump.conf's */
	char *storage;		/* owned; NULL */
	bool enabled;
	bool all;		/* every guest of the node but the excluded ones */
	uint32_t *vmids;	/* owned, sorted */
	size_t n_vmids;
	uint32_t *exclude;	/* owned, sorted */
	size_t n_exclude;
};

/*
 * Jobs of the whole cluster, in the files' order.
 * jobs: allocated, n long. Missing files are no error (n == 0).
 * Returns 0 or -errno, with *path (allocated) naming the file that could not be read.
 */
int jobs_read(struct job **jobs, size_t *n, char **path);
void jobs_free(struct job *jobs, size_t n);

/* Does the job run on this node? */
bool job_is_for_node(const struct job *job, const char *node);

/* Direct members of a pool, sorted; 0, -ENOENT (no such pool) or another -errno. */
int job_pool_members(const char *pool, uint32_t **vmids, size_t *n);

/*
 * Guests of this node that the job backs up, sorted by guest_compare_vmid().
 * guests: all of the node. A pool that is not there selects nobody and gives -ENOENT.
 */
int job_select(const struct job *job, const struct guest *guests, size_t n_guests,
	       struct guest_id **selected, size_t *n);

struct job_defaults {		/* /etc/vzdump.conf */
	char *script;		/* owned; the last line counts; NULL without */
	char *mode;		/* owned; NULL: snapshot */
	bool hookscript;	/* has a line "hookscript:", which vzdump ignores */
};

/* 0 (also without a file) or -errno. */
int job_defaults_read(struct job_defaults *d);
void job_defaults_done(struct job_defaults *d);

#endif
