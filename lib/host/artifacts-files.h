/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents of our files, for artifacts.c. */
#ifndef HOST_ARTIFACTS_FILES_H
#define HOST_ARTIFACTS_FILES_H

#include "host/artifacts.h"
#include "host/claim.h"

/* Add the files that are wanted. */
void artifacts_files(const struct setup_request *request, const struct cards *cards,
		     const struct claims *claims, struct hostfiles *files);

/*
 * Value of vfio-pci.ids for what is not taken by its slot: "10de:2204,10de:1aef:1458:403b";
 * allocated, NULL without any.
 * Source: drivers/vfio/pci/vfio_pci.c, vfio_pci_fill_ids.
 */
char *artifacts_ids(const struct cards *cards);

#endif
