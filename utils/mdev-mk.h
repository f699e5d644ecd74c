/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of mdev-mk. They print. */
#ifndef MDEV_MK_H
#define MDEV_MK_H

#include "mdev-host.h"

enum mk_print { MK_RECORDS, MK_XML, MK_PVE };

struct mk {			/* what is to be made */
	const char *parent;	/* as written; NULL: the only one that has the type */
	const char *type;	/* as written; NULL: what exists or is defined as ids */
	char *const *ids;	/* UUIDs or VFs as written */
	size_t n_ids;
	unsigned count;		/* 0: as many as ids, at least one */
	bool is_defined, is_auto;	/* --define, --auto */
	struct mdevdef attrs;	/* --attr: the attributes of this one alone */
	unsigned wait;		/* s; for --start-auto */
	enum mk_print print;
	struct record_opts record;
};

struct mk_item {		/* one vGPU of this call */
	char *id;		/* owned; NULL until it is known */
	const struct vgpu_vf *vf;	/* NULL: the first free one */
	int type;		/* index into types */
	bool exists;		/* was there before */
	bool is_made;		/* by this call */
	bool is_defined;	/* its definition was written by this call */
	const struct mdevdef *def;	/* it is made from this; NULL */
};

struct mk_items {
	struct mk_item *items;	/* owned */
	size_t n;
	unsigned numvfs;	/* plain SR-IOV: one item, this many VFs; else 0 */
};

/* ---- mdev-mk-plan.c ---- */

/* What the call is about. EX_OK or an exit code, said. */
int mk_plan(const struct mk *mk, const struct host *h, struct mk_items *items);
void mk_items_done(struct mk_items *items);

/* "GRID P40-6Q (nvidia-50)", allocated. */
char *mk_type_text(const struct vgpu_type *t);

/* ---- mdev-mk-make.c ---- */

/* Make all, or none: what fails is said, what was made is removed. An exit code. */
int mk_make(const struct mk *mk, struct host *h, struct mk_items *items);

/* ---- mdev-mk-print.c ---- */

/* Print what the call is about, made or there before; out is for records. An exit code. */
int mk_print(const struct mk *mk, struct record_writer *out, const struct host *h,
	     const struct mk_items *items);

/* ---- mdev-mk-auto.c ---- */

/* Start what is auto: of all (NULL or "all"), of a parent, or on a VF. An exit code. */
int mk_start_auto(const struct mk *mk, struct host *h, const char *parent);

#endif
