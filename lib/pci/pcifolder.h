/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The folders of sysfs whose entries are named by PCI functions. */
#ifndef PCI_PCIFOLDER_H
#define PCI_PCIFOLDER_H

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

#endif
