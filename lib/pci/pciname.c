/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>

#include <pci/pci.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pci/pciname.h"

struct pcinames {
	struct pci_access *pacc;
	int flags;		/* PCI_LOOKUP_…, for every look-up */
	bool is_broken;		/* pci.ids cannot be parsed */
};

/* libpci exits on a damaged pci.ids unless its hook does not return. */
static jmp_buf failed;

static void __attribute__((noreturn, format(printf, 1, 2))) on_error(char *msg, ...)
{
	(void)msg;
	longjmp(failed, 1);
}

static void __attribute__((format(printf, 1, 2))) on_warning(char *msg, ...)
{
	(void)msg;
}

struct pcinames *pcinames_new(void)
{
	struct pcinames *names = xcalloc(1, sizeof(*names));

	names->pacc = pci_alloc();
	names->pacc->error = on_error;
	names->pacc->warning = on_warning;
	names->pacc->debug = on_warning;
	/* Names are those of pci.ids, not of what lspci -q has left in somebody's home. */
	names->pacc->id_lookup_mode = 0;
	names->flags = PCI_LOOKUP_NO_NUMBERS;
	if (!root_is_host()) {
		pci_set_name_list_path(names->pacc,
				       root_path("/usr/share/misc/pci.ids"), 1);
		names->flags |= PCI_LOOKUP_NO_HWDB;
	}
	return names;
}

void pcinames_free(struct pcinames *names)
{
	if (!names)
		return;
	pci_cleanup(names->pacc);
	free(names);
}

static char *look_up(struct pcinames *names, int what, int vendor, int device)
{
	char buf[1024];
	const char *found;

	if (names->is_broken)
		return NULL;
	if (setjmp(failed)) {
		names->is_broken = true;
		return NULL;
	}
	found = pci_lookup_name(names->pacc, buf, sizeof(buf), what | names->flags,
				vendor, device);
	return found && *found ? xstrdup(found) : NULL;
}

char *pciname_vendor(struct pcinames *names, uint16_t vendor)
{
	return look_up(names, PCI_LOOKUP_VENDOR, vendor, 0);
}

char *pciname_device(struct pcinames *names, uint16_t vendor, uint16_t device)
{
	return look_up(names, PCI_LOOKUP_DEVICE, vendor, device);
}

char *pciname_full(struct pcinames *names, uint16_t vendor, uint16_t device)
{
	_cleanup_free_ char *maker = pciname_vendor(names, vendor);
	_cleanup_free_ char *model = pciname_device(names, vendor, device);

	if (!maker)
		return NULL;
	return model ? xasprintf("%s %s", maker, model) :
		xasprintf("%s Device %04x", maker, device);
}
