/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-1, for names of what a text was, not for secrets. Source: RFC 3174. */
#ifndef BASE_SHA1_H
#define BASE_SHA1_H

#include <stddef.h>

enum { SHA1_STRLEN = 41 };

/* The digest of data in lower-case hexadecimal; returns buf. */
const char *sha1_text(const void *data, size_t len, char buf[SHA1_STRLEN]);

#endif
