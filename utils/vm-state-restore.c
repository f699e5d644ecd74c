/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm-state-restore - start again the guests that must run and do not */
#include <errno.h>
#include <getopt.h>
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
#include "pve/guardian.h"
#include "pve/leftover.h"
#include "pve/restart.h"
#include "pve/state.h"

enum { OPT_POLICY = 256, OPT_AFTER, OPT_RECOVER, OPT_NO_LOCK, OPT_BOOT, OPT_GUARD };
enum mode { MODE_FILE, MODE_AFTER, MODE_RECOVER, MODE_BOOT, MODE_GUARD };

enum {
	KVM_GONE = 60,		/* s that the kvm of a backup may take to go */
	LOCK_WAIT = 10,		/* s for vzdump's lock: a job holds it for hours */
	BOOT_LOCK_WAIT = 600,	/* s; pve-guests has it while it takes back stale locks */
};

static void usage(FILE *out)
{
	fputs("Usage: vm-state-restore [-nqv] [-P N] [-t SECONDS] [-R DIR] [FILE]\n"
	      "       vm-state-restore [...] --after GUEST [--policy early|last|job-end]\n"
	      "       vm-state-restore [...] --recover [--no-lock] | --boot | --guard PID\n"
	      "Start again what FILE (default: the journal of guests stopped for a\n"
	      "backup) says must run and does not.\n\n"
	      "  -P, --parallel=N       start up to N guests at a time (4)\n"
	      "  -R, --root=DIR         use DIR as the system root (with -n)\n"
	      "  -n, --dry-run          print the commands, run none\n"
	      "  -q, --quiet            errors only\n"
	      "  -t, --timeout=SECONDS  time limit of each start (300)\n"
	      "  -v, --verbose          say more\n"
	      "      --after=GUEST      GUEST's backup is over: start whom no later one bars\n"
	      "      --boot             start what a power loss in a job kept down\n"
	      "      --guard=PID        watch vzdump's process PID; recover when it is gone\n"
	      "      --no-lock          the caller has vzdump's lock (with --recover)\n"
	      "      --policy=POLICY    instead of restart in the configuration\n"
	      "      --recover          put right what a dead job left behind\n"
	      "  -h, --help             print this help and exit\n"
	      "  -V, --version          print the version and exit\n", out);
}

static bool parse_policy(const char *text, enum config_restart *policy)
{
	for (int p = CONFIG_RESTART_EARLY; p <= CONFIG_RESTART_JOB_END; p++)
		if (strcmp(text, config_restart_name(p)) == 0) {
			*policy = p;
			return true;
		}
	return false;
}

static int exit_code(int rc, const struct restart_result *result)
{
	switch (rc) {
	case 0:
		return result->failed || result->held_up ? EX_TEMPFAIL : EX_OK;
	case -EBADMSG:
		return EX_DATAERR;
	case -EACCES:
		return EX_NOPERM;
	case -EAGAIN:
	case -ENOENT:		/* /etc/pve */
	case -ECANCELED:
	case -ETIMEDOUT:
	case -EIO:
		return EX_TEMPFAIL;
	default:
		return EX_OSERR;
	}
}

/* A state file that somebody saved: whatever ran then. */
static int restore_file(const char *file, const struct restart_opts *opts)
{
	_cleanup_(state_done) struct state_file f = { 0 };
	_cleanup_free_ char *node = guest_local_node();
	struct restart_result result;
	int rc = state_read(file, &f);

	if (rc == -EBADMSG) {
		say("%s: cut short or damaged, not believed", file);
		return EX_DATAERR;
	}
	if (rc < 0) {
		errno = -rc;
		say_errno("%s", file);
		return rc == -ENOENT ? EX_NOINPUT : EX_OSERR;
	}
	if (node && f.node && strcmp(node, f.node) != 0) {
		say("%s: saved on node %s, this is %s", file, f.node, node);
		return EX_DATAERR;
	}
	rc = restart_run(&f, opts, &result);
	return exit_code(rc, &result);
}

/*
 * The job is over, or an administrator wants his guests: everybody who is not in a
 * backup's way.
 */
static int restore_journal(const struct restart_opts *opts)
{
	_cleanup_(state_done) struct state_file f = { 0 };
	struct restart_result result = { 0 };
	int rc = restart_journal(&f, opts->dry_run), drivers = 0;

	if (rc == 0 && !opts->dry_run) {
		for (size_t i = 0; i < f.n; i++) {
			const struct state_entry *e = &f.entries[i];
			struct guest g;
			bool over;
			int found;

			if (!state_is_backup(e))
				continue;
			over = !guest_is_running(e->id, NULL, NULL);
			found = over ? guest_find(e->name, &g) : 0;
			if (over && found == 0) {
				over = !g.lock || strcmp(g.lock, "backup") != 0;
				guest_done(&g);
			} else if (over) {	/* deleted, or /etc/pve is not mounted */
				over = found == -ENOENT && guest_configs_are_mounted();
			}
			if (over)
				state_journal_remove(e->name, e->reason);
		}
		state_done(&f);
		rc = restart_journal(&f, false);
	}
	if (!opts->dry_run)
		drivers = leftover_drivers(opts->config, NULL, rc == 0 ? &f : NULL);
	if (rc == 0) {
		rc = restart_run(&f, opts, &result);
	} else if (rc == -ENOENT) {
		say_info("the journal is empty: nothing to start");
		rc = 0;
	}
	return drivers < 0 && rc == 0 ? EX_TEMPFAIL : exit_code(rc, &result);
}

/* End of the guest's own backup: let go of its devices, then see who may start. */
static int restore_after(struct guest_id id, const struct restart_opts *opts)
{
	_cleanup_(state_done) struct state_file f = { 0 };
	struct restart_result result = { 0 };
	char name[GUEST_STRLEN];
	int rc = restart_journal(&f, opts->dry_run), drivers = 0;
	bool in_backup = false;

	if (rc < 0 && rc != -ENOENT)
		return exit_code(rc, &result);
	guest_format(id, name);
	for (size_t i = 0; i < f.n; i++)
		in_backup |= state_is_backup(&f.entries[i]) &&
			     strcmp(f.entries[i].name, name) == 0;
	if (in_backup && !opts->dry_run) {
		int wait = leftover_wait(id, KVM_GONE);

		if (wait == -ETIMEDOUT) {
			say("%s: the kvm of its backup, or a device of that, is still there after %d s",
			    name, KVM_GONE);
			in_backup = false;	/* its entry stays: contenders wait */
			drivers = -EAGAIN;
		} else if (wait == -EBUSY) {
			say_warn("%s was started during its backup by somebody else: left alone", name);
		}
		if (in_backup)
			state_journal_remove(name, "backup");
		state_done(&f);
		rc = restart_journal(&f, false);
	}
	if (!opts->dry_run && drivers == 0)
		drivers = leftover_drivers(opts->config, name, NULL);
	if (rc == 0)
		rc = restart_run(&f, opts, &result);
	else if (rc == -ENOENT)
		rc = 0;
	return drivers < 0 && rc == 0 ? EX_TEMPFAIL : exit_code(rc, &result);
}

static int recover(const struct restart_opts *opts, bool boot, bool no_lock)
{
	_cleanup_close_ int vzdump = -1;
	_cleanup_close_ int hook = -1;
	struct restart_result result = { 0 };
	unsigned wait = boot ? BOOT_LOCK_WAIT : LOCK_WAIT;

	if (!no_lock && !opts->dry_run) {
		vzdump = guardian_lock_vzdump(wait);
		if (vzdump == -EAGAIN) {
			say("a backup job runs: it recovers by itself");
			return EX_TEMPFAIL;
		}
		hook = guardian_lock_hook(wait);
		if (hook == -EAGAIN) {
			say("a hook of the backup job is still at work");
			return EX_TEMPFAIL;
		}
		/* a state folder that cannot be written keeps no guest down */
	}
	return exit_code(guardian_recover(opts, boot, &result), &result);
}

struct request {
	enum mode mode;
	struct restart_opts opts;
	const char *file;	/* NULL: the journal */
	const char *policy;	/* as given; NULL: the configuration's */
	const char *after_name;
	struct guest_id after;
	unsigned worker;
	bool no_lock;
	int modes;		/* how many were asked for */
};

static bool take_number(int option, struct request *q)
{
	unsigned max = option == 'P' ? 1000 : option == 't' ? 86400 : 1u << 22;
	unsigned *value = option == 'P' ? &q->opts.parallel
			  : option == 't' ? &q->opts.limit : &q->worker;

	if (configvalue_number(optarg, 1, max, value))
		return true;
	if (option == OPT_GUARD)
		say("no process number: %s", optarg);
	else
		say("-%c takes a number from 1 to %u: %s", option, max, optarg);
	return false;
}

/* One option that is about what to do; false and said. */
static bool take_option(int option, struct request *q)
{
	switch (option) {
	case OPT_POLICY: q->policy = optarg; return true;
	case OPT_NO_LOCK: q->no_lock = true; return true;
	case 'n': q->opts.dry_run = true; return true;
	case 'P':
	case 't': return take_number(option, q);
	case OPT_AFTER: q->after_name = optarg; q->mode = MODE_AFTER; break;
	case OPT_RECOVER: q->mode = MODE_RECOVER; break;
	case OPT_BOOT: q->mode = MODE_BOOT; break;
	case OPT_GUARD:
		q->mode = MODE_GUARD;
		if (!take_number(option, q))
			return false;
		break;
	default: return false;
	}
	q->modes++;
	return true;
}

/* Do the options go together? false and said. */
static bool check_request(struct request *q, char *const operands[], int n)
{
	const char *wrong = NULL;

	if (q->modes > 1)
		wrong = "--after, --boot, --guard and --recover exclude each other";
	else if (q->no_lock && q->mode != MODE_RECOVER)
		wrong = "--no-lock goes with --recover";
	else if (q->policy && q->mode != MODE_AFTER)
		wrong = "--policy goes with --after";
	else if (n > (q->mode == MODE_FILE))
		wrong = "too many operands";
	if (wrong) {
		say("%s", wrong);
		return false;
	}
	if (q->mode == MODE_AFTER && !guest_parse(q->after_name, &q->after)) {
		say("not a guest (qemu/100 or lxc/200): %s", q->after_name);
		return false;
	}
	if (q->policy && !parse_policy(q->policy, &q->opts.policy)) {
		say("no such policy: %s (early, last or job-end)", q->policy);
		return false;
	}
	q->file = n ? operands[0] : NULL;
	return true;
}

static int run(struct request *q)
{
	struct restart_result none = { 0 };

	switch (q->mode) {
	case MODE_AFTER:
		q->opts.after = &q->after;
		return restore_after(q->after, &q->opts);
	case MODE_RECOVER:
	case MODE_BOOT:
		return recover(&q->opts, q->mode == MODE_BOOT, q->no_lock);
	case MODE_GUARD:
		return exit_code(guardian_run((pid_t)q->worker, &q->opts), &none);
	default:
		return q->file ? restore_file(q->file, &q->opts)
			       : restore_journal(&q->opts);
	}
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		{ "policy", required_argument, NULL, OPT_POLICY },
		{ "after", required_argument, NULL, OPT_AFTER },
		{ "recover", no_argument, NULL, OPT_RECOVER },
		{ "no-lock", no_argument, NULL, OPT_NO_LOCK },
		{ "boot", no_argument, NULL, OPT_BOOT },
		{ "guard", required_argument, NULL, OPT_GUARD },
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
	struct request q = { .opts = { .parallel = RESTART_PARALLEL,
				       .limit = RESTART_LIMIT } };
	_cleanup_(config_done) struct config cfg = { 0 };
	_cleanup_free_ char *error = NULL;
	int c, code;

	while ((c = getopt_long(argc, argv, "nP:qR:t:vhV", longopts, NULL)) != -1) {
		switch (c) {
		case 'q': msg_level = -1; break;
		case 'R': root_set(optarg); break;
		case 'v': msg_level++; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:
			if (!take_option(c, &q))
				return msg_usage_error();
		}
	}
	if (!check_request(&q, argv + optind, argc - optind))
		return msg_usage_error();
	/* guests come back whatever is wrong with the configuration */
	if (config_load(NULL, &cfg, &error) < 0)
		say("%s: the defaults are used", error ? error : "configuration");
	q.opts.config = &cfg;
	if (!q.policy)
		q.opts.policy = cfg.restart;
	if (!root_is_host() && !q.opts.dry_run) {
		say("guests of another root cannot be started: use -n to see the commands");
		return EX_UNAVAILABLE;
	}
	if (geteuid() != 0 && !q.opts.dry_run) {
		say("only root may start guests");
		return EX_NOPERM;
	}
	/* whoever reads what we say may be killed with the job: that must not end us */
	signal(SIGPIPE, SIG_IGN);
	code = run(&q);
	if (!close_stdout() && code == EX_OK)
		code = EX_IOERR;
	return code;
}
