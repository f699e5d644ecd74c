/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/plan.h"
#include "pve/restart-judge.h"

static const struct guest *find_guest(const struct restart *r, struct guest_id id)
{
	for (size_t i = 0; i < r->n_guests; i++)
		if (guest_compare(&r->guests[i].id, &id) == 0)
			return &r->guests[i];
	return NULL;
}

/* Name of another node that has the guest's config now: allocated, NULL for none. */
static char *node_of(struct guest_id id)
{
	_cleanup_free_ char *path = root_path("/etc/pve/nodes");
	_cleanup_closedir_ DIR *dir = opendir(path);
	const char *kind = id.kind == GUEST_QEMU ? "qemu-server" : "lxc";
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		_cleanup_free_ char *conf = NULL;

		if (d->d_name[0] == '.')
			continue;
		conf = xasprintf("%s/%s/%s/%u.conf", path, d->d_name, kind, id.vmid);
		if (access(conf, F_OK) == 0)
			return xstrdup(d->d_name);
	}
	return NULL;
}

/* Is a backup of this guest under way, or about to be, that starts its kvm? */
static bool is_in_backup(const struct restart *r, struct guest_id id)
{
	for (size_t i = 0; i < r->file->n; i++) {
		const struct state_entry *e = &r->file->entries[i];

		if (e->is_guest && guest_compare(&e->id, &id) == 0 && state_is_backup(e))
			return true;
	}
	return false;
}

static const struct guest_id *backup_of_off_guest(const struct restart *r)
{
	for (size_t i = 0; i < r->file->n; i++)
		if (r->file->entries[i].is_guest && state_is_backup(&r->file->entries[i]))
			return &r->file->entries[i].id;
	return NULL;
}

/* Whose backup may have a GPU now? After the end of the job, one whose kvm is left. */
static const struct guest_id *backup_with_gpu(const struct restart *r)
{
	if (r->opts->after || r->opts->overdue_only
	    || state_is_alive(r->file->job_pid, r->file->job_start))
		return backup_of_off_guest(r);
	for (size_t i = 0; i < r->file->n; i++) {
		const struct state_entry *e = &r->file->entries[i];

		if (e->is_guest && state_is_backup(e)
		    && guest_is_running(e->id, NULL, NULL))
			return &e->id;
	}
	return NULL;
}

static void set(struct candidate *c, enum verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void set(struct candidate *c, enum verdict verdict, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(c->why);
	c->why = xvasprintf(fmt, ap);
	c->verdict = verdict;
	va_end(ap);
}

static bool is_overdue(const struct restart *r, const struct state_entry *e)
{
	return e->since + (int64_t)r->opts->config->max_wait * 60 <= time(NULL);
}

static void judge_running(const struct restart *r, struct candidate *c)
{
	const struct state_entry *e = c->entry;

	if (!r->file->journal)
		return;
	if (is_in_backup(r, e->id)) {
		set(c, VERDICT_WAIT, "its own backup");	/* what runs is the paused one */
		c->because = e->id;
	} else if (state_is_same_run(r->file, e)) {
		set(c, VERDICT_HELD_UP, "was told to stop and still runs: started again when it is down");
		c->hopeless = true;
	} else if (e->reason && strcmp(e->reason, "vzdump") == 0) {
		set(c, VERDICT_FORGET, "%s", "");	/* vzdump itself started it again */
	} else {
		set(c, VERDICT_FORGET, "was started meanwhile by somebody else: left alone");
	}
}

/*
 * Guests that have not waited for long are looked at as well: nobody who starts
 * may take what they need later. plan_restart() keeps them down.
 */
static bool may_be_overdue(const struct restart *r, const struct state_entry *e)
{
	static const char conflict[] = "conflict:";

	if (!e->reason || strncmp(e->reason, conflict, sizeof(conflict) - 1) != 0)
		return false;
	return e->is_guest || is_overdue(r, e);
}

static void judge(const struct restart *r, struct candidate *c)
{
	const struct state_entry *e = c->entry;
	const struct guest_id *busy;

	c->verdict = VERDICT_SKIP;
	if (state_is_backup(e))
		return;
	if (!e->running) {
		set(c, VERDICT_FORGET, "%s", "");	/* it was down already, so it is not ours */
		return;
	}
	for (const struct candidate *other = r->cands; other < c; other++)
		if (other->verdict == VERDICT_START &&
		    strcmp(other->entry->name, e->name) == 0)
			return;		/* stopped for two reasons, started once */
	if (r->opts->overdue_only && !may_be_overdue(r, e))
		return;
	c->verdict = VERDICT_START;
	if (!e->is_guest) {
		/* whoever it made way for: another one's backup may have the GPU now */
		busy = backup_with_gpu(r);
		if (busy) {
			set(c, VERDICT_WAIT, "backup");
			c->because = *busy;
		}
		return;
	}
	c->guest = find_guest(r, e->id);
	if (!c->guest) {
		_cleanup_free_ char *node = node_of(e->id);

		if (node)
			set(c, VERDICT_FORGET, "is on node %s now: left alone", node);
		else
			set(c, VERDICT_FORGET, "does not exist any more");
	} else if (c->guest->template) {
		set(c, VERDICT_FORGET, "is a template now: left alone");
	} else if (guest_is_running(e->id, NULL, NULL)) {
		c->verdict = VERDICT_SKIP;
		judge_running(r, c);
	} else if (r->opts->onboot_only && !c->guest->onboot) {
		set(c, VERDICT_FORGET, "does not start at boot (boot-restart = onboot): stays down");
	} else if (c->guest->lock && strcmp(c->guest->lock, "backup") == 0) {
		set(c, VERDICT_WAIT, "its own backup");
		c->because = e->id;
	} else if (c->guest->lock) {
		set(c, VERDICT_HELD_UP, "is locked (%s): not started now", c->guest->lock);
	}
}

/*
 * Who contends with whom, as things stand; a backup that is about to start its kvm counts
 * as running.
 */
static void make_model(struct restart *r)
{
	int rc = assignments_load(&r->assignments, &r->n_assignments);

	if (rc == 0 || rc == -EBADMSG)
		rc = contention_facts_load(&r->facts, r->assignments, r->n_assignments,
					   r->opts->config, NULL);
	if (rc < 0) {
		errno = -rc;
		say_errno("who has which GPU cannot be told, so contention is not looked at");
		return;
	}
	r->input = contention_facts_input(&r->facts, r->assignments, r->n_assignments,
					  r->opts->config, r->node);
	r->contention = contention_new(&r->input);
	for (size_t i = 0; i < r->file->n; i++) {
		const struct state_entry *e = &r->file->entries[i];

		if (e->is_guest && state_is_backup(e)
		    && !contention_is_running(r->contention, e->id))
			contention_guest_up(r->contention, e->id);
	}
}

static struct candidate *find_candidate(struct restart *r, struct guest_id id)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->cands[i].guest && guest_compare(&r->cands[i].entry->id, &id) == 0
		    && r->cands[i].verdict == VERDICT_START)
			return &r->cands[i];
	return NULL;
}

static bool backup_starts(const struct guest *g)
{
	return g->id.kind == GUEST_QEMU && g->has_disk && !g->template;
}

static void take_decision(struct restart *r, const struct plan_decision *d)
{
	struct candidate *c = find_candidate(r, d->guest);
	char name[GUEST_STRLEN], buf[RESTART_COMMAND];

	if (!c)
		return;
	c->because = d->because;
	c->round = d->round;
	if (d->action == PLAN_WAIT || (d->action == PLAN_BLOCKED && d->because.vmid &&
				       is_in_backup(r, d->because))) {
		set(c, VERDICT_WAIT, "backup");
	} else if (d->action == PLAN_BLOCKED && d->because.vmid) {
		set(c, VERDICT_HELD_UP, "not started: %s runs and has what it needs; when that is down: %s",
		    guest_format(d->because, name), restart_command(c->entry, buf));
		c->hopeless = true;
	} else if (d->action == PLAN_BLOCKED) {
		set(c, VERDICT_HELD_UP, "not started: there is no device for it; when there is: %s",
		    restart_command(c->entry, buf));
		c->hopeless = true;
	}
}

static int by_vmid(const void *a, const void *b)
{
	return guest_compare_vmid(&((const struct plan_guest *)a)->id,
				  &((const struct plan_guest *)b)->id);
}

/* A host service in the way of one guest is in the way of the next just as well. */
static void decide_units(struct restart *r, const struct plan_guest *guests)
{
	const struct restart_opts *o = r->opts;
	size_t seen = 0, later = 0;
	struct guest_id next = { 0 };

	if (!o->after)
		return;
	for (size_t i = 0; i < r->n_guests && r->contention; i++) {
		if (guest_compare_vmid(&guests[i].id, o->after) <= 0)
			continue;
		seen++;
		if (o->policy == CONFIG_RESTART_EARLY && seen > o->config->lookahead)
			break;
		if (guests[i].backup_starts && !guests[i].running
		    && contention_has_gpu(r->contention, guests[i].id) && !later++)
			next = guests[i].id;
	}
	for (size_t i = 0; i < r->n; i++) {
		struct candidate *c = &r->cands[i];

		if (c->guest || c->verdict != VERDICT_START || is_overdue(r, c->entry))
			continue;
		if (o->policy == CONFIG_RESTART_JOB_END || later) {
			set(c, VERDICT_WAIT, "backup");
			c->because = next;
		}
	}
}

static void decide(struct restart *r)
{
	_cleanup_free_ struct plan_guest *guests =
		xcalloc(r->n_guests + 1, sizeof(*guests));
	_cleanup_free_ struct plan_decision *decisions = NULL;
	size_t n = 0;

	for (size_t i = 0; i < r->n_guests; i++) {
		const struct guest *g = &r->guests[i];
		const struct candidate *c = find_candidate(r, g->id);

		guests[i] = (struct plan_guest){ .id = g->id, .running = g->running,
			.backup_starts = backup_starts(g), .ours = c && !g->running,
			.stopped_at = c ? c->entry->since : 0 };
	}
	qsort(guests, r->n_guests, sizeof(*guests), by_vmid);
	if (r->contention) {
		struct plan_restart p = { .contention = r->contention, .guests = guests,
			.n = r->n_guests, .policy = r->opts->policy,
			.lookahead = r->opts->config->lookahead,
			.max_wait = (int64_t)r->opts->config->max_wait * 60,
			.now = time(NULL), .after = r->opts->after,
			.overdue_only = r->opts->overdue_only,
			.in_backup = backup_of_off_guest(r) };

		plan_restart(&p, &decisions, &n);
	}
	for (size_t i = 0; i < n; i++)
		take_decision(r, &decisions[i]);
	for (size_t i = 0; i < r->n && !r->contention; i++)
		if ((r->opts->after || r->opts->overdue_only) &&
		    r->cands[i].verdict == VERDICT_START)
			set(&r->cands[i], VERDICT_WAIT, "backup");	/* the end of the job is safe */
	decide_units(r, guests);
}

void restart_judge(struct restart *r)
{
	r->cands = xcalloc(r->file->n + 1, sizeof(*r->cands));
	r->n = r->file->n;
	for (size_t i = 0; i < r->n; i++) {
		r->cands[i].entry = &r->file->entries[i];
		judge(r, &r->cands[i]);
	}
	for (size_t i = 0; i < r->n; i++) {
		if (r->cands[i].verdict != VERDICT_START)
			continue;
		make_model(r);
		decide(r);
		break;
	}
}

void restart_judge_done(struct restart *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->cands[i].why);
	free(r->cands);
	contention_free(r->contention);
	contention_facts_done(&r->facts);
	assignments_free(r->assignments, r->n_assignments);
}
