/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drawing of gpu-ls --tree: for people, not to be parsed. */
#ifndef PVE_GPUTREE_H
#define PVE_GPUTREE_H

#include <stdbool.h>
#include <stdio.h>

#include "pci/topology.h"

/*
 * Draw host bridges → bridges → functions → guests, each with its IOMMU group, driver
 * and reset methods.
 *
 * chosen: one per function of the topology: those to draw, with the bridges above them,
 * and those of their virtual functions that a guest is given.
 * The guests are this node's, as pve-hostpci-ls and lxc-gpu-ls resolve them; without
 * /etc/pve there are none. What cannot be read of them is said, and the rest drawn.
 */
void gputree_print(FILE *out, const struct topology *topology, const bool chosen[]);

#endif
