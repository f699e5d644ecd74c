/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/artifacts.h"
#include "host/cmdline.h"
#include "host/kmodconf.h"

enum { FILE_MAX = 1024 * 1024 };

struct file {			/* a configuration file that counts */
	char *name;		/* owned; without its folder */
	char *path;		/* owned; without the root */
};

struct files {
	struct file *f;		/* owned */
	size_t n, room;
};

struct lines {
	struct kmodconf_line *l;
	size_t n, room;
};

static bool has_name(const struct files *files, const char *name)
{
	for (size_t i = 0; i < files->n; i++)
		if (strcmp(files->f[i].name, name) == 0)
			return true;
	return false;
}

/* /etc/modules has a link there under another name (Debian's kmod). */
static bool is_link_to_modules(const char *folder, const char *name)
{
	_cleanup_free_ char *path = root_path("%s/%s", folder, name);
	char target[64];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, "../modules") == 0 || strcmp(target, "/etc/modules") == 0;
}

/* Files of a folder that no folder before it hides, ours left out. */
static void add_folder(struct files *files, const char *folder)
{
	_cleanup_free_ char *path = root_path("%s", folder);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *dot = strrchr(entry->d_name, '.');

		if (*entry->d_name == '.' || !dot || strcmp(dot, ".conf") != 0 ||
		    has_name(files, entry->d_name) ||
		    is_link_to_modules(folder, entry->d_name))
			continue;
		files->f = xgrow(files->f, files->n, &files->room, sizeof(*files->f));
		files->f[files->n++] = (struct file){ xstrdup(entry->d_name),
			xasprintf("%s/%s", folder, entry->d_name) };
	}
}

static int compare_files(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void files_read(struct files *files, const char *const folders[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_folder(files, folders[i]);
	if (files->n)
		qsort(files->f, files->n, sizeof(*files->f), compare_files);
}

static void files_done(struct files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		free(files->f[i].name);
		free(files->f[i].path);
	}
	free(files->f);
}

/* Take one logical line unless it is empty, a comment or begins with another word. */
static void add_line(struct lines *lines, const char *path, unsigned long number,
		     char *text, const char *word)
{
	size_t len;

	text += strspn(text, " \t");
	for (len = strlen(text); len && strchr(" \t", text[len - 1]); len--)
		text[len - 1] = '\0';
	if (!*text || *text == '#')
		return;
	len = strcspn(text, " \t");
	if (word && (strlen(word) != len || strncmp(text, word, len) != 0))
		return;
	lines->l = xgrow(lines->l, lines->n, &lines->room, sizeof(*lines->l));
	lines->l[lines->n++] =
		(struct kmodconf_line){ xstrdup(path), number, xstrdup(text) };
}

/* continued: a '\' at its end joins a line with the next. */
static void add_file(struct lines *lines, const char *path, const char *word,
		     bool continued)
{
	_cleanup_free_ char *full = root_path("%s", path);
	_cleanup_free_ char *data = readfile_string(full, FILE_MAX);
	unsigned long number = 1;

	for (char *text = data, *end; text && *text; text = end) {
		unsigned long first = number++;

		for (end = strchrnul(text, '\n'); continued && *end && end > text &&
		     end[-1] == '\\'; end = strchrnul(end, '\n'), number++)
			end[-1] = *end = ' ';
		if (*end)
			*end++ = '\0';
		add_line(lines, path, first, text, word);
	}
}

struct kmodconf_line *kmodconf_lines(const char *word, size_t *n)
{
	static const char *const folders[] = {
		"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d",
		"/usr/lib/modprobe.d", "/lib/modprobe.d",
	};
	struct files files = { 0 };
	struct lines lines = { 0 };

	files_read(&files, folders, ARRAY_SIZE(folders));
	for (size_t i = 0; i < files.n; i++)
		if (strcmp(files.f[i].path, ARTIFACT_MODPROBE) != 0)
			add_file(&lines, files.f[i].path, word, true);
	files_done(&files);
	*n = lines.n;
	return lines.l;
}

struct kmodconf_line *kmodconf_load_lines(size_t *n)
{
	static const char *const folders[] = {
		"/etc/modules-load.d", "/run/modules-load.d", "/usr/local/lib/modules-load.d",
		"/usr/lib/modules-load.d", "/lib/modules-load.d",
	};
	struct files files = { 0 };
	struct lines lines = { 0 };

	files_read(&files, folders, ARRAY_SIZE(folders));
	for (size_t i = 0; i < files.n; i++)
		if (strcmp(files.f[i].path, ARTIFACT_MODULES_LOAD) != 0)
			add_file(&lines, files.f[i].path, NULL, false);
	files_done(&files);
	add_file(&lines, "/etc/modules", NULL, false);
	add_file(&lines, "/etc/initramfs-tools/modules", NULL, false);
	*n = lines.n;
	return lines.l;
}

void kmodconf_lines_free(struct kmodconf_line *lines, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(lines[i].path);
		free(lines[i].text);
	}
	free(lines);
}

/* Value of the last "ids=" of an "options vfio-pci" line, allocated; NULL without one. */
static char *ids_of(const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy, *word, *last = NULL;
	int n = 0;

	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		if (++n == 2 && !kmodconf_same_name(word, "vfio-pci"))
			return NULL;
		if (n > 2 && strncmp(word, "ids=", 4) == 0)
			last = word + 4;
	}
	return last ? xstrdup(last) : NULL;
}

/* The command line's, where vfio-pci is a module. */
static char *ids_of_cmdline(void)
{
	_cleanup_free_ char *path = root_path("/proc/cmdline");
	_cleanup_free_ char *text = readfile_string(path, FILE_MAX);
	char *ids = text ? cmdline_value(text, "vfio-pci.ids") : NULL;
	struct kmodconf *k;

	if (!ids && text)
		ids = cmdline_value(text, "vfio_pci.ids");
	if (!ids)
		return NULL;
	k = kmodconf_open(NULL);
	if (k && kmodconf_is_builtin(k, "vfio_pci")) {
		free(ids);
		ids = NULL;
	}
	kmodconf_close(k);
	return ids;
}

char *kmodconf_foreign_ids(char **where)
{
	struct kmodconf_line *lines;
	char *ids = ids_of_cmdline();
	size_t n;

	*where = ids ? xstrdup("/proc/cmdline") : NULL;
	if (ids)
		return ids;
	lines = kmodconf_lines("options", &n);
	for (size_t i = 0; i < n; i++) {
		char *found = ids_of(lines[i].text);

		if (!found)
			continue;
		free(ids);
		free(*where);
		ids = found;
		*where = xasprintf("%s:%lu", lines[i].path, lines[i].line);
	}
	kmodconf_lines_free(lines, n);
	return ids;
}
