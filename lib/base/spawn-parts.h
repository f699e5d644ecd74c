/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the spawn modules: what a command says. */
#ifndef BASE_SPAWN_PARTS_H
#define BASE_SPAWN_PARTS_H

#include "base/spawn.h"

/*
 * Read what is there and tell its whole lines. The pipe's end may never come, a
 * grandchild can hold it: with last, tell what is left and close the output.
 */
void spawn_take_output(struct spawn *s, bool last);

#endif
