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
	fputs("Usage: guest-report [-0Hjr] [-o LIST] [-R DIR] facts | start | held VMID\n"
	      "facts: kind, lock and hook script of a guest, and how [rescan] treats it.\n"
	      "start: the GPUs that a VM will get, slot by slot, with all their functions.\n"
	      "held:  those that it holds now.\n\n"
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

		for (end = i; end < n && pciaddr_same_slot(&addrs[end], &addrs[i]); end++) {
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

static int show_gpus(const struct guest *g, bool held, const struct record_opts *opts)
{
	static const struct record_field fields[] = {
		{ "slot", RECORD_STRING }, { "functions", RECORD_STRING },
	};
	struct record_writer *w = record_stdout(fields, ARRAY_SIZE(fields), opts);
	_cleanup_free_ struct reservation *reservations = NULL;
	_cleanup_free_ struct pciaddr *addrs = NULL;
	struct assignment *assignments = NULL;
	const char *what = "the guests' devices";
	struct pcidev *devs = NULL;
	size_t n = 0, n_a = 0, n_r = 0, n_devs = 0;
	int err;

	if (!w)
		return msg_usage_error();
	err = assignments_load(&assignments, &n_a);
	if (err == -EBADMSG)
		err = 0;	/* PVE drops or refuses some of some guest */
	if (!err) {
		what = "PVE's reservations";
		err = reservations_read(&reservations, &n_r);
	}
	if (!err) {
		what = "the PCI functions of this host";
		err = pcidev_list(PCIDEV_IDENT | PCIDEV_BIND, &devs, &n_devs);
	}
	if (err) {
		say("%s cannot be read: %s", what, strerror(-err));
	} else {
		n = held ? guestgpus_held(assignments, n_a, g->id.vmid, &addrs)
			 : guestgpus_for_start(assignments, n_a, g->id.vmid, reservations,
					       n_r, &addrs);
		n = guestgpus_cards(devs, n_devs, &addrs, n);
		put_slots(w, addrs, n);
	}
	record_writer_free(w);
	pcidev_free(devs, n_devs);
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
	const char *report;
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
		say("a report (facts, start or held) and a VMID are needed");
		return msg_usage_error();
	}
	report = argv[optind];
	if (strcmp(report, "facts") != 0 && strcmp(report, "start") != 0
	    && strcmp(report, "held") != 0) {
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
	if (strcmp(report, "facts") == 0)
		rc = show_facts(&g, &opts);
	else
		rc = show_gpus(&g, strcmp(report, "held") == 0, &opts);
	guest_done(&g);
	if (!close_stdout())
		return EX_IOERR;
	return rc;
}
