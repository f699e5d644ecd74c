/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVE_MAPPING_H
#define PVE_MAPPING_H

#endif
