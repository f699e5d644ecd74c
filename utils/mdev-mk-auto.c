/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * At boot, and when a parent comes: make what is defined with start: auto. The kernel's
 * events and NVIDIA's services come in any order, and mdevctl may be at the same work.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "mdev-mk.h"
#include "pci/parentname.h"

enum { RELEASE_WAIT = 10 };	/* s */

struct pending {		/* the definitions that are not there yet */
	const struct mdevdef **defs;	/* owned */
	char **why;		/* owned; each owned: what stands in its way */
	size_t n;
};

static bool is_there(const struct host *h, const struct mdevdef *def)
{
	const struct vgpu_vf *vf;
	int at;

	if (def->backend == VGPU_SRIOV) {
		at = vgpus_find_parent(&h->v, def->parent, &vf);
		return at >= 0 && h->v.parents[at].numvfs == (int)def->count;
	}
	at = vgpus_find(&h->v, def->id);
	return at >= 0 && strcmp(h->v.parents[h->v.instances[at].parent].name,
				 def->parent) == 0 &&
	       h->v.instances[at].type && strcmp(h->v.instances[at].type, def->type) == 0;
}

/* One that lacks an attribute is not what was defined. */
static char *set_attrs(struct host *h, const struct vgpu_parent *p,
		       const struct mdevdef *def)
{
	const char *failed = NULL;
	int rc = host_write_attrs(h, p, def->id, def, &failed), at;
	struct vgpus now = { 0 };

	if (rc == 0)
		return NULL;
	if (vgpus_read(&now, 0) == 0) {
		at = vgpus_find(&now, def->id);
		if (at >= 0)
			vgpu_release(&h->writer, &now, (size_t)at, RELEASE_WAIT);
		vgpus_done(&now);
	}
	return xasprintf("attribute %s: %s; removed again", failed, strerror(-rc));
}

/* NULL, or why not, allocated. */
static char *start(struct host *h, const struct mdevdef *def)
{
	const struct vgpu_vf *vf = NULL;
	const struct vgpu_parent *p;
	char *id = NULL;
	int at, type, rc;

	if (is_there(h, def))
		return NULL;
	at = vgpus_find_parent(&h->v, def->parent, &vf);
	if (at < 0)
		return xasprintf("there is no %s, or it offers no vGPUs", def->parent);
	p = &h->v.parents[at];
	if (p->backend != def->backend)
		return xasprintf("%s has vGPUs of the kind %s now", p->name,
				 vgpu_backend_name(p->backend));
	type = vgpus_find_type(&h->v, (size_t)at, def->type);
	if (type < 0)
		return xasprintf("%s offers no type %s", p->name, def->type);
	if (p->backend == VGPU_SRIOV) {
		rc = vgpu_set_vfs(&h->writer, &h->v, (size_t)at, def->count, false);
		return rc < 0 ? host_explain(p->name, def->type, rc) : NULL;
	}
	if (p->backend == VGPU_NVIDIA &&
	    (vgpus_find_parent(&h->v, def->id, &vf) != at || !vf))
		return xasprintf("%s has no VF %s yet", p->name, def->id);
	rc = vgpu_create(&h->writer, &h->v, (size_t)type, def->id, vf, &id);
	free(id);
	if (rc == 0)
		return set_attrs(h, p, def);
	if (rc == -EEXIST) {
		struct host now = { .writer = { .lock = -1 } };
		/* mdevctl was first, and sees to the attributes. */
		bool is_same = vgpus_read(&now.v, 0) == 0 && is_there(&now, def);

		host_done(&now);
		if (is_same)
			return NULL;
	}
	return host_explain(p->name, def->type, rc);
}

/* Is it of this parent, or of this VF? name: as sysfs has it; NULL: of all. */
static bool is_of(const struct mdevdef *def, const char *name)
{
	return !name || strcmp(def->parent, name) == 0 ||
	       (def->backend == VGPU_NVIDIA && strcmp(def->id, name) == 0);
}

static void collect(const struct host *h, const char *name, struct pending *todo)
{
	todo->defs = xcalloc(h->n_defs + 1, sizeof(*todo->defs));
	todo->why = xcalloc(h->n_defs + 1, sizeof(*todo->why));
	for (size_t i = 0; i < h->n_defs; i++)
		if (h->defs[i].is_auto && is_of(&h->defs[i], name))
			todo->defs[todo->n++] = &h->defs[i];
}

/* Try each once; those that fail stay, with the reason of this time. */
static void try_all(struct host *h, struct pending *todo)
{
	size_t left = 0;

	for (size_t i = 0; i < todo->n; i++) {
		const struct mdevdef *def = todo->defs[i];
		char *why = start(h, def);

		free(todo->why[i]);
		todo->why[i] = NULL;
		if (!why) {
			say_info("%s: %s at %s is there", def->id, def->type,
				 def->parent);
			continue;
		}
		todo->defs[left] = def;
		todo->why[left++] = why;
	}
	todo->n = left;
}

int mk_start_auto(const struct mk *mk, struct host *h, const char *parent)
{
	_cleanup_free_ char *name = NULL;
	struct pending todo = { 0 };
	struct host defs = { .writer = { .lock = -1 } };
	int status = EX_OK;

	if (parent && strcmp(parent, "all") != 0) {
		name = parentname_parse(parent);
		if (!name) {
			say("not the name of a device: %s", parent);
			return msg_usage_error();
		}
	}
	/* What is to be done stays as it was read, the host is looked at each time. */
	status = host_read(&defs, 0, false);
	collect(&defs, name, &todo);
	for (unsigned waited = 0; status == EX_OK && todo.n; waited++) {
		static const struct timespec second = { .tv_sec = 1 };

		status = host_lock(h);
		if (status == EX_OK)
			status = host_read(h, VGPUS_TYPES | VGPUS_ANY_SRIOV, false);
		if (status == EX_OK)
			try_all(h, &todo);
		host_unlock(h);
		if (!todo.n || waited >= mk->wait || host_is_stopped())
			break;
		nanosleep(&second, NULL);
	}
	for (size_t i = 0; i < todo.n; i++) {
		say("%s: %s at %s: %s", todo.defs[i]->id, todo.defs[i]->type,
		    todo.defs[i]->parent, todo.why[i] ? todo.why[i] : "not tried");
		free(todo.why[i]);
	}
	if (status == EX_OK && todo.n)
		status = EX_UNAVAILABLE;
	free(todo.defs);
	free(todo.why);
	host_done(&defs);
	return status;
}
