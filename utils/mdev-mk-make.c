/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/sysfs.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "mdev-mk.h"

enum { RELEASE_WAIT = 10 };	/* s, as PVE waits for NVIDIA's driver */

/* ---- back to how it was ---- */

static void undo_definition(const struct host *h, const struct mk_item *item)
{
	const struct vgpu_type *t = &h->v.types[item->type];
	const struct vgpu_parent *p = &h->v.parents[t->parent];
	const struct mdevdef *old = mdevdef_find(h->defs, h->n_defs, p->name, item->id);
	const struct mdevdef def = { .backend = p->backend,
				     .parent = p->name,
				     .id = item->id };

	if (old)
		mdevdef_write(old);
	else
		mdevdef_remove(&def);
}

static void undo_one(struct host *h, const struct vgpus *now, const struct mk_item *item)
{
	int at = vgpus_find(now, item->id), rc;

	if (at < 0)
		return;
	rc = vgpu_release(&h->writer, now, (size_t)at, RELEASE_WAIT);
	if (rc < 0)
		say("%s, which was made by this call, could not be removed again: %s",
		    item->id, strerror(-rc));
}

static void undo(struct host *h, const struct mk_items *items)
{
	struct vgpus now = { 0 };
	bool is_read = !sysfs_dry_run && vgpus_read(&now, VGPUS_ANY_SRIOV) == 0;

	if (!is_read && !sysfs_dry_run)
		say("what was made by this call cannot be looked for, and stays");

	for (size_t i = items->n; i-- > 0;) {
		const struct mk_item *item = &items->items[i];

		if (item->is_defined)
			undo_definition(h, item);
		if (!item->is_made || !is_read)
			continue;
		if (items->numvfs) {
			const struct vgpu_vf *vf;
			int parent = vgpus_find_parent(&now, item->id, &vf);

			if (parent >= 0 &&
			    vgpu_set_vfs(&h->writer, &now, (size_t)parent, 0, false) < 0)
				say("%s keeps the VFs that were made by this call",
				    item->id);
		} else {
			undo_one(h, &now, item);
		}
	}
	vgpus_done(&now);
}

/* ---- make ---- */

/* In a dry run nothing changes: the next free VF has to be told. */
static const struct vgpu_vf *next_vf(const struct vgpu_parent *p,
				     const struct mk_items *items)
{
	for (size_t i = 0; i < p->n_vfs; i++) {
		bool is_taken = p->vfs[i].current != 0;

		for (size_t k = 0; k < items->n; k++)
			is_taken |= items->items[k].id &&
				    strcmp(items->items[k].id, p->vfs[i].name) == 0;
		if (!is_taken)
			return &p->vfs[i];
	}
	return NULL;
}

static int make_one(const struct mk *mk, struct host *h, const struct mk_items *items,
		    struct mk_item *item, const char **failed)
{
	const struct vgpu_type *t = &h->v.types[item->type];
	const struct vgpu_parent *p = &h->v.parents[t->parent];
	const struct vgpu_vf *vf = item->vf;
	char *id = NULL;
	int rc;

	if (items->numvfs) {
		rc = vgpu_set_vfs(&h->writer, &h->v, t->parent, items->numvfs, false);
		item->is_made = rc == 0;
		return rc;
	}
	if (!vf && sysfs_dry_run && p->backend == VGPU_NVIDIA)
		vf = next_vf(p, items);
	rc = vgpu_create(&h->writer, &h->v, (size_t)item->type, item->id, vf, &id);
	if (rc < 0)
		return rc;
	free(item->id);
	item->id = id;
	item->is_made = true;
	if (item->def)
		rc = host_write_attrs(h, p, id, item->def, failed);
	return rc < 0 ? rc : host_write_attrs(h, p, id, &mk->attrs, failed);
}

static int say_failure(const struct mk_items *items, const struct host *h, size_t i,
		       int rc, const char *failed)
{
	const struct vgpu_type *t = &h->v.types[items->items[i].type];
	const char *parent = h->v.parents[t->parent].name;
	_cleanup_free_ char *type = mk_type_text(t);
	_cleanup_free_ char *why = failed ? xstrdup(strerror(-rc)) :
				   host_explain(parent, t->id, rc);
	size_t made = 0;

	for (size_t k = 0; k < items->n; k++)
		made += items->items[k].is_made;
	if (failed)
		say("%s: attribute %s: %s", items->items[i].id, failed, why);
	else
		say("%s at %s: %s", type, parent, why);
	if (made)
		say("%zu of %zu made by this call: removed again", made, items->n);
	return host_exit_code(rc, EX_CANTCREAT);
}

/* Show a definition that a dry run does not write. */
static void show_definition(const struct mdevdef *def)
{
	_cleanup_free_ char *path = mdevdef_path(def), *text = mdevdef_text(def),
			    *word = text_shell_word(text, strlen(text));

	printf("printf '%%s' %s > %s\n", word, path);
}

/* Without --attr the attributes of a former definition are kept. */
static int define_one(const struct mk *mk, const struct host *h, struct mk_item *item,
		      unsigned numvfs)
{
	const struct vgpu_type *t = &h->v.types[item->type];
	const struct vgpu_parent *p = &h->v.parents[t->parent];
	const struct mdevdef *old = mdevdef_find(h->defs, h->n_defs, p->name, item->id);
	struct mdevdef def = {
		.backend = p->backend,
		.parent = xstrdup(p->name),
		.id = xstrdup(item->id),
		.type = xstrdup(t->id),
		.is_auto = mk->is_auto,
		.count = numvfs,
	};
	const struct mdevdef *from = mk->attrs.n_attrs || !old ? &mk->attrs : old;
	int rc = 0;

	for (size_t i = 0; i < from->n_attrs; i++)
		mdevdef_add_attr(&def, from->attrs[i].name, from->attrs[i].value);
	if (sysfs_dry_run) {
		show_definition(&def);
	} else {
		rc = mdevdef_write(&def);
		item->is_defined = rc == 0;
	}
	if (rc < 0) {
		_cleanup_free_ char *path = mdevdef_path(&def);

		errno = -rc;
		say_errno("%s", path);
	}
	mdevdef_done(&def);
	return rc;
}

static int define_all(const struct mk *mk, const struct host *h, struct mk_items *items)
{
	if (!mk->is_defined && !mk->is_auto)
		return EX_OK;
	for (size_t i = 0; i < items->n; i++)
		if (items->items[i].id &&
		    define_one(mk, h, &items->items[i], items->numvfs) < 0)
			return EX_CANTCREAT;
	if (mk->is_auto && !sysfs_dry_run && !mdevdef_is_started_at_boot()) {
		int rc = mdevdef_start_at_boot(true);

		if (rc < 0) {
			errno = -rc;
			say_errno("cannot switch on that it starts at boot");
			return EX_CANTCREAT;
		}
	}
	return EX_OK;
}

static void warn_one_per_vm(const struct host *h, const struct mk_items *items)
{
	const struct vgpu_type *t = &h->v.types[items->items[0].type];
	const char *why = items->n > 1 ? vgpu_one_per_vm(t->name, t->max_instance) : NULL;

	if (why)
		say_warn("give each to another VM: %s", why);
}

int mk_make(const struct mk *mk, struct host *h, struct mk_items *items)
{
	int status = EX_OK;

	for (size_t i = 0; status == EX_OK && i < items->n; i++) {
		const char *failed = NULL;
		int rc = 0;

		if (host_is_stopped()) {
			say("interrupted: what was made by this call is removed again");
			status = EX_TEMPFAIL;
		} else if (!items->items[i].exists) {
			rc = make_one(mk, h, items, &items->items[i], &failed);
		}
		if (rc < 0)
			status = say_failure(items, h, i, rc, failed);
	}
	if (status == EX_OK)
		status = define_all(mk, h, items);
	if (status != EX_OK)
		undo(h, items);
	else
		warn_one_per_vm(h, items);
	return status;
}
