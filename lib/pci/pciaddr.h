/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PCI_PCIADDR_H
#define PCI_PCIADDR_H

#include <stdbool.h>
#include <stdint.h>

#define PCIADDR_STRLEN	sizeof("00000000:00:00.0")

/* One PCI function: DDDD:BB:DD.F, the sysfs name. */
struct pciaddr {
	uint32_t domain;	/* 0..0xffffffff; above 0xffff under VMD */
	uint8_t bus;		/* 0..0xff */
	uint8_t slot;		/* 0..0x1f */
	uint8_t func;		/* 0..7 */
};

/*
 * Parse "[DOMAIN:]BB:DD.F" (hex in any case, domain 0 when absent, up to eight
 * digits as nvidia-smi prints it); the whole string must match. Returns false,
 * and leaves *addr alone, for anything else.
 */
bool pciaddr_parse(const char *text, struct pciaddr *addr);

/* The same without ".F": a slot. func becomes 0. */
bool pciaddr_parse_slot(const char *text, struct pciaddr *addr);

/* Write the sysfs spelling of addr into buf and return buf. */
const char *pciaddr_format(const struct pciaddr *addr, char buf[PCIADDR_STRLEN]);

/* Order by domain, bus, slot, function; fit for qsort(3) and bsearch(3). */
int pciaddr_compare(const void *a, const void *b);
bool pciaddr_same_slot(const struct pciaddr *a, const struct pciaddr *b);

#endif
