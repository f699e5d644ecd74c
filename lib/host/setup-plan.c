/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The changes of files, and the commands that follow from them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "host/grubconf.h"
#include "host/setup-parts.h"

int setup_cannot_read(const char *path, int rc, char **error)
{
	if (rc == -ELOOP) {
		*error =
			xasprintf("%s: a symbolic link: it is not written through", path);
		return -EEXIST;
	}
	if (rc == -EINVAL) {
		*error = xasprintf("%s: not a text file", path);
		return -EEXIST;
	}
	*error = xasprintf("%s: %s", path, strerror(-rc));
	return rc;
}

/* May what is at a path of ours be replaced? now has data. */
static int check_ours(const struct hostfile *now, const struct hostfile *written,
		      bool force, char **error)
{
	if (written && strcmp(now->data, written->data) == 0)
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

/*
 * Lines that somebody has put before or behind ours stay: what is there, with
 * wanted's bytes (none for data NULL) in the place of those that were written.
 * False when ours are no longer there in one piece; *kept is then untouched.
 */
static bool keep_others(const struct hostfile *now, const struct hostfile *written,
			const struct hostfile *wanted, struct hostfile *kept)
{
	const char *place =
		written && now->data ? strstr(now->data, written->data) : NULL;

	if (!place || (place > now->data && place[-1] != '\n') ||
	    strcmp(now->data, written->data) == 0)
		return false;
	*kept = (struct hostfile){ .path = xstrdup(now->path), .mode = now->mode };
	kept->data = xasprintf("%.*s%s%s", (int)(place - now->data), now->data,
			       wanted->data ? wanted->data : "", place + written->len);
	kept->len = strlen(kept->data);
	return true;
}

static void plan_change(struct setup *s, const struct hostfile *now,
			const struct hostfile *wanted, struct setup_due *due)
{
	if (hostfile_equal(now, wanted))
		return;
	transaction_add(&s->t, now, wanted);
	due->initramfs = due->initramfs || artifacts_is_in_initramfs(wanted->path);
	due->loader = due->loader || strcmp(wanted->path, GRUBCONF_DROPIN) == 0;
}

/* One file of ours, from what is there to wanted (data NULL: none). */
static int plan_file(struct setup *s, const struct hostfile *wanted, bool force,
		     struct setup_due *due, char **error)
{
	const struct hostfile *written = hostfiles_find(&s->old.files, wanted->path);
	struct hostfile now, kept = { 0 };
	int rc;

	if (!wanted->data && !written)
		return 0;
	rc = hostfile_read(wanted->path, &now);
	if (rc < 0)
		rc = setup_cannot_read(wanted->path, rc, error);
	else if (keep_others(&now, written, wanted, &kept))
		plan_change(s, &now, &kept, due);
	else if (now.data && !hostfile_equal(&now, wanted))
		rc = check_ours(&now, written, force, error);
	if (rc == 0 && !kept.path)
		plan_change(s, &now, wanted, due);
	if (rc == 0 && wanted->data)
		hostfiles_add(&s->next.files, wanted->path, wanted->data, wanted->mode);
	hostfile_done(&kept);
	hostfile_done(&now);
	return rc;
}

/* The words that GRUB does not get from anybody else. */
static int plan_grub(struct setup *s, bool force, struct setup_due *due, char **error)
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

static void add_commands(struct setup *s, const struct setup_due *due)
{
	if (due->initramfs)
		bootloader_initramfs_commands(&s->t.cmds);
	/* A new initramfs has to come to where these loaders read it. */
	if (due->loader ||
	    (due->initramfs && (s->loader.pbt || s->loader.kernel_install)))
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
		return setup_cannot_read(MANIFEST_PATH, rc, error);
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
	struct setup_due due = { 0 };
	int rc = 0;

	if (s->words.n && !s->has_loader)
		strlist_add_new(&s->warnings,
				"no boot loader is known here: put the words on the kernel's command line yourself");
	if (s->loader.skipped)
		strlist_add_new(&s->warnings, s->loader.skipped);
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
		rc = setup_plan_cmdline(s, s->loader.cmdline_file ? &s->words : &none,
					&due, error);
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
	struct setup_due due = { 0 };
	int rc = 0;

	if (!s->applied && force)
		adopt_marked(s);
	for (size_t i = 0; rc == 0 && i < s->old.files.n; i++) {
		const struct hostfile gone = { .path = s->old.files.f[i].path };

		rc = plan_file(s, &gone, force, &due, error);
	}
	if (rc == 0)
		rc = setup_plan_cmdline(s, &none, &due, error);
	if (rc < 0)
		return rc;
	if (due.loader && !s->has_loader)
		strlist_add_new(&s->warnings, "no boot loader is known here: take the words out of its own files yourself");
	add_commands(s, &due);
	add_all(&s->t.unmade, &s->old.dirs);
	return plan_manifest(s, true, error);
}
