/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOST_SETUPCHECK_H
#define HOST_SETUPCHECK_H

#include "host/hostcheck.h"
#include "host/setup.h"

/*
 * All of hostcheck_run() for what is asked (or applied), and how far apply has
 * come: topics cards and files. Nothing is refused here; what apply would
 * refuse is a line.
 *
 * s: after setup_load(); its plan is of no use afterwards.
 */
void setupcheck_run(struct setup *s, const struct setup_request *asked,
		    struct hostcheck *hc);

#endif
