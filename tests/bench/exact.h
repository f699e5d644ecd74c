/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BENCH_EXACT_H
#define BENCH_EXACT_H

#include <stdio.h>

#include "brute.h"

/* Same verdict, same set? */
bool exact_matches(const struct host *h, const struct brute_plan *want,
		   const struct contention_plan *got);
void exact_print(FILE *out, const struct host *h, int x, const struct brute_plan *want,
		 const struct contention_plan *got);
/*
 * Plan for every stopped guest by both; differences are printed. Returns how many;
 * *plans grows.
 */
size_t exact_check(struct host *h, FILE *out, size_t *plans);

#endif
