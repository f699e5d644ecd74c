/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/hostpci.h"
#include "pve/propstr.h"
#include "pve/pveconf.h"

static size_t hex_run(const char *s)
{
	return strspn(s, "0123456789abcdef");
}

/* "[DDDD:]BB:DD[.F]", lower case; where it ends, NULL when it is none. */
static const char *element_end(const char *p)
{
	size_t n = hex_run(p);

	if (n >= 4 && p[n] == ':') {
		p += n + 1;
		n = hex_run(p);
	}
	if (n != 2 || p[2] != ':' || hex_run(p + 3) != 2)
		return NULL;
	p += 5;
	if (*p == '.') {
		if (hex_run(p + 1) != 1)
			return NULL;
		p += 2;
	}
	return p;
}

static const char *check_host(const char *value)
{
	const char *p = value;

	while ((p = element_end(p)) && *p == ';')
		p++;
	return p && *p == '\0' ? NULL : "is not [DDDD:]BB:DD[.F] in lower case";
}

static const char *check_mapping(const char *value)
{
	return pveconf_is_config_id(value, strlen(value)) ? NULL
							  : "is no configuration ID";
}

static const char *check_mdev(const char *value)
{
	return strpbrk(value, "/.:") ? "holds one of / . :" : NULL;
}

static const char *check_romfile(const char *value)
{
	return strchr(value, ';') ? "holds a ;" : NULL;
}

static const char *check_pci_id(const char *value)
{
	if (strncmp(value, "0x", 2) == 0 && strlen(value) == 6
	    && strspn(value + 2, "0123456789abcdefABCDEF") == 4)
		return NULL;
	return "is not 0x and four hexadecimal digits";
}

static const char *check_driver(const char *value)
{
	return strcmp(value, "vfio") == 0 || strcmp(value, "keep") == 0
	       ? NULL : "is neither vfio nor keep";
}

enum key { HOST, MAPPING, PCIE, ROMBAR, ROMFILE, X_VGA, LEGACY_IGD, MDEV, VENDOR, DEVICE,
	   SUB_VENDOR, SUB_DEVICE, DRIVER };

static const struct propstr_key keys[] = {
	[HOST] = { "host", check_host, false },
	[MAPPING] = { "mapping", check_mapping, false },
	[PCIE] = { "pcie", propstr_check_bool, false },
	[ROMBAR] = { "rombar", propstr_check_bool, false },
	[ROMFILE] = { "romfile", check_romfile, false },
	[X_VGA] = { "x-vga", propstr_check_bool, false },
	[LEGACY_IGD] = { "legacy-igd", propstr_check_bool, false },
	[MDEV] = { "mdev", check_mdev, false },
	[VENDOR] = { "vendor-id", check_pci_id, false },
	[DEVICE] = { "device-id", check_pci_id, false },
	[SUB_VENDOR] = { "sub-vendor-id", check_pci_id, false },
	[SUB_DEVICE] = { "sub-device-id", check_pci_id, false },
	[DRIVER] = { "driver", check_driver, false },	/* since qemu-server 9.0.25 */
};

const struct propstr_schema hostpci_schema = { keys, ARRAY_SIZE(keys), HOST };

static bool is_set(const char *value)
{
	return value && propstr_is_true(value);
}

bool hostpci_parse(char *text, size_t len, struct hostpci *h, char **why)
{
	const char *values[ARRAY_SIZE(keys)];

	/* a value of CR alone, or one in its middle */
	if (memchr(text, '\r', len)) {
		*why = xstrdup("property contains a line feed");
		return false;
	}
	if (!propstr_parse(&hostpci_schema, text, len, values, why))
		return false;
	h->host = values[HOST];
	h->mapping = values[MAPPING];
	h->mdev = values[MDEV];
	h->pcie = is_set(values[PCIE]);
	h->legacy_igd = is_set(values[LEGACY_IGD]);
	h->x_vga = is_set(values[X_VGA]);
	h->no_rombar = values[ROMBAR] && !propstr_is_true(values[ROMBAR]);
	return true;
}
