/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sysfs folders whose entries are named by PCI functions, and the functions' own. */
#ifndef PCI_PCIFOLDER_H
#define PCI_PCIFOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pciaddr.h"

/*
 * The functions that a folder names; other entries are passed over.
 *
 * path: complete, see root_path().
 * addrs: allocated, sorted by address, *n long; the caller frees. Untouched on failure.
 * 0 or -errno.
 */
int pcifolder_read(const char *path, struct pciaddr **addrs, size_t *n);

/*
 * The complete path of an entry of a function's folder, see root_path(); allocated. ""
 * is the folder itself. Source: Documentation/ABI/testing/sysfs-bus-pci.
 */
char *pcifolder_attribute(const struct pciaddr *addr, const char *name);
bool pcifolder_has(const struct pciaddr *addr, const char *name);

#endif
