/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a remove of PCI functions loses: read, kept in a file, compared. */
#ifndef PCI_SNAPSHOT_H
#define PCI_SNAPSHOT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pci/pciaddr.h"

#define SNAPSHOT_FOLDER	"/run/pve-gpu-utils/rescan"

enum { SNAPSHOT_BARS = 7 };	/* six base address registers and the expansion ROM */

struct snapshot_bar {		/* one line of "resource"; all 0: not there */
	uint64_t start, end, flags;
};

/* Attributes that a new device object has lost, in the order of writing them back. */
enum snapshot_attr {
	SNAPSHOT_OVERRIDE,	/* driver_override */
	SNAPSHOT_RESET_METHOD,
	SNAPSHOT_NUMA_NODE,
	SNAPSHOT_MSI_BUS,
	SNAPSHOT_D3COLD,	/* d3cold_allowed */
	SNAPSHOT_NUMVFS,	/* sriov_numvfs; from here on after the driver is bound */
	SNAPSHOT_CONTROL,	/* power/control */
	SNAPSHOT_ATTRS
};

struct snapshot_fn {
	struct pciaddr addr;
	bool whole; /* a remove takes it; false: above, only its power counts */
	bool is_vf;
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class;		/* 24 bit */
	uint8_t header;		/* header type, bit 7 multi-function */
	struct snapshot_bar bars[SNAPSHOT_BARS];
	char *driver;		/* owned; NULL = none */
	char *attrs[SNAPSHOT_ATTRS]; /* owned; NULL = not there; "" = empty, no override
				      */
	int iommu_group;	/* -1 without */
	bool is_renewed;	/* by this run, a dry one too; not kept in the file */
};

struct snapshot {
	char *path;		/* owned; its file, NULL when it has none */
	char *autoprobe;	/* owned; drivers_autoprobe, NULL unknown */
	struct snapshot_fn *fns;	/* owned; sorted by address */
	size_t n;
};

/* File name of an attribute below the function's folder ("power/control"). */
const char *snapshot_attr_name(enum snapshot_attr attr);

/*
 * Read one function as it is now: config space, "resource", driver, attributes.
 * A function whose config space reads ffff keeps the ids that the kernel knows.
 *
 * fn: its addr is given; filled in, snapshot_fn_done() frees what it owns.
 * Returns 0, -ENOENT (gone) or another -errno.
 * Source: Documentation/ABI/testing/sysfs-bus-pci.
 */
int snapshot_fn_read(struct snapshot_fn *fn);
void snapshot_fn_done(struct snapshot_fn *fn);

/* One attribute as it is now, as in snapshot_fn.attrs; allocated, NULL without. */
char *snapshot_attr_read(const struct pciaddr *addr, enum snapshot_attr attr);

/*
 * Read functions: those of `whole` that a remove takes, those of `above` for
 * their power settings alone. One that is gone is left out.
 * 0 or -errno.
 */
int snapshot_read(struct snapshot *s, const struct pciaddr *whole, size_t n_whole,
		  const struct pciaddr *above, size_t n_above);
void snapshot_done(struct snapshot *s);

/* The function in a snapshot; NULL when it is not there. */
struct snapshot_fn *snapshot_find(const struct snapshot *s, const struct pciaddr *addr);

/* Is the function on the bus now, as far as the kernel knows? */
bool snapshot_is_present(const struct pciaddr *addr);

enum snapshot_health {
	SNAPSHOT_HEALTHY,	/* the same ids, header type, BARs of equal size */
	SNAPSHOT_CHANGED,	/* there, but not as it was */
	SNAPSHOT_DEAD,		/* there, but config space reads ffff, or not at all */
	SNAPSHOT_GONE,
};

/*
 * Compare a function with what it was. The registers themselves are read, not
 * only what the kernel remembers of them.
 *
 * what: the first difference, for people ("BAR 0 has 16 MiB, had 256 MiB"), allocated;
 * NULL when healthy.
 */
enum snapshot_health snapshot_check(const struct snapshot_fn *was, char **what);

/*
 * Two functions that a remove takes, which were in one IOMMU group and are not any
 * more, or the other way round: for people, allocated; NULL when none are. The
 * groups' numbers may differ.
 */
char *snapshot_groups_changed(const struct snapshot *s);

/*
 * Files below SNAPSHOT_FOLDER (0700), one per snapshot, named by its first whole
 * function, replaced atomically and synced; a reboot, which makes them void, takes
 * them away.
 *
 * make_folder: -ENOTDIR for somebody's link in its place.
 * save: makes the folder, too; sets s->path. forget: removes the file.
 * load_all: every complete one; *bad counts those that are not, which stay.
 * Each 0 or -errno.
 */
int snapshot_make_folder(void);
int snapshot_save(struct snapshot *s);
int snapshot_forget(struct snapshot *s);
int snapshot_load_all(struct snapshot **list, size_t *n, size_t *bad);
void snapshot_free_all(struct snapshot *list, size_t n);

/*
 * Keep two runs apart. A child that outlives a killed run inherits the lock and
 * keeps it until its write is done. Who gets it removes what killed runs left
 * half-written.
 *
 * timeout: ms to wait; stop, when not NULL, ends the wait once it is set.
 * holder: who has it, 0 when unknown; may have ended and left a child.
 * Returns a descriptor to close, -EAGAIN when it was not got in time, -EINTR, or
 * another -errno.
 */
int snapshot_lock(int64_t timeout, const volatile sig_atomic_t *stop, pid_t *holder);

/* Name who keeps the lock when we are gone: a child whose write still hangs. */
void snapshot_lock_name(int lock, pid_t pid);

#endif
