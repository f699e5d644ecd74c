/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of pci-rescan. They print. */
#ifndef PCI_RESCAN_H
#define PCI_RESCAN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"
#include "pci/ladder.h"
#include "pve/rescue.h"

struct run {
	/* what is asked for */
	struct rescue_opts opts;
	bool json;
	unsigned timeout;	/* s; 0: as configured */
	struct pciaddr *addrs;	/* owned; the operands */
	size_t n;
	/* how it goes */
	struct config cfg;
	const volatile sig_atomic_t *stop;
	int lock;		/* -1 in a dry run */
	struct snapshot *left;	/* owned; files of runs that did not end well */
	size_t n_left;
	int code;		/* the first failure's */
	bool is_first_rung;	/* for the headings of a dry run */
};

void run_fail(struct run *r, int code);

/* Keep other runs away; EX_OK or an exit code. */
int run_lock(struct run *r);

/* Put back what runs left that were killed. */
void run_heal(struct run *r);

/* How this run climbs, and its end; then the lock may stay with a child that hangs. */
struct ladder run_ladder(struct run *r);
void run_ladder_done(struct run *r, struct ladder *l);

/* Bring the functions back. */
void run_rescue(struct run *r, const struct topology *t);

/* --methods: which resets work. */
void run_methods(struct run *r);

#endif
