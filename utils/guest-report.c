/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest-report - what guest-gpu-hook and pve-gpu-hooks guest want to know of a guest */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/msg.h"
#include "base/record.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/guest.h"
#include "pve/guestgpus.h"

static void usage(FILE *out)
{
	fputs("Usage: guest-report [-0Hjr] [-o LIST] [-R DIR] REPORT VMID\n"
	      "facts: kind, lock and hook script of a guest, and how [rescan] treats it.\n"
	      "start: the GPUs that a VM will get, slot by slot, with all their functions.\n"
	      "held:  those that it holds now.\n"
	      "lost:  those that pci-rescan took off the bus and that did not come back.\n\n"
	      "  -0, --null         end records with NUL, not newline\n"
	      "  -H, --header       begin with the names of the fields\n"
	      "  -R, --root=DIR     use DIR as the system root\n"
	      "  -j, --json         print one JSON object a line\n"
	      "  -o, --output=LIST  print these fields, in this order\n"
	      "  -r, --raw          TAB-separated on a terminal too\n"
	      "  -h, --help         print this help and exit\n"
	      "  -V, --version      print the version and exit\n", out);
}

static int exit_code(int err)
{
	switch (err) {
	case 0:       return EX_OK;
	case -ENOENT: return EX_NOINPUT;
	case -EACCES: return EX_NOPERM;
	default:      return EX_OSERR;
	}
}

static int show_facts(const struct guest *g, const struct record_opts *opts)
{
	static const struct record_field fields[] = {
		{ "kind", RECORD_STRING }, { "state", RECORD_STRING },
		{ "lock", RECORD_STRING }, { "on_failure", RECORD_STRING },
		{ "post_stop", RECORD_STRING }, { "hookscript", RECORD_STRING },
	};
	struct record_writer *w = record_stdout(fields, ARRAY_SIZE(fields), opts);
	_cleanup_free_ char *error = NULL;
	struct config cfg;

	if (!w)
		return msg_usage_error();
	if (config_load(NULL, &cfg, &error) < 0)
		say("%s: the defaults count", error ? error : "pve-gpu-utils.conf");
	record_put(w, (const char *const[]){ g->id.kind == GUEST_QEMU ? "qemu" : "lxc",
					     g->running ? "running" : "stopped", g->lock,
					     cfg.on_failure_abort ? "abort" : "start",
					     cfg.post_stop_host ? "host" : "keep",
					     g->hookscript });
	record_writer_free(w);
	config_done(&cfg);
	return EX_OK;
}

static void put_slots(struct record_writer *w, const struct pciaddr *addrs, size_t n)
{
	for (size_t i = 0, end; i < n; i = end) {
		_cleanup_free_ char *list = xstrdup("");
		char buf[PCIADDR_STRLEN], slot[PCIADDR_STRLEN];

		for (end = i; end < n && pciaddr_same_slot(&addrs[end], &addrs[i]);
		     end++) {
			char *longer = xasprintf("%s%s%s", list, end > i ? "," : "",
						 pciaddr_format(&addrs[end], buf));

			free(list);
			list = longer;
		}
		pciaddr_format(&addrs[i], slot);
		*strrchr(slot, '.') = '\0';
		record_put(w, (const char *const[]){ slot, list });
	}
}

enum gpus { GPUS_START, GPUS_HELD, GPUS_LOST };

static int find_lost(const struct guest *g, const struct assignment *a, size_t n_a,
		     struct pciaddr **addrs, size_t *n)
{
	struct snapshot *left = NULL;
	size_t n_left = 0, bad;
	int err = snapshot_load_all(&left, &n_left, &bad);

	if (!err)
		*n = guestgpus_lost(a, n_a, g->id.vmid, left, n_left, addrs);
	snapshot_free_all(left, n_left);
	return err;
}

static int find_gpus(const struct guest *g, enum gpus which, const struct assignment *a,
		     size_t n_a, struct pciaddr **addrs, size_t *n, const char **what)
{
	_cleanup_free_ struct reservation *reservations = NULL;
	struct pcidev *devs = NULL;
	size_t n_r, n_devs;
	int err;

	*what = "what pci-rescan has left";
	if (which == GPUS_LOST)
		return find_lost(g, a, n_a, addrs, n);
	*what = "PVE's reservations";
	err = reservations_read(&reservations, &n_r);
	if (err)
		return err;
	*what = "the PCI functions of this host";
	err = pcidev_list(PCIDEV_IDENT | PCIDEV_BIND, &devs, &n_devs);
	if (err)
		return err;
	*n = which == GPUS_HELD
		? guestgpus_held(a, n_a, g->id.vmid, addrs)
		: guestgpus_for_start(a, n_a, g->id.vmid, reservations, n_r, addrs);
	*n = guestgpus_cards(devs, n_devs, addrs, *n);
	pcidev_free(devs, n_devs);
	return 0;
}

static int show_gpus(const struct guest *g, enum gpus which,
		     const struct record_opts *opts)
{
	static const struct record_field fields[] = {
		{ "slot", RECORD_STRING }, { "functions", RECORD_STRING },
	};
	struct record_writer *w = record_stdout(fields, ARRAY_SIZE(fields), opts);
	_cleanup_free_ struct pciaddr *addrs = NULL;
	struct assignment *assignments = NULL;
	const char *what = "the guests' devices";
	size_t n = 0, n_a = 0;
	int err;

	if (!w)
		return msg_usage_error();
	err = assignments_load(&assignments, &n_a);
	if (!err || err == -EBADMSG)	/* PVE drops or refuses some of some guest */
		err = find_gpus(g, which, assignments, n_a, &addrs, &n, &what);
	if (err)
		say("%s cannot be read: %s", what, strerror(-err));
	else
		put_slots(w, addrs, n);
	record_writer_free(w);
	assignments_free(assignments, n_a);
	return exit_code(err);
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
	struct record_opts opts = { 0 };
	struct guest g = { 0 };
	/* in the order of enum gpus */
	static const char *const reports[] = { "start", "held", "lost", "facts" };
	const char *report;
	size_t which;
	int c, err, rc;

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
	if (argc - optind != 2) {
		say("a report (facts, start, held or lost) and a VMID are needed");
		return msg_usage_error();
	}
	report = argv[optind];
	for (which = 0; which < ARRAY_SIZE(reports); which++)
		if (strcmp(report, reports[which]) == 0)
			break;
	if (which == ARRAY_SIZE(reports)) {
		say("unknown report: %s", report);
		return msg_usage_error();
	}
	err = guest_find(argv[optind + 1], &g);
	if (err == -EINVAL) {
		say("%s: not a VMID", argv[optind + 1]);
		return msg_usage_error();
	}
	if (err == -ENOENT)
		say("%s: no such guest on this node", argv[optind + 1]);
	else if (err)
		say("%s: %s", argv[optind + 1], strerror(-err));
	if (err)
		return exit_code(err);
	if (which <= GPUS_LOST)
		rc = show_gpus(&g, (enum gpus)which, &opts);
	else
		rc = show_facts(&g, &opts);
	guest_done(&g);
	if (!close_stdout())
		return EX_IOERR;
	return rc;
}
