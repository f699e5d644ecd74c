/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jobs - play the nightly job on made-up hosts by one restart policy after
 * another, and compare.
 *
 * Every policy is played by lib/plan, the code that the hook asks; hosts.c says
 * how the hosts are drawn. The policies:
 *
 * none          no hook: a backup whose device is in use fails; containers whose
 *               card is taken from the host's driver are broken from then on.
 * naive         the widely used hook's: when an off guest is met, everything that
 *               runs and could ever contend with it is stopped, and stays down until
 *               the job's end. It knows no never-stop, and so makes some backups that
 *               nobody else may make.
 * early, last, job-end
 *               the suite's, with max-wait 15 min where nothing else is said.
 * clairvoyant   stops like the suite, but knows which guests the job backs up and how
 *               long each takes: a guest starts again at once when it could run for at
 *               least a minute before it is needed down once more.
 *
 * On hosts small enough, every plan made in the course of the job is checked
 * against brute force, move by move.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "exact.h"

static const double STOP_S = 20,
		    START_S = 10; /* a guest's shutdown, a start up to running */

enum style { NONE, NAIVE, OURS, CLAIRVOYANT };

static const struct policy {
	const char *name;
	enum style style;
	enum config_restart restart;
	unsigned lookahead;
	int64_t max_wait; /* s */
} policies[] = {
	{ "none", NONE, CONFIG_RESTART_EARLY, 0, INT64_MAX / 4 },
	{ "naive", NAIVE, CONFIG_RESTART_JOB_END, 0, INT64_MAX / 4 },
	{ "early, lookahead 0", OURS, CONFIG_RESTART_EARLY, 0, 900 },
	{ "early, lookahead 1", OURS, CONFIG_RESTART_EARLY, 1, 900 },
	{ "early, lookahead 2", OURS, CONFIG_RESTART_EARLY, 2, 900 },
	{ "early, lookahead 3", OURS, CONFIG_RESTART_EARLY, 3, 900 },
	{ "early, lookahead 5", OURS, CONFIG_RESTART_EARLY, 5, 900 },
	{ "last", OURS, CONFIG_RESTART_LAST, 0, 900 },
	{ "last, no max-wait", OURS, CONFIG_RESTART_LAST, 0, INT64_MAX / 4 },
	{ "job-end", OURS, CONFIG_RESTART_JOB_END, 0, 900 },
	{ "job-end, no max-wait", OURS, CONFIG_RESTART_JOB_END, 0, INT64_MAX / 4 },
	{ "clairvoyant", CLAIRVOYANT, CONFIG_RESTART_EARLY, 0, INT64_MAX / 4 },
};

enum { POLICIES = ARRAY_SIZE(policies), BASELINE = 1, DEFAULT = 4 };

struct total {
	size_t made, changed, interruptions;
	double downtime;
};

struct check { /* of the moves of one job against brute force */
	struct host host;
	struct brute brute;
	bool on;
	int x; /* whose backup goes on; -1 */
	struct brute_plan want;
	int n_stopped, n_units;
	bool stopped[HOST_GUESTS];
	size_t plans, wrong;
};

static int number_of(const struct host *h, struct guest_id id)
{
	for (int i = 0; i < h->n_guests; i++)
		if (guest_compare(&h->guest[i].id, &id) == 0)
			return i;
	return -1;
}

static bool starts_kvm(const struct host_guest *g)
{
	return g->id.kind == GUEST_QEMU && g->has_disk && !g->template;
}

static void complain(struct check *c, const char *what)
{
	c->wrong++;
	fprintf(stderr, "jobs: seed %u: backup of %u: %s\n", c->host.seed,
		c->x >= 0 ? (unsigned)c->host.guest[c->x].id.vmid : 0, what);
}

static void finish(struct check *c, bool made)
{
	if (c->x < 0)
		return;
	c->plans++;
	if (made != c->want.exists)
		complain(c, made ? "made, but brute force knows no plan"
				 : "failed, but there is a plan");
	if (made && c->want.exists) {
		bool same = c->n_stopped == c->want.n && c->n_units == c->want.n_units;

		for (int i = 0; i < c->want.n; i++)
			same = same && c->stopped[c->want.guest[i]];
		if (!same)
			complain(c, "stopped others than brute force would");
	}
	brute_down(&c->brute, c->x);
	c->x = -1;
}

/*
 * The kvm of the backup starts after the stops; a guardian's start may come while it
 * runs.
 */
static void begin_kvm(struct check *c)
{
	if (c->x >= 0 && !c->host.guest[c->x].running && c->want.exists)
		brute_up(&c->brute, c->x);
}

static void follow(const struct plan_event *e, void *arg)
{
	struct check *c = arg;
	int g = e->guest.vmid ? number_of(&c->host, e->guest) : -1;

	switch (e->kind) {
	case PLAN_EV_BACKUP:
		if (c->host.guest[g].running || !starts_kvm(&c->host.guest[g]))
			break;
		c->x = g;
		brute_plan(&c->brute, g, &c->want);
		c->n_stopped = c->n_units = 0;
		memset(c->stopped, 0, sizeof(c->stopped));
		break;
	case PLAN_EV_STOP:
		brute_down(&c->brute, g);
		c->stopped[g] = true;
		c->n_stopped++;
		break;
	case PLAN_EV_UNIT_STOP: c->n_units++; break;
	case PLAN_EV_UP:
		begin_kvm(c);
		if (!brute_up(&c->brute, g))
			complain(c, "a guest started in somebody's way");
		break;
	case PLAN_EV_DONE:
		begin_kvm(c);
		finish(c, true);
		break;
	case PLAN_EV_FAILED: finish(c, false); break;
	default: break;
	}
}

/* --- policies that are not the suite's --- */

static const struct host
	*playing; /* for the callbacks below, which get no other argument */

static size_t stop_everything(const struct plan_job *job, struct guest_id x,
			      struct guest_id **guests)
{
	size_t n = contention_rivals(job->contention, x, guests), kept = 0;

	for (size_t i = 0; i < n; i++)
		if (contention_is_running(job->contention, (*guests)[i]))
			(*guests)[kept++] = (*guests)[i];
	return kept;
}

static bool at_the_end(const struct plan_job *job, struct guest_id g, size_t next)
{
	(void)g;
	return next == job->n_selected;
}

static bool is_stopped_for(const struct contention *c, struct guest_id x,
			   struct guest_id g)
{
	struct contention_plan plan;
	bool met = false;

	if (contention_plan(c, x, &plan) == 0)
		for (size_t i = 0; i < plan.n; i++)
			met |= !plan.stops[i].unit &&
			       guest_compare(&plan.stops[i].guest, &g) == 0;
	contention_plan_done(&plan);
	return met;
}

/* It knows the rest of the job: would g, up now, be up for a minute? */
static bool when_it_pays(const struct plan_job *job, struct guest_id g, size_t next)
{
	double until = 0;
	bool pays = true;

	if (!contention_guest_up(job->contention, g))
		return false;
	for (size_t i = next; i < job->n_selected; i++) {
		int k = number_of(playing, job->selected[i]);
		const struct host_guest *x = &playing->guest[k];

		if (!contention_is_running(job->contention, x->id) && starts_kvm(x) &&
		    !job->guests[k].ours && is_stopped_for(job->contention, x->id, g)) {
			pays = until >= START_S + 60;
			break;
		}
		until += job->durations[i];
	}
	contention_guest_down(job->contention, g);
	return pays;
}

/* --- one job --- */

static struct plan_outcome play(const struct host *h, const struct policy *p,
				struct check *check)
{
	struct host_view v;
	struct plan_outcome out;
	struct plan_job job = { 0 };
	bool follows = check && (p->style == OURS || p->style == CLAIRVOYANT);

	host_view(h, &v);
	playing = h;
	job.contention = contention_new(&v.in);
	job.guests = v.guests;
	job.n = (size_t)h->n_guests;
	job.selected = v.selected;
	job.durations = v.durations;
	job.n_selected = v.n_selected;
	job.policy = p->restart;
	job.lookahead = p->lookahead;
	job.max_wait = p->max_wait;
	job.stop_s = STOP_S;
	job.start_s = START_S;
	job.hooked = p->style != NONE;
	if (p->style == NAIVE) {
		job.stops = stop_everything;
		job.may_start = at_the_end;
	}
	if (p->style == CLAIRVOYANT)
		job.may_start = when_it_pays;
	if (follows) {
		check->host = *h;
		check->x = -1;
		brute_start(&check->brute, &check->host);
	}
	plan_job(&job, follows ? follow : NULL, check, &out);
	contention_free(job.contention);
	host_view_done(&v);
	return out;
}

/* Backups that some plan makes possible from the job's first state on. */
static size_t count_possible(struct host *h, bool by_brute_force)
{
	struct host_view v;
	struct brute b;
	struct contention *c;
	size_t n = 0;

	host_view(h, &v);
	brute_start(&b, h);
	c = contention_new(&v.in);
	for (int i = 0; i < h->n_guests; i++) {
		const struct host_guest *g = &h->guest[i];
		struct contention_plan plan;
		struct brute_plan brute;

		if (!g->selected)
			continue;
		if (g->running || !starts_kvm(g)) {
			n++;
			continue;
		}
		if (by_brute_force) {
			brute_plan(&b, i, &brute);
			n += brute.exists;
			continue;
		}
		contention_plan(c, g->id, &plan);
		n += plan.verdict == CONTENTION_FREE || plan.verdict == CONTENTION_STOP;
		contention_plan_done(&plan);
	}
	contention_free(c);
	host_view_done(&v);
	return n;
}

static void print_table(const struct total *t, size_t possible)
{
	printf("%-22s %15s %8s %10s %8s %14s %8s\n", "policy", "backups", "changed",
	       "downtime", "/ naive", "interruptions", "/ naive");
	for (size_t i = 0; i < POLICIES; i++)
		printf("%-22s %7zu/%-7zu %8zu %6.0f min %8.2f %14zu %8.2f\n",
		       policies[i].name, t[i].made, possible, t[i].changed,
		       t[i].downtime / 60, t[i].downtime / t[BASELINE].downtime,
		       t[i].interruptions,
		       (double)t[i].interruptions / (double)t[BASELINE].interruptions);
}

/* What the suite promises, of every policy of its own and of the default. */
static bool is_kept(const struct total *t, size_t possible)
{
	bool kept = true;

	for (size_t i = 0; i < POLICIES; i++) {
		if (policies[i].style != OURS)
			continue;
		if (t[i].made < possible || t[i].changed != 0) {
			printf("FAIL: %s: %zu of %zu backups, %zu guests changed\n",
			       policies[i].name, t[i].made, possible, t[i].changed);
			kept = false;
		}
	}
	if (t[DEFAULT].downtime > 0.25 * t[BASELINE].downtime ||
	    (double)t[DEFAULT].interruptions > 1.5 * (double)t[BASELINE].interruptions) {
		printf("FAIL: %s: more than 25 %% of the downtime or 1.5 x the interruptions of naive\n",
		       policies[DEFAULT].name);
		kept = false;
	}
	return kept;
}

static void usage(FILE *out)
{
	fputs("Usage: jobs [--hosts N] [--seed S]\n"
	      "Play the nightly job by every restart policy on the bundled sample host and on\n"
	      "N (200) generated hosts from seed S (1) on; exit 1 when a promise is broken.\n",
	      out);
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		{ "hosts", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct total total[POLICIES] = { 0 }, sample[POLICIES] = { 0 };
	struct check check = { .on = true };
	size_t possible = 0, sample_possible = 0, small = 0, guests = 0;
	unsigned hosts = 200, seed = 1;
	bool kept;
	int c;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		switch (c) {
		case 'n': hosts = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': seed = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 64;
		}
	}
	for (unsigned i = 0; i <= hosts; i++) {
		static struct host h;
		bool is_small;
		size_t can;

		if (i == 0)
			host_sample(&h);
		else
			host_plausible(&h, seed + i - 1);
		is_small = brute_can_do(&h);
		can = count_possible(&h, is_small);
		small += is_small;
		guests += (size_t)h.n_guests;
		possible += can;
		if (i == 0)
			sample_possible = can;
		for (size_t k = 0; k < POLICIES; k++) {
			struct plan_outcome out =
				play(&h, &policies[k], is_small ? &check : NULL);

			if (i > 0 && policies[k].style == OURS &&
			    (out.made < can || out.changed > 0))
				fprintf(stderr,
					"jobs: seed %u: %s: %zu of %zu backups, %zu changed\n",
					h.seed, policies[k].name, out.made, can,
					out.changed);
			for (struct total *t = &total[k]; t;
			     t = i == 0 && t == &total[k] ? &sample[k] : NULL) {
				t->made += out.made;
				t->changed += out.changed;
				t->interruptions += out.interruptions;
				t->downtime += out.downtime;
			}
		}
	}
	printf("the bundled sample host (10 guests):\n");
	print_table(sample, sample_possible);
	printf("\nthe sample and %u generated hosts (seeds %u to %u, %zu guests in all):\n",
	       hosts, seed, seed + hosts - 1, guests);
	print_table(total, possible);
	printf("\n%zu plans compared with brute force on %zu of %u hosts: %zu differ\n",
	       check.plans, small, hosts + 1, check.wrong);
	kept = is_kept(sample, sample_possible);
	kept = is_kept(total, possible) && kept && check.wrong == 0;
	return kept ? 0 : 1;
}
