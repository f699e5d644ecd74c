/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hooks-report - what pve-gpu-hooks status, plan and example print */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/record.h"
#include "base/root.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "pve/protection.h"
#include "pve/rehearsal.h"

enum { EXIT_UNPROTECTED = 1 };

static void usage(FILE *out)
{
	fputs("Usage: hooks-report [-0Hjr] [-o LIST] [-R DIR] status | plan | example\n"
	      "       hooks-report [-R DIR] chosen GUEST\n"
	      "What pve-gpu-hooks status, plan and example print; chosen: the functions\n"
	      "that PVE would pass to a VM once nobody is in its way.\n\n"
	      "  -0, --null         end records with NUL, not newline\n"
	      "  -H, --header       begin with the names of the fields\n"
	      "  -R, --root=DIR     use DIR as the system root\n"
	      "  -j, --json         print one JSON object a line\n"
	      "  -o, --output=LIST  print these fields, in this order\n"
	      "  -r, --raw          TAB-separated on a terminal too\n"
	      "  -h, --help         print this help and exit\n"
	      "  -V, --version      print the version and exit\n", out);
}

static int show_status(const struct hostmodel *m, const struct record_opts *opts)
{
	static const struct record_field fields[] = {
		{ "level", RECORD_STRING }, { "topic", RECORD_STRING },
		{ "what", RECORD_STRING }, { "why", RECORD_STRING },
	};
	struct record_writer *w = record_stdout(fields, ARRAY_SIZE(fields), opts);
	struct findings f;
	size_t failed = 0;

	if (!w)
		return msg_usage_error();
	protection_check(m, &f);
	for (size_t i = 0; i < f.n; i++) {
		record_put(w, (const char *const[]){ finding_level_name(f.list[i].level),
						     f.list[i].topic, f.list[i].what,
						     f.list[i].why });
		failed += f.list[i].level == FINDING_FAIL;
	}
	record_writer_free(w);
	if (isatty(STDOUT_FILENO) && !opts->json && !opts->raw && !opts->null)
		printf("\n%s\n", failed ? "Not every backup is protected."
					: "Every backup job of this node is protected.");
	findings_done(&f);
	return failed ? EXIT_UNPROTECTED : EX_OK;
}

/* What others wrote into jobs.cfg and vzdump.conf. */
static void put_text(const char *text)
{
	text_put_shown(stdout, text);
}

static void print_steps(const struct rehearsal *r, const char *schedule)
{
	static const char *const ways[] = {
		[REHEARSAL_STOPPED] = "is backed up as it lies",
		[REHEARSAL_STARTED] = "is started for its backup",
		[REHEARSAL_RUNNING] = "is backed up as it runs",
		[REHEARSAL_RESTARTED] = "is shut down and started again by vzdump itself",
	};

	for (size_t i = 0; i < r->n; i++) {
		const struct rehearsal_step *s = &r->steps[i];
		char name[GUEST_STRLEN];

		put_text(schedule);
		printf("%*s %-12s ", strlen(schedule) < 8 ? 8 - (int)strlen(schedule) : 0,
		       "", guest_format(s->guest, name));
		if (s->failed)
			fputs("FAILS: ", stdout);
		if (s->failed)
			put_text(s->why ? s->why : "its GPU is in use");
		else
			fputs(ways[s->way], stdout);
		if (s->stops && !s->failed) {
			fputs("; stops ", stdout);
			put_text(s->reasons ? s->reasons : s->stops);
		}
		if (s->starts) {
			fputs("; starts ", stdout);
			put_text(s->starts);
			fputs(" again after it", stdout);
		}
		putchar('\n');
	}
}

/* One job. w: NULL for the text that people read. */
static void show_job(const struct hostmodel *m, const struct job *job,
		     const struct job_defaults *d, struct record_writer *w)
{
	struct rehearsal r;
	size_t failed = 0;

	if (rehearsal_run(m, job, d, &r) < 0)
		say_warn("%s: there is no pool %s", job->id, job->pool);
	for (size_t i = 0; i < r.n; i++) {
		const struct rehearsal_step *s = &r.steps[i];
		char name[GUEST_STRLEN];

		failed += s->failed;
		if (w)
			record_put(w, (const char *const[]){
				job->id, job->schedule, guest_format(s->guest, name),
				rehearsal_way_name(s->way), s->failed ? "failed" : "made",
				s->stops, s->starts, s->why });
	}
	if (!w) {
		put_text(job->id);
		fputs(": mode ", stdout);
		put_text(r.mode);
		if (!r.hooked) {
			fputs(", without the hook: it has a script of its own, ", stdout);
			put_text(job->script);
		}
		putchar('\n');
		print_steps(&r, job->schedule ? job->schedule : "-");
		printf("%zu of %zu backed up, %zu interruption%s, ", r.n - failed, r.n,
		       r.outcome.interruptions, r.outcome.interruptions == 1 ? "" : "s");
		printf("about %.0f min of downtime if a backup takes 10\n",
		       r.outcome.downtime / 60);
	}
	rehearsal_done(&r);
}

static int show_plan(const struct hostmodel *m, const struct record_opts *opts)
{
	static const struct record_field fields[] = {
		{ "job", RECORD_STRING }, { "schedule", RECORD_STRING },
		{ "guest", RECORD_STRING }, { "way", RECORD_STRING },
		{ "backup", RECORD_STRING }, { "stops", RECORD_STRING },
		{ "starts", RECORD_STRING }, { "why", RECORD_STRING },
	};
	bool text = !opts->json && !opts->raw && !opts->null && !opts->header
		&& !opts->fields;
	struct record_writer *w = NULL;
	_cleanup_free_ char *path = NULL;
	struct job_defaults d;
	struct job *jobs;
	size_t n, shown = 0;
	int err;

	if (!text) {
		w = record_stdout(fields, ARRAY_SIZE(fields), opts);
		if (!w)
			return msg_usage_error();
	}
	err = jobs_read(&jobs, &n, &path);
	if (err) {
		say("%s: %s", path, strerror(-err));
		record_writer_free(w);
		return err == -EACCES ? EX_NOPERM : EX_OSERR;
	}
	err = job_defaults_read(&d);
	if (err)
		say_warn("/etc/vzdump.conf: %s", strerror(-err));
	if (!d.script || strcmp(d.script, REHEARSAL_STUB) != 0)
		say_warn("the hook is not enabled; this is what it would do");
	for (size_t i = 0; i < n; i++) {
		if (!jobs[i].enabled || !job_is_for_node(&jobs[i], m->node))
			continue;
		if (shown++ && !w)
			putchar('\n');
		show_job(m, &jobs[i], &d, w);
	}
	if (shown == 0 && !w)
		printf("no backup job is enabled for this node\n");
	record_writer_free(w);
	job_defaults_done(&d);
	jobs_free(jobs, n);
	return EX_OK;
}

/* Every function that a guest of this node is given, once, with who is given it. */
static void example_gpus(const struct hostmodel *m)
{
	for (size_t i = 0; i < m->n_devs; i++) {
		const struct pcidev *dev = &m->devs[i];
		struct guest_id last = { 0 };
		char addr[PCIADDR_STRLEN], name[GUEST_STRLEN];
		bool any = false;

		for (size_t k = 0; k < m->n_assignments; k++) {
			const struct assignment *a = &m->assignments[k];

			if (!a->has_addr || pciaddr_compare(&a->addr, &dev->addr) != 0
			    || (any && guest_compare(&a->guest, &last) == 0))
				continue;
			if (!any)
				printf("#   %s  %04x:%04x  driver %s:",
				       pciaddr_format(&dev->addr, addr), dev->vendor,
				       dev->device, dev->driver ? dev->driver : "none");
			printf(" %s%s", guest_format(a->guest, name),
			       a->state == ASSIGNMENT_RUNNING ? " (running)" : "");
			last = a->guest;
			any = true;
		}
		if (any)
			putchar('\n');
	}
}

static void show_example(const struct hostmodel *m)
{
	const char *last = NULL;

	printf("# pve-gpu-utils.conf(5) for node %s: every key with its default.\n"
	       "#\n# Functions that guests are given:\n", m->node);
	example_gpus(m);
	fputs("\n[backup]\n"
	      "# Seconds a guest gets to shut down; its own startup down= wins.\n"
	      "#stop-timeout = 180\n"
	      "# After that, pull the plug? Otherwise the other guest's backup fails.\n"
	      "#force-stop = no\n"
	      "# When a stopped guest starts again: early, last or job-end.\n"
	      "#restart = early\n"
	      "# early: stay down for a contender among so many next guests.\n"
	      "#lookahead = 2\n"
	      "# Minutes that a guest waits at most.\n"
	      "#max-wait = 15\n"
	      "# Guests that are never stopped for another one's backup.\n"
	      "#never-stop =\n"
	      "# Give functions back to the host's drivers (rebind), or not (leave).\n"
	      "#host-driver = rebind\n"
	      "# Units of the host that may be stopped and started like guests.\n"
	      "#host-services =", stdout);
	for (size_t i = 0; i < m->n_users; i++) {
		const char *unit = m->users[i].unit;

		if (!unit || (last && strcmp(unit, last) == 0))
			continue;
		putchar(' ');
		put_text(unit);
		last = unit;
	}
	fputs("\n# Guests that HA manages (refuse: never stopped; stop):", stdout);
	for (size_t i = 0; i < m->n_guests; i++)
		if (m->guests[i].ha)
			printf(" %u", m->guests[i].id.vmid);
	fputs("\n#ha = refuse\n"
	      "# After a power loss during a backup start: yes, onboot (only), no.\n"
	      "#boot-restart = yes\n"
	      "\n[rescan]\n"
	      "#timeout = 30\n"
	      "#on-failure = start\n"
	      "#post-stop = keep\n"
	      "# The reset to begin with: own, subordinate, slot or card.\n"
	      "#card = 0000:01:00.0 slot\n"
	      "\n[gpu-groups]\n"
	      "# Guests that must not run at the same time, beside what is found.\n"
	      "#group = 0000:01:00.0 100 101\n", stdout);
}

/* Functions alone: the parent of a mediated device is not taken from its driver. */
static int show_chosen(const struct hostmodel *m, struct guest_id x)
{
	struct contention *c = contention_new(&m->input);
	struct contention_plan plan;

	if (contention_plan(c, x, &plan) == 0) {
		for (size_t i = 0; i < plan.n_chosen; i++) {
			bool passed = false;
			char addr[PCIADDR_STRLEN];

			for (size_t k = 0; k < m->n_assignments && !passed; k++) {
				const struct assignment *a = &m->assignments[k];

				passed = a->has_addr && !a->mdev_type
					&& guest_compare(&a->guest, &x) == 0
					&& !pciaddr_compare(&a->addr, &plan.chosen[i]);
			}
			if (passed)
				puts(pciaddr_format(&plan.chosen[i], addr));
		}
	}
	contention_plan_done(&plan);
	contention_free(c);
	return EX_OK;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "root",    required_argument, NULL, 'R' },
		{ "help",    no_argument,       NULL, 'h' },
		{ "version", no_argument,       NULL, 'V' },
		{ 0 }
	};
	static const char *const reports[] = {
		"status", "plan", "example", "chosen", NULL,
	};
	static char asked[] = "pve-gpu-hooks";	/* who says what is wrong */
	const char *const *known, *what;
	struct record_opts opts = { 0 };
	struct guest_id x = { 0 };
	struct hostmodel m;
	int c, err, rc = EX_OK;

	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "R:hV", longopts,
				NULL)) != -1) {
		if (record_opt(&opts, c, optarg))
			continue;
		switch (c) {
		case 'R': root_set(optarg); break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:  return msg_usage_error();
		}
	}
	if (optind == argc) {
		say("name one of status, plan and example");
		return msg_usage_error();
	}
	for (known = reports; *known && strcmp(*known, argv[optind]) != 0; known++)
		continue;
	if (!*known) {
		say("unknown report: %s", argv[optind]);
		return msg_usage_error();
	}
	if (argc - optind != (known == &reports[3] ? 2 : 1)
	    || (known == &reports[3] && !guest_parse(argv[optind + 1], &x))) {
		say(known == &reports[3] ? "chosen needs a guest: qemu/100"
					 : "too many operands");
		return msg_usage_error();
	}
	if (known != &reports[3])
		program_invocation_short_name = asked;
	err = hostmodel_load(&m, &what);
	if (err == -ENOENT) {
		say("%s cannot be read: is this a host of Proxmox VE?", what);
	} else if (err) {
		say("%s cannot be read: %s", what, strerror(-err));
	}
	if (err) {
		hostmodel_done(&m);
		if (err == -ENOENT)
			return EX_NOINPUT;
		return err == -EACCES ? EX_NOPERM : EX_OSERR;
	}
	if (known == &reports[0])
		rc = show_status(&m, &opts);
	else if (known == &reports[1])
		rc = show_plan(&m, &opts);
	else if (known == &reports[3])
		rc = show_chosen(&m, x);
	else
		show_example(&m);
	hostmodel_done(&m);
	if (!close_stdout())
		return EX_IOERR;
	return rc;
}
