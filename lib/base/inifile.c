/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ini.h>

#include "base/inifile.h"
#include "base/readfile.h"
#include "base/trust.h"
#include "base/xalloc.h"

enum { FILE_MAX = 1024 * 1024 };

struct parser {
	const char *const *sections;
	size_t n_sections;
	inifile_handler *take;
	void *arg;
	const char *next;	/* text not yet handed to libinih */
	const char *end;
	unsigned long line;
	char *problem;		/* owned; the first one, met in problem_line */
	unsigned long problem_line;
};

static void complain(struct parser *p, char *problem)
{
	if (p->problem) {
		free(problem);
		return;
	}
	p->problem = problem;
	p->problem_line = p->line;
}

/* libinih's handler: 1 goes on, 0 is an error. */
static int take(void *arg, const char *section, const char *name, const char *value)
{
	struct parser *p = arg;
	char *problem;

	if (p->problem)
		return 0;
	if (!*section)
		problem = xasprintf("'%s' stands before the first [section]", name);
	else
		problem = p->take(p->arg, section, name, value);
	if (!problem)
		return 1;
	complain(p, problem);
	return 0;
}

/* libinih does not report a section without keys, nor cuts its name aloud. */
static bool is_known_section(const struct parser *p, const char *line, size_t len)
{
	const char *close = memchr(line, ']', len);
	size_t name_len, rest;

	if (!close)
		return false;
	name_len = (size_t)(close - line) - 1;
	rest = 1 + strspn(close + 1, " \t\r");
	if (close + rest < line + len && close[rest] != ';' && close[rest] != '#')
		return false;
	for (size_t i = 0; i < p->n_sections; i++)
		if (strlen(p->sections[i]) == name_len &&
		    strncmp(line + 1, p->sections[i], name_len) == 0)
			return true;
	return false;
}

/*
 * fgets(3) for libinih. Its versions differ in what they do with a line that is
 * longer than their buffer (55 takes the rest for a new line) and all of them
 * take an indented line for a continuation: so no line is handed over that is
 * too long, and none with leading blanks.
 */
static char *read_line(char *buf, int size, void *arg)
{
	struct parser *p = arg;
	const char *line = p->next;
	size_t len;

	if (p->problem || line == p->end)
		return NULL;
	p->line++;
	len = strcspn(line, "\n");
	p->next = line + len + (line + len < p->end);
	while (len && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	if (len && (*line == '#' || *line == ';'))
		len = 0;
	if (len + 2 > (size_t)size) {
		complain(p, xasprintf("line is longer than %d bytes", size - 2));
		return NULL;
	}
	if (len && *line == '[' && !is_known_section(p, line, len)) {
		complain(p, xasprintf("unknown section '%.*s'", (int)len, line));
		return NULL;
	}
	memcpy(buf, line, len);
	buf[len] = '\n';
	buf[len + 1] = '\0';
	return buf;
}

static void parse(struct parser *p, const struct readfile *text)
{
	const char *nul = memchr(text->data, '\0', text->len);
	int rc;

	if (nul) {
		p->line = 1;
		for (const char *c = text->data; c < nul; c++)
			p->line += *c == '\n';
		complain(p, xstrdup("there is a NUL byte in this line"));
		return;
	}
	p->next = text->data;
	p->end = text->data + text->len;
	rc = ini_parse_stream(read_line, p, take, p);
	if (rc > 0 && !p->problem) {
		p->line = (unsigned long)rc;
		complain(p, xstrdup("neither a [section] nor 'key = value'"));
	} else if (rc < 0) {
		complain(p, xstrdup("parser failed"));
	}
}

int inifile_read(const char *path, const char *const sections[], size_t n_sections,
		 inifile_handler *handler, void *arg, char **error)
{
	struct parser p = {
		.sections = sections,
		.n_sections = n_sections,
		.take = handler,
		.arg = arg,
	};
	const char *problem = trust_problem(path);
	struct readfile text = { 0 };
	struct stat st;
	int rc = readfile_at(AT_FDCWD, path, FILE_MAX, &text);

	*error = NULL;
	if (rc == 0 && problem) {
		*error = xasprintf("%s: %s", path, problem);
		rc = -EINVAL;
	} else if (rc == -ENOENT && lstat(path, &st) < 0) {
		rc = 0;		/* optional; but a dangling link is somebody's mistake */
	} else if (rc < 0) {
		*error = xasprintf("%s: %s", path,
				   rc == -EINVAL ? "not a regular file" : strerror(-rc));
	} else {
		parse(&p, &text);
		if (p.problem) {
			*error = xasprintf("%s:%lu: %s", path, p.problem_line, p.problem);
			rc = -EINVAL;
		}
	}
	free(p.problem);
	free(text.data);
	return rc;
}
