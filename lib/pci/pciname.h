/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names for PCI ids, from pci.ids through libpci. */
#ifndef PCI_PCINAME_H
#define PCI_PCINAME_H

#include <stdint.h>

struct pcinames;

/*
 * On the running host libpci's own choice of sources counts; under another root
 * only /usr/share/misc/pci.ids there. Nothing is read before the first look-up;
 * without a file, or with a damaged one, no id has a name.
 */
struct pcinames *pcinames_new(void);
void pcinames_free(struct pcinames *names);

/* "NVIDIA Corporation", allocated; NULL when it is not known. */
char *pciname_vendor(struct pcinames *names, uint16_t vendor);
/* "GA102 [GeForce RTX 3090]", allocated; NULL when it is not known. */
char *pciname_device(struct pcinames *names, uint16_t vendor, uint16_t device);
/*
 * Both, allocated: "NVIDIA Corporation GA102 [GeForce RTX 3090]", or with an
 * unknown device "NVIDIA Corporation Device 2204"; NULL without a vendor.
 */
char *pciname_full(struct pcinames *names, uint16_t vendor, uint16_t device);

#endif
