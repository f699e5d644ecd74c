/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "mdev-mk.h"
#include "mdev-say.h"
#include "pci/parentname.h"

void mk_items_done(struct mk_items *items)
{
	for (size_t i = 0; i < items->n; i++)
		free(items->items[i].id);
	free(items->items);
	*items = (struct mk_items){ 0 };
}

char *mk_type_text(const struct vgpu_type *t)
{
	return t->name && strcmp(t->name, t->id) != 0 ?
	       xasprintf("%s (%s)", t->name, t->id) : xstrdup(t->id);
}

static struct mk_item *add_item(struct mk_items *items, int type)
{
	items->items = xreallocarray(items->items, items->n + 1, sizeof(*items->items));
	items->items[items->n] = (struct mk_item){ .type = type };
	return &items->items[items->n++];
}

/* The one type that was asked for: its index, or -1 with *status, said. */
static int choose_type(const struct mk *mk, const struct host *h, int parent, int *status)
{
	_cleanup_free_ size_t *types = NULL;
	size_t n;

	vgpus_match(&h->v, parent, mk->type, &types, &n);
	*status = EX_NOINPUT;
	if (n == 1)
		return (int)types[0];
	if (n == 0) {
		say("no type %s%s%s; see 'mdev-ls --types'", mk->type,
		    parent < 0 ? "" : " at ",
		    parent < 0 ? "" : h->v.parents[parent].name);
		return -1;
	}
	say("%s is more than one: say which with -p and the whole name, or the id",
	    mk->type);
	for (size_t i = 0; i < n; i++) {
		const struct vgpu_type *t = &h->v.types[types[i]];
		_cleanup_free_ char *text = mk_type_text(t);

		say("  -p %s -t %s: %s, %d left", h->v.parents[t->parent].name, t->id,
		    text, t->available);
	}
	*status = EX_USAGE;
	return -1;
}

/* An id that was given: a UUID for mdev, a VF of the parent for NVIDIA. */
static int take_id(const struct host *h, const char *text, struct mk_item *item)
{
	const struct vgpu_type *t = &h->v.types[item->type];
	const struct vgpu_parent *p = &h->v.parents[t->parent];
	char uuid[MDEV_UUID_LEN + 1];
	int at;

	if (p->backend == VGPU_MDEV) {
		if (!vgpu_uuid_parse(text, uuid)) {
			say("not a UUID: %s", text);
			return msg_usage_error();
		}
		item->id = xstrdup(uuid);
	} else if (p->backend == VGPU_NVIDIA) {
		if (vgpus_find_parent(&h->v, text, &item->vf) != (int)t->parent ||
		    !item->vf) {
			say("not a VF of %s: %s", p->name, text);
			return EX_NOINPUT;
		}
		item->id = xstrdup(item->vf->name);
	} else {
		say("-u does not go with plain SR-IOV: %s makes all its VFs at once",
		    p->name);
		return msg_usage_error();
	}
	at = vgpus_find(&h->v, item->id);
	if (at < 0)
		return EX_OK;
	item->exists = true;
	if (h->v.instances[at].parent == t->parent && h->v.instances[at].type &&
	    strcmp(h->v.instances[at].type, t->id) == 0)
		return EX_OK;
	say("%s is there already, as %s at %s", item->id,
	    h->v.instances[at].type ? h->v.instances[at].type : "another type",
	    h->v.parents[h->v.instances[at].parent].name);
	return EX_CANTCREAT;
}

/* Two of one id in one call would be one vGPU. */
static int check_twice(const struct mk *mk, const struct mk_items *items)
{
	/* Those that were named come first; a random UUID is no other's. */
	for (size_t i = 0; i < mk->n_ids && i < items->n; i++)
		for (size_t k = i + 1; k < mk->n_ids && k < items->n; k++)
			if (items->items[i].id && items->items[k].id &&
			    strcmp(items->items[i].id, items->items[k].id) == 0) {
				say("named twice: %s", items->items[i].id);
				return msg_usage_error();
			}
	return EX_OK;
}

/* Are so many of a type left? EX_OK or an exit code, said. */
static int check_left(const struct host *h, const struct vgpu_type *t, size_t wanted)
{
	_cleanup_free_ char *text = NULL, *holds = NULL;

	if (t->available < 0 || wanted <= (size_t)t->available)
		return EX_OK;
	text = mk_type_text(t);
	holds = vgpu_holds(&h->v, t->parent);
	say("%s at %s: %zu wanted, %d left%s%s", text, h->v.parents[t->parent].name,
	    wanted, t->available, t->reason ? ": " : holds ? "; it has " : "",
	    t->reason ? t->reason : holds ? holds : "");
	return EX_TEMPFAIL;
}

/* Nothing is begun that is known to fail. */
static int check_room(const struct host *h, const struct mk_items *items)
{
	for (size_t i = 0; i < items->n; i++) {
		int type = items->items[i].type, status;
		size_t wanted = 0;

		if (i && items->items[i - 1].type == type)
			continue;	/* they were counted with that one */
		for (size_t k = 0; k < items->n; k++)
			wanted += items->items[k].type == type && !items->items[k].exists;
		status = check_left(h, &h->v.types[type], wanted);
		if (status != EX_OK)
			return status;
	}
	return EX_OK;
}

static int plan_vfs(const struct mk *mk, const struct vgpu_parent *p, int type,
		    unsigned count, struct mk_items *items)
{
	if (mk->attrs.n_attrs || mk->n_ids) {
		say("%s does not go with plain SR-IOV", mk->n_ids ? "-u" : "--attr");
		return msg_usage_error();
	}
	add_item(items, type)->exists = p->numvfs == (int)count;
	items->items[0].id = xstrdup(p->name);
	items->numvfs = count;
	return EX_OK;
}

static int plan_type(const struct mk *mk, const struct host *h, int parent,
		     const struct vgpu_vf *vf, struct mk_items *items)
{
	size_t count = mk->count ? mk->count : mk->n_ids ? mk->n_ids : 1;
	int status, type = choose_type(mk, h, parent, &status);
	const struct vgpu_parent *p;

	if (type < 0)
		return status;
	p = &h->v.parents[h->v.types[type].parent];
	if (p->backend == VGPU_SRIOV)
		return plan_vfs(mk, p, type, (unsigned)count, items);
	if (count < mk->n_ids || (vf && (count > 1 || mk->n_ids))) {
		say("%s", vf ? "a VF takes one vGPU, and no -u" :
		    "-c is less than there are -u");
		return msg_usage_error();
	}
	/* Those that were named may be there. */
	status = check_left(h, &h->v.types[type], vf ? 0 : count - mk->n_ids);
	if (status != EX_OK)
		return status;
	for (size_t i = 0; i < count; i++) {
		struct mk_item *item = add_item(items, type);
		char uuid[MDEV_UUID_LEN + 1];

		status = i < mk->n_ids ? take_id(h, mk->ids[i], item) :
			 vf ? take_id(h, vf->name, item) : EX_OK;
		if (status != EX_OK)
			return status;
		if (item->id || p->backend != VGPU_MDEV)
			continue;
		if (vgpu_uuid(uuid) < 0) {
			say("no random numbers for a UUID");
			return EX_OSERR;
		}
		item->id = xstrdup(uuid);
	}
	return EX_OK;
}

/* The one definition under a name; NULL and *status, said, when there is no such. */
static const struct mdevdef *find_definition(const struct mk *mk, const struct host *h,
					     const char *text, int *status)
{
	_cleanup_free_ char *parent = mk->parent ? parentname_parse(mk->parent) : NULL;
	_cleanup_free_ char *id = parentname_parse(text);
	const struct mdevdef *found = NULL;

	for (size_t i = 0; id && i < h->n_defs; i++) {
		if (strcasecmp(h->defs[i].id, id) != 0 ||
		    (parent && strcmp(h->defs[i].parent, parent) != 0))
			continue;
		if (found) {
			say("%s is defined at %s and at %s: say which with -p", id,
			    found->parent, h->defs[i].parent);
			*status = EX_USAGE;
			return NULL;
		}
		found = &h->defs[i];
	}
	if (!found) {
		say("%s neither exists nor is defined: say with -t what to make", text);
		*status = EX_NOINPUT;
	}
	return found;
}

/* One that is named by its id alone: what it is, and where. */
static int add_known(const struct host *h, const struct mk_item *known,
		     const char *parent, const char *type, struct mk_items *items)
{
	const struct vgpu_vf *vf;
	int at = vgpus_find_parent(&h->v, parent, &vf), i;
	struct mk_item *item;

	if (at < 0)
		return say_no_parent(parent);
	i = vgpus_find_type(&h->v, (size_t)at, type);
	if (i < 0) {
		say("%s: %s offers no type %s now; see 'mdev-ls --types'", known->id,
		    parent, type);
		return EX_UNAVAILABLE;
	}
	item = add_item(items, i);
	item->def = known->def;
	item->exists = known->exists;
	item->id = xstrdup(known->id);
	if (h->v.parents[at].backend == VGPU_NVIDIA)
		vgpus_find_parent(&h->v, item->id, &item->vf);
	if (item->def && item->def->backend == VGPU_SRIOV) {
		items->numvfs = item->def->count;
		item->exists = h->v.parents[at].numvfs == (int)item->def->count;
	}
	return EX_OK;
}

/* Without -t: what exists is taken as it is, what is defined is made. */
static int plan_id(const struct mk *mk, const struct host *h, const char *text,
		   struct mk_items *items)
{
	int at = vgpus_find(&h->v, text), status = EX_OK;
	struct mk_item known = { 0 };
	const struct mdevdef *def;

	if (at >= 0) {
		const struct vgpu *g = &h->v.instances[at];
		const char *parent = h->v.parents[g->parent].name;

		if (h->v.parents[g->parent].backend == VGPU_SRIOV) {
			say("VFs of plain SR-IOV are made and defined together: -u %s",
			    parent);
			return EX_USAGE;
		}
		known.id = g->id;
		known.exists = true;
		return add_known(h, &known, parent, g->type ? g->type : "-", items);
	}
	def = find_definition(mk, h, text, &status);
	if (!def)
		return status;
	known.id = def->id;
	known.def = def;
	return add_known(h, &known, def->parent, def->type, items);
}

int mk_plan(const struct mk *mk, const struct host *h, struct mk_items *items)
{
	const struct vgpu_vf *vf = NULL;
	int parent = -1, status = EX_OK;

	if (mk->parent) {
		parent = vgpus_find_parent(&h->v, mk->parent, &vf);
		if (parent < 0)
			return say_no_parent(mk->parent);
	}
	if (mk->type)
		status = plan_type(mk, h, parent, vf, items);
	for (size_t i = 0; !mk->type && status == EX_OK && i < mk->n_ids; i++)
		status = plan_id(mk, h, mk->ids[i], items);
	if (status == EX_OK && items->numvfs && items->n > 1) {
		say("plain SR-IOV goes one card at a time");
		status = msg_usage_error();
	}
	if (status == EX_OK)
		status = check_twice(mk, items);
	if (status == EX_OK && !items->numvfs)
		status = check_room(h, items);
	return status;
}
