/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/setup.h"
#include "pci/bind.h"

enum { PROC_STAT_MAX = 1024 * 1024 };

int setup_load(struct setup *s, char **error)
{
	int rc = manifest_read(&s->old);

	if (rc == -EBADMSG)
		*error = xstrdup(MANIFEST_PATH
				 ": not complete, or written by a newer vfio-setup");
	else if (rc < 0 && rc != -ENOENT)
		*error = xasprintf(MANIFEST_PATH ": %s", strerror(-rc));
	if (rc < 0 && rc != -ENOENT)
		return rc;
	s->applied = rc == 0;
	s->has_loader = bootloader_detect(&s->loader) == 0;
	return 0;
}

static void copy_list(struct strlist *to, const struct strlist *from)
{
	for (size_t i = 0; i < from->n; i++)
		strlist_add_new(to, from->s[i]);
}

static void copy_request(struct setup_request *to, const struct setup_request *from)
{
	copy_list(&to->gpus, &from->gpus);
	copy_list(&to->ids, &from->ids);
	to->all_gpus = to->all_gpus || from->all_gpus;
	copy_list(&to->cmdline, &from->cmdline);
	copy_list(&to->blacklist, &from->blacklist);
	to->early = to->early || from->early;
	to->force = to->force || from->force;
}

/*
 * A slot that is asked for again must hold the card that it held. One that is
 * no longer asked for may hold anything.
 */
static int check_slots(const struct setup *s, bool as_applied, bool force, char **error)
{
	struct strlist asked = { 0 };
	bool same;

	for (size_t i = 0; i < s->old.cards.n; i++) {
		const char *line = s->old.cards.s[i];
		_cleanup_free_ char *name = xstrndup(line, strcspn(line, " "));
		struct pciaddr addr;

		if (as_applied ||
		    (pciaddr_parse(name, &addr) && cards_has(&s->cards, &addr)))
			strlist_add(&asked, line);
	}
	same = force || cards_match_record(&s->cards, &asked, error);
	strlist_done(&asked);
	return same ? 0 : -ESTALE;
}

int setup_choose(struct setup *s, const struct setup_request *asked, char **error)
{
	bool as_applied = request_is_empty(asked);
	int rc;

	if (as_applied)
		copy_request(&s->request, &s->old.request);
	copy_request(&s->request, asked);
	/* What was forced once is not refused when it is looked at again. */
	s->request.force = s->request.force || as_applied;
	rc = cards_find(&s->request, &s->cards, error);
	if (rc == 0)
		rc = check_slots(s, as_applied, asked->force, error);
	if (rc == 0)
		rc = artifacts_plan(&s->request, &s->cards, &s->artifacts, error);
	if (rc < 0)
		return rc;
	copy_list(&s->words, &s->artifacts.words);
	copy_list(&s->warnings, &s->artifacts.notes);
	return 0;
}

bool setup_has_changes(const struct setup *s)
{
	for (size_t i = 0; i < s->t.to.n; i++)
		if (strcmp(s->t.to.f[i].path, MANIFEST_PATH) != 0)
			return true;
	return false;
}

bool setup_needs_boot(const struct setup *s)
{
	for (size_t i = 0; i < s->words.n; i++) {
		struct bootword w;

		bootloader_word(&s->loader, s->words.s[i], &w);
		if (!w.active)
			return true;
	}
	for (size_t i = 0; i < s->cards.n; i++) {
		const char *driver = s->cards.fns[i].dev->driver;

		if (!driver || !bind_is_vfio_driver(driver))
			return true;
	}
	return false;
}

bool setup_was_booted(void)
{
	_cleanup_free_ char *path = root_path(MANIFEST_PATH), *proc = root_path("/proc/stat");
	_cleanup_free_ char *text = readfile_string(proc, PROC_STAT_MAX);
	const char *boot = text ? strstr(text, "\nbtime ") : NULL;
	struct stat st;

	return boot && stat(path, &st) == 0 && st.st_mtime < strtoll(boot + 7, NULL, 10);
}

void setup_done(struct setup *s)
{
	manifest_done(&s->old);
	request_done(&s->request);
	bootloader_done(&s->loader);
	cards_done(&s->cards);
	artifacts_done(&s->artifacts);
	strlist_done(&s->words);
	strlist_done(&s->warnings);
	strlist_done(&s->made);
	manifest_done(&s->next);
	transaction_done(&s->t);
}
