/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a program, it answers writes to the mediated devices of a text fixture as
 * a driver does: create makes PARENT/UUID and its link on the bus and takes one from
 * available_instances, remove undoes that. PARENT/.orders, one word:
 *	race	a create is made by somebody else a moment before
 *	last	the driver refuses the last one that it says is left
 *	hang	a remove does not return
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM = 2 * PATH_MAX };

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static int number(const char *path)
{
	FILE *f = fopen(path, "r");
	int n = -1;

	if (f) {
		if (fscanf(f, "%d", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

static int ordered(const char *parent, const char *word)
{
	char path[ROOM], text[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/.orders", parent);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%15s", text) != 1)
			*text = '\0';
		fclose(f);
	}
	return strcmp(text, word) == 0;
}

static void bus_link(char *path, size_t size, const char *parent, const char *uuid)
{
	const char *sys = strstr(parent, "/sys/devices/");

	snprintf(path, size, "%.*s/sys/bus/mdev/devices/%s", (int)(sys - parent), parent, uuid);
}

static void add(const char *type_dir, int change)
{
	char path[ROOM], text[16];

	snprintf(path, sizeof(path), "%s/available_instances", type_dir);
	snprintf(text, sizeof(text), "%d\n", number(path) + change);
	put(path, text);
}

static int create(const char *type_dir, const char *parent, const char *uuid)
{
	char dir[PATH_MAX + 64], path[ROOM], target[ROOM];

	bus_link(target, sizeof(target), parent, uuid);
	if (access(target, F_OK) == 0)
		return EEXIST;
	snprintf(path, sizeof(path), "%s/available_instances", type_dir);
	if (number(path) <= 0)
		return EUSERS;
	if (ordered(parent, "last") && number(path) == 1)
		return EINVAL;
	snprintf(dir, sizeof(dir), "%s/%s", parent, uuid);
	mkdir(dir, 0755);
	symlink(dir, target);
	snprintf(path, sizeof(path), "%s/remove", dir);
	put(path, "");
	snprintf(path, sizeof(path), "%s/param", dir);
	put(path, "");
	snprintf(path, sizeof(path), "%s/mdev_type", dir);
	symlink(type_dir, path);
	add(type_dir, -1);
	return ordered(parent, "race") ? EEXIST : 0;
}

static int drop(char *dir)
{
	char path[ROOM], type_dir[PATH_MAX], *uuid = strrchr(dir, '/');
	static const char *const files[] = { "remove", "param", "mdev_type" };

	*uuid++ = '\0';
	if (ordered(dir, "hang"))
		pause();
	snprintf(path, sizeof(path), "%s/%.36s/mdev_type", dir, uuid);
	if (realpath(path, type_dir))
		add(type_dir, 1);
	bus_link(path, sizeof(path), dir, uuid);
	unlink(path);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%.36s/%s", dir, uuid, files[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/%.36s", dir, uuid);
	return rmdir(path) < 0 ? errno : 0;
}

ssize_t write(int fd, const void *data, size_t len)
{
	static ssize_t (*real)(int, const void *, size_t);
	char link[64], path[PATH_MAX], uuid[64], *slash;
	ssize_t n;
	int err;

	if (!real)
		real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || !strstr(path, "/sys/devices/") ||
	    (strcmp(slash, "/create") != 0 && strcmp(slash, "/remove") != 0))
		return real(fd, data, len);
	err = 0;
	if (strcmp(slash, "/create") == 0) {
		char *type_dir = path, parent[PATH_MAX];

		*slash = '\0';
		snprintf(parent, sizeof(parent), "%s", path);
		*strstr(parent, "/mdev_supported_types/") = '\0';
		snprintf(uuid, sizeof(uuid), "%.*s", (int)len, (const char *)data);
		err = len == 36 ? create(type_dir, parent, uuid) : EINVAL;
	} else {
		*slash = '\0';
		err = drop(path);
	}
	errno = err;
	return err ? -1 : (ssize_t)len;
}
