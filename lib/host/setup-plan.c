/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The changes of files, and the commands that follow from them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/cmdline.h"
#include "host/grubconf.h"
#include "host/setup.h"

enum { CMDLINE_MAX = 64 * 1024 };

static const char FALLBACK[] = "/usr/lib/kernel/cmdline";

static int cannot_read(const char *path, int rc, char **error)
{
	if (rc == -ELOOP) {
		*error = xasprintf("%s: a symbolic link: it is not written through", path);
		return -EEXIST;
	}
	if (rc == -EINVAL) {
		*error = xasprintf("%s: not a text file", path);
		return -EEXIST;
	}
	*error = xasprintf("%s: %s", path, strerror(-rc));
	return rc;
}

/* What a plan has to run at the end. */
struct due {
	bool initramfs, loader;
};

/* May what is at a path of ours be replaced? now has data. */
static int check_ours(const struct hostfile *now, const struct hostfile *written, bool force,
		      char **error)
{
	if (written && hostfile_equal(now, written))
		return 0;
	if (!written && !hostfile_is_marked(now)) {
		*error = xasprintf("%s: there is a file of this name that vfio-setup did not write: move it away",
				   now->path);
		return -EEXIST;
	}
	if (force)
		return 0;
	*error = xasprintf("%s: changed since vfio-setup wrote it: see vfio-setup diff; --force overrides",
			   now->path);
	return -EEXIST;
}

/* One file of ours, from what is there to wanted (data NULL: none). */
static int plan_file(struct setup *s, const struct hostfile *wanted, bool force,
		     struct due *due, char **error)
{
	const struct hostfile *written = hostfiles_find(&s->old.files, wanted->path);
	struct hostfile now;
	int rc;

	if (!wanted->data && !written)
		return 0;
	rc = hostfile_read(wanted->path, &now);
	if (rc < 0)
		rc = cannot_read(wanted->path, rc, error);
	else if (now.data && !hostfile_equal(&now, wanted))
		rc = check_ours(&now, written, force, error);
	if (rc == 0) {
		size_t n = s->t.to.n;

		transaction_add(&s->t, &now, wanted);
		if (s->t.to.n > n) {
			due->initramfs = due->initramfs || artifacts_is_in_initramfs(wanted->path);
			due->loader = due->loader || strcmp(wanted->path, GRUBCONF_DROPIN) == 0;
		}
		if (wanted->data)
			hostfiles_add(&s->next.files, wanted->path, wanted->data, wanted->mode);
	}
	hostfile_done(&now);
	return rc;
}

/* The words that GRUB does not get from anybody else. */
static int plan_grub(struct setup *s, bool force, struct due *due, char **error)
{
	struct hostfile wanted = { .path = (char *)GRUBCONF_DROPIN, .mode = 0644 };
	struct strlist words = { 0 };
	struct grubconf g;
	int rc;

	if (s->loader.grub) {
		rc = grubconf_read(true, &g);
		if (rc < 0) {
			*error = xasprintf("/etc/default/grub: %s", strerror(-rc));
			return rc;
		}
		for (size_t i = 0; i < s->words.n; i++)
			if (!grubconf_has(&g, s->words.s[i]))
				strlist_add(&words, s->words.s[i]);
		if (words.n && g.reset) {
			_cleanup_free_ char *text =
				xasprintf("%s sets GRUB_CMDLINE_LINUX_DEFAULT anew after our file: the words are lost there",
					  g.reset);

			strlist_add_new(&s->warnings, text);
		}
		grubconf_done(&g);
	}
	if (words.n) {
		wanted.data = grubconf_dropin(&words);
		wanted.len = strlen(wanted.data);
	}
	rc = plan_file(s, &wanted, force, due, error);
	free(wanted.data);
	strlist_done(&words);
	return rc;
}

/* What the boot loader takes when there is no /etc/kernel/cmdline; NULL with *error. */
static char *cmdline_fallback(const struct setup *s, char **error)
{
	_cleanup_free_ char *path = root_path(FALLBACK), *proc = root_path("/proc/cmdline");
	_cleanup_free_ char *running = readfile_string(proc, CMDLINE_MAX), *root = NULL;
	char *text = s->loader.kernel_install ? readfile_string(path, CMDLINE_MAX) : NULL;

	if (text)
		return text;
	text = cmdline_from_running(running ? running : "");
	root = cmdline_value(text, "root");
	if (root)
		return text;
	free(text);
	*error = xstrdup(BOOTLOADER_CMDLINE
			 ": is not there, and the running command line has no root= to begin with");
	return NULL;
}

/* Is what is there what we wrote, or was nothing of ours in it at all? */
static bool cmdline_is_untouched(const struct setup *s, const struct hostfile *now)
{
	return !s->old.after.path || !now->data || hostfile_equal(now, &s->old.after);
}

/* From the bytes that were there before any word of ours. */
static int cmdline_from_base(struct setup *s, const struct strlist *words,
			     const struct hostfile *now, struct hostfile *wanted, char **error)
{
	const struct hostfile *base = s->old.after.path && now->data ? &s->old.before : now;
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
		s->next.before = (struct hostfile){ .path = xstrdup(now->path), .mode = now->mode };
		s->next.before.data = cmdline_remove(wanted->data, &s->next.words);
		s->next.before.len = strlen(s->next.before.data);
	}
	return 0;
}

/* words: those that are to be in it. */
static int plan_cmdline(struct setup *s, const struct strlist *words, struct due *due,
			char **error)
{
	struct hostfile now = { 0 }, wanted = { 0 };
	int rc;

	if (!s->old.after.path && !words->n)
		return 0;
	rc = hostfile_read(BOOTLOADER_CMDLINE, &now);
	if (rc < 0)
		rc = cannot_read(BOOTLOADER_CMDLINE, rc, error);
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
	if (rc == 0 && !hostfile_equal(&now, &wanted)) {
		transaction_add(&s->t, &now, &wanted);
		due->loader = true;
	}
	hostfile_done(&now);
	hostfile_done(&wanted);
	return rc;
}

static void add_commands(struct setup *s, const struct due *due)
{
	if (due->initramfs)
		bootloader_initramfs_commands(&s->t.cmds);
	/* A new initramfs has to come to where these loaders read it. */
	if (due->loader || (due->initramfs && (s->loader.pbt || s->loader.kernel_install)))
		bootloader_commands(&s->loader, &s->t.cmds);
}

static void add_all(struct strlist *to, const struct strlist *from)
{
	for (size_t i = 0; i < from->n; i++)
		strlist_add_new(to, from->s[i]);
}

/* The manifest is a file like the others: written with them, taken back with them. */
static int plan_manifest(struct setup *s, bool undo, char **error)
{
	struct hostfile now, wanted = { .path = (char *)MANIFEST_PATH, .mode = 0600 };
	int rc = hostfile_read(MANIFEST_PATH, &now);

	if (rc < 0)
		return cannot_read(MANIFEST_PATH, rc, error);
	add_all(&s->t.made, &s->made);
	if (!undo) {
		add_all(&s->next.dirs, &s->old.dirs);
		add_all(&s->next.dirs, &s->t.made);
		wanted.data = manifest_format(&s->next);
		wanted.len = strlen(wanted.data);
	}
	transaction_add(&s->t, &now, &wanted);
	free(wanted.data);
	hostfile_done(&now);
	return 0;
}

int setup_plan_apply(struct setup *s, bool force, char **error)
{
	const struct strlist none = { 0 };
	struct due due = { 0 };
	int rc = 0;

	if (s->words.n && !s->has_loader)
		strlist_add_new(&s->warnings, "no boot loader is known here: put the words on the kernel's command line yourself");
	if (s->loader.guessed)
		strlist_add_new(&s->warnings, "which boot loader is in use is not clear: all that may be are set up");
	for (size_t i = 0; rc == 0 && i < s->artifacts.files.n; i++)
		rc = plan_file(s, &s->artifacts.files.f[i], force, &due, error);
	for (size_t i = 0; rc == 0 && i < s->old.files.n; i++) {
		const struct hostfile gone = { .path = s->old.files.f[i].path };

		/* No longer wanted; our own of GRUB follows. */
		if (!hostfiles_find(&s->artifacts.files, gone.path)
		    && strcmp(gone.path, GRUBCONF_DROPIN) != 0)
			rc = plan_file(s, &gone, force, &due, error);
	}
	if (rc == 0)
		rc = plan_grub(s, force, &due, error);
	if (rc == 0)
		rc = plan_cmdline(s, s->loader.cmdline_file ? &s->words : &none, &due, error);
	if (rc < 0)
		return rc;
	add_commands(s, &due);
	s->next.request = s->request;
	s->next.request.force = false;
	cards_record(&s->cards, &s->next.cards);
	rc = plan_manifest(s, false, error);
	s->next.request = (struct setup_request){ 0 };
	return rc;
}

/* Without a manifest: our files are those with our mark. */
static void adopt_marked(struct setup *s)
{
	static const char *const paths[] = {
		ARTIFACT_MODPROBE, ARTIFACT_MODULES_LOAD, ARTIFACT_UDEV,
		ARTIFACT_INITRAMFS_HOOK, ARTIFACT_DRACUT, GRUBCONF_DROPIN,
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct hostfile now;

		if (hostfile_read(paths[i], &now) == 0 && hostfile_is_marked(&now))
			hostfiles_add(&s->old.files, now.path, now.data, now.mode);
		hostfile_done(&now);
	}
}

int setup_plan_undo(struct setup *s, bool force, char **error)
{
	const struct strlist none = { 0 };
	struct due due = { 0 };
	int rc = 0;

	if (!s->applied && force)
		adopt_marked(s);
	for (size_t i = 0; rc == 0 && i < s->old.files.n; i++) {
		const struct hostfile gone = { .path = s->old.files.f[i].path };

		rc = plan_file(s, &gone, force, &due, error);
	}
	if (rc == 0)
		rc = plan_cmdline(s, &none, &due, error);
	if (rc < 0)
		return rc;
	if (due.loader && !s->has_loader)
		strlist_add_new(&s->warnings, "no boot loader is known here: take the words out of its own files yourself");
	add_commands(s, &due);
	add_all(&s->t.unmade, &s->old.dirs);
	return plan_manifest(s, true, error);
}
