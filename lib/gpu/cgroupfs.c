/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/cgroupfs.h"

#define MOUNT "/sys/fs/cgroup"

enum { FILE_MAX = 1024 * 1024 };

struct group {			/* a process's place in one hierarchy */
	char *top;		/* owned; where it is mounted: "/sys/fs/cgroup/freezer" */
	char *path;		/* owned; in it: "/lxc/200", "" for the top itself */
};

static void group_done(struct group *g)
{
	free(g->top);
	free(g->path);
}

static bool is_there(const char *path)
{
	_cleanup_free_ char *full = root_path("%s", path);
	struct stat st;

	return stat(full, &st) == 0;
}

/* Is the word one of a comma-separated list of the given length? */
static bool has_word(const char *list, size_t len, const char *word)
{
	size_t want = strlen(word);

	while (len) {
		const char *comma = memchr(list, ',', len);
		size_t part = comma ? (size_t)(comma - list) : len;

		if (part == want && strncmp(list, word, want) == 0)
			return true;
		part += comma ? 1 : 0;
		list += part;
		len -= part;
	}
	return false;
}

/* One line "ID:CONTROLLERS:PATH" of /proc/PID/cgroup; false at the end. */
static bool next_line(const char **text, const char **controllers, size_t *n_controllers,
		      const char **path, size_t *n_path)
{
	while (**text) {
		const char *start = *text, *end = start + strcspn(start, "\n");
		const char *colon = memchr(start, ':', (size_t)(end - start)), *second;

		*text = end + (*end == '\n');
		if (!colon)
			continue;
		second = memchr(colon + 1, ':', (size_t)(end - colon - 1));
		if (!second || second[1] != '/')
			continue;
		*controllers = colon + 1;
		*n_controllers = (size_t)(second - colon - 1);
		*path = second + 1;
		*n_path = (size_t)(end - second - 1);
		return true;
	}
	return false;
}

/* 0, -ENOENT or another -errno. */
static int read_membership(pid_t pid, char **text)
{
	_cleanup_free_ char *file = root_path("/proc/%d/cgroup", (int)pid);

	*text = readfile_string(file, FILE_MAX);
	if (!*text)
		return errno == ESRCH ? -ENOENT : -errno;
	return 0;
}

/*
 * The process's group in the hierarchy of a controller, or (NULL) in the unified
 * one. Returns 0, or 1 when it is in none that we could look at.
 */
static int find_group(const char *text, const char *controller, struct group *g)
{
	const char *list, *path;
	size_t n_list, n_path;

	while (next_line(&text, &list, &n_list, &path, &n_path)) {
		if (controller ? !has_word(list, n_list, controller) : n_list != 0)
			continue;
		/* Outside of our own cgroup namespace: no folder that we could name. */
		if (n_path >= 3 && strncmp(path, "/..", 3) == 0)
			return 1;
		if (controller)
			g->top = xasprintf(MOUNT "/%s", controller);
		else if (is_there(MOUNT "/cgroup.controllers"))
			g->top = xstrdup(MOUNT);
		else
			g->top = xstrdup(MOUNT "/unified");
		g->path = n_path == 1 ? xstrdup("") : xstrndup(path, n_path);
		return 0;
	}
	return 1;
}

/* The next group towards the top; false when this was it. */
static bool group_up(struct group *g)
{
	char *slash = strrchr(g->path, '/');

	if (!slash)
		return false;
	*slash = '\0';
	return true;
}

static bool reads(const struct group *g, const char *attr, const char *value)
{
	_cleanup_free_ char *file = root_path("%s%s/%s", g->top, g->path, attr);
	char text[SYSFS_MAX];

	return sysfs_read(file, text, sizeof(text)) >= 0 && strcmp(text, value) == 0;
}

/*
 * "echo VALUE > FILE", to be pasted into a root's shell: who may name a group, a user
 * may, is not to choose what that runs.
 */
static char *thaw_command(const char *value, const struct group *g, const char *attr)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/._-:@";
	_cleanup_free_ char *file = xasprintf("%s%s/%s", g->top, g->path, attr), *text = NULL;
	size_t len = 0;
	FILE *f;

	if (strspn(file, plain) == strlen(file))
		return xasprintf("echo %s > %s", value, file);
	f = open_memstream(&text, &len);
	if (!f)
		return xasprintf("echo %s > its %s", value, attr);
	fprintf(f, "echo %s > '", value);
	for (const char *s = file; *s; s++)
		if (*s == '\'')
			fputs("'\\''", f);
		else
			fputc(*s, f);
	fputc('\'', f);
	fclose(f);
	return TAKE_PTR(text);
}

static char *frozen_unified(struct group *g)
{
	char *thaw = NULL;

	do {
		if (!reads(g, "cgroup.freeze", "1"))
			continue;
		free(thaw);
		thaw = thaw_command("0", g, "cgroup.freeze");
	} while (group_up(g));
	return thaw;
}

static char *frozen_v1(struct group *g)
{
	char *thaw = NULL;

	/*
	 * The state of a group shows those above it, too: the outermost is the one to
	 * thaw.
	 */
	do {
		if (!reads(g, "freezer.state", "FROZEN") &&
		    !reads(g, "freezer.state", "FREEZING"))
			continue;
		free(thaw);
		thaw = thaw_command("THAWED", g, "freezer.state");
	} while (group_up(g));
	return thaw;
}

int cgroupfs_frozen(pid_t pid, char **thaw)
{
	_cleanup_(group_done) struct group v1 = { 0 }, unified = { 0 };
	_cleanup_free_ char *text = NULL;
	int rc = read_membership(pid, &text);

	*thaw = NULL;
	if (rc < 0)
		return rc;
	if (find_group(text, NULL, &unified) == 0)
		*thaw = frozen_unified(&unified);
	if (!*thaw && find_group(text, "freezer", &v1) == 0)
		*thaw = frozen_v1(&v1);
	return 0;
}

/* A number of a group's attribute; false for none ("max", no such file). */
static bool read_number(const struct group *g, const char *attr, uint64_t *value)
{
	_cleanup_free_ char *file = root_path("%s%s/%s", g->top, g->path, attr);

	return sysfs_read_u64(file, value) == 0;
}

/* Sum of the lines "KEY NUMBER" of memory.stat with one of two keys. */
static uint64_t read_cache(const struct group *g, const char *key1, const char *key2)
{
	_cleanup_free_ char *file = root_path("%s%s/memory.stat", g->top, g->path);
	_cleanup_free_ char *text = readfile_string(file, FILE_MAX);
	uint64_t sum = 0;
	char *save = NULL;

	if (!text)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = '\0';
		if (strcmp(line, key1) == 0 || strcmp(line, key2) == 0)
			sum += strtoull(space + 1, NULL, 10);
	}
	return sum;
}

static void add_limits(struct group *g, bool is_unified, struct cgroupfs_limit **limits,
		       size_t *n)
{
	do {
		uint64_t limit, used, cache;
		struct cgroupfs_limit *l;

		if (!read_number(g, is_unified ? "memory.max" : "memory.limit_in_bytes", &limit) ||
		    !read_number(g, is_unified ? "memory.current" : "memory.usage_in_bytes", &used))
			continue;
		/* v1 says "no limit" by a number near 2^63. */
		if (limit >= (uint64_t)1 << 62)
			continue;
		cache = is_unified ? read_cache(g, "inactive_file", "active_file")
				   : read_cache(g, "total_inactive_file", "total_active_file");
		used = cache < used ? used - cache : 0;
		*limits = xreallocarray(*limits, *n + 1, sizeof(**limits));
		l = &(*limits)[(*n)++];
		l->group = xasprintf("%s%s", g->top, g->path);
		l->room = used < limit ? limit - used : 0;
	} while (group_up(g));
}

int cgroupfs_limits(pid_t pid, struct cgroupfs_limit **limits, size_t *n)
{
	_cleanup_(group_done) struct group v1 = { 0 }, unified = { 0 };
	_cleanup_free_ char *text = NULL;
	int rc = read_membership(pid, &text);

	*limits = NULL;
	*n = 0;
	if (rc < 0)
		return rc;
	if (find_group(text, "memory", &v1) == 0)
		add_limits(&v1, false, limits, n);
	else if (find_group(text, NULL, &unified) == 0)
		add_limits(&unified, true, limits, n);
	return 0;
}

void cgroupfs_limits_free(struct cgroupfs_limit *limits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(limits[i].group);
	free(limits);
}

/*
 * The part of a group's path that /proc/PID/cgroup has. *controller: allocated,
 * when the folder names a v1 hierarchy, else NULL.
 */
static char *membership_path(const char *path, char **controller)
{
	const size_t n_mount = strlen(MOUNT);
	char *in, *end;
	size_t len;

	*controller = NULL;
	if (strncmp(path, MOUNT, n_mount) == 0 &&
	    (!path[n_mount] || path[n_mount] == '/')) {
		path += n_mount;
		if (!is_there(MOUNT "/cgroup.controllers") && *path) {
			len = strcspn(path + 1, "/");
			*controller = xstrndup(path + 1, len);
			path += 1 + len;
		}
	}
	in = xstrdup(path);
	for (end = in + strlen(in); end > in && end[-1] == '/'; )
		*--end = '\0';
	return in;
}

bool cgroupfs_is_below(pid_t pid, const char *group)
{
	_cleanup_free_ char *text = NULL, *controller = NULL;
	_cleanup_free_ char *want = membership_path(group, &controller);
	size_t len = strlen(want), n_list, n_path;
	const char *rest, *list, *path;

	if (read_membership(pid, &text) < 0)
		return false;
	rest = text;
	while (next_line(&rest, &list, &n_list, &path, &n_path)) {
		if (controller && strcmp(controller, "unified") == 0 ? n_list != 0
		    : controller && !has_word(list, n_list, controller) &&
		      !(strcmp(controller, "systemd") == 0 &&
			has_word(list, n_list, "name=systemd")))
			continue;
		if (n_path >= len && strncmp(path, want, len) == 0 &&
		    (n_path == len || path[len] == '/' || len == 0))
			return true;
	}
	return false;
}

bool cgroupfs_exists(const char *group)
{
	static const char *const hierarchies[] = {
		"", "/unified", "/freezer", "/memory", "/systemd", "/devices",
	};
	_cleanup_free_ char *controller = NULL,
			    *path = membership_path(group, &controller);

	if (!*group)
		return false;
	if (controller) {
		_cleanup_free_ char *dir = xasprintf(MOUNT "/%s%s", controller, path);

		return is_there(dir);
	}
	for (size_t i = 0; i < ARRAY_SIZE(hierarchies); i++) {
		_cleanup_free_ char *dir = xasprintf(MOUNT "%s%s%s", hierarchies[i],
						     *path == '/' ? "" : "/", path);

		if (is_there(dir))
			return true;
	}
	return false;
}
