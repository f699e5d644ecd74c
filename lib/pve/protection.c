/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/trust.h"
#include "base/xalloc.h"
#include "pve/jobs.h"
#include "pve/protection.h"
#include "pve/rehearsal.h"
#include "pve/snippet.h"
#include "pve/state.h"

static const char entry[] = "/etc/pve-gpu-utils/vzdump.d/50-gpu";
/* What the stub itself calls, wherever we are installed: utils/vzdump-hook. */
#define CHAIN "/usr/libexec/pve-gpu-utils/vzdump-hook-chain"
static const char enable_hint[] = "pve-gpu-hooks enable";

/* what and why become the list's; one found before is not listed again. */
static void add(struct findings *f, enum finding_level level, const char *topic,
		char *what, char *why)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct finding *old = &f->list[i];

		if (old->level == level && strcmp(old->what, what) == 0 &&
		    strcmp(old->why ? old->why : "", why ? why : "") == 0) {
			free(what);
			free(why);
			return;
		}
	}
	f->list = xgrow(f->list, f->n, &f->room, sizeof(*f->list));
	f->list[f->n++] = (struct finding){ level, topic, what, why };
}

static void ok(struct findings *f, const char *topic, char *what)
{
	add(f, FINDING_OK, topic, what, NULL);
}

static void warn(struct findings *f, const char *topic, char *what, char *why)
{
	add(f, FINDING_WARN, topic, what, why);
}

static void fail(struct findings *f, const char *topic, char *what, char *why)
{
	add(f, FINDING_FAIL, topic, what, why);
}

void findings_done(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->list[i].what);
		free(f->list[i].why);
	}
	free(f->list);
	*f = (struct findings){ 0 };
}

const char *finding_level_name(enum finding_level level)
{
	static const char *const names[] = { "ok", "warn", "fail" };

	return names[level];
}

static void check_config(const struct hostmodel *m, struct findings *f)
{
	if (m->config_error)
		fail(f, "config", xstrdup(m->config_error),
		     xstrdup("the hook stands aside until it is put right"));
	else
		ok(f, "config", xstrdup("pve-gpu-utils.conf is well"));
}

/* A regular file that can be executed, as vzdump and the chain want it. */
static bool is_script(const char *name, char **why)
{
	_cleanup_free_ char *path = root_path("%s", name);
	struct stat st;

	if (stat(path, &st) < 0) {
		*why = xstrdup(strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)) {
		*why = xstrdup(S_ISREG(st.st_mode) ? "not executable"
						   : "no regular file");
		return false;
	}
	return true;
}

static void check_hook(const struct job_defaults *d, struct findings *f)
{
	_cleanup_free_ char *entry_path = root_path("%s", entry);
	const char *untrusted = trust_problem(entry_path);
	char *why = NULL;

	if (!d->script) {
		fail(f, "hook", xstrdup("vzdump calls no hook script"),
		     xstrdup(enable_hint));
		return;
	}
	if (strcmp(d->script, REHEARSAL_STUB) != 0)
		fail(f, "hook", xasprintf("vzdump calls %s instead", d->script),
		     xstrdup("pve-gpu-hooks enable --chain, or --replace"));
	else if (!is_script(REHEARSAL_STUB, &why))
		fail(f, "hook", xasprintf("%s: %s", REHEARSAL_STUB, why),
		     xasprintf("every backup fails; %s", enable_hint));
	else if (root_is_host() && !is_script(CHAIN, &why))
		fail(f, "hook", xasprintf(CHAIN ": %s", why),
		     xstrdup("install pve-gpu-utils again"));
	else if (!is_script(entry, &why))
		fail(f, "hook", xasprintf("%s: %s", entry, why),
		     xstrdup("the chain runs without the GPU hook; put it back"));
	else if (untrusted)
		fail(f, "hook", xasprintf("%s %s", entry, untrusted),
		     xstrdup("the chain runs without the GPU hook"));
	else
		ok(f, "hook", xstrdup("vzdump calls " REHEARSAL_STUB));
	free(why);
	if (d->hookscript)
		warn(f, "hook", xstrdup("hookscript: in /etc/vzdump.conf has no effect"),
		     xstrdup("vzdump knows script: only"));
}

/* What one guest's backup brings; false when it is not made. */
static bool check_step(const struct hostmodel *m, const struct rehearsal_step *s,
		       struct findings *f)
{
	const struct guest *g = hostmodel_guest(m, s->guest);
	char name[GUEST_STRLEN];

	guest_format(s->guest, name);
	if (g && g->lock)
		warn(f, "guest", xasprintf("%s is locked (%s)", name, g->lock),
		     xstrdup("vzdump will not back it up while it is"));
	if (s->failed)
		fail(f, "guest", xasprintf("the backup of %s will fail", name),
		     s->why ? xstrdup(s->why) : NULL);
	return !s->failed;
}

static void check_job(const struct hostmodel *m, const struct job *job,
		      const struct job_defaults *d, struct findings *f)
{
	const char *schedule = job->schedule ? job->schedule : "no schedule";
	struct rehearsal r;
	size_t failed = 0;

	if (!job->enabled) {
		warn(f, "job", xasprintf("%s is disabled", job->id),
		     xstrdup("nobody backs up its guests"));
		return;
	}
	if (job->script && strcmp(job->script, REHEARSAL_STUB) != 0) {
		fail(f, "job",
		     xasprintf("%s has a script of its own: %s", job->id, job->script),
		     xasprintf("pvesh set /cluster/backup/%s --delete script", job->id));
		return;
	}
	if (rehearsal_run(m, job, d, &r) < 0) {
		warn(f, "job", xasprintf("%s: there is no pool %s", job->id, job->pool),
		     xstrdup("the job backs up nobody"));
		rehearsal_done(&r);
		return;
	}
	for (size_t i = 0; i < r.n; i++)
		failed += !check_step(m, &r.steps[i], f);
	if (failed)
		fail(f, "job",
		     xasprintf("%s (%s, %s): %zu of %zu backups will fail", job->id,
			       schedule, r.mode, failed, r.n),
		     xstrdup("see the guests above"));
	else
		ok(f, "job",
		   xasprintf("%s (%s, %s) backs up %zu guest%s; others stop %zu time%s",
			     job->id, schedule, r.mode, r.n, r.n == 1 ? "" : "s",
			     r.stops, r.stops == 1 ? "" : "s"));
	rehearsal_done(&r);
}

static void check_jobs(const struct hostmodel *m, const struct job_defaults *d,
		       struct findings *f)
{
	_cleanup_free_ char *path = NULL;
	struct job *jobs;
	size_t n, here = 0;
	int err = jobs_read(&jobs, &n, &path);

	if (err) {
		fail(f, "job", xasprintf("%s: %s", path, strerror(-err)), NULL);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (!job_is_for_node(&jobs[i], m->node))
			continue;
		here++;
		check_job(m, &jobs[i], d, f);
	}
	if (here == 0)
		warn(f, "job", xstrdup("no backup job for this node"), NULL);
	jobs_free(jobs, n);
}

/* Containers lose a card for good that goes to a VM's backup and is not given back. */
static void check_guests(const struct hostmodel *m, struct findings *f)
{
	if (m->has_bad_values)
		warn(f, "guest", xstrdup("PVE drops or refuses some devices' settings"),
		     xstrdup("pve-hostpci-ls and lxc-gpu-ls name them"));
	for (size_t i = 0; i < m->n_assignments && !m->config.rebind; i++) {
		const struct assignment *a = &m->assignments[i];
		char name[GUEST_STRLEN];

		if (a->guest.kind != GUEST_LXC)
			continue;
		warn(f, "guest",
		     xasprintf("%s needs the host's driver, and host-driver = leave",
			       guest_format(a->guest, name)),
		     xstrdup("after a VM's backup with its GPU it cannot start"));
	}
}

/* The stub of "pve-gpu-hooks guest", whatever script it calls besides. */
static bool is_our_hook(const char *hookscript)
{
	static const char stub[] = ":snippets/pve-gpu-hook";
	const char *at = strstr(hookscript, stub), *end = at ? at + strlen(stub) : NULL;

	return end && (*end == '\0' || *end == '+');
}

/*
 * A guest whose hookscript is not there cannot start: not for its backup, nor again
 * after it made way for another one's.
 */
static void check_guest_hooks(const struct hostmodel *m, struct findings *f)
{
	for (size_t i = 0; i < m->n_guests; i++) {
		const struct guest *g = &m->guests[i];
		_cleanup_free_ char *path = NULL, *why = NULL;
		char name[GUEST_STRLEN];
		bool ours;

		if (!g->hookscript)
			continue;
		guest_format(g->id, name);
		ours = is_our_hook(g->hookscript);
		path = snippet_path(g->hookscript);
		if (!path || !is_script(path, &why))
			fail(f, "guest",
			     xasprintf("%s cannot start: its hookscript %s: %s", name,
				       g->hookscript, why ? why : "no such storage"),
			     ours ? xasprintf("pve-gpu-hooks guest %u enable", g->id.vmid)
				  : xstrdup("put it back, or take it out of its config"));
		else if (ours)
			ok(f, "guest", xasprintf("%s calls the GPU hook (%s)", name,
						 g->hookscript));
	}
}

static void check_boot(const struct hostmodel *m, struct findings *f)
{
	static const char unit[] = "multi-user.target.wants/pve-gpu-recover.service";
	_cleanup_free_ char *link = root_path("/etc/systemd/system/%s", unit);
	struct stat st;

	if (m->config.boot_restart == CONFIG_BOOT_NO)
		ok(f, "boot", xstrdup("boot-restart = no"));
	else if (lstat(link, &st) == 0)
		ok(f, "boot", xstrdup("pve-gpu-recover.service is enabled"));
	else
		fail(f, "boot", xstrdup("pve-gpu-recover.service is not enabled"),
		     xasprintf("after a power loss during a backup guests stay down; %s",
			       enable_hint));
}

static void check_journal(struct findings *f)
{
	_cleanup_free_ char *path = state_journal_path();
	struct state_file journal = { 0 };
	int err = state_read(path, &journal);
	bool alive;

	if (err == -ENOENT) {
		ok(f, "journal", xstrdup("no guest is down for a backup"));
		return;
	}
	if (err) {
		fail(f, "journal",
		     xasprintf("%s: %s", path,
			       err == -EBADMSG ? "damaged" : strerror(-err)),
		     xstrdup("compare who runs with who should, then remove it"));
		state_done(&journal);
		return;
	}
	alive = journal.job_pid && state_is_this_boot(&journal) &&
		state_is_alive(journal.job_pid, journal.job_start);
	for (size_t i = 0; i < journal.n; i++) {
		const struct state_entry *e = &journal.entries[i];

		if (e->reason && strcmp(e->reason, "backup") == 0)
			continue;
		if (alive)
			ok(f, "journal",
			   xasprintf("%s is down for the backup job that runs now",
				     e->name));
		else
			fail(f, "journal",
			     xasprintf("%s was stopped by a backup job that is dead",
				       e->name),
			     xstrdup("vm-state-restore --recover"));
	}
	if (journal.n == 0)
		ok(f, "journal", xstrdup("no guest is down for a backup"));
	state_done(&journal);
}

void protection_check(const struct hostmodel *m, struct findings *f)
{
	struct job_defaults d;
	int err = job_defaults_read(&d);

	*f = (struct findings){ 0 };
	check_config(m, f);
	if (err)
		fail(f, "hook", xasprintf("/etc/vzdump.conf: %s", strerror(-err)), NULL);
	else
		check_hook(&d, f);
	check_guests(m, f);
	check_guest_hooks(m, f);
	check_jobs(m, &d, f);
	check_boot(m, f);
	check_journal(f);
	job_defaults_done(&d);
}
