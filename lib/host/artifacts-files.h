/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents of our files, for artifacts.c. */
#ifndef HOST_ARTIFACTS_FILES_H
#define HOST_ARTIFACTS_FILES_H

#include "host/artifacts.h"
#include "host/claim.h"

/* Fill in a->files; a is empty before. */
void artifacts_files(const struct artifacts_wish *wish, const struct claims *claims,
		     struct artifacts *a);

/*
 * Value of vfio-pci.ids for what is not taken by its slot: "10de:2204,10de:1aef:1458:403b";
 * allocated, NULL without any.
 * Source: drivers/vfio/pci/vfio_pci.c, vfio_pci_fill_ids.
 */
char *artifacts_ids(const struct cards *cards);

#endif
