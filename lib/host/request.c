/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "host/cmdline.h"
#include "host/request.h"
#include "pci/pciaddr.h"

static const char *add_gpu(struct strlist *l, const char *value)
{
	char text[PCIADDR_STRLEN];
	struct pciaddr addr;

	/* A slot means its first function; the rest of the card follows it. */
	if (!pciaddr_parse(value, &addr) && !pciaddr_parse_slot(value, &addr))
		return "not the address of a PCI function (DDDD:BB:DD.F)";
	strlist_add_new(l, pciaddr_format(&addr, text));
	return NULL;
}

static const char *add_id(struct strlist *l, const char *value)
{
	char text[sizeof("vvvv:dddd")];

	if (strlen(value) != sizeof(text) - 1)
		return "not a vendor and device id (vvvv:dddd)";
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		int digit = text_hex_digit(value[i]);

		if (i == 4 ? value[i] != ':' : digit < 0)
			return "not a vendor and device id (vvvv:dddd)";
		text[i] = i == 4 ? ':' : "0123456789abcdef"[digit];
	}
	text[sizeof(text) - 1] = '\0';
	strlist_add_new(l, text);
	return NULL;
}

static const char *add_module(struct strlist *l, const char *value)
{
	char text[64];
	size_t len = strlen(value);

	if (len == 0 || len >= sizeof(text))
		return "not the name of a module";
	for (size_t i = 0; i <= len; i++) {
		char c = value[i];

		if (c && c != '-' && c != '_' && !(c >= '0' && c <= '9')
		    && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z'))
			return "not the name of a module";
		text[i] = c == '-' ? '_' : c;
	}
	strlist_add_new(l, text);
	return NULL;
}

const char *request_add(struct setup_request *r, int option, const char *value)
{
	const char *wrong;

	switch (option) {
	case 'g':
		return add_gpu(&r->gpus, value);
	case 'i':
		return add_id(&r->ids, value);
	case 'b':
		return add_module(&r->blacklist, value);
	default:
		wrong = cmdline_word_error(value);
		if (!wrong)
			strlist_add_new(&r->cmdline, value);
		return wrong;
	}
}

bool request_is_empty(const struct setup_request *r)
{
	return !r->gpus.n && !r->ids.n && !r->all_gpus && !r->cmdline.n &&
	       !r->blacklist.n;
}

bool request_equal(const struct setup_request *a, const struct setup_request *b)
{
	return strlist_equal(&a->gpus, &b->gpus) && strlist_equal(&a->ids, &b->ids)
	       && a->all_gpus == b->all_gpus && strlist_equal(&a->cmdline, &b->cmdline)
	       && strlist_equal(&a->blacklist, &b->blacklist) && a->early == b->early;
}

void request_done(struct setup_request *r)
{
	strlist_done(&r->gpus);
	strlist_done(&r->ids);
	strlist_done(&r->cmdline);
	strlist_done(&r->blacklist);
	*r = (struct setup_request){ 0 };
}
