/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/bind.h"

enum {
	TABLE_MAX = 64 * 1024 * 1024,	/* a host with very many mounts */
	STACK_MAX = 8,			/* dm on md on partition on disk */
};

struct tables {
	char *mounts;		/* owned; /proc/self/mountinfo, NULL when unreadable */
	char *swaps;		/* owned; /proc/swaps */
};

/* Is the place that a sysfs link leads to at base or below it? */
static bool leads_below(const char *link, const char *base)
{
	_cleanup_free_ char *place = realpath(link, NULL);
	size_t len = strlen(base);

	return place && strncmp(place, base, len) == 0 &&
	       (place[len] == '/' || !place[len]);
}

/* Copy the n-th (from 0) blank-separated word of a line; NULL when it has fewer. */
static char *word_of(const char *line, size_t n)
{
	for (; n; n--) {
		line += strcspn(line, " \n");
		line += *line == ' ';
	}
	return *line && *line != '\n' ? xstrndup(line, strcspn(line, " \n")) : NULL;
}

/*
 * Mount point of a block device, by its number or, for file systems that hide
 * it behind one of their own (btrfs), by the mount's source. NULL when not mounted.
 * Source: proc(5), /proc/pid/mountinfo.
 */
static char *mount_point(const struct tables *t, const char *number, const char *node)
{
	for (const char *line = t->mounts, *next; line && *line; line = next) {
		_cleanup_free_ char *dev = word_of(line, 2), *source = NULL;
		const char *end = line + strcspn(line, "\n"), *dash = strstr(line, " - ");

		next = end + (*end == '\n');
		if (dash && dash < end)
			source = word_of(dash + 3, 1);
		if ((dev && number && strcmp(dev, number) == 0) ||
		    (source && node && strcmp(source, node) == 0))
			return word_of(line, 4);
	}
	return NULL;
}

static bool is_swap(const struct tables *t, const char *node)
{
	size_t len = strlen(node);

	for (const char *line = t->swaps; line && *line; ) {
		if (strncmp(line, node, len) == 0 && strchr(" \t", line[len]))
			return true;
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return false;
}

/*
 * Whoever uses a block device as a whole (a mount, md, dm, a ZFS pool) has it
 * open exclusively, and so have its partitions' users: a second one is refused.
 */
static bool is_claimed(const char *name)
{
	_cleanup_free_ char *node = xasprintf("/dev/%s", name);
	_cleanup_close_ int fd = -1;

	if (!root_is_host())
		return false;
	fd = open(node, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 && errno == EBUSY;
}

static char *block_use(const struct tables *t, const char *folder, const char *name,
		       int depth);

/* Use by what is stacked on it, or NULL. */
static char *holders_use(const struct tables *t, const char *folder, const char *name,
			 int depth)
{
	_cleanup_free_ char *path = xasprintf("%s/holders", folder);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *above = NULL, *use = NULL;

		if (*entry->d_name == '.')
			continue;
		above = root_path("/sys/block/%s", entry->d_name);
		use = block_use(t, above, entry->d_name, depth + 1);
		if (use)
			return TAKE_PTR(use);
		return xasprintf("disk %s is part of %s", name, entry->d_name);
	}
	return NULL;
}

static char *partitions_use(const struct tables *t, const char *folder, int depth)
{
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *part = xasprintf("%s/%s", folder, entry->d_name);
		_cleanup_free_ char *mark = xasprintf("%s/partition", part);
		char *use;

		if (*entry->d_name == '.' || access(mark, F_OK) < 0)
			continue;
		use = block_use(t, part, entry->d_name, depth + 1);
		if (use)
			return use;
	}
	return NULL;
}

/* How the host uses a block device ("disk sda1 is mounted on /"), or NULL. */
static char *block_use(const struct tables *t, const char *folder, const char *name,
		       int depth)
{
	_cleanup_free_ char *path = xasprintf("%s/dev", folder), *node = NULL,
			    *mapped = NULL;
	_cleanup_free_ char *dm = xasprintf("%s/dm/name", folder), *point = NULL;
	char number[32], text[SYSFS_MAX];
	bool has_number = sysfs_read(path, number, sizeof(number)) > 0;
	char *use;

	if (depth > STACK_MAX)
		return NULL;
	node = xasprintf("/dev/%s", name);
	if (sysfs_read(dm, text, sizeof(text)) > 0)
		mapped = xasprintf("/dev/mapper/%s", text);
	point = mount_point(t, has_number ? number : NULL, node);
	if (!point && mapped)
		point = mount_point(t, NULL, mapped);
	if (point)
		return xasprintf("disk %s is mounted on %s", name, point);
	if (is_swap(t, node) || (mapped && is_swap(t, mapped)))
		return xasprintf("disk %s is swap", name);
	use = holders_use(t, folder, name, depth);
	if (!use)
		use = partitions_use(t, folder, depth);
	if (!use && is_claimed(name))
		use = xasprintf("disk %s is in use", name);
	return use;
}

/*
 * A disk of an NVMe subsystem with several paths stands below the virtual
 * subsystem; the controllers that lead to it are links there.
 */
static bool nvme_leads_below(const char *disk, const char *base)
{
	_cleanup_free_ char *place = realpath(disk, NULL);
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char *slash;

	if (!place || !strstr(place, "/nvme-subsystem/"))
		return false;
	slash = strrchr(place, '/');
	*slash = '\0';
	dir = opendir(place);
	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path = xasprintf("%s/%s", place, entry->d_name);

		if (strncmp(entry->d_name, "nvme", 4) == 0 && leads_below(path, base))
			return true;
	}
	return false;
}

static char *disks_use(const struct tables *t, const char *base)
{
	_cleanup_free_ char *path = root_path("/sys/block");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *disk = xasprintf("%s/%s", path, entry->d_name);
		char *use;

		if (*entry->d_name == '.' ||
		    (!leads_below(disk, base) && !nvme_leads_below(disk, base)))
			continue;
		use = block_use(t, disk, entry->d_name, 0);
		if (use)
			return use;
	}
	return NULL;
}

static char *nets_use(const char *base)
{
	_cleanup_free_ char *path = root_path("/sys/class/net");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *card = xasprintf("%s/%s", path, entry->d_name);
		_cleanup_free_ char *state = xasprintf("%s/operstate", card);
		_cleanup_free_ char *carrier = xasprintf("%s/carrier", card);
		char text[SYSFS_MAX];
		uint64_t on = 0;

		if (*entry->d_name == '.' || !leads_below(card, base))
			continue;
		/* A driver without operational states says "unknown". */
		if ((sysfs_read(state, text, sizeof(text)) > 0 &&
		     strcmp(text, "up") == 0) ||
		    (sysfs_read_u64(carrier, &on) == 0 && on == 1))
			return xasprintf("network card %s is up", entry->d_name);
	}
	return NULL;
}

bool bind_is_host_vital(const struct pciaddr *addr, char **what)
{
	_cleanup_free_ char *mounts = root_path("/proc/self/mountinfo");
	_cleanup_free_ char *swaps = root_path("/proc/swaps");
	_cleanup_free_ char *device = NULL, *base = NULL;
	char text[PCIADDR_STRLEN];
	struct tables t;

	device = root_path("/sys/bus/pci/devices/%s", pciaddr_format(addr, text));
	base = realpath(device, NULL);
	*what = NULL;
	if (!base)
		return false;
	t.mounts = readfile_string(mounts, TABLE_MAX);
	t.swaps = readfile_string(swaps, TABLE_MAX);
	*what = disks_use(&t, base);
	if (!*what)
		*what = nets_use(base);
	free(t.mounts);
	free(t.swaps);
	return *what;
}
