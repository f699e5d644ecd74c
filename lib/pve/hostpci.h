/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVE_HOSTPCI_H
#define PVE_HOSTPCI_H

#endif
