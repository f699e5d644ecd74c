/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_ROOT_H
#define BASE_ROOT_H

#include <stdbool.h>

/*
 * The directory that stands for "/" in every path that the suite reads or
 * writes: -R, else PVE_GPU_ROOT (secure_getenv), else "" for the running host.
 */
const char *root_dir(void);
void root_set(const char *dir);		/* dir is kept, not copied */
bool root_is_host(void);		/* no other root is set */

/* root_dir() followed by the formatted absolute path; allocated, the caller frees. */
char *root_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
