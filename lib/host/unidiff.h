/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOST_UNIDIFF_H
#define HOST_UNIDIFF_H

#include "host/hostfile.h"

/*
 * Print on standard output how a file would change, as "diff -u" does, the
 * names being the file's path ("/dev/null" where there is none).
 * Returns 0, or -errno, -EIO when diff(1) cannot be used.
 */
int unidiff_print(const struct hostfile *from, const struct hostfile *to);

#endif
