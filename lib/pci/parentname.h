/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spellings of a vGPU parent's name. */
#ifndef PCI_PARENTNAME_H
#define PCI_PARENTNAME_H

#include <stdbool.h>

/*
 * The name that sysfs has for a device, allocated; NULL for what can be none:
 *	0000:82:00.0, 82:00.0		sysfs, lspci
 *	00000000:82:00.0		nvidia-smi
 *	pci_0000_82_00_0		virsh nodedev-list; css_0_0_26ab is 0.0.26ab
 *	/sys/class/mdev_bus/mtty	any path below /sys: its last part
 *	mtty, matrix, 0.0.26ab		other parents: as they are
 * PCI addresses come out in lower case, with domain. Nothing is looked up.
 */
char *parentname_parse(const char *text);

/* Can this be one part of a path: not empty, no '/', not "." or ".."? */
bool parentname_is_safe(const char *name);

/* "pci_0000_82_00_0" of "0000:82:00.0", allocated; NULL when it is no PCI address. */
char *parentname_virsh(const char *name);

#endif
