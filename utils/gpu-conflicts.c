/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gpu-conflicts - who contends for a GPU, and whom to stop so that one guest can start */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/record.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/contention.h"

enum {
	EXIT_SOME = 1,		/* the answer: conflicts, or guests to stop */
	OPT_FOR = 256,
};

struct opts {
	const char *guest;	/* of --for; NULL lists */
	struct record_opts record;
};

struct records {
	struct assignment *a;
	size_t n;
};

static const struct record_field conflict_fields[] = {
	{ "addr", RECORD_STRING }, { "kind", RECORD_STRING }, { "guests", RECORD_STRING },
	{ "running", RECORD_NUMBER }, { "detail", RECORD_STRING },
};

static const struct record_field plan_fields[] = {
	{ "guest", RECORD_STRING },
	{ "addrs", RECORD_STRING },
	{ "kinds", RECORD_STRING },
};

static void usage(FILE *out)
{
	fputs("Usage: gpu-conflicts [OPTION]... [FILE]...\n"
	      "Read assignment records (pve-hostpci-ls, lxc-gpu-ls) and list every\n"
	      "contention for a GPU that could ever arise; with --for, the running guests\n"
	      "to stop.\n\n"
	      "  -0, --null           records end with NUL, not newline, in and out\n"
	      "  -H, --header         begin with the names of the fields\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -j, --json           print one JSON object a line\n"
	      "  -o, --output=LIST    print these fields, in this order\n"
	      "  -q, --quiet          no warnings\n"
	      "  -r, --raw            TAB-separated on a terminal too\n"
	      "  -v, --verbose        explain the choice\n"
	      "      --for=GUEST      the fewest running guests to stop so that GUEST starts\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n\n"
	      "Exit: 0 nothing, 1 some; with --for also 69 no plan can help, 75 a process\n"
	      "of the host is in the way.\n", out);
}

/* Append what one file holds. 0, or the exit code for what was said. */
static int read_file(const char *name, bool null, struct records *all)
{
	bool is_stdin = strcmp(name, "-") == 0;
	_cleanup_fclose_ FILE *opened = is_stdin ? NULL : fopen(name, "re");
	struct assignment *more = NULL;
	size_t n = 0;
	int rc;

	if (!is_stdin && !opened) {
		say_errno("%s", name);
		return EX_NOINPUT;
	}
	rc = assignments_read(is_stdin ? stdin : opened,
			      is_stdin ? "standard input" : name, null, &more, &n);
	if (n > 0) {
		all->a = xreallocarray(all->a, all->n + n, sizeof(*all->a));
		memcpy(all->a + all->n, more, n * sizeof(*more));
		all->n += n;
	}
	free(more);
	if (rc == -EBADMSG)
		return EX_DATAERR;
	if (rc < 0) {
		errno = -rc;
		say_errno("%s", is_stdin ? "standard input" : name);
		return EX_IOERR;
	}
	return EX_OK;
}

struct listing {
	struct record_writer *w;
	size_t n;
};

static char *join(char *list, const char *word)
{
	char *longer = list ? xasprintf("%s,%s", list, word) : xstrdup(word);

	free(list);
	return longer;
}

static void put_pair(const struct contention_pair *p, void *arg)
{
	struct listing *l = arg;
	/* Ten thousand guests on one function: no re-allocation for each. */
	_cleanup_free_ char *guests = xcalloc(p->n_guests, GUEST_STRLEN + 1);
	char addr[PCIADDR_STRLEN], running[24], *end = guests;
	const char *values[ARRAY_SIZE(conflict_fields)];

	for (size_t i = 0; i < p->n_guests; i++) {
		if (i > 0)
			*end++ = ',';
		guest_format(p->guests[i], end);
		end += strlen(end);
	}
	snprintf(running, sizeof(running), "%zu", p->running);
	values[0] = pciaddr_format(&p->addr, addr);
	values[1] = contention_kind_name(p->kind);
	values[2] = guests;
	values[3] = running;
	values[4] = p->detail;
	record_put(l->w, values);
	l->n++;
}

static int list_all(const struct contention *c, const struct opts *opts)
{
	struct listing l = {
		.w = record_stdout(conflict_fields, ARRAY_SIZE(conflict_fields),
				   &opts->record),
	};

	if (!l.w)
		return msg_usage_error();
	contention_pairs(c, put_pair, &l);
	record_writer_free(l.w);
	return l.n > 0 ? EXIT_SOME : EX_OK;
}

static void put_stop(struct record_writer *w, const struct contention_stop *stop)
{
	_cleanup_free_ char *kinds = contention_kinds_format(stop->kinds);
	_cleanup_free_ char *unit = stop->unit ? xasprintf("unit/%s", stop->unit) : NULL;
	char *addrs = NULL, name[GUEST_STRLEN];
	const char *values[ARRAY_SIZE(plan_fields)];

	for (size_t i = 0; i < stop->n_addrs; i++) {
		char addr[PCIADDR_STRLEN];

		addrs = join(addrs, pciaddr_format(&stop->addrs[i], addr));
	}
	values[0] = unit ? unit : guest_format(stop->guest, name);
	values[1] = addrs;
	values[2] = kinds;
	say_info("stopping %s frees %s (%s)", values[0], addrs ? addrs : "no device",
		 kinds);
	record_put(w, values);
	free(addrs);
}

static void explain(const struct contention *c, const char *name,
		    const struct contention_plan *plan, struct guest_id x)
{
	_cleanup_free_ struct guest_id *by = NULL;
	size_t n = contention_blockers(c, x, &by);
	char *list = NULL;

	if (contention_is_running(c, x))
		say_info("%s runs and has its devices", name);
	for (size_t i = 0; i < n; i++) {
		char guest[GUEST_STRLEN];

		list = join(list, guest_format(by[i], guest));
	}
	say_info("%s: in the way as things stand: %s", name, list ? list : "nobody");
	free(list);
	list = NULL;
	for (size_t i = 0; i < plan->n_chosen; i++) {
		char addr[PCIADDR_STRLEN];

		list = join(list, pciaddr_format(&plan->chosen[i], addr));
	}
	if (list)
		say_info("%s: PVE will choose %s", name, list);
	free(list);
}

static int plan_for(const struct contention *c, struct guest_id x,
		    const struct opts *opts)
{
	struct record_writer *w =
		record_stdout(plan_fields, ARRAY_SIZE(plan_fields), &opts->record);
	struct contention_plan plan;
	char name[GUEST_STRLEN];
	int status;

	if (!w)
		return msg_usage_error();
	guest_format(x, name);
	if (contention_plan(c, x, &plan) == -ENOENT)
		say_info("%s has no GPU in these records", name);
	explain(c, name, &plan, x);
	for (size_t i = 0; i < plan.n; i++)
		put_stop(w, &plan.stops[i]);
	record_writer_free(w);
	switch (plan.verdict) {
	case CONTENTION_STOP:
		status = EXIT_SOME;
		break;
	case CONTENTION_NEVER:
		say("%s cannot start whoever is stopped: %s", name, plan.why);
		status = EX_UNAVAILABLE;
		break;
	case CONTENTION_HOST:
		say("%s cannot start now: %s; end it, or name its unit in host-services",
		    name, plan.why);
		status = EX_TEMPFAIL;
		break;
	default:
		status = EX_OK;
	}
	contention_plan_done(&plan);
	return status;
}

/* "100" is whichever guest of that number the records name, a VM when none does. */
static bool parse_guest(const char *text, const struct records *r, struct guest_id *x)
{
	uint32_t vmid;

	if (guest_parse(text, x))
		return true;
	if (!guest_parse_vmid(text, &vmid))
		return false;
	*x = (struct guest_id){ GUEST_QEMU, vmid };
	for (size_t i = 0; i < r->n; i++)
		if (r->a[i].guest.vmid == vmid)
			*x = r->a[i].guest;
	return true;
}

static int run(const struct records *r, const struct opts *opts)
{
	_cleanup_free_ char *error = NULL, *node = guest_local_node();
	struct config cfg;
	struct contention_facts facts;
	struct contention_input in;
	struct contention *c;
	struct guest_id x = { 0 };
	int status, rc;

	if (opts->guest && !parse_guest(opts->guest, r, &x)) {
		say("not a guest: %s (qemu/100, lxc/200 or 100)", opts->guest);
		return msg_usage_error();
	}
	if (config_load(NULL, &cfg, &error) < 0) {
		say("%s", error);
		config_done(&cfg);
		return EX_CONFIG;
	}
	rc = contention_facts_load(&facts, r->a, r->n, &cfg, opts->guest ? &x : NULL);
	if (rc < 0) {
		errno = -rc;
		say_errno("cannot read the devices of this host");
		status = EX_OSERR;
	} else {
		in = contention_facts_input(&facts, r->a, r->n, &cfg, node);
		c = contention_new(&in);
		status = opts->guest ? plan_for(c, x, opts) : list_all(c, opts);
		contention_free(c);
	}
	contention_facts_done(&facts);
	config_done(&cfg);
	return status;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "for",     required_argument, NULL, OPT_FOR },
		{ "help",    no_argument,       NULL, 'h' },
		{ "quiet",   no_argument,       NULL, 'q' },
		{ "root",    required_argument, NULL, 'R' },
		{ "verbose", no_argument,       NULL, 'v' },
		{ "version", no_argument,       NULL, 'V' },
		{ 0 }
	};
	struct opts opts = { 0 };
	struct records all = { 0 };
	int c, status = EX_OK;

	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "hqR:vV", longopts,
				NULL)) != -1) {
		switch (c) {
		case OPT_FOR: opts.guest = optarg; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'q': msg_level = -1; break;
		case 'R': root_set(optarg); break;
		case 'v': msg_level++; break;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:
			if (!record_opt(&opts.record, c, optarg))
				return msg_usage_error();
		}
	}
	if (optind == argc)
		status = read_file("-", opts.record.null, &all);
	for (int i = optind; i < argc; i++) {
		int rc = read_file(argv[i], opts.record.null, &all);

		if (status == EX_OK)
			status = rc;
	}
	/* A plan made of half the records could stop the wrong guest. */
	if (status == EX_OK || (status == EX_DATAERR && !opts.guest)) {
		int rc = run(&all, &opts);

		if (status == EX_OK || rc > EXIT_SOME)
			status = rc;
	}
	assignments_free(all.a, all.n);
	if (!close_stdout())
		return EX_IOERR;
	return status;
}
