/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mdev-ls - list vGPUs, their types and their users, or say why there are none */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "mdev-ls.h"
#include "mdev-say.h"
#include "pci/parentname.h"

enum mode { MODE_LIST, MODE_TYPES, MODE_LEFTOVERS, MODE_CHECK };

struct opts {
	enum mode mode;
	bool all;
	const char *parent;
};

static void usage(FILE *out)
{
	fputs("Usage: mdev-ls [-0Hajlqr] [-o LIST] [-p PARENT] [-R DIR] [UUID|VF...]\n"
	      "       mdev-ls [-0Hajqr] [-o LIST] [-p PARENT] [-R DIR] --types [TYPE|NAME]\n"
	      "       mdev-ls [-0Hajqr] [-o LIST] [-p PARENT] [-R DIR] --check\n"
	      "List vGPUs: mediated devices, NVIDIA's vendor-specific VFIO, SR-IOV.\n\n"
	      "  -0, --null           end records with NUL, not newline\n"
	      "  -H, --header         begin with the names of the fields\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -a, --all            also SR-IOV of network cards, disks and others\n"
	      "  -c, --check          say step by step what works, and what to do\n"
	      "  -j, --json           print one JSON object a line\n"
	      "  -l, --leftovers      only what no guest and no process uses\n"
	      "  -o, --output=LIST    print these fields, in this order\n"
	      "  -p, --parent=PARENT  of this card alone: 0000:82:00.0, 82:00.0,\n"
	      "                       00000000:82:00.0, pci_0000_82_00_0, mtty\n"
	      "  -q, --quiet          no warnings\n"
	      "  -r, --raw            TAB-separated on a terminal too\n"
	      "  -t, --types          what can be made, and how many of it\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

/* EX_OK or an exit code, said. */
static int read_host(struct view *view, const struct opts *opts)
{
	unsigned what = opts->all || opts->parent ? VGPUS_ANY_SRIOV : 0;
	int rc = mdevdef_list(&view->defs, &view->n_defs, say_bad_definition, NULL);

	/* Only a type says the name of what is defined and not there. */
	if (opts->mode == MODE_TYPES || opts->mode == MODE_CHECK || view->n_defs)
		what |= VGPUS_TYPES;
	if (rc == 0)
		rc = vgpus_read(&view->v, what);
	if (rc == 0 && opts->mode != MODE_TYPES)
		rc = vgpuuse_list(&view->v, &view->uses, &view->n_uses);
	if (rc < 0) {
		errno = -rc;
		say_errno("cannot read this host's vGPUs");
		return rc == -EACCES || rc == -EPERM ? EX_NOPERM : EX_OSERR;
	}
	if (what & VGPUS_TYPES)
		vgpus_remember(&view->v);
	view->parent = -1;
	if (!opts->parent)
		return EX_OK;
	view->only = parentname_parse(opts->parent);
	view->parent = vgpus_find_parent(&view->v, opts->parent, &view->vf);
	/* The check says itself why a card has no vGPUs. */
	if (view->parent >= 0 || (view->only && opts->mode == MODE_CHECK))
		return EX_OK;
	return say_no_parent(opts->parent);
}

static int run(const struct opts *opts, struct view *view, char *const operands[])
{
	int status = read_host(view, opts);

	if (status != EX_OK)
		return status;
	switch (opts->mode) {
	case MODE_LIST:
		return view_list(view, operands);
	case MODE_TYPES:
		return view_types(view, *operands);
	case MODE_LEFTOVERS:
		return view_leftovers(view);
	case MODE_CHECK:
		return view_check(view);
	}
	return EX_SOFTWARE;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "all",       no_argument,       NULL, 'a' },
		{ "check",     no_argument,       NULL, 'c' },
		{ "help",      no_argument,       NULL, 'h' },
		{ "leftovers", no_argument,       NULL, 'l' },
		{ "parent",    required_argument, NULL, 'p' },
		{ "quiet",     no_argument,       NULL, 'q' },
		{ "root",      required_argument, NULL, 'R' },
		{ "types",     no_argument,       NULL, 't' },
		{ "version",   no_argument,       NULL, 'V' },
		{ 0 }
	};
	struct opts opts = { 0 };
	struct view view = { 0 };
	int c, status, modes = 0, max = 0;

	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "achlp:qR:tV", longopts,
				NULL)) != -1) {
		switch (c) {
		case 'a': opts.all = true; break;
		case 'c': opts.mode = MODE_CHECK; modes++; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'l': opts.mode = MODE_LEFTOVERS; modes++; break;
		case 'p': opts.parent = optarg; break;
		case 'q': msg_level = -1; break;
		case 'R': root_set(optarg); break;
		case 't': opts.mode = MODE_TYPES; modes++; break;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:
			if (!record_opt(&view.record, c, optarg))
				return msg_usage_error();
		}
	}
	if (modes > 1) {
		say("--check, --leftovers and --types exclude each other");
		return msg_usage_error();
	}
	max = opts.mode == MODE_LIST ? argc : opts.mode == MODE_TYPES ? 1 : 0;
	if (argc - optind > max) {
		say("too many operands: %s", argv[optind + max]);
		return msg_usage_error();
	}
	status = run(&opts, &view, argv + optind);
	free(view.only);
	vgpuuse_free(view.uses, view.n_uses);
	vgpus_done(&view.v);
	mdevdef_free(view.defs, view.n_defs);
	if (!close_stdout())
		return EX_IOERR;
	return status;
}
