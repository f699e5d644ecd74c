/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the first 256 bytes of config space say. */
#ifndef PCI_PCICONFIG_H
#define PCI_PCICONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pci/pciaddr.h"

struct pciconfig {
	uint8_t bytes[256];
	size_t len;	/* at least 4; who is not root gets 64 */
};

/* Device/Port Type of the PCI Express capability. */
enum {
	PCICONFIG_ROOT_PORT = 4,
	PCICONFIG_UPSTREAM = 5,
	PCICONFIG_DOWNSTREAM = 6,
};

/*
 * Read a function's config space, as far as we may.
 * 0, -ENOENT (no such function, or it has no config), -EIO (fewer than 4 bytes) or
 * another -errno.
 * Source: Documentation/PCI/sysfs-pci.rst; PCI Express Base Specification, 7.5.
 */
int pciconfig_read(const struct pciaddr *addr, struct pciconfig *c);

/*
 * Does it read all ones, as that of a device that does not answer? A virtual
 * function's ids always do; there the class register counts.
 */
bool pciconfig_is_dead(const struct pciconfig *c, bool is_vf);

/* Header type without the multi-function bit; -1 when too few bytes were read. */
int pciconfig_header(const struct pciconfig *c);
bool pciconfig_is_multifunction(const struct pciconfig *c);

/* Device/Port Type; -1 without a PCI Express capability among the bytes read. */
int pciconfig_port_type(const struct pciconfig *c);

/* Function-level reset by the PCI Express or the Advanced Features capability? */
bool pciconfig_has_flr(const struct pciconfig *c);

#endif
