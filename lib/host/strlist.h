/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A list of strings in the order in which they were added. */
#ifndef HOST_STRLIST_H
#define HOST_STRLIST_H

#include <stdbool.h>
#include <stddef.h>

struct strlist {
	char **s;		/* owned, as each string is */
	size_t n, room;
};

/* Add a copy. */
void strlist_add(struct strlist *l, const char *s);

/* Add a copy unless it is there; true when it was added. */
bool strlist_add_new(struct strlist *l, const char *s);

bool strlist_has(const struct strlist *l, const char *s);

/* Same strings in the same order? */
bool strlist_equal(const struct strlist *a, const struct strlist *b);

/* Free the strings; the list is then empty and can be used again. */
void strlist_done(struct strlist *l);

#endif
