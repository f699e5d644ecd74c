/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest-stop - stop guests gracefully and wait until their devices are free */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/configvalue.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/guest.h"
#include "pve/holder.h"
#include "pve/power.h"
#include "pve/state.h"

enum { PARALLEL = 4, NO_TIMEOUT = -1 };

struct target {
	char *name;		/* owned */
	struct guest guest;	/* owned; all 0 for a unit */
	bool is_guest;
};

struct stop {
	const struct config *config;
	unsigned parallel;
	int timeout;		/* s; NO_TIMEOUT = the configuration's */
	bool force, dry_run;
	struct target *targets;
	size_t n;
	int code;		/* first failure */
};

static void usage(FILE *out)
{
	fputs("Usage: guest-stop [-fnqv] [-P N] [-t SECONDS] [-R DIR] GUEST...\n"
	      "Shut guests (100, qemu/100, lxc/200) and host services (unit/NAME) down,\n"
	      "several at a time, and wait until they and their devices are gone.\n\n"
	      "  -P, --parallel=N       stop up to N at a time (4)\n"
	      "  -R, --root=DIR         use DIR as the system root (with -n)\n"
	      "  -f, --force            end a guest the hard way after its time\n"
	      "  -n, --dry-run          print the commands, run none\n"
	      "  -q, --quiet            errors only\n"
	      "  -t, --timeout=SECONDS  how long a guest without a time of its own (startup:\n"
	      "                         down=) may take; default: stop-timeout, 180\n"
	      "  -v, --verbose          show what qm and pct print\n"
	      "  -h, --help             print this help and exit\n"
	      "  -V, --version          print the version and exit\n", out);
}

static void fail(struct stop *s, int code)
{
	if (s->code == EX_OK)
		s->code = code;
}

/* Look at every operand before anything is stopped. */
static void check(struct stop *s, const char *operand)
{
	struct target *t = &s->targets[s->n];
	char name[GUEST_STRLEN];
	int rc;

	*t = (struct target){ 0 };
	if (strncmp(operand, "unit/", 5) == 0 && operand[5] && !strchr(operand + 5, '/')
	    && operand[5] != '-') {
		t->name = xstrdup(operand);
		s->n++;
		return;
	}
	rc = guest_find(operand, &t->guest);
	if (rc < 0) {
		say("%s: %s", operand, rc == -EINVAL
		    ? "not a guest (qemu/100, lxc/200 or 100) and no unit/NAME"
		    : rc == -ENOENT ? "no such guest on this node" : strerror(-rc));
		fail(s, rc == -EINVAL ? EX_USAGE : rc == -ENOENT ? EX_NOINPUT : EX_OSERR);
		return;
	}
	t->is_guest = true;
	t->name = xstrdup(guest_format(t->guest.id, name));
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->targets[i].name, t->name) == 0) {
			guest_done(&t->guest);
			free(t->name);
			return;		/* named twice */
		}
	s->n++;
	if (!t->guest.running)
		return;
	if (t->guest.ha && !s->config->ha_stop) {
		say("%s is HA-managed: its stop would be a lasting request (ha = stop in the configuration allows it)",
		    t->name);
		fail(s, EX_UNAVAILABLE);
	} else if (t->guest.lock) {
		say("%s is locked (%s): not stopped", t->name, t->guest.lock);
		fail(s, EX_TEMPFAIL);
	}
}

/* Reverse of the start-up order; who has none started last and goes first. */
static int by_stop_order(const void *a, const void *b)
{
	const struct target *x = a, *y = b;
	int ox = x->is_guest && x->guest.order >= 0 ? x->guest.order : INT_MAX;
	int oy = y->is_guest && y->guest.order >= 0 ? y->guest.order : INT_MAX;

	if (ox != oy)
		return ox > oy ? -1 : 1;
	return -strverscmp(x->name, y->name);
}

static bool is_same_group(const struct target *a, const struct target *b)
{
	int oa = a->is_guest && a->guest.order >= 0 ? a->guest.order : INT_MAX;
	int ob = b->is_guest && b->guest.order >= 0 ? b->guest.order : INT_MAX;

	return oa == ob;
}

static void stopped(struct power_task *t, void *arg)
{
	struct stop *s = arg;
	_cleanup_free_ char *command = power_command(t);
	const char *colon = t->said ? ": " : "", *said = t->said ? t->said : "";

	if (t->result == 0) {
		if (msg_level >= 0)
			printf("%s stopped (%u s)\n", t->name, t->took);
		return;
	}
	fail(s, EX_TEMPFAIL);
	if (t->left)
		say("%s is down, but has not let go of everything after %u s: %s", t->name,
		    t->took, t->left);
	else if (t->result == -ETIMEDOUT)
		say("%s not stopped: %s was given up after %u s%s%s", t->name, command, t->took,
		    colon, said);
	else if (t->result == -EAGAIN)
		say("%s not stopped: %s ended well, yet it still runs after %u s%s%s", t->name,
		    command, t->took, colon, said);
	else if (t->result < 0)
		say("%s not stopped: %s: %s", t->name, command, strerror(-t->result));
	else
		say("%s not stopped: %s: exit code %d%s%s", t->name, command, t->result, colon, said);
}

/* Functions that the VM holds now: their vGPU types have to be gone with it. */
static void note_functions(struct power_task *t, pid_t pid)
{
	struct holding *h = NULL;
	size_t n = 0;

	if (holder_cmdline(pid, &h, &n) < 0)
		return;
	t->addrs = xcalloc(n + 1, sizeof(*t->addrs));
	for (size_t i = 0; i < n; i++)
		if (!h[i].mdev_type && !h[i].uuid[0])
			t->addrs[t->n_addrs++] = h[i].addr;
	holdings_free(h, n);
}

static bool prepare(const struct stop *s, const struct target *t, struct power_task *task)
{
	unsigned timeout =
		s->timeout != NO_TIMEOUT ? (unsigned)s->timeout : s->config->stop_timeout;
	bool force = s->force || s->config->force_stop;

	if (t->is_guest && t->guest.down >= 0)
		timeout = (unsigned)t->guest.down;
	if (!power_stop_init(task, t->name, timeout, force, t->is_guest && t->guest.ha))
		return false;
	/* pve-ha-manager, PVE::HA::Resources::PVEVM, always forces the stop */
	if (t->is_guest && t->guest.ha && t->guest.id.kind == GUEST_QEMU && !force)
		say_warn("%s is HA-managed: after %u s HA ends it the hard way", t->name, timeout);
	if (t->is_guest && t->guest.id.kind == GUEST_QEMU && t->guest.running)
		note_functions(task, t->guest.pid);
	return true;
}

/* What HA was asked for and did not do in time, it is not to do at some other time. */
static void take_back(const struct stop *s, const struct power_task *tasks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (tasks[i].result == 0 || !tasks[i].is_guest
		    || !guest_is_running(tasks[i].id, NULL, NULL))
			continue;
		for (size_t k = 0; k < s->n; k++)
			if (s->targets[k].guest.ha
			    && strcmp(s->targets[k].name, tasks[i].name) == 0)
				power_ha_keep(tasks[i].name, tasks[i].id);
	}
}

static void stop_group(struct stop *s, size_t from, size_t to)
{
	_cleanup_free_ struct power_task *tasks = xcalloc(to - from, sizeof(*tasks));
	size_t n = 0;

	for (size_t i = from; i < to; i++) {
		const struct target *t = &s->targets[i];

		if (t->is_guest && !t->guest.running &&
		    !guest_is_running(t->guest.id, NULL, NULL)) {
			if (errno != 0) {
				say("%s: cannot tell whether it runs: %m", t->name);
				s->code = s->code ? s->code : EX_OSERR;
			} else if (msg_level >= 0) {
				printf("%s does not run\n", t->name);
			}
			continue;
		}
		if (prepare(s, t, &tasks[n]))
			n++;
	}
	if (s->dry_run) {
		for (size_t i = 0; i < n; i++) {
			_cleanup_free_ char *command = power_command(&tasks[i]);

			puts(command);
		}
	} else {
		power_run(tasks, n, s->parallel, stopped, s);
		take_back(s, tasks, n);
	}
	for (size_t i = 0; i < n; i++)
		power_done(&tasks[i]);
}

/*
 * Nobody was told to stop: what the caller noted in the journal for that would
 * make the guardian start a guest that an administrator stops in the meantime.
 */
static void forget_journaled(const struct stop *s)
{
	_cleanup_free_ char *path = state_journal_path();
	_cleanup_(state_done) struct state_file f = { 0 };

	if (!root_is_host() || s->dry_run || state_read(path, &f) < 0)
		return;
	for (size_t i = 0; i < f.n; i++) {
		const struct state_entry *e = &f.entries[i];

		if (!e->reason || strncmp(e->reason, "conflict:", 9) != 0
		    || (e->is_guest && !state_is_same_run(&f, e)))
			continue;
		for (size_t k = 0; k < s->n; k++)
			if (strcmp(s->targets[k].name, e->name) == 0)
				state_journal_remove(e->name, e->reason);
	}
}

static int run(struct stop *s, char *const operands[], size_t n)
{
	s->targets = xcalloc(n, sizeof(*s->targets));
	for (size_t i = 0; i < n; i++)
		check(s, operands[i]);
	if (s->code != EX_OK) {
		if (n > 1)
			say("nothing was stopped");
		forget_journaled(s);
	} else {
		qsort(s->targets, s->n, sizeof(*s->targets), by_stop_order);
		for (size_t from = 0, to; from < s->n; from = to) {
			for (to = from + 1; to < s->n; to++)
				if (!is_same_group(&s->targets[from], &s->targets[to]))
					break;
			stop_group(s, from, to);
		}
	}
	for (size_t i = 0; i < s->n; i++) {
		if (s->targets[i].is_guest)
			guest_done(&s->targets[i].guest);
		free(s->targets[i].name);
	}
	free(s->targets);
	return s->code;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "parallel", required_argument, NULL, 'P' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "root", required_argument, NULL, 'R' },
		{ "timeout", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct stop s = { .parallel = PARALLEL, .timeout = NO_TIMEOUT };
	_cleanup_(config_done) struct config cfg = { 0 };
	_cleanup_free_ char *error = NULL;
	unsigned value;
	int c, code;

	while ((c = getopt_long(argc, argv, "fnP:qR:t:vhV", longopts, NULL)) != -1) {
		switch (c) {
		case 'f': s.force = true; break;
		case 'n': s.dry_run = true; break;
		case 'P':
		case 't':
			if (!configvalue_number(optarg, 1, c == 'P' ? 1000 : 86400,
						&value)) {
				say("-%c takes a number from 1 to %d: %s", c,
				    c == 'P' ? 1000 : 86400, optarg);
				return msg_usage_error();
			}
			if (c == 'P')
				s.parallel = value;
			else
				s.timeout = (int)value;
			break;
		case 'q': msg_level = -1; break;
		case 'R': root_set(optarg); break;
		case 'v': msg_level++; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default: return msg_usage_error();
		}
	}
	if (optind == argc) {
		say("no guest named");
		return msg_usage_error();
	}
	if (config_load(NULL, &cfg, &error) < 0) {
		say("%s", error ? error : "configuration cannot be read");
		return EX_CONFIG;
	}
	s.config = &cfg;
	if (!root_is_host() && !s.dry_run) {
		say("guests of another root cannot be stopped: use -n to see the commands");
		return EX_UNAVAILABLE;
	}
	if (geteuid() != 0 && !s.dry_run) {
		say("only root may stop guests");
		return EX_NOPERM;
	}
	signal(SIGPIPE, SIG_IGN);
	code = run(&s, argv + optind, (size_t)(argc - optind));
	if (!close_stdout() && code == EX_OK)
		code = EX_IOERR;
	return code;
}
