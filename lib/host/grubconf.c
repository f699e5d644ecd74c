/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/cmdline.h"
#include "host/grubconf.h"
#include "host/hostfile.h"

enum { GRUB_FILE_MAX = 1024 * 1024 };

static const char ALWAYS[] = "GRUB_CMDLINE_LINUX",
		  NORMAL[] = "GRUB_CMDLINE_LINUX_DEFAULT";

/* One assignment under way. */
struct value {
	FILE *out;
	const struct grubconf *g;
	bool unclear;
	bool uses_normal;	/* $GRUB_CMDLINE_LINUX_DEFAULT is part of it */
};

static bool is_name_char(char c)
{
	return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
	       || (c >= '0' && c <= '9');
}

/* Put what "$NAME" or "${NAME}" at s stands for; returns what follows it. */
static const char *put_variable(struct value *v, const char *s)
{
	bool braced = s[1] == '{';
	const char *name = s + (braced ? 2 : 1), *end = name;

	while (is_name_char(*end))
		end++;
	if (end == name || (braced && *end != '}')) {
		v->unclear = true;
		return s + 1;
	}
	if (strlen(NORMAL) == (size_t)(end - name) &&
	    strncmp(name, NORMAL, strlen(NORMAL)) == 0) {
		fputs(v->g->normal, v->out);
		v->uses_normal = true;
	} else if (strlen(ALWAYS) == (size_t)(end - name) &&
		   strncmp(name, ALWAYS, strlen(ALWAYS)) == 0) {
		fputs(v->g->always, v->out);
	} else {
		v->unclear = true;
	}
	return end + (braced ? 1 : 0);
}

/* Put the shell word at s; returns what follows it. */
static const char *put_shell_word(struct value *v, const char *s)
{
	char quote = '\0';

	while (*s) {
		if (!quote && strchr(" \t\r\n;&|", *s))
			break;
		if (*s == quote) {
			quote = '\0';
			s++;
		} else if (!quote && (*s == '\'' || *s == '"')) {
			quote = *s++;
		} else if (quote == '\'') {
			fputc(*s++, v->out);
		} else if (*s == '\\' && s[1]) {
			if (quote && !strchr("$`\"\\\n", s[1]))
				fputc('\\', v->out);
			if (s[1] != '\n')
				fputc(s[1], v->out);
			s += 2;
		} else if (*s == '$') {
			s = put_variable(v, s);
		} else {
			v->unclear = v->unclear || *s == '`';
			fputc(*s++, v->out);
		}
	}
	return s;
}

/* Take one of the two assignments at s; returns what follows, NULL for none. */
static const char *take_assignment(struct grubconf *g, const char *s, bool *reset)
{
	struct value v = { .g = g };
	char *text = NULL, **to;
	size_t size, len;
	bool append;

	if (strncmp(s, "export", 6) == 0 && (s[6] == ' ' || s[6] == '\t'))
		s += 6 + strspn(s + 6, " \t");
	len = strlen(NORMAL);
	to = &g->normal;
	if (strncmp(s, NORMAL, len) != 0) {
		len = strlen(ALWAYS);
		to = &g->always;
		if (strncmp(s, ALWAYS, len) != 0)
			return NULL;
	}
	append = s[len] == '+';
	if (s[len + append] != '=')
		return NULL;
	v.out = xcheck(open_memstream(&text, &size));
	if (append)
		fputs(*to, v.out);
	s = put_shell_word(&v, s + len + append + 1);
	if (fclose(v.out) != 0)
		xcheck(NULL);
	free(*to);
	*to = text;
	g->unclear = g->unclear || v.unclear;
	*reset = to == &g->normal && !append && !v.uses_normal;
	return s;
}

/* shown: the file's name below the root; late: it is read after our own. */
static int read_one(struct grubconf *g, const char *path, const char *shown, bool late)
{
	_cleanup_free_ char *text = readfile_string(path, GRUB_FILE_MAX);
	const char *s = text;
	unsigned long line = 1;

	if (!text)
		return errno == ENOENT ? 0 : -errno;
	while (*s) {
		bool reset = false;
		const char *start = s + strspn(s, " \t"), *end;

		end = take_assignment(g, start, &reset);
		if (reset && late) {
			free(g->reset);
			g->reset = xasprintf("%s:%lu", shown, line);
		}
		end = end ? end : start;
		end += strcspn(end, "\n");
		for (; s < end; s++)
			line += *s == '\n';
		if (*s == '\n') {
			s++;
			line++;
		}
	}
	return 0;
}

static int read_folder(bool without_own, struct grubconf *g)
{
	_cleanup_free_ char *pattern = root_path("/etc/default/grub.d/*.cfg");
	glob_t found;
	int rc = glob(pattern, 0, NULL, &found);

	if (rc == GLOB_NOMATCH)
		return 0;
	if (rc != 0)
		return rc == GLOB_NOSPACE ? -ENOMEM : -EIO;
	for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++) {
		const char *shown = found.gl_pathv[i] + strlen(root_dir());
		int order = strcmp(shown, GRUBCONF_DROPIN);

		if (order != 0 || !without_own)
			rc = read_one(g, found.gl_pathv[i], shown, order > 0);
	}
	globfree(&found);
	return rc;
}

int grubconf_read(bool without_own, struct grubconf *g)
{
	_cleanup_free_ char *path = root_path("/etc/default/grub");
	int rc;

	*g = (struct grubconf){ .always = xstrdup(""), .normal = xstrdup("") };
	rc = read_one(g, path, "/etc/default/grub", false);
	if (rc == 0)
		rc = read_folder(without_own, g);
	if (rc < 0)
		grubconf_done(g);
	return rc;
}

void grubconf_done(struct grubconf *g)
{
	free(g->always);
	free(g->normal);
	free(g->reset);
	*g = (struct grubconf){ 0 };
}

bool grubconf_has(const struct grubconf *g, const char *word)
{
	return cmdline_has(g->always, word) || cmdline_has(g->normal, word);
}

char *grubconf_dropin(const struct strlist *words)
{
	char *text = xstrdup(HOSTFILE_MARK "; \"vfio-setup undo\" takes it away\n"
			     "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT");

	for (size_t i = 0; i < words->n; i++) {
		_cleanup_free_ char *old = text;

		text = xasprintf("%s %s", old, words->s[i]);
	}
	{
		_cleanup_free_ char *old = text;

		text = xasprintf("%s\"\n", old);
	}
	return text;
}
