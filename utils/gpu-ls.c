/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gpu-ls - list the GPUs of this host, or draw where they sit and whose they are */
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
#include "gpu/gpudev.h"
#include "pci/topology.h"
#include "pve/gputree.h"

enum { EXIT_NONE = 1 };		/* the answer: no GPU here */

struct opts {
	bool all;		/* whole cards and virtual functions */
	bool tree;
	struct record_opts record;
};

static void usage(FILE *out)
{
	fputs("Usage: gpu-ls [-0Hajr] [-o LIST] [-R DIR] [ADDR...]\n"
	      "       gpu-ls [-a] [-R DIR] --tree [ADDR...]\n"
	      "List the host's GPUs, or the functions named.\n\n"
	      "  -0, --null           end records with NUL, not newline\n"
	      "  -H, --header         begin with the names of the fields\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -a, --all            also virtual functions, and what else is on the card\n"
	      "  -j, --json           print one JSON object a line\n"
	      "  -o, --output=LIST    print these fields, in this order\n"
	      "  -r, --raw            TAB-separated on a terminal too\n"
	      "  -t, --tree           draw host bridges, bridges, GPUs and their guests\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

/* 0, or the exit status for the first operand that names no function. */
static int choose_named(const struct topology *t, char *const operands[], bool chosen[])
{
	int status = EX_OK;

	for (; *operands; operands++) {
		struct pciaddr addr;
		int at;

		if (!pciaddr_parse(*operands, &addr)) {
			say("not an address of a PCI function: %s", *operands);
			return msg_usage_error();
		}
		at = topology_find(t, &addr);
		if (at >= 0) {
			chosen[at] = true;
			continue;
		}
		say("no such function: %s", *operands);
		status = EX_NOINPUT;
	}
	return status;
}

static void choose_gpus(const struct topology *t, bool chosen[])
{
	for (size_t i = 0; i < t->n; i++)
		chosen[i] = gpudev_is_gpu(&t->fns[i].dev) && !t->fns[i].dev.is_vf;
}

/* What else is on the cards that are chosen so far, and their virtual functions. */
static void choose_more(const struct topology *t, bool chosen[])
{
	_cleanup_free_ bool *first = xcalloc(t->n, sizeof(*first));

	memcpy(first, chosen, t->n * sizeof(*first));
	for (int i = 0; i < (int)t->n; i++) {
		_cleanup_free_ int *card = NULL;
		size_t n = 0;

		if (!first[i])
			continue;
		topology_card_functions(t, i, &card, &n);
		for (size_t k = 0; k < n; k++)
			chosen[card[k]] = true;
		for (int vf = -1; (vf = topology_next_vf(t, i, vf)) >= 0; )
			chosen[vf] = true;
	}
}

static int print_records(const struct topology *t, const bool chosen[],
			 const struct record_opts *opts)
{
	struct record_writer *w = record_stdout(gpudev_fields, GPUDEV_FIELDS, opts);
	struct pcinames *names;

	if (!w)
		return msg_usage_error();
	names = pcinames_new();
	for (size_t i = 0; i < t->n; i++)
		if (chosen[i])
			gpudev_put(w, &t->fns[i], names);
	pcinames_free(names);
	record_writer_free(w);
	return EX_OK;
}

static int print(const struct topology *t, bool chosen[], const struct opts *opts)
{
	bool any = false;

	if (opts->all)
		choose_more(t, chosen);
	for (size_t i = 0; i < t->n; i++)
		any |= chosen[i];
	if (opts->tree && any) {
		gputree_print(stdout, t, chosen);
	} else if (!opts->tree) {
		int status = print_records(t, chosen, &opts->record);

		if (status != EX_OK)
			return status;
	}
	return any ? EX_OK : EXIT_NONE;
}

static int run(const struct opts *opts, char *const operands[])
{
	_cleanup_free_ bool *chosen = NULL;
	struct topology t;
	int status = EX_OK, printed;
	int rc = topology_read(&t);

	if (rc < 0) {
		_cleanup_free_ char *path = root_path("/sys/bus/pci/devices");

		errno = -rc;
		say_errno("%s", path);
		return rc == -ENOENT ? EX_UNAVAILABLE : EX_OSERR;
	}
	chosen = xcalloc(t.n + 1, sizeof(*chosen));
	if (*operands)
		status = choose_named(&t, operands, chosen);
	else
		choose_gpus(&t, chosen);
	if (status != EX_USAGE) {
		printed = print(&t, chosen, opts);
		if (status == EX_OK || printed > EXIT_NONE)
			status = printed;
	}
	topology_done(&t);
	return status;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "all",     no_argument,       NULL, 'a' },
		{ "help",    no_argument,       NULL, 'h' },
		{ "root",    required_argument, NULL, 'R' },
		{ "tree",    no_argument,       NULL, 't' },
		{ "version", no_argument,       NULL, 'V' },
		{ 0 }
	};
	struct opts opts = { 0 };
	bool has_format = false;
	int c, status;

	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "ahR:tV", longopts,
				NULL)) != -1) {
		switch (c) {
		case 'a': opts.all = true; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'R': root_set(optarg); break;
		case 't': opts.tree = true; break;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:
			if (!record_opt(&opts.record, c, optarg))
				return msg_usage_error();
			has_format = true;
		}
	}
	if (opts.tree && has_format) {
		say("--tree is for people: it goes with no format of records");
		return msg_usage_error();
	}
	status = run(&opts, argv + optind);
	if (!close_stdout())
		return EX_IOERR;
	return status;
}
