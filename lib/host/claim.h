/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who takes a function at boot. */
#ifndef HOST_CLAIM_H
#define HOST_CLAIM_H

#include <stdbool.h>
#include <stddef.h>

#include "host/card.h"

struct claim_module {		/* a module that claims functions which are given away */
	char *name;		/* owned; with '_' */
	bool builtin;		/* in at least one installed kernel */
	bool for_display;	/* claims one of their display functions */
	bool needed;		/* claims a function that stays with the host */
};

struct claims {
	struct claim_module *mods;	/* owned, sorted by name */
	size_t n;
	bool vfio_builtin;	/* vfio-pci is no module in at least one kernel */
};

/*
 * A function's modalias, allocated; made up from its ids where sysfs has none.
 * Source: drivers/pci/pci-sysfs.c, modalias_show.
 */
char *claim_modalias(const struct pcidev *dev);

/*
 * Look up the functions in the modules of every installed kernel, so that a
 * boot of another one finds all that it needs. Of modprobe.d only aliases count.
 * 0, or -ENOENT when no kernel with modules is installed (n = 0 then).
 */
int claims_read(const struct cards *cards, struct claims *claims);
void claims_done(struct claims *claims);

/*
 * The first sound, USB, storage or network controller that stays with the host
 * and that the module claims in an installed kernel; NULL without one. In cards->topo.
 */
const struct pcidev *claims_host_need(const struct cards *cards, const char *module);

#endif
