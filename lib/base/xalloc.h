/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation that ends the program with EX_OSERR when memory is out. */
#ifndef BASE_XALLOC_H
#define BASE_XALLOC_H

#include <stdarg.h>
#include <stddef.h>

void *xcheck(void *p);		/* p, unless it is NULL */
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/*
 * Make room for one more element: array with n used elements of the given
 * size, whose room grows by doubling. Returns the array, perhaps moved.
 * *room is the number of elements that fit; start with NULL, 0, 0.
 */
void *xgrow(void *array, size_t n, size_t *room, size_t size);

#endif
