/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVE_PROPSTR_H
#define PVE_PROPSTR_H

#endif
