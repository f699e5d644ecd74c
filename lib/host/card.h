/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cards that are to be given away: which functions, which ids, who shares them. */
#ifndef HOST_CARD_H
#define HOST_CARD_H

#include <stdbool.h>
#include <stddef.h>

#include "host/request.h"
#include "host/strlist.h"
#include "pci/topology.h"

/* How vfio-pci gets hold of a function at boot. */
enum card_how {
	CARD_BY_ID,		/* vendor:device is nobody else's: vfio-pci.ids */
	CARD_BY_SUBSYSTEM,	/* the same with subvendor:subdevice */
	CARD_BY_SLOT,		/* driver_override: an equal one stays with the host */
};

struct card_fn {
	const struct pcidev *dev;	/* in cards.topo */
	enum card_how how;
	bool is_display;	/* base class 03, or 12 (accelerators) */
	bool is_boot;		/* boot_vga is 1: the firmware draws on it */
};

struct cards {
	struct topology topo;	/* owned; every function of the host */
	struct card_fn *fns;	/* owned; what is given away, sorted by address */
	size_t n;
	/* Owned; the other members of their IOMMU groups, bridges left out. */
	const struct pcidev **mates;
	size_t n_mates;
	/*
	 * Owned; where others set vfio-pci.ids that are not just ours: a second list
	 * would replace it, so all is CARD_BY_SLOT. NULL without.
	 */
	char *others_ids;
};

/*
 * Find the functions that the request means on this host: of each card all of
 * its functions, audio, USB-C and UCSI too, behind its own switch where it has
 * one (Intel Arc).
 *
 * gpus: a function or slot of a GPU. ids: the cards whose display function has
 * the id, or other functions of the id alone. all_gpus: every GPU that is
 * neither a virtual function nor a server's BMC display. None of them gives no
 * function, with topo read all the same.
 * force: take what the host itself uses, too: storage, network and USB
 * controllers, and a card with virtual functions.
 * Returns 0; -EINVAL (an operand that is not well formed), -ENOENT (nothing of
 * that address or id here), -ENODEV (a bridge, a virtual function, no GPU),
 * -EBUSY (needs force) with *error = what and why (allocated), or another -errno
 * with *error naming what could not be read. *cards is empty then.
 */
int cards_find(const struct setup_request *request, struct cards *cards, char **error);
void cards_done(struct cards *cards);

/*
 * Does a list of ids match a function? Fields that are left out match all; NULL
 * matches none.
 * Source: drivers/vfio/pci/vfio_pci.c, vfio_pci_fill_ids.
 */
bool card_ids_match(const char *ids, const struct pcidev *dev);

/* Is the function one of those that are given away? */
bool cards_has(const struct cards *cards, const struct pciaddr *addr);

/*
 * What a later run needs to know that it is the same card: for each function
 * "0000:03:00.0 10de:2204 1458:403b" (address, ids, subsystem's ids) is added.
 */
void cards_record(const struct cards *cards, struct strlist *record);

/*
 * Compare with a record of an earlier run: true when every recorded slot holds
 * what it held. Else *error names the first one that does not (allocated):
 * "0000:03:00.0: holds 10de:2206 1458:403b, not 10de:2204 1458:403b" or "…: is empty, …".
 */
bool cards_match_record(const struct cards *cards, const struct strlist *record,
			char **error);

#endif
