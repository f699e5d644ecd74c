/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVE_PVECONF_H
#define PVE_PVECONF_H

#endif
