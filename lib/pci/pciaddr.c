/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>
#include <stdio.h>

#include "base/text.h"
#include "pci/pciaddr.h"

/* Read 1..max hex digits that end at `end`; advance *text past it. */
static bool hex_field(const char **text, int max, char end, uint32_t *value)
{
	const char *p = *text;
	uint32_t v = 0;

	for (int i = 0; i < max && text_hex_digit(*p) >= 0; i++)
		v = v << 4 | (uint32_t)text_hex_digit(*p++);
	if (p == *text || *p != end)
		return false;
	*value = v;
	*text = end ? p + 1 : p;
	return true;
}

/* "[DOMAIN:]BB:DD" up to `end`. */
static bool parse_front(const char **text, char end, struct pciaddr *addr)
{
	uint32_t domain = 0, bus, slot;
	const char *p = *text;

	if (!hex_field(&p, 8, ':', &domain))
		return false;
	if (!hex_field(&p, 2, ':', &bus)) {
		p = *text;
		domain = 0;
		if (!hex_field(&p, 2, ':', &bus))
			return false;
	}
	if (!hex_field(&p, 2, end, &slot) || slot > 0x1f)
		return false;
	*text = p;
	*addr = (struct pciaddr){ domain, (uint8_t)bus, (uint8_t)slot, 0 };
	return true;
}

bool pciaddr_parse(const char *text, struct pciaddr *addr)
{
	struct pciaddr front;
	uint32_t func;

	if (!parse_front(&text, '.', &front) || !hex_field(&text, 1, '\0', &func) ||
	    func > 7)
		return false;
	front.func = (uint8_t)func;
	*addr = front;
	return true;
}

bool pciaddr_parse_slot(const char *text, struct pciaddr *addr)
{
	struct pciaddr front;

	if (!parse_front(&text, '\0', &front))
		return false;
	*addr = front;
	return true;
}

const char *pciaddr_format(const struct pciaddr *addr, char buf[PCIADDR_STRLEN])
{
	snprintf(buf, PCIADDR_STRLEN, "%04x:%02x:%02x.%x", addr->domain, addr->bus,
		 addr->slot & 0x1fu, addr->func & 7u);
	return buf;
}

int pciaddr_compare(const void *a, const void *b)
{
	const struct pciaddr *x = a, *y = b;

	if (x->domain != y->domain)
		return x->domain < y->domain ? -1 : 1;
	if (x->bus != y->bus)
		return x->bus - y->bus;
	if (x->slot != y->slot)
		return x->slot - y->slot;
	return x->func - y->func;
}

bool pciaddr_same_slot(const struct pciaddr *a, const struct pciaddr *b)
{
	return a->domain == b->domain && a->bus == b->bus && a->slot == b->slot;
}
