/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the contention modules: the model that they share. Nobody else includes it.
 */
#ifndef PVE_CONTENTION_MODEL_H
#define PVE_CONTENTION_MODEL_H

#include "pve/contention.h"

enum model_use {
	/* passed through, or an NVIDIA vGPU without mdev: reserved by PVE */
	USE_FUNCTION,
	USE_MDEV,		/* an instance on the function, its parent */
	USE_DRIVER,		/* a container, through the host driver */
};

struct model_hold {
	unsigned guest;		/* index in guests[] */
	unsigned fn;		/* index in fns[] */
	enum model_use use;
	const char *type;	/* USE_MDEV: of the instance */
};

struct model_fn {		/* one PCI function that an assignment names */
	struct pciaddr addr;
	int group;		/* -1: none, or a bridge */
	int pf;			/* index of the physical function; -1 */
	bool host_driver;	/* a driver other than vfio's has it */
	bool vfio;		/* vfio's has it */
	bool vgpu;		/* nvidia/ in sysfs */
	bool host_users;	/* a process of the host has its node open */
	size_t mate, n_mates;	/* range in mates[]: functions of its group, itself too */
	size_t vf, n_vfs;	/* range in vfs[] */
	size_t type, n_types;	/* range in in->types */
	const struct model_hold *users;	/* whoever could ever use it */
	size_t n_users;
	const struct model_hold *first;	/* instances that ran when the model was made */
	size_t n_first;
	struct model_hold *holds;	/* who holds it now */
	size_t n_holds, room;
};

struct model_alt {
	size_t fn, n_fns;	/* range in alt_fns[] */
};

/* one hostpciN; all of a container's nodes are one entry */
struct model_entry {
	int hostpci;		/* -1 for a container */
	enum model_use use;
	const char *mdev_type;	/* USE_MDEV */
	const char *mapping;	/* NULL without */
	/* the record for which PVE refuses to start; NULL */
	const struct assignment *bad;
	size_t alt, n_alts;	/* range in alts[] */
};

struct model_guest {
	struct guest_id id;
	bool running;
	bool never_stop;
	size_t entry, n_entries;	/* range in entries[] */
	struct model_hold *holds;
	size_t n_holds, room;
};

struct contention {
	struct contention_input in;
	struct model_guest *guests;	/* of this node, sorted by guest_compare() */
	size_t n_guests;
	struct model_fn *fns;		/* sorted by address */
	size_t n_fns;
	struct model_entry *entries;
	struct model_alt *alts;
	unsigned *alt_fns, *mates, *vfs;
	struct model_hold *users, *first;
	bool *gone;			/* per guest: taken for stopped while planning */
	unsigned *stamp;		/* per guest: the round in which it was met */
	unsigned *serial;		/* of this round */
};

enum {
	MODEL_NONE = -1,
	/* hostpci0 to hostpci15, and what is none of them */
	MODEL_ENTRIES_MAX = 17,
};

int model_guest_find(const struct contention *c, struct guest_id id);
int model_fn_find(const struct contention *c, const struct pciaddr *addr);

/* Those who hold fn now, or (users) all who ever could. */
const struct model_hold *model_list(const struct model_fn *f, bool users, size_t *n);

typedef void model_hit(unsigned guest, unsigned fn, enum contention_kind kind, void *arg);

/*
 * Who stands in the way when guest x takes fn for this use: every other guest
 * that holds (users: could ever use) something in its way, once per function
 * held, with the closest kind. Instances beside instances are not looked at:
 * model_mdev_fits(). Guests marked gone are left out, but not from the users.
 */
void model_rivals(const struct contention *c, unsigned x, unsigned fn, enum model_use use,
		  bool users, model_hit *hit, void *arg);
/* The same for the groups of the configuration; fn is the group's index. */
void model_declared(const struct contention *c, unsigned x, bool users, model_hit *hit,
		    void *arg);

/*
 * Can parent make one more instance of type beside those that others than x (not gone)
 * and x itself (own) have?
 */
bool model_mdev_fits(const struct contention *c, unsigned x, unsigned parent,
		     const char *type,
		     const char *const own[], size_t n_own);
/* Could the parent's users not all have their instances at a time? */
bool model_mdev_scarce(const struct contention *c, unsigned parent);

/*
 * Types that g's entries before this one (index in entries[]) make on parent, into
 * own[]; how many.
 */
size_t model_own_mdevs(const struct contention *c, const struct model_guest *g,
		       size_t before,
		       const unsigned choice[], unsigned parent, const char *own[]);

/* Fill in fns[], mates[] and vfs[] for the functions that these records name. */
void model_build_fns(struct contention *c, const struct assignment *const *a, size_t n);
void model_hold_add(struct contention *c, struct model_hold hold);

/* Does PVE see one of the alternative's functions reserved for another VM? */
bool model_is_reserved(const struct contention *c, unsigned x,
		       const struct model_alt *alt);
/* Does a hold of another guest keep the parent's driver away? */
bool model_parent_is_taken(const struct contention *c, unsigned x, unsigned fn);

/* The entry for which PVE refuses to start x whatever runs; NULL. */
const struct model_entry *model_refusal(const struct contention *c, unsigned x);

/*
 * What PVE would choose for VM x with the marked guests gone: the number of the
 * alternative per entry of x. MODEL_NONE, or the entry for which it finds nothing.
 */
int model_choose(const struct contention *c, unsigned x, unsigned choice[]);

#endif
