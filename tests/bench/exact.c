/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner against brute force, plan by plan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "brute.h"
#include "exact.h"

static void print_set(FILE *out, const struct host *h, const struct brute_plan *p)
{
	if (!p->exists)
		fprintf(out, " none");
	for (int i = 0; i < p->n; i++)
		fprintf(out, " %u", (unsigned)h->guest[p->guest[i]].id.vmid);
	for (int i = 0; i < p->n_units; i++)
		fprintf(out, " %s", h->user[p->unit[i]].unit);
}

bool exact_matches(const struct host *h, const struct brute_plan *want,
		   const struct contention_plan *got)
{
	bool exists = got->verdict == CONTENTION_FREE || got->verdict == CONTENTION_STOP;
	size_t guests = 0, units = 0;

	if (exists != want->exists)
		return false;
	for (size_t i = 0; i < got->n; i++) {
		bool met = false;

		for (int k = 0; k < want->n && !got->stops[i].unit; k++)
			met |= h->guest[want->guest[k]].id.vmid ==
			       got->stops[i].guest.vmid;
		for (int k = 0; k < want->n_units && got->stops[i].unit; k++)
			met |= strcmp(h->user[want->unit[k]].unit, got->stops[i].unit) ==
			       0;
		if (!met || !got->stops[i].kinds)
			return false;
		if (got->stops[i].unit)
			units++;
		else
			guests++;
	}
	return guests == (size_t)want->n && units == (size_t)want->n_units;
}

void exact_print(FILE *out, const struct host *h, int x, const struct brute_plan *want,
		 const struct contention_plan *got)
{
	fprintf(out, "seed %u: for %u: brute force:", h->seed,
		(unsigned)h->guest[x].id.vmid);
	print_set(out, h, want);
	fprintf(out, "; planner (verdict %d%s%s):", (int)got->verdict,
		got->why ? ", " : "", got->why ? got->why : "");
	for (size_t i = 0; i < got->n; i++) {
		if (got->stops[i].unit)
			fprintf(out, " %s", got->stops[i].unit);
		else
			fprintf(out, " %u", (unsigned)got->stops[i].guest.vmid);
	}
	fputc('\n', out);
}

size_t exact_check(struct host *h, FILE *out, size_t *plans)
{
	struct host_view v;
	struct brute b;
	struct contention *c;
	size_t wrong = 0;

	host_view(h, &v);
	brute_start(&b, h);
	c = contention_new(&v.in);
	for (int x = 0; x < h->n_guests; x++) {
		struct contention_plan got;
		struct brute_plan want;

		if (h->guest[x].running)
			continue;
		contention_plan(c, h->guest[x].id, &got);
		brute_plan(&b, x, &want);
		++*plans;
		if (!exact_matches(h, &want, &got)) {
			exact_print(out, h, x, &want, &got);
			wrong++;
		}
		contention_plan_done(&got);
	}
	contention_free(c);
	host_view_done(&v);
	return wrong;
}
