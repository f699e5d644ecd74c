/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pci/pcifolder.h"

int pcifolder_read(const char *path, struct pciaddr **addrs, size_t *n)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	_cleanup_free_ struct pciaddr *list = NULL;
	struct pciaddr addr;
	size_t used = 0, room = 0;

	if (!dir)
		return -errno;
	for (;;) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			break;
		if (!pciaddr_parse(entry->d_name, &addr))
			continue;
		list = xgrow(list, used, &room, sizeof(*list));
		list[used++] = addr;
	}
	if (errno)
		return -errno;
	if (used)
		qsort(list, used, sizeof(*list), pciaddr_compare);
	*addrs = TAKE_PTR(list);
	*n = used;
	return 0;
}

char *pcifolder_attribute(const struct pciaddr *addr, const char *name)
{
	char text[PCIADDR_STRLEN];

	return root_path("/sys/bus/pci/devices/%s/%s", pciaddr_format(addr, text), name);
}

bool pcifolder_has(const struct pciaddr *addr, const char *name)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, name);

	return access(path, F_OK) == 0;
}
