/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/bootentry.h"
#include "host/cmdline.h"

enum { ENTRY_MAX = 4 * 1024 * 1024, EFIVAR_MAX = 4096 };

#define LOADER_INFO                                                                      \
	"/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

static const char *const ENTRIES[] = {
	"/efi/loader/entries/*.conf",
	"/boot/efi/loader/entries/*.conf",
	"/boot/loader/entries/*.conf",
	"/var/tmp/espmounts/*/loader/entries/*.conf",	/* proxmox-boot-tool's */
};

enum bootentry_loader bootentry_running_loader(void)
{
	_cleanup_free_ char *path = root_path(LOADER_INFO);
	struct readfile buf = { 0 };
	char name[64];
	size_t n = 0;

	if (readfile_at(-1, path, EFIVAR_MAX, &buf) < 0) {
		free(buf.data);
		return BOOTENTRY_UNKNOWN;
	}
	/* four bytes of attributes, then UTF-16, little endian */
	for (size_t i = 4; i + 1 < buf.len && n + 1 < sizeof(name); i += 2)
		name[n++] = buf.data[i + 1] ? '?' : buf.data[i];
	name[n] = '\0';
	free(buf.data);
	if (strncmp(name, "systemd-boot", 12) == 0)
		return BOOTENTRY_SYSTEMD_BOOT;
	return strncmp(name, "GRUB", 4) == 0 ? BOOTENTRY_GRUB : BOOTENTRY_UNKNOWN;
}

static void find_files(const char *pattern, struct strlist *paths)
{
	_cleanup_free_ char *full = root_path("%s", pattern);
	glob_t found;

	if (glob(full, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		strlist_add(paths, found.gl_pathv[i]);
	globfree(&found);
}

bool bootentry_has_entries(void)
{
	struct strlist paths = { 0 };
	bool has;

	/* proxmox-boot-tool's mounts are no evidence: it has a file of its own */
	for (size_t i = 0; i < ARRAY_SIZE(ENTRIES) - 1; i++)
		find_files(ENTRIES[i], &paths);
	has = paths.n > 0;
	strlist_done(&paths);
	return has;
}

/* Rest of a line that begins with one of the words, NULL for another line. */
static const char *after_word(const char *line, const char *const words[], size_t n)
{
	line += strspn(line, " \t");
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(words[i]);

		if (strncmp(line, words[i], len) == 0 &&
		    (line[len] == ' ' || line[len] == '\t'))
			return line + len;
	}
	return NULL;
}

/* The first line of text that begins so, has root= and is no recovery entry. */
static char *find_line(char *text, const char *const words[], size_t n)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		const char *rest = after_word(line, words, n);
		_cleanup_free_ char *root = rest ? cmdline_value(rest, "root") : NULL;

		if (root && !cmdline_has(rest, "single") &&
		    !cmdline_has(rest, "recovery"))
			return xstrdup(rest);
	}
	return NULL;
}

char *bootentry_grub_line(bool on_esp)
{
	static const char *const words[] = { "linux", "linuxefi", "linux16" };
	struct strlist paths = { 0 };
	char *line = NULL;

	find_files(on_esp ? "/var/tmp/espmounts/*/grub/grub.cfg" : "/boot/grub/grub.cfg",
		   &paths);
	for (size_t i = 0; !line && i < paths.n; i++) {
		_cleanup_free_ char *text = readfile_string(paths.s[i], ENTRY_MAX);

		if (text)
			line = find_line(text, words, ARRAY_SIZE(words));
	}
	strlist_done(&paths);
	return line;
}

char *bootentry_loader_line(void)
{
	static const char *const words[] = { "options" };
	char *newest = NULL, *line = NULL;
	struct strlist paths = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(ENTRIES); i++)
		find_files(ENTRIES[i], &paths);
	for (size_t i = 0; i < paths.n; i++) {
		const char *name = strrchr(paths.s[i], '/') + 1;
		_cleanup_free_ char *text = readfile_string(paths.s[i], ENTRY_MAX);
		char *found = text ? find_line(text, words, ARRAY_SIZE(words)) : NULL;

		if (!found)
			continue;
		if (newest && strverscmp(name, newest) <= 0) {
			free(found);
			continue;
		}
		free(newest);
		free(line);
		newest = xstrdup(name);
		line = found;
	}
	free(newest);
	strlist_done(&paths);
	return line;
}

static int by_version(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

void bootentry_kernels(struct strlist *releases)
{
	_cleanup_free_ char *prefix = root_path("/boot/vmlinuz-");
	struct strlist paths = { 0 };

	find_files("/boot/vmlinuz-*", &paths);
	for (size_t i = 0; i < paths.n; i++) {
		const char *release = paths.s[i] + strlen(prefix);
		_cleanup_free_ char *modules = root_path("/lib/modules/%s", release);

		if (access(modules, F_OK) == 0)
			strlist_add(releases, release);
	}
	if (releases->n > 1)
		qsort(releases->s, releases->n, sizeof(*releases->s), by_version);
	strlist_done(&paths);
}
