/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "mdev-ls.h"
#include "pci/parentname.h"

struct row {			/* one line: an instance, a definition, a process */
	const char *id;
	const struct vgpu *g;	/* NULL: not there now */
	size_t instance;
	const struct mdevdef *def;	/* NULL without */
	const struct vgpumgr *mgr;	/* NULL: no process */
};

struct rows {
	struct row *rows;	/* owned */
	size_t n, room;
};

static const struct record_field fields[] = {
	{ "id", RECORD_STRING }, { "type", RECORD_STRING }, { "name", RECORD_STRING },
	{ "parent", RECORD_STRING }, { "group", RECORD_NUMBER }, { "state", RECORD_STRING },
	{ "start", RECORD_STRING }, { "user", RECORD_STRING }, { "guest", RECORD_STRING },
	{ "backend", RECORD_STRING },
};

const struct mdevdef *view_definition(const struct view *view, const struct vgpu *g)
{
	const struct vgpu_parent *p = &view->v.parents[g->parent];

	return mdevdef_find(view->defs, view->n_defs, p->name,
			    p->backend == VGPU_SRIOV ? p->name : g->id);
}

bool view_is_leftover(const struct view *view, size_t instance)
{
	const struct mdevdef *def = view_definition(view, &view->v.instances[instance]);

	return vgpuuse_is_leftover(&view->v, view->uses, view->n_uses, instance,
				   def && def->is_auto);
}

static void add_row(struct rows *rows, const struct row *row)
{
	rows->rows = xgrow(rows->rows, rows->n, &rows->room, sizeof(*rows->rows));
	rows->rows[rows->n++] = *row;
}

static bool is_wanted_parent(const struct view *view, size_t parent)
{
	return view->parent < 0 || (size_t)view->parent == parent;
}

static void add_instances(const struct view *view, bool leftovers, struct rows *rows)
{
	for (size_t i = 0; i < view->v.n_instances; i++) {
		const struct vgpu *g = &view->v.instances[i];
		const struct row row = {
			.id = g->id, .g = g, .instance = i,
			.def = view_definition(view, g),
		};

		if (!is_wanted_parent(view, g->parent) ||
		    (view->vf && strcmp(view->vf->name, g->id) != 0) ||
		    (leftovers && !view_is_leftover(view, i)))
			continue;
		add_row(rows, &row);
	}
}

/* Is something there that was made, or could be, by this definition? */
static bool is_active(const struct view *view, const struct mdevdef *def)
{
	for (size_t i = 0; i < view->v.n_instances; i++)
		if (view_definition(view, &view->v.instances[i]) == def)
			return true;
	return false;
}

/* Definitions of a parent that is not there now are shown with all. */
static void add_definitions(const struct view *view, struct rows *rows)
{
	for (size_t i = 0; i < view->n_defs; i++) {
		const struct mdevdef *def = &view->defs[i];
		const struct row row = { .id = def->id, .def = def };

		if (is_active(view, def) ||
		    (view->parent >= 0 &&
		     strcmp(view->v.parents[view->parent].name, def->parent) != 0) ||
		    (view->vf && strcmp(view->vf->name, def->id) != 0))
			continue;
		add_row(rows, &row);
	}
}

static int compare_row(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->id, ((const struct row *)b)->id);
}

/* Keep the rows that operands name; the exit code of the first that names none. */
static int choose_named(struct rows *rows, char *const operands[])
{
	struct rows kept = { 0 };
	int status = EX_OK;

	for (; *operands; operands++) {
		_cleanup_free_ char *name = parentname_parse(*operands);
		size_t before = kept.n;

		for (size_t i = 0; name && i < rows->n; i++)
			if (strcasecmp(rows->rows[i].id, name) == 0)
				add_row(&kept, &rows->rows[i]);
		if (kept.n == before) {
			say("no such vGPU: %s", *operands);
			status = EX_NOINPUT;
		}
	}
	free(rows->rows);
	*rows = kept;
	return status;
}

static const char *type_name(const struct view *view, const struct row *row)
{
	if (row->mgr)
		return "nvidia-vgpu-mgr";
	if (row->g)
		return row->g->name;
	for (size_t i = 0; i < view->v.n_types; i++)
		if (strcmp(view->v.types[i].id, row->def->type) == 0)
			return view->v.types[i].name;
	return NULL;
}

/* "qemu/100", "process/4711", with '?' when it is not sure; allocated. */
static char *user_of(const struct view *view, const struct row *row)
{
	const struct vgpuuse *use;

	if (!row->g)
		return NULL;
	use = vgpuuse_of(view->uses, view->n_uses, row->instance);
	if (!use)
		return xstrdup("none");
	if (use->how == VGPUUSE_MAYBE)
		return xasprintf("process/%d?", (int)use->pid);
	if (strncmp(use->owner, "qemu/", 5) == 0 || strncmp(use->owner, "lxc/", 4) == 0)
		return xstrdup(use->owner);
	return xasprintf("process/%d", (int)use->pid);
}

static void put_row(struct record_writer *w, const struct view *view,
		    const struct row *row)
{
	_cleanup_free_ char *user = user_of(view, row), *guest = NULL, *group = NULL;
	const struct vgpu_parent *p = row->g ? &view->v.parents[row->g->parent] : NULL;
	unsigned hostpci;
	uint32_t vmid;
	const char *const values[] = {
		row->id,
		row->g ? row->g->type : row->def ? row->def->type : row->mgr->id,
		type_name(view, row),
		p ? p->name : row->def ? row->def->parent : NULL,
		row->g && row->g->group >= 0 ?
			(group = xasprintf("%d", row->g->group)) : NULL,
		row->g ? "active" : row->def ? "defined" : "stale",
		row->def ? row->def->is_auto ? "auto" : "manual" : NULL,
		user,
		mdev_pve_uuid_parse(row->id, &hostpci, &vmid) ?
			(guest = xasprintf("qemu/%u", vmid)) : NULL,
		p ? vgpu_backend_name(p->backend) :
		row->def ? vgpu_backend_name(row->def->backend) : NULL,
	};

	record_put(w, values);
}

static int print_rows(const struct view *view, const struct rows *rows)
{
	struct record_writer *w =
		record_stdout(fields, ARRAY_SIZE(fields), &view->record);

	if (!w)
		return msg_usage_error();
	for (size_t i = 0; i < rows->n; i++)
		put_row(w, view, &rows->rows[i]);
	record_writer_free(w);
	return rows->n ? EX_OK : VIEW_NONE;
}

static void sort_rows(struct rows *rows)
{
	if (rows->n)
		qsort(rows->rows, rows->n, sizeof(*rows->rows), compare_row);
}

int view_list(const struct view *view, char *const operands[])
{
	struct rows rows = { 0 };
	int status = EX_OK, printed;

	add_instances(view, false, &rows);
	add_definitions(view, &rows);
	sort_rows(&rows);
	if (*operands)
		status = choose_named(&rows, operands);
	printed = print_rows(view, &rows);
	free(rows.rows);
	return status == EX_OK || printed > VIEW_NONE ? printed : status;
}

int view_leftovers(const struct view *view)
{
	struct rows rows = { 0 };
	struct vgpumgr *mgrs = NULL;
	char **ids = NULL;
	size_t n = 0;
	int rc = view->parent < 0 ? vgpuuse_stale_managers(&view->v, &mgrs, &n) : 0,
	    status;

	if (rc < 0) {
		errno = -rc;
		say_errno("cannot look for processes of nvidia-vgpu-mgr");
		return EX_OSERR;
	}
	add_instances(view, true, &rows);
	ids = xcalloc(n + 1, sizeof(*ids));
	for (size_t i = 0; i < n; i++) {
		ids[i] = xasprintf("process/%d", (int)mgrs[i].pid);
		add_row(&rows, &(struct row){ .id = ids[i], .mgr = &mgrs[i] });
	}
	sort_rows(&rows);
	status = print_rows(view, &rows);
	for (size_t i = 0; i < n; i++)
		free(ids[i]);
	free(ids);
	vgpumgr_free(mgrs, n);
	free(rows.rows);
	return status;
}
