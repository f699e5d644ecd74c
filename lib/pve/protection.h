/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is every backup job of this node protected by the hook, and if not, why? */
#ifndef PVE_PROTECTION_H
#define PVE_PROTECTION_H

#include <stddef.h>

#include "pve/hostmodel.h"

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

#endif
