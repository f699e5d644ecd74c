/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our words in /etc/kernel/cmdline. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/cmdline.h"
#include "host/setup-parts.h"

enum { CMDLINE_MAX = 64 * 1024 };

static const char FALLBACK[] = "/usr/lib/kernel/cmdline";

/* What the boot loader takes when there is no /etc/kernel/cmdline; NULL with *error. */
static char *cmdline_fallback(const struct setup *s, char **error)
{
	_cleanup_free_ char *path = root_path(FALLBACK),
			    *proc = root_path("/proc/cmdline");
	_cleanup_free_ char *running = readfile_string(proc, CMDLINE_MAX), *root = NULL;
	char *text = s->loader.kernel_install ? readfile_string(path, CMDLINE_MAX) : NULL;

	if (text)
		return text;
	text = cmdline_from_running(running ? running : "");
	root = cmdline_value(text, "root");
	if (root)
		return text;
	free(text);
	*error = xstrdup(BOOTLOADER_CMDLINE ": is not there, and the running command line has no root= to begin with");
	return NULL;
}

/* Is what is there what we wrote, or was nothing of ours in it at all? */
static bool cmdline_is_untouched(const struct setup *s, const struct hostfile *now)
{
	return !s->old.after.path || !now->data || hostfile_equal(now, &s->old.after);
}

/* From the bytes that were there before any word of ours. */
static int cmdline_from_base(struct setup *s, const struct strlist *words,
			     const struct hostfile *now, struct hostfile *wanted,
			     char **error)
{
	const struct hostfile *base =
		s->old.after.path && now->data ? &s->old.before : now;
	_cleanup_free_ char *begin = NULL;

	*wanted = hostfile_copy(base);
	if (!words->n)
		return 0;
	begin = base->data ? xstrdup(base->data) : cmdline_fallback(s, error);
	if (!begin)
		return -ENODEV;
	hostfile_done(wanted);
	*wanted = (struct hostfile){ .path = xstrdup(now->path) };
	wanted->mode = base->data ? base->mode : 0644;
	wanted->data = cmdline_add(begin, words, &s->next.words);
	if (!wanted->data)
		return -errno;
	wanted->len = strlen(wanted->data);
	if (s->next.words.n) {
		s->next.before = hostfile_copy(base);
		s->next.after = hostfile_copy(wanted);
	} else {
		hostfile_done(wanted);
		*wanted = hostfile_copy(base);
	}
	return 0;
}

/* Edited since: words of ours that are still wanted stay where they are. */
static int cmdline_from_edited(struct setup *s, const struct strlist *words,
			       const struct hostfile *now, struct hostfile *wanted)
{
	_cleanup_free_ char *rest = NULL;
	struct strlist drop = { 0 };

	*wanted = (struct hostfile){ .path = xstrdup(now->path), .mode = now->mode };
	for (size_t i = 0; i < s->old.words.n; i++) {
		const char *word = s->old.words.s[i];

		if (!strlist_has(words, word))
			strlist_add(&drop, word);
		else if (cmdline_has(now->data, word))
			strlist_add(&s->next.words, word);
	}
	rest = cmdline_remove(now->data, &drop);
	strlist_done(&drop);
	wanted->data = rest ? cmdline_add(rest, words, &s->next.words) : NULL;
	if (!wanted->data)
		return -errno;
	wanted->len = strlen(wanted->data);
	if (s->next.words.n) {
		s->next.after = hostfile_copy(wanted);
		s->next.before = (struct hostfile){ .path = xstrdup(now->path),
						    .mode = now->mode };
		s->next.before.data = cmdline_remove(wanted->data, &s->next.words);
		s->next.before.len = strlen(s->next.before.data);
	}
	return 0;
}

/* Would the next boot have no root=, unlike the running system? */
static bool cmdline_lacks_root(const struct hostfile *wanted)
{
	_cleanup_free_ char *path = root_path("/proc/cmdline");
	_cleanup_free_ char *running = readfile_string(path, CMDLINE_MAX);

	_cleanup_free_ char *had = cmdline_value(running, "root");
	_cleanup_free_ char *has = cmdline_value(wanted->data, "root");

	return wanted->data && had && !has;
}

int setup_plan_cmdline(struct setup *s, const struct strlist *words,
		       struct setup_due *due, char **error)
{
	struct hostfile now = { 0 }, wanted = { 0 };
	int rc;

	if (!s->old.after.path && !words->n)
		return 0;
	rc = hostfile_read(BOOTLOADER_CMDLINE, &now);
	if (rc < 0)
		rc = setup_cannot_read(BOOTLOADER_CMDLINE, rc, error);
	else if (cmdline_is_untouched(s, &now))
		rc = cmdline_from_base(s, words, &now, &wanted, error);
	else
		rc = cmdline_from_edited(s, words, &now, &wanted);
	if (rc == -EBADMSG && !*error)
		*error = xstrdup(BOOTLOADER_CMDLINE ": more than one line, or a quote without its end: make it one line");
	if (rc == 0 && wanted.data && cmdline_loses_root(now.data, wanted.data)) {
		*error = xstrdup(BOOTLOADER_CMDLINE ": would lose its root=");
		rc = -EBADMSG;
	}
	if (rc == 0 && words->n && cmdline_lacks_root(&wanted)) {
		*error = xstrdup(BOOTLOADER_CMDLINE
				 ": has no root=, which the running system was booted with: put it there first");
		rc = -EBADMSG;
	}
	if (rc == 0 && !hostfile_equal(&now, &wanted)) {
		transaction_add(&s->t, &now, &wanted);
		due->loader = true;
	}
	hostfile_done(&now);
	hostfile_done(&wanted);
	return rc;
}
