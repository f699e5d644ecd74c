/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of mdev-ls. They print. */
#ifndef MDEV_LS_H
#define MDEV_LS_H

#include "base/record.h"
#include "pci/mdevdef.h"
#include "pci/vgpu.h"
#include "pve/vgpuuse.h"

struct view {			/* what is to be shown, and of what */
	struct record_opts record;
	struct vgpus v;
	struct mdevdef *defs;	/* owned */
	size_t n_defs;
	struct vgpuuse *uses;	/* owned */
	size_t n_uses;
	char *only;		/* owned; the name of the parent asked for; NULL: all */
	int parent;		/* index; -1: all */
	const struct vgpu_vf *vf;	/* the parent was named by this VF of it; NULL */
};

/* The definition of an instance, or of the VFs that it is one of; NULL without. */
const struct mdevdef *view_definition(const struct view *view, const struct vgpu *g);

/* Is it a leftover? */
bool view_is_leftover(const struct view *view, size_t instance);

/*
 * The answer of the lists below when there is nothing to print; else they return
 * EX_OK or another exit code.
 */
enum { VIEW_NONE = 1 };

/* Instances and definitions; operands: those named, none: all. */
int view_list(const struct view *view, char *const operands[]);
/* --leftovers */
int view_leftovers(const struct view *view);

/* --types: what can be made. operand: a type's name, NULL: all. */
int view_types(const struct view *view, const char *operand);

/* --check: the ordered diagnosis. An exit code. */
int view_check(const struct view *view);

#endif
