/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "mdev-ls.h"

static const struct record_field fields[] = {
	{ "parent", RECORD_STRING }, { "type", RECORD_STRING }, { "name", RECORD_STRING },
	{ "available", RECORD_NUMBER }, { "api", RECORD_STRING },
	{ "description", RECORD_STRING }, { "reason", RECORD_STRING },
	{ "backend", RECORD_STRING },
};

/* Several lines become one, as mdevctl shows them. Allocated; NULL without. */
static char *on_one_line(const char *text)
{
	char *out = NULL;

	for (; text && *text; text += strcspn(text, "\n"), text += *text == '\n') {
		size_t len = strcspn(text, "\n");
		_cleanup_free_ char *before = out;

		out = xasprintf("%s%s%.*s", before ? before : "", before ? ", " : "",
				(int)len, text);
	}
	return out;
}

static void put_type(struct record_writer *w, const struct vgpus *v,
		     const struct vgpu_type *t)
{
	const struct vgpu_parent *p = &v->parents[t->parent];
	_cleanup_free_ char *description = on_one_line(t->description);
	_cleanup_free_ char *available = t->available < 0 ? NULL :
					 xasprintf("%d", t->available);
	const char *const values[] = {
		p->name, t->id, t->name, available, t->api, description, t->reason,
		vgpu_backend_name(p->backend),
	};

	record_put(w, values);
}

/* What a parent without types lacks, for people. */
static void say_empty(const struct vgpus *v, size_t parent)
{
	const struct vgpu_parent *p = &v->parents[parent];

	for (size_t i = 0; i < v->n_types; i++)
		if (v->types[i].parent == parent)
			return;
	if (p->backend == VGPU_NVIDIA && p->n_vfs == 0)
		say_warn("%s has no VFs yet: /usr/lib/nvidia/sriov-manage -e %s", p->name,
			 p->name);
	else
		say_warn("%s offers no type; see 'mdev-ls --check -p %s'", p->name, p->name);
}

int view_types(const struct view *view, const char *operand)
{
	const struct vgpus *v = &view->v;
	struct record_writer *w =
		record_stdout(fields, ARRAY_SIZE(fields), &view->record);
	_cleanup_free_ size_t *types = NULL;
	size_t n = 0;

	if (!w)
		return msg_usage_error();
	if (operand)
		vgpus_match(v, view->parent, operand, &types, &n);
	for (size_t i = 0; i < n; i++)
		put_type(w, v, &v->types[types[i]]);
	for (size_t i = 0; !operand && i < v->n_types; i++)
		if (view->parent < 0 || v->types[i].parent == (size_t)view->parent) {
			put_type(w, v, &v->types[i]);
			n++;
		}
	record_writer_free(w);
	for (size_t i = 0; !operand && i < v->n_parents; i++)
		if (view->parent < 0 || i == (size_t)view->parent)
			say_empty(v, i);
	return n ? EX_OK : VIEW_NONE;
}
