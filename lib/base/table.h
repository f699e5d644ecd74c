/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An aligned table for people, through libsmartcols. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table;

/*
 * columns: n heading words, copied; right[i] aligns a column to the right (right may be
 * NULL).
 */
struct table *table_new(const char *const columns[], const bool right[], size_t n);
/*
 * parent: line under which the tree is drawn, NULL for none. Returns the line, owned by
 * the table.
 */
void *table_add(struct table *t, void *parent, const char *const cells[]);
/* A column that is cut where the terminal is too narrow for the table. */
void table_may_cut(struct table *t, size_t column);
/* Print and free. tree draws the parent relation in the first column. */
void table_print(struct table *t, FILE *out);

#endif
