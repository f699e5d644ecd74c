/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pci/parentname.h"
#include "pci/pciaddr.h"

bool parentname_is_safe(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

/*
 * "0000_82_00_0" with the separators that sysfs has in their places; NULL: too many
 * parts.
 */
static char *respell(const char *text, const char *separators)
{
	char *out = xstrdup(text);
	size_t n = 0;

	for (char *p = out; *p; p++) {
		if (*p != '_')
			continue;
		if (!separators[n]) {
			free(out);
			return NULL;
		}
		*p = separators[n++];
	}
	return out;
}

char *parentname_parse(const char *text)
{
	_cleanup_free_ char *respelled = NULL;
	char addr_text[PCIADDR_STRLEN];
	struct pciaddr addr;

	if (strncmp(text, "/sys/", 5) == 0)
		text = strrchr(text, '/') + 1;
	if (strncmp(text, "pci_", 4) == 0) {
		respelled = respell(text + 4, "::.");
		if (respelled && pciaddr_parse(respelled, &addr))
			text = respelled;
	} else if (strncmp(text, "css_", 4) == 0 || strncmp(text, "ccw_", 4) == 0) {
		respelled = respell(text + 4, "..");
		if (respelled)
			text = respelled;
	}
	if (pciaddr_parse(text, &addr))
		return xstrdup(pciaddr_format(&addr, addr_text));
	return parentname_is_safe(text) ? xstrdup(text) : NULL;
}

char *parentname_virsh(const char *name)
{
	struct pciaddr addr;

	if (!pciaddr_parse(name, &addr))
		return NULL;
	return xasprintf("pci_%04x_%02x_%02x_%x", addr.domain, addr.bus, addr.slot,
			 addr.func);
}
