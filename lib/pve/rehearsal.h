/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A backup job played ahead from how things stand now: what each backup brings. */
#ifndef PVE_REHEARSAL_H
#define PVE_REHEARSAL_H

#include <stdbool.h>
#include <stddef.h>

#include "pve/guest.h"
#include "pve/hostmodel.h"
#include "pve/jobs.h"
#include "pve/plan.h"

/* What /etc/vzdump.conf, or a job, is to name as its script. */
#define REHEARSAL_STUB "/etc/pve-gpu-utils/vzdump-hook"

enum rehearsal_way {		/* how the guest fares in its own backup */
	REHEARSAL_STOPPED,	/* is off and stays off: container, no disk, template */
	REHEARSAL_STARTED,	/* is off, PVE starts its kvm for the backup */
	REHEARSAL_RUNNING,	/* runs on */
	REHEARSAL_RESTARTED,	/* mode stop: vzdump takes it down and up again */
};

struct rehearsal_step {		/* in the order of the job */
	struct guest_id guest;
	enum rehearsal_way way;
	bool failed;
	char *stops;		/* owned; "qemu/100,unit/ollama.service", NULL */
	char *reasons;		/* owned; "qemu/100 (function 0000:01:00.0), …", NULL */
	char *starts;		/* owned; who starts again once it is done, NULL */
	char *why;		/* owned; reason of the failure, NULL */
};

struct rehearsal {
	const char *mode;	/* the job's or the default one */
	bool hooked;		/* the job calls our hook (or would, were it enabled) */
	struct rehearsal_step *steps;	/* owned */
	size_t n, room;
	size_t stops;		/* how often one is stopped for another's backup */
	struct plan_outcome outcome;
};

/* 0, or -ENOENT when the job's pool is not there (nobody is backed up then). */
int rehearsal_run(const struct hostmodel *m, const struct job *job,
		  const struct job_defaults *d, struct rehearsal *r);
void rehearsal_done(struct rehearsal *r);

const char *rehearsal_way_name(enum rehearsal_way way);

#endif
