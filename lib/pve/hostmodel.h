/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that the decisions of a backup job look at, read from this host in one go. */
#ifndef PVE_HOSTMODEL_H
#define PVE_HOSTMODEL_H

#include <stddef.h>

#include "base/config.h"
#include "gpu/gpuproc.h"
#include "pci/pcidev.h"
#include "pve/assignment.h"
#include "pve/contention.h"
#include "pve/guest.h"
#include "pve/plan.h"

struct hostmodel {		/* all owned */
	struct config config;	/* the defaults when config_error is set */
	char *config_error;	/* what is wrong with pve-gpu-utils.conf; NULL */
	char *node;
	struct guest *guests;	/* of this node, sorted by guest_compare() */
	size_t n_guests;
	struct assignment *assignments;
	size_t n_assignments;
	bool has_bad_values;	/* PVE drops or refuses some (said) */
	struct pcidev *devs;
	size_t n_devs;
	struct contention_facts facts;
	struct gpuproc *procs;
	size_t n_procs;
	struct contention_host_user *users;	/* point into procs */
	size_t n_users;
	struct contention_input input;	/* the above, for contention_new() */
};

/*
 * Returns 0, -ENOENT when /etc/pve is not mounted, or another -errno; *what
 * then says what could not be read (static). m is to be released in any case.
 */
int hostmodel_load(struct hostmodel *m, const char **what);
void hostmodel_done(struct hostmodel *m);

/* The guests for a plan, sorted by guest_compare_vmid(), n_guests long; allocated. */
struct plan_guest *hostmodel_plan_guests(const struct hostmodel *m);

/* NULL when there is none. */
const struct guest *hostmodel_guest(const struct hostmodel *m, struct guest_id id);

#endif
