/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A backup job played through: what the hook and vzdump would do, and when. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/plan.h"

struct play {
	struct plan_job *job;
	void (*each)(const struct plan_event *e, void *arg);
	void *arg;
	struct plan_outcome *out;
	double t;
	bool *ran; /* per guest: at the job's start */
	double *down_since; /* per guest; < 0: up, or never was */
	const char **units; /* stopped for the backup that goes on */
	size_t n_units;
};

static void tell(struct play *p, double t, enum plan_event_kind kind,
		 struct guest_id guest, struct guest_id because, const char *text)
{
	struct plan_event e = {
		.t = t, .kind = kind, .guest = guest, .because = because
	};

	if (!p->each)
		return;
	if (kind == PLAN_EV_UNIT_STOP || kind == PLAN_EV_UNIT_UP)
		e.unit = text;
	else
		e.why = text;
	p->each(&e, p->arg);
}

static struct plan_guest *find_guest(struct plan_job *job, const struct guest_id *id)
{
	size_t low = 0, high = job->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = guest_compare_vmid(id, &job->guests[mid].id);

		if (order == 0)
			return &job->guests[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static void goes_down(struct play *p, struct plan_guest *g, struct guest_id because)
{
	size_t i = (size_t)(g - p->job->guests);

	contention_guest_down(p->job->contention, g->id);
	g->running = false;
	if (p->ran[i]) {
		p->out->interruptions++;
		p->down_since[i] = p->t;
	}
	tell(p, p->t, PLAN_EV_STOP, g->id, because, NULL);
}

static void comes_up(struct play *p, struct plan_guest *g, double t)
{
	size_t i = (size_t)(g - p->job->guests);

	g->running = true;
	g->ours = false;
	if (p->down_since[i] >= 0)
		p->out->downtime += t - p->down_since[i];
	p->down_since[i] = -1;
	tell(p, t, PLAN_EV_UP, g->id, (struct guest_id){ 0 }, NULL);
}

static void stop_for(struct play *p, struct guest_id victim, struct guest_id x)
{
	struct plan_guest *g = find_guest(p->job, &victim);

	if (!g || !g->running)
		return;
	goes_down(p, g, x);
	g->ours = true;
	g->stopped_at = (int64_t)p->t;
}

static void fail(struct play *p, struct guest_id x, const char *why)
{
	p->out->failed++;
	tell(p, p->t, PLAN_EV_FAILED, x, (struct guest_id){ 0 }, why);
}

static struct plan_restart question(const struct play *p, const struct guest_id *after,
				    double now)
{
	const struct plan_job *job = p->job;

	return (struct plan_restart){ .contention = job->contention,
				      .guests = job->guests,
				      .n = job->n,
				      .policy = job->policy,
				      .lookahead = job->lookahead,
				      .max_wait = job->max_wait,
				      .now = (int64_t)now,
				      .after = after };
}

/* Start again whom the policy lets; the hook waits until they are up. */
static void restart(struct play *p, const struct guest_id *after, size_t next)
{
	struct plan_job *job = p->job;
	struct plan_restart q = question(p, after, p->t);
	_cleanup_free_ struct plan_decision *d = NULL;
	size_t n = 0, started = 0;

	for (size_t i = 0; i < p->n_units; i++)
		tell(p, p->t, PLAN_EV_UNIT_UP, (struct guest_id){ 0 },
		     (struct guest_id){ 0 }, p->units[i]);
	p->n_units = 0;
	if (job->may_start) {
		for (size_t i = 0; i < job->n; i++) {
			struct plan_guest *g = &job->guests[i];

			if (!g->ours || !job->may_start(job, g->id, next) ||
			    !contention_guest_up(job->contention, g->id))
				continue;
			comes_up(p, g, p->t + job->start_s);
			started++;
		}
	} else {
		plan_restart(&q, &d, &n);
	}
	for (size_t i = 0; i < n; i++) {
		if (d[i].action != PLAN_START ||
		    !contention_guest_up(job->contention, d[i].guest))
			continue;
		comes_up(p, find_guest(job, &d[i].guest), p->t + job->start_s);
		started++;
	}
	if (started > 0)
		p->t += job->start_s;
}

/*
 * The guardian, while a backup goes on until end: nobody waits longer than max_wait.
 * Returns the end.
 */
static double watch(struct play *p, const struct guest_id *in_backup, double end)
{
	struct plan_job *job = p->job;
	double t = p->t;

	while (job->hooked && !job->may_start) {
		double due = end;
		_cleanup_free_ struct plan_decision *d = NULL;
		struct plan_restart q;
		size_t n;

		for (size_t i = 0; i < job->n; i++) {
			double at =
				(double)job->guests[i].stopped_at + (double)job->max_wait;

			if (job->guests[i].ours && at > t && at < due)
				due = at;
		}
		if (due >= end)
			break;
		t = due;
		q = question(p, NULL, t);
		q.in_backup = in_backup;
		q.overdue_only = true;
		plan_restart(&q, &d, &n);
		for (size_t i = 0; i < n; i++) {
			struct plan_guest *g = find_guest(job, &d[i].guest);

			if (!g || d[i].action != PLAN_START ||
			    !contention_guest_up(job->contention, g->id))
				continue;
			comes_up(p, g, t + job->start_s);
			if (t + job->start_s > end)
				end = t + job->start_s;
		}
	}
	return end;
}

/* Somebody stands in the way of a job without the hook. False: PVE fails the backup. */
static bool push_through(struct play *p, struct guest_id x)
{
	struct plan_job *job = p->job;
	_cleanup_free_ struct guest_id *by = NULL;
	size_t n = contention_blockers(job->contention, x, &by);

	for (size_t i = 0; i < n; i++)
		if (by[i].kind == GUEST_QEMU)
			return false;
	/*
	 * PVE does not look at containers: it tears the driver off, and they are no use
	 * until they start again.
	 */
	for (size_t i = 0; i < n; i++) {
		struct plan_guest *g = find_guest(job, &by[i]);

		if (g && g->running)
			goes_down(p, g, x);
	}
	return contention_guest_up(job->contention, x);
}

/* The hook's part at backup-start. False, and said, when x cannot be freed. */
static bool make_way(struct play *p, struct guest_id x)
{
	struct plan_job *job = p->job;
	struct contention_plan plan;
	bool ok;

	contention_plan(job->contention, x, &plan);
	ok = plan.verdict == CONTENTION_FREE || plan.verdict == CONTENTION_STOP;
	if (!ok)
		fail(p, x, plan.why);
	p->units = xreallocarray(p->units, plan.n + 1, sizeof(*p->units));
	for (size_t i = 0; ok && i < plan.n; i++) {
		if (!plan.stops[i].unit) {
			stop_for(p, plan.stops[i].guest, x);
			continue;
		}
		p->units[p->n_units++] = plan.stops[i].unit;
		tell(p, p->t, PLAN_EV_UNIT_STOP, (struct guest_id){ 0 }, x,
		     plan.stops[i].unit);
	}
	if (ok && plan.n > 0)
		p->t += job->stop_s;
	contention_plan_done(&plan);
	if (ok && !contention_guest_up(job->contention, x)) {
		fail(p, x, "still blocked");
		ok = false;
	}
	return ok;
}

static bool make_way_by(struct play *p, struct guest_id x)
{
	struct plan_job *job = p->job;
	_cleanup_free_ struct guest_id *victims = NULL;
	size_t n = job->stops(job, x, &victims), before = p->out->interruptions;

	for (size_t i = 0; i < n; i++)
		stop_for(p, victims[i], x);
	if (p->out->interruptions > before)
		p->t += job->stop_s;
	if (contention_guest_up(job->contention, x))
		return true;
	fail(p, x, "still blocked");
	return false;
}

static void back_up_stopped(struct play *p, struct plan_guest *g, double duration)
{
	struct plan_job *job = p->job;

	if (!g->backup_starts) {
		p->t += duration;
	} else {
		if (job->stops ? !make_way_by(p, g->id)
			       : job->hooked && !make_way(p, g->id))
			return;
		if (!job->stops && !job->hooked && !push_through(p, g->id)) {
			fail(p, g->id, "a device is in use or not there");
			return;
		}
		p->t = watch(p, &g->id, p->t + job->start_s + duration);
		contention_guest_down(job->contention, g->id);
	}
	p->out->made++;
	tell(p, p->t, PLAN_EV_DONE, g->id, (struct guest_id){ 0 }, NULL);
}

/* Mode stop takes a VM down for a moment, a container for the whole backup. */
static void back_up_running(struct play *p, struct plan_guest *g, double duration)
{
	struct plan_job *job = p->job;
	bool is_container = g->id.kind == GUEST_LXC;

	if (job->stop_mode) {
		goes_down(p, g, g->id);
		p->t += job->stop_s;
		if (is_container)
			p->t = watch(p, NULL, p->t + duration);
		if (!contention_guest_up(job->contention, g->id)) {
			fail(p, g->id, "its device is taken");
			return;
		}
		p->t += job->start_s;
		comes_up(p, g, p->t);
	}
	if (!job->stop_mode || !is_container)
		p->t = watch(p, NULL, p->t + duration);
	p->out->made++;
	tell(p, p->t, PLAN_EV_DONE, g->id, (struct guest_id){ 0 }, NULL);
}

void plan_job(struct plan_job *job, void (*each)(const struct plan_event *e, void *arg),
	      void *arg, struct plan_outcome *outcome)
{
	_cleanup_free_ bool *ran = xcalloc(job->n + 1, sizeof(*ran));
	_cleanup_free_ double *down_since = xcalloc(job->n + 1, sizeof(*down_since));
	struct play p = { .job = job,
			  .each = each,
			  .arg = arg,
			  .out = outcome,
			  .ran = ran,
			  .down_since = down_since };

	*outcome = (struct plan_outcome){ 0 };
	for (size_t i = 0; i < job->n; i++) {
		ran[i] = job->guests[i].running;
		down_since[i] = -1;
	}
	for (size_t i = 0; i < job->n_selected; i++) {
		struct plan_guest *g = find_guest(job, &job->selected[i]);
		double duration = job->durations ? job->durations[i] : 600;

		if (!g)
			continue;
		tell(&p, p.t, PLAN_EV_BACKUP, g->id, (struct guest_id){ 0 }, NULL);
		if (g->running)
			back_up_running(&p, g, duration);
		else
			back_up_stopped(&p, g, duration);
		if (job->hooked || job->may_start)
			restart(&p, &g->id, i + 1);
	}
	if (job->hooked || job->may_start)
		restart(&p, NULL, job->n_selected);
	for (size_t i = 0; i < job->n; i++) {
		if (down_since[i] >= 0)
			outcome->downtime += p.t - down_since[i];
		if (job->guests[i].running != ran[i])
			outcome->changed++;
	}
	free(p.units);
}
