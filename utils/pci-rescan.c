/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pci-rescan - bring a GPU that hangs back, by resets up to a remove and a rescan */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/configvalue.h"
#include "base/msg.h"
#include "base/record.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/guard.h"
#include "pci/reset.h"
#include "pci-rescan.h"
#include "pve/guest.h"

static volatile sig_atomic_t stopped;	/* the signal that asks us to end */

static void on_signal(int sig)
{
	stopped = sig;
}

/* None of them may come between a remove and its rescan: they only set a flag. */
static void catch_signals(void)
{
	static const int sigs[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct sigaction act = { .sa_handler = on_signal }, old;

	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++)
		if (sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(sigs[i], &act, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void usage(FILE *out)
{
	fputs("Usage: pci-rescan [-fjnqv] [--first RUNG] [--last RUNG] [--only RUNG] "
	      "ADDR...\n"
	      "       pci-rescan --methods [-jqv] ADDR...\n"
	      "Bring PCI functions back that hang: reset, or remove and rescan them.\n"
	      "A RUNG is own, subordinate, slot or card, from mild to hard.\n\n"
	      "  -R, --root=DIR         use DIR as the system root\n"
	      "  -f, --force[=NAME,...] also what is refused, or these refusals only\n"
	      "      --first=RUNG       begin with RUNG\n"
	      "      --for=VMID         this VM's own reservations do not count\n"
	      "  -j, --json             report every write and step as JSON Lines\n"
	      "      --last=RUNG        go no further than RUNG\n"
	      "      --methods          print which resets really work; reset nothing\n"
	      "  -n, --dry-run          print the writes, make none\n"
	      "      --only=RUNG        RUNG and no other\n"
	      "  -q, --quiet            no warnings, no steps\n"
	      "  -t, --timeout=SECONDS  how long functions may take to come back\n"
	      "  -v, --verbose          say each write and each rung that is left out\n"
	      "  -h, --help             print this help and exit\n"
	      "  -V, --version          print the version and exit\n",
	      out);
}

/* "1:0.0" is more likely a slip than an address: digits as lspci and sysfs have them. */
static bool parse_addr(const char *operand, struct pciaddr *addr)
{
	char text[PCIADDR_STRLEN];
	size_t tail = strlen("BB:DD.F"), len = strlen(operand);

	if (len < tail || !pciaddr_parse(operand, addr))
		return false;
	pciaddr_format(addr, text);
	return strcasecmp(operand + len - tail, text + strlen(text) - tail) == 0;
}

static int parse_operands(char **operands, size_t n, struct pciaddr *addrs)
{
	if (!n) {
		say("no address is given");
		return msg_usage_error();
	}
	for (size_t i = 0; i < n; i++) {
		if (!parse_addr(operands[i], &addrs[i])) {
			say("%s: not the address of a PCI function (DDDD:BB:DD.F)",
			    operands[i]);
			return msg_usage_error();
		}
	}
	return EX_OK;
}

static const struct record_field method_fields[] = {
	{ "addr", RECORD_STRING },
	{ "method", RECORD_STRING },
	{ "listed", RECORD_STRING },
	{ "works", RECORD_STRING },
};

static const char *works(int err)
{
	if (err == 0)
		return "yes";
	return err == -EINVAL ? "no" : strerror(-err);
}

static void put_methods(struct record_writer *w, const struct pciaddr *addr,
			const struct reset_method *methods, size_t n)
{
	char text[PCIADDR_STRLEN];

	pciaddr_format(addr, text);
	for (size_t i = 0; i < n; i++) {
		const struct reset_method *m = &methods[i];
		const char *values[] = {
			text, m->name, m->is_listed ? "yes" : "no", works(m->err),
		};

		/* Methods that are neither listed nor work say nothing. */
		if (m->is_listed || m->err == 0)
			record_put(w, values);
	}
}

/* Does the file of an earlier run, which is not put back yet, hold its list? */
static bool is_kept(const struct run *r, const struct pciaddr *addr)
{
	for (size_t i = 0; i < r->n_left; i++) {
		const struct snapshot_fn *fn = snapshot_find(&r->left[i], addr);

		if (fn && fn->whole && r->left[i].path)
			return true;
	}
	return false;
}

static bool is_list_whole(const struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const char *was = s->fns[i].attrs[SNAPSHOT_RESET_METHOD];
		_cleanup_free_ char *now = snapshot_attr_read(&s->fns[i].addr,
							      SNAPSHOT_RESET_METHOD);

		if (was && (now ? strcmp(now, was) != 0
				: snapshot_is_present(&s->fns[i].addr)))
			return false;
	}
	return true;
}

/* The list of methods is one name only while it is probed: keep the old one in a file. */
static int probe(const struct run *r, struct ladder *l, const struct pciaddr *addr,
		 struct reset_method **methods, size_t *n)
{
	const struct timedwrite *last;
	struct snapshot snap;
	int rc = snapshot_read(&snap, addr, 1, NULL, 0);

	if (rc == 0 && snap.n == 0)
		rc = -ENOENT;
	/* It may be 0 of a run that could not put it back; we do not touch it. */
	free(TAKE_PTR(snap.autoprobe));
	/* One of the same name also knows functions that are gone: it has to stay. */
	if (rc == 0 && !sysfs_dry_run && !is_kept(r, addr))
		rc = snapshot_save(&snap);
	if (rc == 0)
		rc = reset_probe(&l->writer, addr, methods, n);
	last = timedwrite_last(&l->writer);
	l->is_hung = last && last->left;
	/* Else the list may be one name still: the next run puts it back. */
	if (rc == 0 || (!l->is_hung && is_list_whole(&snap)))
		snapshot_forget(&snap);
	snapshot_done(&snap);
	return rc;
}

void run_methods(struct run *r)
{
	const struct record_opts opts = { .json = r->json };
	struct record_writer *w =
		record_stdout(method_fields, ARRAY_SIZE(method_fields), &opts);
	struct ladder l = run_ladder(r);

	for (size_t i = 0; i < r->n && !*r->stop && !l.is_hung; i++) {
		struct reset_method *methods = NULL;
		char addr[PCIADDR_STRLEN];
		size_t n = 0;
		int rc = probe(r, &l, &r->addrs[i], &methods, &n);

		pciaddr_format(&r->addrs[i], addr);
		if (n && !sysfs_dry_run)
			put_methods(w, &r->addrs[i], methods, n);
		free(methods);
		if (rc == -EOPNOTSUPP) {
			say("%s: the kernel has no reset for it", addr);
			run_fail(r, EX_UNAVAILABLE);
		} else if (rc == -ENOENT) {
			say("%s: no such function", addr);
			run_fail(r, EX_NOINPUT);
		} else if (rc < 0) {
			errno = -rc;
			say_errno("%s: reset_method", addr);
			run_fail(r, EX_OSERR);
		}
	}
	record_writer_free(w);
	run_ladder_done(r, &l);
}

static int run(struct run *r, bool methods)
{
	_cleanup_free_ char *error = NULL;
	struct topology t;
	int rc;

	if (geteuid() != 0 && root_is_host() && !sysfs_dry_run) {
		say("needs root");
		return EX_NOPERM;
	}
	if (config_load(NULL, &r->cfg, &error) < 0) {
		say("%s", error);
		return EX_CONFIG;
	}
	catch_signals();
	rc = run_lock(r);
	if (rc != EX_OK)
		return rc;
	run_heal(r);
	if (methods) {
		run_methods(r);
		return r->code;
	}
	rc = topology_read(&t);
	if (rc < 0) {
		errno = -rc;
		say_errno("/sys/bus/pci");
		return rc == -ENOENT ? EX_NOINPUT : EX_OSERR;
	}
	run_rescue(r, &t);
	topology_done(&t);
	return r->code;
}

static bool parse_rung(const char *text, enum ladder_rung *rung, bool *is_set)
{
	*is_set = ladder_rung_parse(text, rung);
	if (!*is_set)
		say("%s: not a rung (own, subordinate, slot, card)", text);
	return *is_set;
}

/* NULL or "" is every refusal. */
static bool parse_force(const char *names, struct rescue_opts *o)
{
	_cleanup_free_ char *unknown = NULL;

	o->force = names && *names ? names : "all";
	unknown = guard_unknown_name(o->force);
	if (unknown)
		say("%s: not the name of a refusal", unknown);
	return !unknown;
}

static bool parse_number(const char *text, unsigned *seconds)
{
	if (configvalue_number(text, 1, 3600, seconds))
		return true;
	say("%s: not a number of seconds from 1 to 3600", text);
	return false;
}

static bool parse_vmid(const char *text, uint32_t *vmid)
{
	if (guest_parse_vmid(text, vmid))
		return true;
	say("%s: not a VMID", text);
	return false;
}

int main(int argc, char *argv[])
{
	enum { OPT_FIRST = 256, OPT_FOR, OPT_FORCE, OPT_LAST, OPT_METHODS, OPT_ONLY };
	static const struct option longopts[] = {
		{ "dry-run", no_argument, NULL, 'n' },
		{ "first", required_argument, NULL, OPT_FIRST },
		{ "for", required_argument, NULL, OPT_FOR },
		{ "force", optional_argument, NULL, OPT_FORCE },
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'j' },
		{ "last", required_argument, NULL, OPT_LAST },
		{ "methods", no_argument, NULL, OPT_METHODS },
		{ "only", required_argument, NULL, OPT_ONLY },
		{ "quiet", no_argument, NULL, 'q' },
		{ "root", required_argument, NULL, 'R' },
		{ "timeout", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	static const char shortopts[] = "R:fjnqt:vhV";
	struct run r = { .lock = -1, .stop = &stopped };
	struct rescue_opts *o = &r.opts;
	bool methods = false, good = true;
	int c, code;

	while (good && (c = getopt_long(argc, argv, shortopts, longopts, NULL)) != -1) {
		switch (c) {
		case 'R': root_set(optarg); break;
		case 'f': o->force = "all"; break;
		case 'j': r.json = true; break;
		case 'n': sysfs_dry_run = true; break;
		case 'q': msg_level = -1; break;
		case 't': good = parse_number(optarg, &r.timeout); break;
		case 'v': msg_level++; break;
		case OPT_FIRST:
			good = parse_rung(optarg, &o->first, &o->has_first);
			break;
		case OPT_FOR: good = parse_vmid(optarg, &o->except); break;
		case OPT_FORCE: good = parse_force(optarg, o); break;
		case OPT_LAST: good = parse_rung(optarg, &o->last, &o->has_last); break;
		case OPT_METHODS: methods = true; break;
		case OPT_ONLY:
			good = parse_rung(optarg, &o->first, &o->has_first);
			o->last = o->first;
			o->has_last = good;
			break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default: return msg_usage_error();
		}
	}
	if (good && o->has_first && o->has_last && o->first > o->last) {
		say("--first is above --last");
		good = false;
	}
	if (!good)
		return msg_usage_error();
	r.n = (size_t)(argc - optind);
	r.addrs = xcalloc(r.n + 1, sizeof(*r.addrs));
	code = parse_operands(argv + optind, r.n, r.addrs);
	if (code == EX_OK)
		code = run(&r, methods);
	snapshot_free_all(r.left, r.n_left);
	config_done(&r.cfg);
	free(r.addrs);
	if (!close_stdout() && code == EX_OK)
		code = EX_IOERR;
	if (stopped) {
		signal(stopped, SIG_DFL);
		raise(stopped);
	}
	return code;
}
