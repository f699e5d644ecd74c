/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/root.h"
#include "base/xalloc.h"

static const char *root;

void root_set(const char *dir)
{
	root = dir && strspn(dir, "/") < strlen(dir) ? dir : "";
}

const char *root_dir(void)
{
	if (!root)
		root_set(secure_getenv("PVE_GPU_ROOT"));
	return root;
}

bool root_is_host(void)
{
	return *root_dir() == '\0';
}

char *root_path(const char *fmt, ...)
{
	size_t len = strlen(root_dir());
	va_list ap;
	char *tail, *path;

	va_start(ap, fmt);
	tail = xvasprintf(fmt, ap);
	va_end(ap);
	if (len == 0)
		return tail;
	path = xreallocarray(NULL, len + strlen(tail) + 1, 1);
	memcpy(path, root, len);
	strcpy(path + len, tail);
	free(tail);
	return path;
}
