/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/msg.h"
#include "base/xalloc.h"

void *xcheck(void *p)
{
	if (!p) {
		errno = ENOMEM;
		say_errno("allocation failed");
		exit(EX_OSERR);
	}
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	/* calloc(0) may be NULL without being out of memory. */
	return xcheck(calloc(n ? n : 1, size ? size : 1));
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	return xcheck(reallocarray(p, n ? n : 1, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return xcheck(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	return xcheck(strndup(s, n));
}

char *xvasprintf(const char *fmt, va_list ap)
{
	char *s;

	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	return xcheck(s);
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = xvasprintf(fmt, ap);
	va_end(ap);
	return s;
}

void *xgrow(void *array, size_t n, size_t *room, size_t size)
{
	size_t want;

	if (n < *room)
		return array;
	want = *room ? *room * 2 : 8;
	array = xreallocarray(array, want, size);
	*room = want;
	return array;
}
