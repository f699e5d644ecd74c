/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI tree of this host: which bridge a function is below, and what else is. */
#ifndef PCI_TOPOLOGY_H
#define PCI_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pci/pciaddr.h"
#include "pci/pcidev.h"

enum topology_port {
	TOPOLOGY_ENDPOINT,	/* no bridge */
	TOPOLOGY_ROOT_PORT,
	TOPOLOGY_UPSTREAM,	/* of a switch: the side to the root port */
	TOPOLOGY_DOWNSTREAM,	/* of a switch: one side to the devices */
	TOPOLOGY_BRIDGE,	/* any other bridge, or one that cannot be told */
};

struct topofn {			/* one function */
	struct pcidev dev;	/* with PCIDEV_IDENT and PCIDEV_BIND */
	char *place;		/* owned; its folder, no links in it (root_dir() too) */
	char *root;		/* owned; the host bridge's folder, "pci0000:00" */
	int parent;		/* index of the bridge right above; -1 on a root bus */
	enum topology_port port;
	bool is_port_known;	/* port is from the PCI Express capability, no guess */
	bool has_config;	/* config space was read, and from it all up to has_flr */
	bool is_dead;		/* config space reads all ones: no answer */
	int header;		/* type 0, 1 or (CardBus) 2; -1 unknown */
	bool is_multifunction;
	bool has_flr;		/* says the device; the kernel may know better */
	char *reset_method;	/* owned; "flr bus", "" none any more; NULL no file */
	bool boot_vga;		/* the display that the firmware started */
	int numa_node;		/* -1 unknown */
	int numvfs, totalvfs;	/* -1 without SR-IOV */
};

struct topology {
	struct topofn *fns;	/* owned, sorted by address */
	size_t n;
};

/*
 * Read all functions of the host. A function that goes away meanwhile is left out.
 *
 * Port type, header type and FLR need the first 256 bytes of config space, which
 * only root may read; the header alone is within the 64 that everybody may. A
 * function in D3cold is not woken for them (has_config false). Where the PCI
 * Express capability cannot be read, or the function is dead, the port is a
 * guess from the tree: a bridge on a root bus is a root port; one that has
 * nothing but bridges (at least one) right below it is an upstream port;
 * one right below an upstream port is a downstream port.
 *
 * 0, -ENOENT when there is no PCI bus, or another -errno.
 * Source: PCI Express Base Specification, 7.5; Documentation/ABI/testing/sysfs-bus-pci.
 */
int topology_read(struct topology *t);
void topology_done(struct topology *t);

/* Index of a function; -1 when it is not there. */
int topology_find(const struct topology *t, const struct pciaddr *addr);

/* Is fn below the bridge, at any depth (the bridge itself is not)? Indices. */
bool topology_is_below(const struct topology *t, int fn, int bridge);

/*
 * Walk over indices, sorted by address: start with prev -1, ends with -1.
 *	for (int i = -1; (i = topology_next_below(t, bridge, i)) >= 0; )
 * _below: everything below the bridge, bridges too.
 * _mate: the functions of fn's slot, fn itself and other physical functions; a
 * virtual function is alone.
 * _vf: the virtual functions of fn.
 */
int topology_next_below(const struct topology *t, int bridge, int prev);
int topology_next_mate(const struct topology *t, int fn, int prev);
int topology_next_vf(const struct topology *t, int fn, int prev);

/*
 * The upstream port of the switch that fn's own card brings: the nearest
 * ancestor of that type, if there is only this card below it, that is one
 * display slot and its companions (audio, serial bus controllers, and any
 * function of the display's vendor that is no disk and no network card). A
 * mainboard's switch with something else below it is none.
 *
 * why: set to what else is below ("0000:05:00.0 (disk) is below 0000:02:00.0 too"),
 * allocated; NULL when no upstream port is above fn, or one was found. May be NULL.
 * Returns the port's index, or -1.
 */
int topology_card(const struct topology *t, int fn, char **why);

/*
 * All functions of fn's card but bridges, fn among them, sorted: those below
 * topology_card(), else the slot's without the board's own beside a GPU (see
 * pcidev_is_of_board()). Virtual functions are not listed.
 * fns: allocated indices, *n long (at least 1); the caller frees.
 */
void topology_card_functions(const struct topology *t, int fn, int **fns, size_t *n);

/*
 * The bridge that holds fn's whole card and nothing else, for a reset of its
 * secondary bus: the port above the card's own switch (its upstream port itself
 * when that port holds something else, too), else the bridge right above the slot.
 * No bridge holds a virtual function alone.
 * why: as above, set whenever there is no such bridge. Returns an index, or -1.
 */
int topology_hold(const struct topology *t, int fn, char **why);

/*
 * Does a function answer now? Reads config space afresh: 0, -ENODEV when it reads
 * all ones (for a virtual function, whose ids always do, the class register
 * counts), -ENOENT when the function is not there, or another -errno.
 */
int topology_answers(const struct pciaddr *addr, bool is_vf);

/*
 * A class in plain words: "GPU", "audio", "USB controller", "disk", "network card",
 * "bridge", "device".
 */
const char *topology_class_word(uint32_t class);

#endif
