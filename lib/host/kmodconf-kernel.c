/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "host/kmodconf.h"

static bool has_modules(const char *release)
{
	_cleanup_free_ char *path = root_path("/lib/modules/%s/modules.dep.bin", release);

	return access(path, F_OK) == 0;
}

static int compare_releases(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

void kernel_releases(struct strlist *releases)
{
	_cleanup_free_ char *path = root_path("/lib/modules");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (*entry->d_name != '.' && has_modules(entry->d_name))
			strlist_add(releases, entry->d_name);
	if (releases->s)
		qsort(releases->s, releases->n, sizeof(*releases->s), compare_releases);
}

char *kernel_release(void)
{
	_cleanup_free_ char *path = root_path("/proc/sys/kernel/osrelease");
	char running[SYSFS_MAX], *newest;
	struct strlist releases = { 0 };

	/* A chroot sees the running kernel of another system. */
	if (sysfs_read(path, running, sizeof(running)) > 0 && !strchr(running, '/') &&
	    has_modules(running))
		return xstrdup(running);
	kernel_releases(&releases);
	newest = releases.s ? xstrdup(releases.s[releases.n - 1]) : NULL;
	strlist_done(&releases);
	return newest;
}

bool kernel_is_at_least(const char *release, unsigned major, unsigned minor)
{
	unsigned has_major, has_minor;

	if (sscanf(release, "%4u.%4u", &has_major, &has_minor) != 2)
		return false;
	return has_major > major || (has_major == major && has_minor >= minor);
}

/* Value of the option in one file: see kernel_option(). */
static char option_in(const char *path, const char *option)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL, *unset = xasprintf("# %s is not set\n", option);
	size_t room = 0, len = strlen(option);

	while (f && getline(&line, &room, f) > 0) {
		if (strcmp(line, unset) == 0)
			return 'n';
		if (strncmp(line, option, len) != 0 || line[len] != '=')
			continue;
		if (strcmp(line + len, "=y\n") == 0 || strcmp(line + len, "=m\n") == 0)
			return line[len + 1];
		return 's';
	}
	return 0;
}

char kernel_option(const char *release, const char *option)
{
	_cleanup_free_ char *boot = root_path("/boot/config-%s", release);
	_cleanup_free_ char *own = root_path("/lib/modules/%s/config", release);
	char value = option_in(boot, option);

	return value ? value : option_in(own, option);
}
