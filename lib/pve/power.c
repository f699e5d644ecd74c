/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "pve/holder.h"
#include "pve/power.h"
#include "pve/powerunit.h"
#include "pve/state.h"

enum {
	LOOK_EVERY = 250,	/* ms */
	ASK_EVERY = 1000,	/* ms; how a start of somebody else's is doing */
	START_SETTLE = 15,	/* s; qm start returns when QEMU runs */
	STOP_SETTLE = 60,	/* s; PVE lets go of mdevs and vGPUs for up to 20 s */
	HA_SETTLE = 300,	/* s; the resource manager works in rounds of 10 s */
	FORCE_EXTRA = 80,	/* s; QMP quit 60 s, SIGTERM 10 s, SIGKILL */
	STOP_EXTRA = 30,	/* s; start-up of qm itself, its lock */
	JOURNAL_LIMIT = 5,	/* s for journalctl */
	UNIT_LIMIT = 120,	/* s for systemctl */
	HA_LIMIT = 30,		/* s for ha-manager, which only writes the request down */
};

static bool init(struct power_task *t, const char *name)
{
	*t = (struct power_task){ .spawn = { .pidfd = -1, .out = -1 },
				  .result = -EINPROGRESS };
	t->is_guest = guest_parse(name, &t->id);
	if (!t->is_guest && (strncmp(name, "unit/", 5) != 0 || !name[5]))
		return false;
	t->name = xstrdup(name);
	if (t->is_guest)
		t->number = xasprintf("%u", t->id.vmid);
	return true;
}

static void set_command(struct power_task *t, const char *verb)
{
	size_t n = 0;

	t->argv[n++] = !t->is_guest ? POWER_SYSTEMCTL
		: t->id.kind == GUEST_QEMU ? POWER_QM : POWER_PCT;
	t->argv[n++] = verb;
	t->argv[n++] = t->is_guest ? t->number : t->name + 5;
	if (t->seconds) {
		t->argv[n++] = "--timeout";
		t->argv[n++] = t->seconds;
	}
}

bool power_start_init(struct power_task *t, const char *name, unsigned limit, bool ha)
{
	if (!init(t, name))
		return false;
	set_command(t, "start");
	t->limit = limit;
	t->settle = !t->is_guest ? 0 : ha ? limit : START_SETTLE;
	return true;
}

bool power_stop_init(struct power_task *t, const char *name, unsigned timeout, bool force,
		     bool ha)
{
	if (!init(t, name))
		return false;
	t->stop = true;
	if (!t->is_guest) {
		set_command(t, "stop");
		t->limit = UNIT_LIMIT;
		return true;
	}
	t->seconds = xasprintf("%u", timeout);
	set_command(t, "shutdown");
	if (force) {
		t->argv[5] = "--forceStop";
		t->argv[6] = "1";
	}
	t->limit = timeout + STOP_EXTRA + (force ? FORCE_EXTRA : 0);
	t->settle = STOP_SETTLE + (ha ? timeout + HA_SETTLE : 0);
	return true;
}

void power_done(struct power_task *t)
{
	spawn_done(&t->spawn);
	free(t->name);
	free(t->unit);
	free(t->number);
	free(t->seconds);
	free(t->addrs);
	free(t->said);
	free(t->left);
	*t = (struct power_task){ .spawn = { .pidfd = -1, .out = -1 } };
}

char *power_command(const struct power_task *t)
{
	char *text = xstrdup(strrchr(t->argv[0], '/') + 1);

	for (size_t i = 1; t->argv[i]; i++) {
		char *longer = xasprintf("%s %s", text, t->argv[i]);

		free(text);
		text = longer;
	}
	return text;
}

static void keep_line(const char *line, void *arg)
{
	struct power_task *t = arg;

	if (!line[strspn(line, " \t\r")])
		return;
	say_info("%s: %s", t->name, line);
	free(t->said);
	t->said = xstrdup(line);
}

/* Is the guest as it should be? */
static bool is_reached(struct power_task *t)
{
	bool runs;

	if (!t->is_guest)
		return t->result == 0;
	runs = guest_is_running(t->id, NULL, NULL);
	if (!t->stop)
		return runs;
	free(t->left);
	t->left = NULL;
	if (runs || errno != 0)
		return false;
	return t->id.kind == GUEST_LXC
		|| holder_is_released(t->id.vmid, t->addrs, t->n_addrs, &t->left);
}

/* What the command wrote went to the journal with the rest of its unit. */
static void ask_journal(struct power_task *t)
{
	_cleanup_free_ char *match = xasprintf("_SYSTEMD_UNIT=%s.service", t->unit);
	const char *argv[] = { "/usr/bin/journalctl", "-q", "-o", "cat", "-n", "1",
			       "--since=-30min", match, NULL };
	struct spawn_opts opts = { .timeout = JOURNAL_LIMIT,
				   .line = keep_line,
				   .arg = t };

	spawn_run(argv, &opts);
}

/* A start outlives the job that asked for it: a second one would only be refused. */
static bool is_under_way(struct power_task *t)
{
	char *unit;

	if (t->stop || !t->is_guest)
		return false;
	unit = powerunit_under_way(t->number);
	t->asked = spawn_now();
	if (!unit)
		return false;
	free(t->unit);
	t->unit = unit;
	return true;
}

static void begin(struct power_task *t)
{
	struct spawn_opts opts = { .timeout = t->limit, .line = keep_line, .arg = t };
	int rc;

	t->started = t->ended = spawn_now();
	t->joined = is_under_way(t);
	if (t->joined) {
		t->result = 0;
		t->stage = POWER_SETTLES;
		return;
	}
	t->stage = POWER_RUNS;
	if (t->stop) {
		rc = spawn_start(&t->spawn, t->argv, &opts);
	} else {
		free(t->unit);
		t->unit = powerunit_name(t->is_guest ? t->number : t->name + 5);
		rc = spawn_start_detached(&t->spawn, t->unit, t->argv, &opts);
	}
	if (rc < 0) {
		t->result = rc;
		t->stage = POWER_DONE;
	}
}

/*
 * The start that this one joined has come to nothing: our turn. Or, of two who began at
 * the same moment, systemd refused this one: it has to join the other.
 */
static bool has_to_begin(struct power_task *t, int64_t now)
{
	if (t->joined)
		return now - t->asked >= ASK_EVERY && !is_under_way(t);
	return t->result > 0 && is_under_way(t);
}

static void look(struct power_task *t)
{
	int64_t now = spawn_now();
	bool again, reached;

	if (t->stage == POWER_RUNS) {
		t->result = spawn_result(&t->spawn);
		if (t->result == -EINPROGRESS)
			return;
		t->ended = now;
		/*
		 * systemd ended the unit, and all that systemd-run can tell is an exit
		 * status
		 */
		if (t->result > 0 && !t->stop &&
		    now - t->started >= (int64_t)t->limit * 1000)
			t->result = -ETIMEDOUT;
		t->stage = POWER_SETTLES;
	}
	if (t->stage != POWER_SETTLES)
		return;
	/* asked before the guest is looked at, which may come up in between */
	again = has_to_begin(t, now);
	reached = is_reached(t);
	if (reached) {
		t->result = 0;
	} else if (again) {
		spawn_done(&t->spawn);
		free(t->said);
		t->said = NULL;
		begin(t);
		return;
	} else if (t->joined && now < t->ended + (int64_t)t->limit * 1000) {
		return;
	} else if (t->result == 0 && now < t->ended + (int64_t)t->settle * 1000) {
		return;
	} else if (t->result == 0) {
		t->result = -EAGAIN;
	} else if (t->stop && t->left && now < t->ended + (int64_t)t->settle * 1000) {
		return;		/* it is down all the same, its devices will follow */
	}
	t->stage = POWER_DONE;
}

static void end(struct power_task *t)
{
	t->took = (unsigned)((spawn_now() - t->started + 500) / 1000);
	t->stage = POWER_TOLD;
	if (t->result && t->unit && !t->said && spawn_has_systemd())
		ask_journal(t);
	spawn_done(&t->spawn);
}

void power_ha_keep(const char *name, struct guest_id id)
{
	const char *kind = id.kind == GUEST_QEMU ? "vm" : "ct";
	_cleanup_free_ char *sid = xasprintf("%s:%u", kind, id.vmid);
	const char *argv[] = { POWER_HA, "set", sid, "--state", "started", NULL };
	struct spawn_opts opts = { .timeout = HA_LIMIT };

	if (spawn_run(argv, &opts) == 0)
		say_warn("%s: HA is asked to keep it running", name);
	else
		say("%s: HA may stop it later; against that: ha-manager set %s --state started",
		    name, sid);
}

/* Columns of a progress line: one that wraps could not be taken back. */
static size_t progress_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 2)
		return 79;
	return size.ws_col - 1u;
}

static void show_progress(const struct power_task *tasks, size_t n, bool clear)
{
	_cleanup_free_ char *line = NULL;
	static bool shown;

	if (msg_level < 0 || !isatty(STDERR_FILENO))
		return;
	for (size_t i = 0; i < n && !clear; i++) {
		char *longer;

		if (tasks[i].stage != POWER_RUNS && tasks[i].stage != POWER_SETTLES)
			continue;
		longer = xasprintf("%s%s%s %s %" PRId64 " s", line ? line : "",
				   line ? ", " : "",
				   tasks[i].stop ? "stopping" : "starting", tasks[i].name,
				   (spawn_now() - tasks[i].started) / 1000);
		free(line);
		line = longer;
	}
	if (shown)
		fputs("\r\033[K", stderr);
	shown = line;
	if (line)
		fprintf(stderr, "%.*s", (int)progress_width(), line);
	fflush(stderr);
}

void power_run(struct power_task *tasks, size_t n, unsigned parallel,
	       void (*each)(struct power_task *t, void *arg), void *arg)
{
	_cleanup_free_ struct spawn **live = xcalloc(n + 1, sizeof(*live));
	size_t done = 0;

	while (done < n) {
		size_t n_live = 0, busy = 0;

		for (size_t i = 0; i < n; i++)
			busy += tasks[i].stage == POWER_RUNS ||
				tasks[i].stage == POWER_SETTLES;
		for (size_t i = 0; i < n && busy < parallel; i++) {
			if (tasks[i].stage != POWER_TODO)
				continue;
			begin(&tasks[i]);
			busy++;
		}
		for (size_t i = 0; i < n; i++)
			if (tasks[i].stage == POWER_RUNS)
				live[n_live++] = &tasks[i].spawn;
		show_progress(tasks, n, false);
		if (n_live)
			spawn_serve(live, n_live, LOOK_EVERY);
		else if (busy)
			nanosleep(&(struct timespec){ .tv_nsec = LOOK_EVERY * 1000000L },
				  NULL);
		for (size_t i = 0; i < n; i++) {
			look(&tasks[i]);
			if (tasks[i].stage != POWER_DONE)
				continue;
			show_progress(tasks, n, true);
			end(&tasks[i]);
			each(&tasks[i], arg);
			fflush(stdout);
			done++;
		}
	}
	show_progress(tasks, n, true);
}
