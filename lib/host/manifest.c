/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/hostrecord.h"
#include "host/manifest.h"

enum { MANIFEST_MAX = 16 * 1024 * 1024 };

static const char VERSION_LINE[] = "1";

static bool take_option(struct setup_request *r, const char *name, const char *value)
{
	if (strcmp(name, "all-gpus") == 0)
		r->all_gpus = true;
	else if (strcmp(name, "early") == 0)
		r->early = true;
	else if (!value)
		return false;
	else if (strcmp(name, "gpu") == 0)
		strlist_add(&r->gpus, value);
	else if (strcmp(name, "id") == 0)
		strlist_add(&r->ids, value);
	else if (strcmp(name, "cmdline") == 0)
		strlist_add(&r->cmdline, value);
	else if (strcmp(name, "blacklist") == 0)
		strlist_add(&r->blacklist, value);
	else
		return false;
	return true;
}

static bool take_file(struct manifest *m, char *const fields[])
{
	struct hostfile f = { 0 };
	bool good = fields[1] && hostrecord_take_file(fields[2], fields[3], &f) && f.data;

	if (good)
		hostfiles_add(&m->files, fields[1], f.data, f.mode);
	free(f.data);
	return good;
}

static bool take_cmdline(struct manifest *m, char *const fields[])
{
	struct hostfile *f;

	if (!fields[1])
		return false;
	f = strcmp(fields[1], "before") == 0 ? &m->before : &m->after;
	if (f->path || !hostrecord_take_file(fields[2], fields[3], f))
		return false;
	f->path = xstrdup("/etc/kernel/cmdline");
	return true;
}

static bool take_string(struct manifest *m, const char *kind, const char *value)
{
	struct strlist *l = strcmp(kind, "word") == 0 ? &m->words :
			    strcmp(kind, "dir") == 0 ? &m->dirs :
			    strcmp(kind, "card") == 0 ? &m->cards : NULL;

	if (l)
		strlist_add(l, value);
	return l;
}

static int take_record(void *arg, char *const fields[], size_t n)
{
	struct manifest *m = arg;
	const char *kind = fields[0];
	bool good = false;

	if (strcmp(kind, "version") == 0)
		good = n == 2 && fields[1] && strcmp(fields[1], VERSION_LINE) == 0;
	else if (strcmp(kind, "option") == 0)
		good = n == 3 && fields[1] &&
		       take_option(&m->request, fields[1], fields[2]);
	else if (strcmp(kind, "file") == 0)
		good = n == 4 && take_file(m, fields);
	else if (strcmp(kind, "cmdline") == 0)
		good = n == 4 && take_cmdline(m, fields);
	else if (n == 2 && fields[1])
		good = take_string(m, kind, fields[1]);
	return good ? 0 : -EBADMSG;
}

int manifest_parse(const char *text, struct manifest *m)
{
	int rc;

	*m = (struct manifest){ 0 };
	rc = -EBADMSG;
	if (strncmp(text, "version\t", 8) == 0)
		rc = hostrecord_read(text, take_record, m);
	if (rc == 0 && !m->before.path != !m->after.path)
		rc = -EBADMSG;
	if (rc < 0)
		manifest_done(m);
	return rc;
}

int manifest_read(struct manifest *m)
{
	_cleanup_free_ char *path = root_path(MANIFEST_PATH);
	_cleanup_free_ char *text = readfile_string(path, MANIFEST_MAX);

	*m = (struct manifest){ 0 };
	return text ? manifest_parse(text, m) : -errno;
}

void manifest_done(struct manifest *m)
{
	request_done(&m->request);
	hostfiles_done(&m->files);
	strlist_done(&m->words);
	hostfile_done(&m->before);
	hostfile_done(&m->after);
	strlist_done(&m->dirs);
	strlist_done(&m->cards);
}

static void put_options(struct hostrecord_writer *w, const char *name,
			const struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		hostrecord_put(w, "option", name, l->s[i]);
}

static void put_strings(struct hostrecord_writer *w, const char *kind,
			const struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		hostrecord_put(w, kind, l->s[i]);
}

static void put_content(struct hostrecord_writer *w, const char *kind, const char *name,
			const struct hostfile *f)
{
	_cleanup_free_ char *mode = hostrecord_mode(f), *data = hostrecord_data(f);

	hostrecord_put(w, kind, name, mode, data);
}

char *manifest_format(const struct manifest *m)
{
	struct hostrecord_writer w;

	hostrecord_start(&w);
	hostrecord_put(&w, "version", VERSION_LINE);
	put_options(&w, "gpu", &m->request.gpus);
	put_options(&w, "id", &m->request.ids);
	if (m->request.all_gpus)
		hostrecord_put(&w, "option", "all-gpus", "");
	put_options(&w, "cmdline", &m->request.cmdline);
	put_options(&w, "blacklist", &m->request.blacklist);
	if (m->request.early)
		hostrecord_put(&w, "option", "early", "");
	put_strings(&w, "card", &m->cards);
	for (size_t i = 0; i < m->files.n; i++)
		put_content(&w, "file", m->files.f[i].path, &m->files.f[i]);
	put_strings(&w, "word", &m->words);
	if (m->before.path) {
		put_content(&w, "cmdline", "before", &m->before);
		put_content(&w, "cmdline", "after", &m->after);
	}
	put_strings(&w, "dir", &m->dirs);
	return hostrecord_end(&w);
}
