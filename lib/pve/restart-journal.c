/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "pve/restart-judge.h"

/* "a", "b" -> "a, b"; takes list. */
static char *listed(char *list, const char *more)
{
	char *longer = xasprintf("%s%s%s", list ? list : "", list ? ", " : "", more);

	free(list);
	return longer;
}

static const struct state_entry *find(const struct state_file *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->entries[i].name, name) == 0)
			return &f->entries[i];
	return NULL;
}

/* The guests as they were when the job began; empty when that cannot be known. */
static void read_begin(const struct state_file *journal, struct state_file *begin)
{
	_cleanup_free_ char *path = state_path();
	bool same;

	if (state_read(path, begin) == 0) {
		same = journal->boot_id[0] ? strcmp(journal->boot_id, begin->boot_id) == 0
			: state_is_this_boot(begin);
		if (same)
			return;
	}
	state_done(begin);
}

/*
 * What a damaged journal names is believed where the state saved at the beginning
 * of the job says the same: that it ran then. Of a host service only we know.
 */
static bool is_borne_out(const struct state_entry *e, const struct state_file *begin)
{
	const struct state_entry *then = find(begin, e->name);

	return state_is_backup(e) || (then && then->running && e->running && e->reason);
}

/* Leave the believed entries in f; the names of the others, and how to start them. */
static void keep_believed(struct state_file *f, const struct state_file *begin,
			  char **names, char **commands)
{
	char buf[RESTART_COMMAND];
	size_t kept = 0;

	for (size_t i = 0; i < f->n; i++) {
		struct state_entry *e = &f->entries[i];

		if (is_borne_out(e, begin)) {
			f->entries[kept++] = *e;
			continue;
		}
		*names = listed(*names, e->name);
		*commands = listed(*commands, restart_command(e, buf));
		state_entry_done(e);
	}
	f->n = kept;
}

/* Those who ran when the job began and do not now, whoever stopped them. */
static void tell_down(const struct state_file *begin)
{
	_cleanup_free_ char *names = NULL, *commands = NULL;
	char buf[RESTART_COMMAND];

	for (size_t i = 0; i < begin->n; i++) {
		const struct state_entry *e = &begin->entries[i];

		if (!e->is_guest || !e->running || guest_is_running(e->id, NULL, NULL))
			continue;
		names = listed(names, e->name);
		commands = listed(commands, restart_command(e, buf));
	}
	if (names)
		say("ran when the job began, not now: %s; unless that is wanted: %s", names, commands);
}

/* Of which boot the numbers in it are is not known, so they mean nothing. */
static int forget_processes(struct state_file *f)
{
	for (size_t i = 0; i < f->n; i++) {
		f->entries[i].pid = 0;
		f->entries[i].start_time = 0;
	}
	f->job_pid = 0;
	f->job_start = 0;
	return state_stamp(f);
}

/* Put the believed entries where the next reader finds them. */
static void mend(struct state_file *f, const struct state_file *begin, char **aside)
{
	_cleanup_free_ char *path = state_journal_path();
	int rc = 0;

	f->journal = true;
	if (!f->boot_id[0])
		memcpy(f->boot_id, begin->boot_id, sizeof(f->boot_id));
	if (!f->node && begin->node)
		f->node = xstrdup(begin->node);
	if (f->n && !f->boot_id[0])
		rc = forget_processes(f);
	if (rc == 0)
		rc = state_journal_set_aside(f, aside);
	if (rc < 0) {
		errno = -rc;
		say_errno("%s", path);
	}
}

static void tell_damaged(const struct state_file *f, const struct state_file *begin,
			 const char *path, const char *aside, const char *doubted,
			 const char *commands)
{
	_cleanup_free_ char *names = NULL;

	for (size_t i = 0; i < f->n; i++)
		if (!state_is_backup(&f->entries[i]))
			names = listed(names, f->entries[i].name);
	say("%s: damaged, not believed%s%s", path, aside ? "; kept as " : "", aside ? aside : "");
	if (names)
		say("of the guests in it these ran when the job began, and count: %s", names);
	if (doubted)
		say("of the guests stopped for a backup these can be read: %s; if they are down: %s",
		    doubted, commands);
	if (names || doubted)
		return;
	say("no guest in it can be read: look at the last backup's task log who was stopped");
	tell_down(begin);
}

int restart_journal(struct state_file *f, bool dry_run)
{
	_cleanup_free_ char *path = state_journal_path(), *aside = NULL, *doubted = NULL,
			    *commands = NULL;
	_cleanup_(state_done) struct state_file begin = { 0 };
	int rc = state_read(path, f);

	if (rc == 0 || rc == -ENOENT)
		return rc;
	if (rc != -EBADMSG) {
		errno = -rc;
		say_errno("%s", path);
		return rc;
	}
	read_begin(f, &begin);
	keep_believed(f, &begin, &doubted, &commands);
	if (!dry_run)
		mend(f, &begin, &aside);
	tell_damaged(f, &begin, path, aside, doubted, commands);
	if (f->n)
		return 0;
	state_done(f);
	return -EBADMSG;
}
