/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What mdev-ls, mdev-mk and mdev-rm say in the same words. */
#ifndef MDEV_SAY_H
#define MDEV_SAY_H

/*
 * There is no such parent. text: as written. EX_USAGE for what is no name of a device,
 * EX_UNAVAILABLE for a card that is there and has no vGPUs, else EX_NOINPUT.
 */
int say_no_parent(const char *text);

/* A file that is no definition, as mdevdef_list() tells it; a warning. */
void say_bad_definition(const char *path, const char *why, void *arg);

#endif
