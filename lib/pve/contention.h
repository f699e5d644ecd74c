/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who stands in whose way for a GPU, and whom to stop so that one guest can start. */
#ifndef PVE_CONTENTION_H
#define PVE_CONTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "pci/mdev.h"
#include "pci/pcidev.h"
#include "pve/assignment.h"
#include "pve/guest.h"

enum contention_kind {		/* bits; names by contention_kind_name() */
	CONTENTION_FUNCTION = 1 << 0,
	CONTENTION_IOMMU_GROUP = 1 << 1,
	CONTENTION_PF_VF = 1 << 2,
	CONTENTION_MDEV = 1 << 3,
	CONTENTION_HOST_DRIVER = 1 << 4,
	CONTENTION_DECLARED = 1 << 5,
};

struct contention_host_user {	/* a process of the host itself with a GPU node open */
	struct pciaddr addr;
	int pid;
	const char *comm;
	const char *unit;	/* "ollama.service"; NULL unknown */
};

struct contention_member {	/* a guest that the configuration's groups name */
	struct guest_id id;
	bool running;
};

/* Everything the rules look at. Kept by reference: must outlive the model. */
struct contention_input {
	/* of this node and, for listing pairs, of others */
	const struct assignment *assignments;
	size_t n_assignments;
	/* sorted; group, driver, physfn filled in */
	const struct pcidev *devs;
	size_t n_devs;
	const struct mdev_type *types;		/* sorted by parent, type; as of now */
	size_t n_types;
	const struct config *config;		/* never_stop, groups, host_services */
	const struct contention_host_user *host_users;
	size_t n_host_users;
	const char *node;			/* this node */
	/* functions with nvidia/ in sysfs (vGPU without mdev), sorted */
	const struct pciaddr *vgpus;
	size_t n_vgpus;
	/* of this node; also those without an assignment */
	const struct contention_member *members;
	size_t n_members;
	/*
	 * not to be stopped beside never_stop: HA guests with ha = refuse. Nor are
	 * running guests whose next start would fail, by their assignments.
	 */
	const struct guest_id *refused;
	size_t n_refused;
	bool no_iommu;				/* no VM with a hostpciN can start */
};

/* What contention_input needs of this host, read for the given assignments. */
struct contention_facts {
	struct pcidev *devs;
	size_t n_devs;
	struct mdev_type *types;
	size_t n_types;
	struct pciaddr *vgpus;
	size_t n_vgpus;
	struct contention_host_user *host_users;	/* comm and unit owned here */
	size_t n_host_users;
	struct contention_member *members;
	size_t n_members;
	struct guest_id *refused;
	size_t n_refused;
	bool no_iommu;
};

/*
 * Read sysfs for every function that the assignments name, the GPUs' processes
 * (only where x, NULL for none, could take a function from a host driver), who
 * is managed by HA, and the state of guests that only the configuration names.
 * 0 or -errno; a function that is gone is left out. contention_facts_done() in any case.
 */
int contention_facts_load(struct contention_facts *f, const struct assignment *a,
			  size_t n,
			  const struct config *cfg, const struct guest_id *x);
void contention_facts_done(struct contention_facts *f);
/* The input made of them; node is kept. */
struct contention_input contention_facts_input(const struct contention_facts *f,
					       const struct assignment *a, size_t n,
					       const struct config *cfg,
					       const char *node);

struct contention;
struct contention *contention_new(const struct contention_input *in);
void contention_free(struct contention *c);

struct contention_pair {	/* one conflict record */
	struct pciaddr addr;
	enum contention_kind kind;
	const struct guest_id *guests;	/* sorted by guest_compare(), 2 or more */
	size_t n_guests;
	size_t running;			/* how many of them run now */
	/* "group 14", "parent 0000:82:00.0 nvidia-63", mapping name */
	const char *detail;
};

/*
 * Every contention that could ever arise, sorted by address, name of the kind. Returns
 * how many.
 */
size_t contention_pairs(const struct contention *c,
			void (*each)(const struct contention_pair *p, void *arg),
			void *arg);

enum contention_verdict {
	CONTENTION_FREE,	/* nothing to stop */
	CONTENTION_STOP,	/* stops[] frees the way */
	CONTENTION_NEVER,	/* no plan can help; why */
	CONTENTION_HOST,	/* a host process is in the way; why names pid and unit */
};

struct contention_stop {
	struct guest_id guest;	/* vmid 0 for a host service */
	/* host service to stop, owned by the config; NULL for a guest */
	const char *unit;
	struct pciaddr *addrs;	/* owned; what it holds that x needs, sorted */
	size_t n_addrs;
	unsigned kinds;		/* of enum contention_kind */
};

struct contention_plan {
	enum contention_verdict verdict;
	/* owned, sorted by guest_compare(), host services last */
	struct contention_stop *stops;
	size_t n;
	char *why;		/* owned; for NEVER and HOST */
	/* owned; what PVE will choose with the stops done, mdev parents too; sorted */
	struct pciaddr *chosen;
	size_t n_chosen;
};

/*
 * The smallest set of running guests to stop so that nobody blocks what PVE
 * itself would choose for x; exact. Ties: the set with the higher VMIDs (compare
 * the VMIDs in descending order, the first difference decides).
 * 0, or -ENOENT when x is not in the assignments (then: CONTENTION_FREE, it has no GPU).
 */
int contention_plan(const struct contention *c, struct guest_id x,
		    struct contention_plan *plan);
void contention_plan_done(struct contention_plan *plan);

/*
 * Who of the running guests blocks x as things stand: allocated, sorted, may be
 * empty. Where PVE would find no free device at all: those that hold what x could use.
 */
size_t contention_blockers(const struct contention *c, struct guest_id x,
			   struct guest_id **guests);

/*
 * The model's own state, for looking ahead: guests go down and come up in the
 * model only. contention_guest_up() lets x hold what PVE would choose; false when
 * it would be blocked or PVE finds no device (it then stays stopped).
 */
bool contention_guest_up(struct contention *c, struct guest_id x);
void contention_guest_down(struct contention *c, struct guest_id x);
/*
 * Count x, who runs, as if it were gone, without its forgetting what it holds; and as
 * running again.
 */
void contention_guest_hide(struct contention *c, struct guest_id x, bool hide);
bool contention_is_running(const struct contention *c, struct guest_id x);
/* Has x a GPU at all (an assignment on this node)? */
bool contention_has_gpu(const struct contention *c, struct guest_id x);
/* Could PVE give x one device or another (a mapping with alternatives)? */
bool contention_has_choice(const struct contention *c, struct guest_id x);

/*
 * Every guest, running or not, that could ever stand in x's way; allocated, sorted, may
 * be empty.
 */
size_t contention_rivals(const struct contention *c, struct guest_id x,
			 struct guest_id **guests);

const char *contention_kind_name(enum contention_kind kind);
/* "function,mdev", sorted: allocated. */
char *contention_kinds_format(unsigned kinds);

#endif
