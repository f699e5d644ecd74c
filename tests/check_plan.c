/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "bench/exact.h"
#include "pve/plan.h"

/*
 * Cards A, B and C (functions 0, 1, 2), each alone in its group. A VM asks for
 * "A", or for "AB": the first of the two that is free.
 */
struct vm {
	uint32_t vmid;
	const char *wants; /* "" for none */
	char holds; /* running with this card; '-' running without; 0 off */
	bool ours;
	int64_t stopped_at;
};

static void build(struct host *h, const struct vm *vms, int n)
{
	*h = (struct host){ .n_fns = 3 };
	for (int i = 0; i < 3; i++)
		h->fn[i] = (struct host_fn){ .addr.bus = (uint8_t)(i + 1),
					     .group = 10 + i,
					     .pf = -1 };
	for (int i = 0; i < n; i++) {
		struct host_guest *g = &h->guest[h->n_guests++];

		*g = (struct host_guest){ .id = { GUEST_QEMU, vms[i].vmid },
					  .has_disk = true,
					  .selected = true,
					  .running = vms[i].holds != 0,
					  .duration = 600 };
		if (*vms[i].wants) {
			struct host_entry *e = &g->entry[g->n_entries++];

			*e = (struct host_entry){ .type = -1,
						  .mapping = vms[i].wants[1] ? 0 : -1 };
			for (const char *c = vms[i].wants; *c; c++)
				e->alt[e->n_alts++] =
					(struct host_alt){ .n = 1, .fn = { *c - 'A' } };
		}
		if (vms[i].holds >= 'A')
			g->hold[g->n_holds++] =
				(struct host_hold){ vms[i].holds - 'A', NULL, 0 };
	}
}

/* "start 101/0 wait 102:105 blocked 103:104" (round, because) */
static char *decisions_text(const struct plan_decision *d, size_t n)
{
	static const char *const words[] = { "start", "wait", "blocked" };
	char *text = xstrdup("");

	for (size_t i = 0; i < n; i++) {
		char *longer = xasprintf(
			"%s%s%s %u%c%u", text, i > 0 ? " " : "", words[d[i].action],
			d[i].guest.vmid, d[i].action == PLAN_START ? '/' : ':',
			d[i].action == PLAN_START ? d[i].round : d[i].because.vmid);

		free(text);
		text = longer;
	}
	return text;
}

#define OURS(n, wants)		{ n, wants, 0, true, 900 }
#define LATE(n, wants)		{ n, wants, 0, true, 100 }	/* ours, overdue */
#define OFF(n, wants)		{ n, wants, 0, false, 0 }
#define RUNS(n, wants, holds)	{ n, wants, holds, false, 0 }

enum {
	EARLY = CONFIG_RESTART_EARLY,
	LAST = CONFIG_RESTART_LAST,
	JOB_END = CONFIG_RESTART_JOB_END,
};

static const struct {
	const char *what;
	struct vm vms[6];
	int policy;
	unsigned lookahead;
	uint32_t after, in_backup;	/* 0: none */
	bool overdue_only;
	const char *want;
} restarts[] = {
	{ "nobody is ours",
	  { RUNS(100, "A", 'A'), OFF(101, "A") },
	  EARLY, 2, 101, 0, false, "" },
	{ "early: no contender to come",
	  { OURS(100, "A"), OFF(101, "A"), OFF(102, "B") },
	  EARLY, 2, 101, 0, false, "start 100/0" },
	{ "early: one of the next two",
	  { OURS(100, "A"), OFF(101, "A"), RUNS(102, "", '-'), OFF(103, "A") },
	  EARLY, 2, 101, 0, false, "wait 100:103" },
	{ "early: beyond the lookahead",
	  { OURS(100, "A"), OFF(101, "A"), RUNS(102, "", '-'), OFF(103, "A") },
	  EARLY, 1, 101, 0, false, "start 100/0" },
	{ "last: any later one",
	  { OURS(100, "A"), OFF(101, "A"), RUNS(102, "", '-'), RUNS(103, "", '-'),
	  RUNS(104, "", '-'), OFF(105, "A") },
	  LAST, 2, 101, 0, false, "wait 100:105" },
	{ "last: none later",
	  { OURS(100, "A"), OFF(101, "A"), RUNS(102, "", '-') },
	  LAST, 2, 101, 0, false, "start 100/0" },
	{ "job-end: all wait",
	  { OURS(100, "A"), OFF(101, "A") },
	  JOB_END, 2, 101, 0, false, "wait 100:0" },
	{ "the job is over",
	  { OURS(100, "A"), OFF(101, "A"), OURS(102, "B") },
	  JOB_END, 2, 0, 0, false, "start 100/0 start 102/0" },
	{ "waited long enough",
	  { LATE(100, "A"), OFF(101, "A"), RUNS(102, "", '-'), OFF(103, "A") },
	  JOB_END, 2, 101, 0, false, "start 100/0" },
	{ "but not for nothing",
	  { LATE(100, "A"), OFF(101, "A"), OFF(102, "A") },
	  EARLY, 2, 101, 0, false, "wait 100:102" },
	{ "somebody has taken its device",
	  { OURS(100, "A"), RUNS(101, "A", 'A') },
	  EARLY, 2, 101, 0, false, "blocked 100:101" },
	{ "a later one that runs needs nothing",
	  { OURS(100, "AB"), OFF(101, "A"), RUNS(102, "B", 'B') },
	  EARLY, 2, 101, 0, false, "start 100/0" },
	{ "the one with a choice comes second",
	  { OURS(100, "AB"), OURS(101, "A"), OFF(102, "") },
	  EARLY, 2, 102, 0, false, "start 101/0 start 100/1" },
	{ "and waits for the one that waits",
	  { OURS(100, "AB"), OURS(101, "A"), RUNS(102, "B", 'B'), OFF(103, "A") },
	  EARLY, 2, 102, 0, false, "wait 100:103 wait 101:103" },
	{ "its own backup goes on",
	  { { 100, "A", 'A', true, 100 } },
	  EARLY, 2, 0, 0, false, "wait 100:100" },
	{ "guardian: only who has waited",
	  { LATE(100, "A"), OURS(101, "B"), RUNS(102, "C", 'C') },
	  EARLY, 2, 0, 102, true, "start 100/0 wait 101:0" },
	{ "guardian: the backup is in the way",
	  { LATE(100, "A"), RUNS(101, "A", 'A') },
	  EARLY, 2, 0, 101, true, "blocked 100:101" },
	/* 101 has A for its backup; 100 would take B, which 102 needs after it. */
	{ "guardian: after the backup all must fit",
	  { LATE(100, "AB"), RUNS(101, "A", 'A'), OURS(102, "B") },
	  EARLY, 2, 0, 101, true, "blocked 100:102 wait 102:0" },
};

START_TEST(restarts_follow_the_policy)
{
	static struct host h;
	struct host_view v;
	struct plan_decision *d;
	struct guest_id after = { GUEST_QEMU, restarts[_i].after };
	struct guest_id in_backup = { GUEST_QEMU, restarts[_i].in_backup };
	struct plan_restart p = { .policy = (enum config_restart)restarts[_i].policy,
				  .lookahead = restarts[_i].lookahead,
				  .max_wait = 900,
				  .now = 1200,
				  .after = after.vmid ? &after : NULL,
				  .in_backup = in_backup.vmid ? &in_backup : NULL,
				  .overdue_only = restarts[_i].overdue_only };
	_cleanup_free_ char *got = NULL, *again = NULL;
	int n_vms = 0;
	size_t n;

	while (n_vms < 6 && restarts[_i].vms[n_vms].vmid)
		n_vms++;
	build(&h, restarts[_i].vms, n_vms);
	host_view(&h, &v);
	for (int i = 0; i < n_vms; i++) {
		v.guests[i].ours = restarts[_i].vms[i].ours;
		v.guests[i].stopped_at = restarts[_i].vms[i].stopped_at;
	}
	p.contention = contention_new(&v.in);
	p.guests = v.guests;
	p.n = (size_t)n_vms;
	plan_restart(&p, &d, &n);
	got = decisions_text(d, n);
	ck_assert_msg(strcmp(got, restarts[_i].want) == 0, "%s: '%s', not '%s'",
		      restarts[_i].what, got, restarts[_i].want);
	free(d);
	/* The model is left as found. */
	plan_restart(&p, &d, &n);
	again = decisions_text(d, n);
	ck_assert_str_eq(got, again);
	free(d);
	contention_free(p.contention);
	host_view_done(&v);
}
END_TEST

static void note(const struct plan_event *e, void *arg)
{
	static const char *const words[] = { "backup", "done",	    "failed", "stop",
					     "up",     "unit-stop", "unit-up" };
	char **text = arg, *longer;

	longer = xasprintf("%s%.0f %s %u\n", *text, e->t, words[e->kind], e->guest.vmid);
	free(*text);
	*text = longer;
}

static char *play(const struct vm *vms, int n, bool hooked, bool stop_mode,
		  struct plan_outcome *out)
{
	static struct host h;
	struct host_view v;
	struct plan_job job = { .policy = CONFIG_RESTART_EARLY,
				.lookahead = 2,
				.max_wait = 900,
				.stop_s = 20,
				.start_s = 10,
				.hooked = hooked,
				.stop_mode = stop_mode };
	char *text = xstrdup("");

	build(&h, vms, n);
	host_view(&h, &v);
	job.contention = contention_new(&v.in);
	job.guests = v.guests;
	job.n = (size_t)n;
	job.selected = v.selected;
	job.n_selected = v.n_selected;
	plan_job(&job, note, &text, out);
	contention_free(job.contention);
	host_view_done(&v);
	return text;
}

START_TEST(a_job_is_played_event_by_event)
{
	static const struct vm vms[] = { { 100, "A", 'A', false, 0 },
					 { 101, "A", 0, false, 0 },
					 { 102, "", '-', false, 0 } };
	struct plan_outcome out;
	_cleanup_free_ char *with = NULL, *without = NULL, *stop_mode = NULL;

	with = play(vms, 3, true, false, &out);
	ck_assert_str_eq(
		with,
		"0 backup 100\n600 done 100\n600 backup 101\n600 stop 100\n"
			 "1230 done 101\n"
		"1240 up 100\n1240 backup 102\n1840 done 102\n");
	ck_assert_uint_eq(out.made, 3);
	ck_assert_uint_eq(out.failed, 0);
	ck_assert_uint_eq(out.interruptions, 1);
	ck_assert_uint_eq(out.changed, 0);
	ck_assert_double_eq(out.downtime, 640);
	without = play(vms, 3, false, false, &out);
	ck_assert_str_eq(without,
			 "0 backup 100\n600 done 100\n600 backup 101\n600 failed 101\n"
			 "600 backup 102\n1200 done 102\n");
	ck_assert_uint_eq(out.failed, 1);
	ck_assert_double_eq(out.downtime, 0);
	stop_mode = play(vms, 1, true, true, &out);
	ck_assert_str_eq(stop_mode,
			 "0 backup 100\n0 stop 100\n30 up 100\n630 done 100\n");
}
END_TEST

/* 100 waits for 103; the backup of 102 takes long, and the guardian ends the wait. */
START_TEST(the_guardian_starts_who_has_waited)
{
	static const struct vm vms[] = { { 100, "A", 'A', false, 0 },
					 { 101, "A", 0, false, 0 },
					 { 102, "", '-', false, 0 },
					 { 103, "A", 0, false, 0 } };
	struct plan_outcome out;
	_cleanup_free_ char *text = play(vms, 4, true, false, &out);

	/* Stopped at 600: due at 1500, in the backup of 102 from 1230 to 1830. */
	ck_assert_ptr_nonnull(strstr(text, "1510 up 100\n1830 done 102\n"));
	ck_assert_uint_eq(out.interruptions, 2);
	ck_assert_uint_eq(out.changed, 0);
}
END_TEST

enum { HOSTS_PER_RUN = 100 };

START_TEST(no_job_leaves_anybody_changed)
{
	static struct host h;

	for (unsigned seed = 1; seed <= HOSTS_PER_RUN; seed++) {
		struct host_view v;
		struct plan_outcome out;
		struct plan_job job = { .policy = (enum config_restart)(_i % 3),
					.lookahead = 2,
					.max_wait = _i < 3 ? 900 : 100000000,
					.stop_s = 20,
					.start_s = 10,
					.hooked = true };
		struct contention *c;

		host_plausible(&h, 5000 + seed);
		host_view(&h, &v);
		c = job.contention = contention_new(&v.in);
		job.guests = v.guests;
		job.n = (size_t)h.n_guests;
		job.selected = v.selected;
		job.durations = v.durations;
		job.n_selected = v.n_selected;
		plan_job(&job, NULL, NULL, &out);
		ck_assert_msg(out.changed == 0, "seed %u: %zu changed", 5000 + seed,
			      out.changed);
		ck_assert_uint_eq(out.made + out.failed, v.n_selected);
		for (int i = 0; i < h.n_guests; i++)
			if (contention_has_gpu(c, h.guest[i].id))
				ck_assert(contention_is_running(c, h.guest[i].id) ==
					  h.guest[i].running);
		contention_free(c);
		host_view_done(&v);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan");
	TCase *restart = tcase_create("restart"), *job = tcase_create("job");

	tcase_add_loop_test(restart, restarts_follow_the_policy, 0, ARRAY_SIZE(restarts));
	tcase_add_test(job, a_job_is_played_event_by_event);
	tcase_add_test(job, the_guardian_starts_who_has_waited);
	tcase_set_timeout(job, 120);
	tcase_add_loop_test(job, no_job_leaves_anybody_changed, 0, 6);
	suite_add_tcase(suite, restart);
	suite_add_tcase(suite, job);
	return testroot_run(suite);
}
