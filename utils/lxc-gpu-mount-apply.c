/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lxc-gpu-mount: the config read, locked and changed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sha1.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "host/unidiff.h"
#include "lxc-gpu-mount.h"
#include "pve/ctfile.h"
#include "pve/guest.h"
#include "pve/guestdir.h"
#include "pve/pveconf.h"

enum { LOCK_WAIT = 10000, PCT_TIMEOUT = 120, ROUNDS = 4 };	/* ms, s */

/* Where else could it be? Says so. */
static int say_no_container(uint32_t ctid)
{
	struct guestdir dir;

	if (guestdir_open(&dir, GUEST_LXC, NULL, &ctid, 1) < 0) {
		say("/etc/pve: is Proxmox VE's cluster file system mounted?");
		return EXIT_HOST;
	}
	if (dir.n)
		say("lxc/%u is on node %s: run it there", ctid,
		    dir.nodes[dir.entries[0].node].name);
	else
		say("lxc/%u: no such container on this node", ctid);
	guestdir_close(&dir);
	return EXIT_NO_CONTAINER;
}

int config_read(const struct job *j, struct readfile *text)
{
	int rc = readfile_at(AT_FDCWD, j->path, PVECONF_MAX, text);

	if (rc == -ENOENT)
		return say_no_container(j->ctid);
	if (rc < 0) {
		say("%s: %s", j->label, guestdir_strerror(rc));
		return EXIT_HOST;
	}
	return 0;
}

int config_check_lock(const struct job *j, const struct readfile *text)
{
	struct ctconf_facts facts;
	int rc = 0;

	ctconf_facts(text->data, text->len, &facts);
	if (facts.lock) {
		const char *verb = strcmp(facts.lock, "mounted") == 0 ? "unmount"
								      : "unlock";

		say("lxc/%u is locked (%s): wait for its task, or pct %s %u", j->ctid,
		    facts.lock, verb, j->ctid);
		rc = EXIT_HOST;
	}
	ctconf_facts_done(&facts);
	return rc;
}

/* ---- the change ---- */

static int plan(const struct job *j, const struct readfile *text,
		struct ctconf_edit *edit)
{
	int rc = ctconf_change(text->data, text->len, j->style, j->wants, j->n_wants,
			       edit);

	if (rc == -ENOSPC)
		say("lxc/%u has no devN left: 256 are taken", j->ctid);
	else if (rc < 0)
		say("%s would become too large", j->label);
	return rc < 0 ? EXIT_HOST : 0;
}

static int say_write(const struct job *j, int rc)
{
	if (rc == -EACCES || rc == -EPERM || rc == -EROFS)
		say("%s cannot be written: no quorum? (pvecm status)", j->label);
	else
		say("%s: %s", j->label, strerror(-rc));
	return EXIT_HOST;
}

static void say_edit(const struct job *j, const struct ctconf_edit *edit)
{
	for (size_t i = 0; i < edit->n_devs; i++)
		say_info("lxc/%u: dev%u: %s", j->ctid, edit->devs[i].index,
			 edit->devs[i].value ? edit->devs[i].value : "deleted");
	if (edit->raw_changed)
		say_info("%s: lxc.* lines changed", j->label);
}

/* devN is PVE's to change: it hot-plugs what it can and keeps the rest pending. */
static int set_devs(const struct job *j, const struct readfile *text,
		    const struct ctconf_edit *edit)
{
	const struct spawn_opts opts = { .timeout = PCT_TIMEOUT, .pass = true };
	const char **argv = xcalloc(8 + 2 * edit->n_devs, sizeof(*argv));
	char **made = xcalloc(2 + edit->n_devs, sizeof(*made));
	_cleanup_free_ char *gone = xstrdup("");
	char digest[SHA1_STRLEN];
	size_t n = 0, n_made = 0;
	int rc;

	argv[n++] = "/usr/sbin/pct";
	argv[n++] = "set";
	argv[n++] = made[n_made++] = xasprintf("%u", j->ctid);
	/* somebody's change between our look and this one makes it fail */
	argv[n++] = "--digest";
	argv[n++] = sha1_text(text->data, text->len, digest);
	for (size_t i = 0; i < edit->n_devs; i++) {
		const struct ctconf_dev *dev = &edit->devs[i];

		if (dev->value) {
			argv[n++] = made[n_made++] = xasprintf("--dev%u", dev->index);
			argv[n++] = dev->value;
		} else {
			char *more = xasprintf("%s%sdev%u", gone, *gone ? "," : "",
					       dev->index);

			free(gone);
			gone = more;
		}
	}
	if (*gone) {
		argv[n++] = "--delete";
		argv[n++] = gone;
	}
	fflush(stdout);
	rc = spawn_run(argv, &opts);
	for (size_t i = 0; i < n_made; i++)
		free(made[i]);
	free(made);
	free(argv);
	return rc;
}

static bool sets_devs(const struct ctconf_edit *edit)
{
	for (size_t i = 0; i < edit->n_devs; i++)
		if (edit->devs[i].value)
			return true;
	return false;
}

/* Has the file other bytes now than before? */
static bool is_changed(const struct job *j, const struct readfile *before)
{
	struct readfile now = { 0 };
	bool changed = readfile_at(AT_FDCWD, j->path, PVECONF_MAX, &now) < 0
		       || now.len != before->len
		       || (now.len && memcmp(now.data, before->data, now.len) != 0);

	free(now.data);
	return changed;
}

static int run_pct(const struct job *j, const struct readfile *text,
		   const struct ctconf_edit *edit)
{
	int rc = set_devs(j, text, edit);

	/* what PVE could not hot-plug is in the config all the same */
	if (rc == 0 || is_changed(j, text))
		return 0;
	if (rc < 0)
		say("/usr/sbin/pct: %s", strerror(-rc));
	else
		say("pct set %u failed", j->ctid);
	return EXIT_HOST;
}

static bool is_other(const struct ctconf_edit *edit, const struct readfile *text)
{
	return edit->len != text->len
	       || (text->len && memcmp(edit->text, text->data, text->len) != 0);
}

/* What PVE could not do to the running container waits there. */
static bool has_pending(const struct readfile *text)
{
	return text->len && memmem(text->data, text->len, "\n[pve:pending]", 14);
}

/*
 * One step towards the wish; done is set when there is none left. What gives nodes
 * comes before what takes them: a run that is killed leaves too much, not nothing.
 */
static int step(const struct job *j, bool *done, bool *restart)
{
	struct readfile text = { 0 };
	struct ctconf_edit edit = { 0 };
	bool by_pct = root_is_host(), use_pct = false;
	int lock = ctfile_lock(j->ctid, LOCK_WAIT), rc;

	if (lock < 0) {
		say("the lock of lxc/%u: %s", j->ctid,
		    lock == -EAGAIN ? "somebody else keeps it" : strerror(-lock));
		return EXIT_HOST;
	}
	rc = config_read(j, &text);
	if (rc == 0)
		rc = config_check_lock(j, &text);
	if (rc == 0)
		rc = plan(j, &text, &edit);
	if (rc == 0) {
		bool write = by_pct ? edit.raw_changed : is_other(&edit, &text);

		use_pct = by_pct && edit.n_devs && (sets_devs(&edit) || !write);
		*done = !use_pct && !write;
		*restart = *restart || write || (*done && has_pending(&text));
		if (!*done)
			say_edit(j, &edit);
		if (write && !use_pct) {
			rc = ctfile_write(j->path, by_pct ? edit.raw : edit.text,
					  by_pct ? edit.raw_len : edit.len);
			rc = rc < 0 ? say_write(j, rc) : 0;
		}
	}
	/* pct takes the lock itself */
	close(lock);
	if (rc == 0 && use_pct)
		rc = run_pct(j, &text, &edit);
	ctconf_edit_done(&edit);
	free(text.data);
	return rc;
}

int change_apply(const struct job *j)
{
	bool done = false, restart = false, any = false;
	struct guest_id id = { GUEST_LXC, j->ctid };

	for (unsigned i = 0; !done && i < ROUNDS; i++) {
		int rc = step(j, &done, &restart);

		if (rc)
			return rc;
		any = any || !done;
	}
	if (!done) {
		say("%s does not become what it should: is somebody else changing it?",
		    j->label);
		return EXIT_HOST;
	}
	if (!any)
		say_info("lxc/%u: nothing to change", j->ctid);
	if (restart && guest_is_running(id, NULL, NULL))
		say_warn("lxc/%u runs: the change takes effect at its next start", j->ctid);
	return 0;
}

int change_print(const struct job *j, const struct readfile *text)
{
	struct ctconf_edit edit;
	struct hostfile from = { j->label, text->data, text->len, 0 }, to = from;
	int rc = plan(j, text, &edit);

	if (rc)
		return rc;
	to.data = edit.text;
	to.len = edit.len;
	rc = unidiff_print(&from, &to);
	if (rc < 0)
		say("diff: %s", strerror(-rc));
	ctconf_edit_done(&edit);
	return rc < 0 ? EXIT_OTHER : 0;
}
