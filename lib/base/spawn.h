/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#endif
