/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <locale.h>
#include <stdlib.h>

#include <libsmartcols.h>

#include "base/table.h"
#include "base/xalloc.h"

struct table {
	struct libscols_table *scols;
	size_t n;
	bool is_tree;
};

struct table *table_new(const char *const columns[], const bool right[], size_t n)
{
	struct table *t = xcalloc(1, sizeof(*t));

	/* Widths and tree lines are those of the terminal's character set. */
	setlocale(LC_CTYPE, "");
	t->scols = xcheck(scols_new_table());
	t->n = n;
	for (size_t i = 0; i < n; i++)
		xcheck(scols_table_new_column(t->scols, columns[i], 0,
					      right && right[i] ? SCOLS_FL_RIGHT : 0));
	return t;
}

void *table_add(struct table *t, void *parent, const char *const cells[])
{
	struct libscols_line *line = xcheck(scols_table_new_line(t->scols, parent));

	if (parent)
		t->is_tree = true;
	for (size_t i = 0; i < t->n; i++)
		if (cells[i] && scols_line_set_data(line, i, cells[i]) < 0)
			xcheck(NULL);
	return line;
}

static void add_flag(struct table *t, size_t column, int flag)
{
	struct libscols_column *c = scols_table_get_column(t->scols, column);

	scols_column_set_flags(c, scols_column_get_flags(c) | flag);
}

void table_may_cut(struct table *t, size_t column)
{
	add_flag(t, column, SCOLS_FL_TRUNC);
}

void table_print(struct table *t, FILE *out)
{
	if (t->is_tree)
		add_flag(t, 0, SCOLS_FL_TREE);
	scols_table_set_stream(t->scols, out);
	scols_print_table(t->scols);
	scols_unref_table(t->scols);
	free(t);
}
