/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/pveconf.h"
#include "pve/snippet.h"

static const char blanks[] = " \t\r";
static const char default_dir[] = "/var/lib/vz";

struct storage {	/* point into the text of storage.cfg; NULL when absent */
	const char *type, *path, *content_dirs;
};

static bool is_any_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(word, *list) == 0)
			return true;
	return false;
}

/* Cut off one word that blanks or the end follow; *rest goes on behind them. */
static char *take_word(char **rest)
{
	char *word = *rest + strspn(*rest, blanks);

	*rest = word + strcspn(word, blanks);
	if (**rest)
		*(*rest)++ = '\0';
	*rest += strspn(*rest, blanks);
	return word;
}

/* The section "dir: ID", then indented "KEY VALUE". text is cut to pieces. */
static struct storage find_storage(char *text, const char *id)
{
	struct storage s = { 0 };
	bool open = false;
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		bool is_header = !strchr(blanks, *line);
		char *rest = line, *key = take_word(&rest), *value = take_word(&rest);
		size_t len = strlen(key);

		if (is_header && len > 1 && key[len - 1] == ':') {
			open = strcmp(value, id) == 0;
			key[len - 1] = '\0';
			if (open)
				s.type = key;
		} else if (open && strcmp(key, "path") == 0) {
			s.path = value;
		} else if (open && strcmp(key, "content-dirs") == 0) {
			s.content_dirs = value;
		}
	}
	return s;
}

/* "snippets", or what content-dirs has for it; allocated. */
static char *folder_of(const struct storage *s)
{
	static const char key[] = "snippets=";
	const char *at = s->content_dirs ? strstr(s->content_dirs, key) : NULL;

	if (!at || (at > s->content_dirs && !strchr(",;", at[-1])))
		return xstrdup("snippets");
	at += strlen(key);
	return xstrndup(at, strcspn(at, ",;"));
}

char *snippet_path(const char *volid)
{
	static const char *const with_path[] = { "dir", "btrfs", NULL };
	static const char *const mounted[] = { "nfs", "cifs", "cephfs", "glusterfs", NULL };
	const char *colon = strchr(volid, ':');
	_cleanup_free_ char *file = root_path("/etc/pve/storage.cfg"),
			    *text = readfile_string(file, PVECONF_MAX),
			    *id = NULL, *base = NULL, *folder = NULL;
	struct storage s = { 0 };
	const char *name;

	if (!colon || strncmp(colon + 1, "snippets/", 9) != 0)
		return NULL;
	name = colon + 10;
	if (!*name || strchr(name, '/'))
		return NULL;
	id = xstrndup(volid, (size_t)(colon - volid));
	if (text)
		s = find_storage(text, id);
	/* PVE makes "local" what it should be. */
	if (strcmp(id, "local") == 0
	    && (!s.type || strcmp(s.type, "dir") != 0
		|| (s.path && strcmp(s.path, default_dir) != 0)))
		s = (struct storage){ .type = "dir", .path = default_dir };
	if (!s.type)
		return NULL;
	if (s.path && (is_any_of(s.type, with_path) || is_any_of(s.type, mounted)))
		base = xstrdup(s.path);
	else if (is_any_of(s.type, mounted))
		base = xasprintf("/mnt/pve/%s", id);
	else if (strcmp(id, "local") == 0)
		base = xstrdup(default_dir);
	else
		return NULL;
	folder = folder_of(&s);
	return xasprintf("%s/%s/%s", base, folder, name);
}
