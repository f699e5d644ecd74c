/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vfio-setup is asked to set up: its options, remembered from apply on. */
#ifndef HOST_REQUEST_H
#define HOST_REQUEST_H

#include <stdbool.h>

#include "host/strlist.h"

struct setup_request {
	struct strlist gpus;	/* --gpu: DDDD:BB:DD.F, spelled as in sysfs */
	struct strlist ids;	/* --id: vvvv:dddd, lower case */
	bool all_gpus;		/* --all-gpus */
	struct strlist cmdline;	/* --cmdline: words that cmdline_word_error() allows */
	struct strlist blacklist;	/* --blacklist: modules, '_' for '-' */
	bool early;		/* --early: in the initramfs too */
	bool force;		/* --force; not remembered */
};

/*
 * Add the value of one option, spelled in the one form above; option is 'g'
 * (--gpu), 'i' (--id), 'c' (--cmdline) or 'b' (--blacklist).
 * NULL, or what is wrong with value (a constant: "not a …").
 */
const char *request_add(struct setup_request *r, int option, const char *value);

/* Nothing asked for but perhaps early or force? */
bool request_is_empty(const struct setup_request *r);

bool request_equal(const struct setup_request *a, const struct setup_request *b);
void request_done(struct setup_request *r);

#endif
