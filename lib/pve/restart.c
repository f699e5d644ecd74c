/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "pve/power.h"
#include "pve/restart-judge.h"

enum {
	UP_DELAY_MAX = 60,	/* s; startup: up= may be hours, and a job waits for us */
	PRIVATE_LIMIT = 10,	/* s for systemctl is-system-running */
};

/* A reason once per process: the guardian comes by every few seconds. */
static bool is_news(const char *name, const char *text)
{
	static char **told;
	static size_t n, room;
	_cleanup_free_ char *line = xasprintf("%s: %s", name, text);

	for (size_t i = 0; i < n; i++)
		if (strcmp(told[i], line) == 0)
			return false;
	told = xgrow(told, n, &room, sizeof(*told));
	told[n++] = TAKE_PTR(line);
	return true;
}

const char *restart_command(const struct state_entry *e, char buf[RESTART_COMMAND])
{
	if (e->is_guest)
		snprintf(buf, RESTART_COMMAND, "%s start %u", e->id.kind == GUEST_QEMU ? "qm" : "pct", e->id.vmid);
	else
		snprintf(buf, RESTART_COMMAND, "systemctl start %s", e->name + 5);
	return buf;
}

static void keep_word(const char *line, void *arg)
{
	snprintf(arg, 32, "%s", line);
}

static bool host_is_stopping(void)
{
	static const char *const argv[] = { POWER_SYSTEMCTL, "is-system-running", NULL };
	char word[32] = "";
	struct spawn_opts opts = { .timeout = PRIVATE_LIMIT,
				   .line = keep_word,
				   .arg = word };

	if (!root_is_host() || access(argv[0], X_OK) < 0)
		return false;
	spawn_run(argv, &opts);
	return strcmp(word, "stopping") == 0;
}

static void forget(struct restart *r, const struct state_entry *e)
{
	int rc;

	if (r->opts->dry_run || !r->file->journal)
		return;
	rc = state_journal_remove(e->name, e->reason);
	if (rc < 0) {
		errno = -rc;
		say_errno("%s cannot be taken out of the journal", e->name);
		/* A later run would start it again, whoever has stopped it then. */
		r->result->failed++;
	}
}

/*
 * The last try is over, and an administrator has to know that nobody looks after it any
 * more.
 */
static void give_up(struct restart *r, const struct candidate *c)
{
	char buf[RESTART_COMMAND];

	if (c->entry->is_guest && guest_is_running(c->entry->id, NULL, NULL)) {
		say_warn("%s was told to stop and still runs: left alone from now on", c->entry->name);
		if (c->guest && c->guest->ha)
			power_ha_keep(c->entry->name, c->entry->id);
	} else {
		say("%s %s", c->entry->name, c->why);
		say("%s stays down, and is not tried again: start it with: %s", c->entry->name,
		    restart_command(c->entry, buf));
		r->result->failed++;
	}
	forget(r, c->entry);
}

/* Everybody who is not started now. */
static void tell_others(struct restart *r)
{
	char name[GUEST_STRLEN];

	for (size_t i = 0; i < r->n; i++) {
		struct candidate *c = &r->cands[i];

		switch (c->verdict) {
		case VERDICT_WAIT:
			r->result->waiting++;
			if (c->because.vmid
			    && guest_compare(&c->because, &c->entry->id) != 0
			    && is_news(c->entry->name, c->why) && msg_level >= 0)
				printf("%s stays down until %s is backed up\n", c->entry->name,
				       guest_format(c->because, name));
			break;
		case VERDICT_HELD_UP:
			if (r->opts->last && c->hopeless) {
				give_up(r, c);
				break;
			}
			if (is_news(c->entry->name, c->why))
				say_warn("%s %s", c->entry->name, c->why);
			r->result->held_up++;
			break;
		case VERDICT_FORGET:
			if (c->why[0])
				say_warn("%s %s", c->entry->name, c->why);
			forget(r, c->entry);
			break;
		default:
			break;
		}
	}
	fflush(stdout);
}

static int order_of(const struct candidate *c)
{
	return c->guest && c->guest->order >= 0 ? c->guest->order : INT_MAX;
}

/*
 * Rounds first: they keep guests from taking each other's devices. Then as PVE does at
 * boot.
 */
static int by_start_order(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int ox = order_of(x), oy = order_of(y);

	if ((x->verdict == VERDICT_START) != (y->verdict == VERDICT_START))
		return x->verdict == VERDICT_START ? -1 : 1;
	if (x->round != y->round)
		return x->round < y->round ? -1 : 1;
	if (ox != oy)
		return ox < oy ? -1 : 1;
	return strverscmp(x->entry->name, y->entry->name);
}

static void print_commands(const struct restart *r)
{
	char buf[RESTART_COMMAND], name[GUEST_STRLEN];

	for (size_t i = 0; i < r->n; i++) {
		const struct candidate *c = &r->cands[i];
		const char *command = restart_command(c->entry, buf);

		if (c->verdict == VERDICT_START)
			printf("%s\n", command);
		else if (c->verdict == VERDICT_WAIT && c->because.vmid)
			printf("%s\t# waits for %s\n", command, guest_format(c->because, name));
		else if (c->verdict == VERDICT_WAIT)
			printf("%s\t# waits for the end of the job\n", command);
		else if (c->verdict == VERDICT_HELD_UP) {
			printf("%s\t# ", command);
			text_put_line(stdout, "%s", c->why);
		}
	}
}

static void started(struct power_task *t, void *arg)
{
	struct restart *r = arg;
	_cleanup_free_ char *command = power_command(t);
	const char *stays = r->file->journal ? "; stays in the journal, to be tried again" : "";
	const char *said = t->said ? ": " : "";

	if (t->result == 0) {
		if (msg_level >= 0)
			printf("%s started (%u s)\n", t->name, t->took);
		fflush(stdout);	/* whoever kills us now is not to hide it */
		r->result->started++;
		for (size_t i = 0; i < r->file->n; i++) {
			const struct state_entry *e = &r->file->entries[i];

			if (strcmp(e->name, t->name) == 0 && !state_is_backup(e))
				forget(r, e);
		}
		return;
	}
	r->result->failed++;
	if (t->result == -ETIMEDOUT)
		say("%s not started: %s was given up after %u s%s%s%s", t->name, command, t->took,
		    said, t->said ? t->said : "", stays);
	else if (t->result == -EAGAIN)
		say("%s not started: %s ended well, yet it does not run%s%s%s", t->name, command,
		    said, t->said ? t->said : "", stays);
	else if (t->result < 0)
		say("%s not started: %s: %s%s", t->name, command, strerror(-t->result), stays);
	else
		say("%s not started: %s: exit code %d%s%s%s", t->name, command, t->result,
		    said, t->said ? t->said : "", stays);
}

/* Seconds that PVE would wait after the group cands[from..to) before the next one. */
static unsigned up_delay(const struct candidate *cands, size_t from, size_t to)
{
	int delay = 0;

	for (size_t i = from; i < to; i++)
		if (cands[i].guest && cands[i].guest->up > delay)
			delay = cands[i].guest->up;
	return delay > UP_DELAY_MAX ? UP_DELAY_MAX : (unsigned)delay;
}

/* The groups before it took their time: is what was judged still so? */
static bool is_still_down(const struct candidate *c)
{
	struct guest g;
	bool down;

	if (!c->guest)
		return true;
	if (guest_is_running(c->entry->id, NULL, NULL)
	    || guest_find(c->entry->name, &g) < 0)
		return false;
	down = !g.lock && !g.template;
	guest_done(&g);
	return down;
}

static void start_group(struct restart *r, size_t from, size_t to)
{
	_cleanup_free_ struct power_task *tasks = xcalloc(to - from, sizeof(*tasks));
	size_t n = 0;

	for (size_t i = from; i < to; i++) {
		const struct candidate *c = &r->cands[i];

		if (!is_still_down(c)) {
			say_warn("%s was changed meanwhile: left alone", c->entry->name);
			r->result->held_up++;
			continue;
		}
		if (power_start_init(&tasks[n], c->entry->name, r->opts->limit,
				     c->guest && c->guest->ha))
			n++;
	}
	power_run(tasks, n, r->opts->parallel, started, r);
	for (size_t i = 0; i < n; i++)
		power_done(&tasks[i]);
}

static int start_all(struct restart *r)
{
	size_t n = 0;

	while (n < r->n && r->cands[n].verdict == VERDICT_START)
		n++;
	for (size_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && r->cands[to].round == r->cands[from].round
		     && order_of(&r->cands[to]) == order_of(&r->cands[from]); to++)
			;
		if (host_is_stopping()) {
			say("the host shuts down: nothing is started; what is in the journal starts at boot");
			return -ECANCELED;
		}
		start_group(r, from, to);
		if (to < n && r->cands[to].guest)
			sleep(up_delay(r->cands, from, to));
	}
	return 0;
}

int restart_run(const struct state_file *f, const struct restart_opts *opts,
		struct restart_result *result)
{
	_cleanup_free_ char *node = NULL;
	struct restart r = { .file = f, .opts = opts, .result = result };
	int rc;

	*result = (struct restart_result){ 0 };
	/* without pmxcfs every guest looks as if it had been deleted */
	rc = guest_configs_are_mounted() ? guest_list(NULL, &r.guests, &r.n_guests) : -ENOENT;
	if (rc < 0) {
		errno = -rc;
		if (rc == -ENOENT)
			say("/etc/pve is not mounted: no guest can be started");
		else
			say_errno("the guests of this node cannot be listed");
		return rc;
	}
	node = guest_local_node();
	r.node = node;
	restart_judge(&r);
	qsort(r.cands, r.n, sizeof(*r.cands), by_start_order);
	if (opts->dry_run) {
		print_commands(&r);
	} else {
		rc = start_all(&r);
		tell_others(&r);
	}
	restart_judge_done(&r);
	guest_list_free(r.guests, r.n_guests);
	return rc;
}
