/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is every backup job of this node protected by the hook, and if not, why? */
#ifndef PVE_PROTECTION_H
#define PVE_PROTECTION_H

#include <stddef.h>

#include "pve/guest.h"
#include "pve/hostmodel.h"
#include "pve/jobs.h"
#include "pve/plan.h"

/* What vzdump is to call, as /etc/vzdump.conf names it. */
#define PROTECTION_STUB "/etc/pve-gpu-utils/vzdump-hook"

enum finding_level {
	FINDING_OK,
	FINDING_WARN,		/* worth knowing; no guest is at risk by it */
	FINDING_FAIL,		/* something is unprotected */
};

struct finding {
	enum finding_level level;
	const char *topic;	/* config, hook, job, guest, boot, journal */
	char *what;		/* owned */
	char *why;		/* owned; the reason and the way out; NULL */
};

struct findings {
	struct finding *list;	/* owned; in the order of the topics */
	size_t n, room;
};

/* Look at all. Needs a loaded model; what else cannot be read becomes a finding. */
void protection_check(const struct hostmodel *m, struct findings *f);
void findings_done(struct findings *f);
const char *finding_level_name(enum finding_level level);

/*
 * Play a job as it would go now. mode: the job's own or the default's.
 * each: as for plan_job(). 0, or -ENOENT when the job's pool is not there.
 */
int protection_play(const struct hostmodel *m, const struct job *job, const char *mode, bool hooked,
		    void (*each)(const struct plan_event *e, void *arg), void *arg,
		    struct plan_outcome *outcome);

/* Would guest-stop refuse this guest? Managed by HA while ha = refuse. */
bool protection_ha_refuses(const struct hostmodel *m, struct guest_id id);

#endif
