/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Made-up hosts for the planner's tests and for the downtime bench. */
#ifndef BENCH_HOSTS_H
#define BENCH_HOSTS_H

#include "pve/contention.h"
#include "pve/plan.h"

enum {
	HOST_FNS = 48,
	HOST_TYPES = 24,
	HOST_GUESTS = 32,
	HOST_ENTRIES = 4,
	HOST_ALTS = 12,
	HOST_ALT_FNS = 4,
	HOST_HOLDS = 24,
	HOST_GROUPS = 2,
	HOST_USERS = 4,
};

struct host_fn {
	struct pciaddr addr;
	int group;		/* -1 */
	int pf;			/* number of the physical function; -1 */
	const char *driver;	/* NULL none */
	bool vgpu, bridge;
};

struct host_type {
	int parent;
	char name[24];
	int framebuffer, max;	/* as described; -1 unknown */
	int real_framebuffer, real_max;	/* what the card really does */
	bool one_size;
};

struct host_alt {
	int n, fn[HOST_ALT_FNS];
	const char *bad;	/* status that is not ok; NULL */
};

struct host_entry {
	int n_alts;
	struct host_alt alt[HOST_ALTS];
	/* wanted mdev type, see host_type_name(); -1 for a function */
	int type;
	int mapping;		/* -1 */
};

struct host_hold {
	int fn;
	const char *type;	/* NULL: the function */
	int entry;		/* for which of the guest's entries */
};

struct host_guest {
	struct guest_id id;
	bool template, has_disk, selected, running, never_stop;
	double duration;	/* of its backup, s */
	int n_entries;
	struct host_entry entry[HOST_ENTRIES];
	int n_holds;
	struct host_hold hold[HOST_HOLDS];
};

struct host {
	unsigned seed;
	int n_fns, n_types, n_guests, n_groups, n_users;
	struct host_fn fn[HOST_FNS];
	struct host_type type[HOST_TYPES];	/* sorted by parent, name */
	struct host_guest guest[HOST_GUESTS];	/* sorted by guest_compare_vmid() */
	struct { int n; uint32_t vmid[4]; } group[HOST_GROUPS];
	struct { int fn; const char *unit; bool listed; } user[HOST_USERS];
};

/* A plausible host; seed decides everything. Its start state can be started. */
void host_plausible(struct host *h, unsigned seed);
/* A small host made to be awkward: overlapping alternatives, odd groups, faults. */
void host_wild(struct host *h, unsigned seed);
/* The host that examples/quickstart.sh plays. */
void host_sample(struct host *h);

/* The same host in the library's words, as of its present state. */
struct host_view {
	struct contention_input in;
	struct config cfg;
	struct assignment *assignments;
	struct pcidev *devs;
	struct mdev_type *types;
	struct pciaddr *vgpus;
	struct contention_host_user *users;
	struct contention_member *members;
	struct plan_guest guests[HOST_GUESTS];
	struct guest_id selected[HOST_GUESTS];
	double durations[HOST_GUESTS];
	size_t n_selected;
};

void host_view(const struct host *h, struct host_view *v);
void host_view_done(struct host_view *v);

/* The name of a wanted type, by number. */
const char *host_type_name(int type);

#endif
