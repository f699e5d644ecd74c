/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/procmaps.h"

/* "START-END PERMS OFFSET DEVICE INODE   PATH\n": NULL without a path. */
static const char *path_of(const char *line)
{
	for (int i = 0; i < 5; i++) {
		line += strcspn(line, " \n");
		line += strspn(line, " ");
	}
	return *line == '/' ? line : NULL;
}

static bool is_library(const char *file, const char *name)
{
	size_t len = strlen(name);

	return strncmp(file, name, len) == 0 &&
	       (!file[len] || (file[len] == '.' && file[len + 1]));
}

int procmaps_library(pid_t pid, const char *name, char **library)
{
	_cleanup_free_ char *path = root_path("/proc/%d/maps", (int)pid), *line = NULL;
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	size_t room = 0;
	ssize_t len;

	*library = NULL;
	if (!f)
		return errno == ESRCH ? -ENOENT : -errno;
	errno = 0;
	while ((len = getline(&line, &room, f)) > 0) {
		static const char deleted[] = " (deleted)";
		const size_t cut = sizeof(deleted) - 1;
		const char *file = path_of(line);

		if (!file)
			continue;
		line[strcspn(line, "\n")] = '\0';
		len = (ssize_t)strlen(line);
		if ((size_t)len > cut && strcmp(line + len - cut, deleted) == 0)
			line[(size_t)len - cut] = '\0';
		file = strrchr(file, '/') + 1;
		if (is_library(file, name)) {
			*library = xstrdup(file);
			return 0;
		}
	}
	/* A process that ends while it is read has no mappings: ESRCH, or just an end. */
	if (ferror(f))
		return errno == ESRCH ? -ENOENT : -errno;
	return 0;
}
