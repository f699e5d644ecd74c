/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pci/vgpu.h"

enum match { MATCH_NONE, MATCH_PART, MATCH_WHOLE };

static const char *without_brand(const char *name)
{
	static const char *const brands[] = { "GRID ", "NVIDIA " };

	for (size_t i = 0; i < ARRAY_SIZE(brands); i++)
		if (strncasecmp(name, brands[i], strlen(brands[i])) == 0)
			return name + strlen(brands[i]);
	return name;
}

/* "6Q" of "P40-6Q" and "1-5C" of "A100-1-5C": what text is of a name, from a '-' on. */
static bool is_last_part(const char *name, const char *text)
{
	for (const char *dash = strchr(name, '-'); dash; dash = strchr(dash + 1, '-'))
		if (strcasecmp(dash + 1, text) == 0)
			return true;
	return false;
}

static enum match match_type(const struct vgpus *v, const struct vgpu_type *t,
			     const char *text)
{
	bool is_vendor = v->parents[t->parent].backend == VGPU_NVIDIA;
	const char *name;

	if (strcmp(t->id, text) == 0 ||
	    (is_vendor && strcmp(t->id + strlen("nvidia-"), text) == 0))
		return MATCH_WHOLE;
	if (!t->name)
		return MATCH_NONE;
	name = without_brand(t->name);
	text = without_brand(text);
	if (strcasecmp(name, text) == 0 || strcasecmp(t->name, text) == 0)
		return MATCH_WHOLE;
	return is_last_part(name, text) ? MATCH_PART : MATCH_NONE;
}

bool vgpu_type_matches(const struct vgpus *v, const struct vgpu_type *t, const char *text)
{
	return match_type(v, t, text) != MATCH_NONE;
}

void vgpus_match(const struct vgpus *v, int parent, const char *text, size_t **types,
		 size_t *n)
{
	size_t room = 0;

	*types = NULL;
	*n = 0;
	for (size_t from = 0, to; from < v->n_types; from = to) {
		enum match best = MATCH_NONE;

		/* Types are sorted by parent. */
		for (to = from; to < v->n_types &&
		     v->types[to].parent == v->types[from].parent; to++) {
			enum match m = match_type(v, &v->types[to], text);

			best = m > best ? m : best;
		}
		if (best == MATCH_NONE ||
		    (parent >= 0 && v->types[from].parent != (size_t)parent))
			continue;
		for (size_t i = from; i < to; i++) {
			if (match_type(v, &v->types[i], text) != best)
				continue;
			*types = xgrow(*types, *n, &room, sizeof(**types));
			(*types)[(*n)++] = i;
		}
	}
}

/* "A100-1-5CME", "T4-2B4": the letter after the last number that follows a '-'. */
char vgpu_series(const char *name)
{
	const char *p = name ? strrchr(name, '-') : NULL;

	if (!p || !isdigit((unsigned char)p[1]))
		return 0;
	for (p++; isdigit((unsigned char)*p); p++)
		;
	return *p && strchr("ABCQ", *p) ? *p : 0;
}

const char *vgpu_one_per_vm(const char *name, int max_instance)
{
	/* Maxwell and Pascal, as NVIDIA's guide lists them. */
	static const char *const boards[] = {
		"M6-", "M10-", "M60-", "P4-", "P6-", "P40-", "P100-", "P100X-", "P100C-",
	};
	char series = vgpu_series(name);

	if (!series)
		return NULL;
	if (series == 'A' || series == 'B')
		return "a VM takes one vGPU of the A and B series";
	name = without_brand(name);
	for (size_t i = 0; i < ARRAY_SIZE(boards); i++)
		if (strncmp(name, boards[i], strlen(boards[i])) == 0 && max_instance != 1)
			return "on Maxwell and Pascal boards a VM takes one vGPU, unless each is the whole frame buffer of a board";
	return NULL;
}
