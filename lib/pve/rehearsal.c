/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/rehearsal.h"

struct play {
	const struct hostmodel *m;
	const struct contention *contention;
	struct rehearsal *r;
};

static void append(char **list, const char *between, const char *word)
{
	char *longer = *list ? xasprintf("%s%s%s", *list, between, word) : xstrdup(word);

	free(*list);
	*list = longer;
}

static enum rehearsal_way way_of(const struct guest *g, bool stop_mode)
{
	if (g && g->running)
		return stop_mode ? REHEARSAL_RESTARTED : REHEARSAL_RUNNING;
	if (g && g->id.kind == GUEST_QEMU && g->has_disk && !g->template)
		return REHEARSAL_STARTED;
	return REHEARSAL_STOPPED;
}

/* Why each of the plan's guests is in the way, while they still are. */
static void add_reasons(const struct play *p, struct rehearsal_step *s)
{
	struct contention_plan plan;

	if (s->way != REHEARSAL_STARTED ||
	    contention_plan(p->contention, s->guest, &plan) < 0)
		return;
	for (size_t i = 0; i < plan.n; i++) {
		const struct contention_stop *stop = &plan.stops[i];
		_cleanup_free_ char *kinds = contention_kinds_format(stop->kinds);
		_cleanup_free_ char *text = NULL;
		char name[GUEST_STRLEN], addr[PCIADDR_STRLEN];

		text = xasprintf(
			"%s%s (%s%s%s)", stop->unit ? "unit/" : "",
			stop->unit ? stop->unit : guest_format(stop->guest, name), kinds,
			stop->n_addrs ? " " : "",
			stop->n_addrs ? pciaddr_format(&stop->addrs[0], addr) : "");
		append(&s->reasons, ", ", text);
	}
	contention_plan_done(&plan);
}

static struct rehearsal_step *step_of(struct play *p, struct guest_id guest)
{
	struct rehearsal *r = p->r;

	for (size_t i = r->n; i > 0; i--)
		if (guest_compare(&r->steps[i - 1].guest, &guest) == 0)
			return &r->steps[i - 1];
	r->steps = xgrow(r->steps, r->n, &r->room, sizeof(*r->steps));
	r->steps[r->n] = (struct rehearsal_step){
		.guest = guest,
		.way = way_of(hostmodel_guest(p->m, guest), strcmp(r->mode, "stop") == 0),
	};
	return &r->steps[r->n++];
}

static void on_event(const struct plan_event *e, void *arg)
{
	struct play *p = arg;
	_cleanup_free_ char *unit = e->unit ? xasprintf("unit/%s", e->unit) : NULL;
	char name[GUEST_STRLEN];
	struct rehearsal_step *s;
	const struct guest *g;

	guest_format(e->guest, name);
	switch (e->kind) {
	case PLAN_EV_BACKUP:
		s = step_of(p, e->guest);
		g = hostmodel_guest(p->m, e->guest);
		if (p->r->hooked)
			add_reasons(p, s);
		if (s->way == REHEARSAL_RESTARTED && g->ha) {
			s->failed = true;
			s->why = xstrdup(
				"managed by HA: vzdump refuses mode stop, use snapshot");
		}
		break;
	case PLAN_EV_FAILED:
		s = step_of(p, e->guest);
		s->failed = true;
		if (!s->why && e->why)
			s->why = xstrdup(e->why);
		break;
	case PLAN_EV_STOP:
	case PLAN_EV_UNIT_STOP:
		/* Mode stop: its own restart, by vzdump. */
		if (!unit && guest_compare(&e->guest, &e->because) == 0)
			break;
		p->r->stops++;
		append(&step_of(p, e->because)->stops, ",", unit ? unit : name);
		break;
	case PLAN_EV_UP:
	case PLAN_EV_UNIT_UP:
		s = p->r->n ? &p->r->steps[p->r->n - 1] : NULL;
		if (!s || (!unit && s->way == REHEARSAL_RESTARTED &&
			   guest_compare(&e->guest, &s->guest) == 0))
			break;
		append(&s->starts, ",", unit ? unit : name);
		break;
	case PLAN_EV_DONE:
		break;
	}
}

int rehearsal_run(const struct hostmodel *m, const struct job *job,
		  const struct job_defaults *d, struct rehearsal *r)
{
	_cleanup_free_ struct plan_guest *guests = hostmodel_plan_guests(m);
	_cleanup_free_ struct guest_id *selected = NULL;
	struct contention *contention = contention_new(&m->input);
	struct play p = { .m = m, .contention = contention, .r = r };
	struct plan_job play = {
		.contention = contention,
		.guests = guests,
		.n = m->n_guests,
		.policy = m->config.restart,
		.lookahead = m->config.lookahead,
		.max_wait = (int64_t)m->config.max_wait * 60,
		.stop_s = 30,
		.start_s = 15,
	};
	int err = job_select(job, m->guests, m->n_guests, &selected, &play.n_selected);

	*r = (struct rehearsal){
		.mode = job->mode ? job->mode : d->mode ? d->mode : "snapshot",
		.hooked = !job->script || strcmp(job->script, REHEARSAL_STUB) == 0,
	};
	play.selected = selected;
	play.stop_mode = strcmp(r->mode, "stop") == 0;
	play.hooked = r->hooked;
	plan_job(&play, on_event, &p, &r->outcome);
	contention_free(contention);
	return err;
}

void rehearsal_done(struct rehearsal *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->steps[i].stops);
		free(r->steps[i].reasons);
		free(r->steps[i].starts);
		free(r->steps[i].why);
	}
	free(r->steps);
	*r = (struct rehearsal){ 0 };
}

const char *rehearsal_way_name(enum rehearsal_way way)
{
	static const char *const names[] = {
		"stopped", "started", "running", "restarted",
	};

	return names[way];
}
