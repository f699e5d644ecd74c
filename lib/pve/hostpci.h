/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's hostpciN settings and the functions that PVE would pass for them.
 * Source: qemu-server, QemuServer/PCI.pm.
 */
#ifndef PVE_HOSTPCI_H
#define PVE_HOSTPCI_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pciaddr.h"
#include "pci/pcidev.h"
#include "pve/mapping.h"
#include "pve/propstr.h"

enum { HOSTPCI_MAX = 16 };	/* hostpci0..hostpci15 */

extern const struct propstr_schema hostpci_schema;

/*
 * One value that the schema takes; strings point into the text that was parsed, NULL
 * when absent.
 */
struct hostpci {
	const char *host;	/* "[DDDD:]BB:DD[.F]", several joined by ';' */
	const char *mapping;
	const char *mdev;
	bool pcie;
	bool legacy_igd;
	bool x_vga;
	bool no_rombar;
};

/*
 * Check a value against the schema of hostpciN: a line whose value does not pass
 * is dropped by PVE. text is cut into pieces; len may count NUL bytes.
 * False with *why (allocated) what is wrong.
 */
bool hostpci_parse(char *text, size_t len, struct hostpci *h, char **why);

/*
 * This host's functions and mappings, read when first asked for. Start with { .node = …
 * }.
 */
struct hostpci_host {
	const char *node;
	bool is_local;		/* false: another node, of unknown hardware */
	void (*bad_mapping)(unsigned long line, const char *why, void *arg);
	void *arg;
	int error;		/* first -errno of reading the hardware or the mappings */
	const char *unread;	/* which of them; below the root */
	/* what was read */
	struct pcidev *devs;
	size_t n_devs;
	unsigned char *filled;	/* per device: bits of what is known */
	struct mappings mappings;
	bool has_devs, has_mappings;
};

void hostpci_host_done(struct hostpci_host *host);
/* NULL when the function is not there. */
const struct pcidev *hostpci_host_find(struct hostpci_host *host,
				       const struct pciaddr *addr);
/* NULL when there is none of this name. */
const struct mapping *hostpci_host_mapping(struct hostpci_host *host, const char *id);

enum {
	HOSTPCI_FILLED = 1,
	HOSTPCI_HAS_SUBSYSTEM = 2,
	HOSTPCI_IS_VGPU = 4,	/* nvidia/ in sysfs, and no mdev types */
};

/*
 * Identity and binding of a listed function, read once: bits of these, 0 when it is
 * gone.
 */
unsigned hostpci_host_fill(struct hostpci_host *host, const struct pcidev *dev);

struct hostpci_row {
	int index;		/* N of hostpciN; HOSTPCI_MAX and up are the caller's */
	int alt;		/* alternative of a mapping, from 0 */
	bool has_addr;		/* false: no-mapping, refused */
	bool is_slot;		/* a slot as configured: missing, or another node's */
	struct pciaddr addr;
	const char *mdev_type;	/* kept by reference, as mapping: into the parsed text */
	const char *mapping;
	const char *status;	/* ok, missing, mismatch:FIELD, no-mapping; NULL elsewhere;
				   refused everywhere */
	const char *held;	/* for the caller's use */
};

struct hostpci_rows {
	struct hostpci_row *list;	/* owned */
	size_t n, room;
};

/* What else of the VM's config PVE looks at. */
struct hostpci_vm {
	bool q35;
	bool vga_none;
};

/*
 * All functions that a VM is given, appended to rows: in order of index,
 * alternative, address.
 *
 * settings: by index; NULL where there is none.
 * refuse: told why PVE would refuse to start with hostpciN; that one gives a single
 * row of status refused, without an address.
 */
void hostpci_resolve(struct hostpci_host *host,
		     const struct hostpci *const settings[HOSTPCI_MAX],
		     const struct hostpci_vm *vm, struct hostpci_rows *rows,
		     void (*refuse)(int index, const char *why, void *arg), void *arg);

#endif
