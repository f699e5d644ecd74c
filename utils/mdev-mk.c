/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mdev-mk - make vGPUs by their human name, now and at each boot */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/configvalue.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "mdev-mk.h"

enum { TIME_LIMIT = 30000 };	/* ms, for one write */
enum { OPT_DEFINE = 256, OPT_AUTO, OPT_ATTR, OPT_XML, OPT_PVE, OPT_START, OPT_WAIT };

static void usage(FILE *out)
{
	fputs("Usage: mdev-mk [-p PARENT] -t TYPE|NAME [-c N] [-u UUID]... [OPTION]...\n"
	      "       mdev-mk [-p PARENT] -u UUID|VF... | --start-auto [PARENT] [OPTION]...\n"
	      "  -0, --null           end records with NUL, not newline\n"
	      "  -H, --header         begin with the names of the fields\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -c, --count=N        so many (plain SR-IOV: so many VFs), all or none\n"
	      "  -j, --json           print one JSON object a line\n"
	      "  -n, --dry-run        print the writes, make none\n"
	      "  -o, --output=LIST    print these fields, in this order\n"
	      "  -p, --parent=PARENT  on this card: 82:00.0, pci_0000_82_00_0, mtty\n"
	      "  -q, --quiet          no warnings\n"
	      "  -r, --raw            TAB-separated on a terminal too\n"
	      "  -t, --type=TYPE      type or name: nvidia-50, 'GRID P40-6Q', 6q, vf\n"
	      "  -u, --uuid=UUID      this one, or on this VF; without -t as defined\n"
	      "  -v, --verbose        say each write\n"
	      "      --attr=K=V       write V to its attribute K; order counts\n"
	      "      --auto           keep it as a definition, make it at each boot\n"
	      "      --define         keep it as a definition, made when asked for\n"
	      "      --pve            print PVE's config line\n"
	      "      --start-auto     make what is defined with --auto, say what fails\n"
	      "      --wait=S         and try again for S seconds (0)\n"
	      "      --xml            print libvirt's hostdev\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

/* K=V: K below the vGPU's own folder. */
static bool take_attr(struct mk *mk, const char *text)
{
	const char *sign = strchr(text, '=');
	_cleanup_free_ char *name = sign ? xstrndup(text, (size_t)(sign - text)) : NULL;

	if (!name || !*name || *name == '/' || strstr(name, "..")) {
		say("not an attribute and its value: %s", text);
		return false;
	}
	for (const char *p = text; *p; p++)
		if (*p < 0x20 || *p > 0x7e) {
			say("--attr takes printable ASCII only");
			return false;
		}
	mdevdef_add_attr(&mk->attrs, name, sign + 1);
	return true;
}

static bool take_print(struct mk *mk, enum mk_print print)
{
	if (mk->print != MK_RECORDS && mk->print != print) {
		say("--pve and --xml exclude each other");
		return false;
	}
	mk->print = print;
	return true;
}

static bool take_number(const char *option, const char *text, unsigned min, unsigned max,
			unsigned *value)
{
	if (configvalue_number(text, min, max, value))
		return true;
	say("%s takes a number from %u to %u: %s", option, min, max, text);
	return false;
}

/* What goes together; what does not is said. */
static bool is_right(const struct mk *mk, bool start_auto, int operands,
		     const char *extra)
{
	bool makes = mk->type || mk->n_ids || mk->count || mk->parent || mk->is_defined ||
		     mk->is_auto || mk->attrs.n_attrs || mk->print != MK_RECORDS;

	if (operands > (start_auto ? 1 : 0))
		say("unexpected operand: %s", extra);
	else if (start_auto && makes)
		say("--start-auto goes with -n, -v, -R and --wait alone");
	else if (mk->wait && !start_auto)
		say("--wait is for --start-auto");
	else if (mk->is_defined && mk->is_auto)
		say("--define and --auto exclude each other");
	else if (!start_auto && !mk->type && !mk->n_ids)
		say("make what? -t TYPE, or -u for what is defined");
	else if (mk->count && !mk->type)
		say("-c goes with -t");
	else
		return true;
	return false;
}

static int run(const struct mk *mk, bool start_auto, const char *parent)
{
	struct host h = { .writer = { .limit = TIME_LIMIT, .lock = -1 } };
	struct mk_items items = { 0 };
	struct record_writer *out = NULL;
	unsigned what = VGPUS_TYPES | (mk->parent || !mk->type ? VGPUS_ANY_SRIOV : 0);
	int status = host_need_root();

	host_catch_signals();
	if (status == EX_OK && start_auto) {
		status = mk_start_auto(mk, &h, parent);
	} else if (status == EX_OK) {
		/* Before anything is made: it knows whether the fields are right. */
		if (mk->print == MK_RECORDS && !sysfs_dry_run) {
			out = host_records(&mk->record);
			status = out ? EX_OK : msg_usage_error();
		}
		if (status == EX_OK)
			status = host_lock(&h);
		if (status == EX_OK)
			status = host_read(&h, what, false);
		if (status == EX_OK)
			status = mk_plan(mk, &h, &items);
		if (status == EX_OK)
			status = mk_make(mk, &h, &items);
		if (status == EX_OK && !sysfs_dry_run)
			status = mk_print(mk, out, &h, &items);
	}
	record_writer_free(out);
	mk_items_done(&items);
	host_done(&h);
	return status;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "attr",       required_argument, NULL, OPT_ATTR },
		{ "auto",       no_argument,       NULL, OPT_AUTO },
		{ "count",      required_argument, NULL, 'c' },
		{ "define",     no_argument,       NULL, OPT_DEFINE },
		{ "dry-run",    no_argument,       NULL, 'n' },
		{ "help",       no_argument,       NULL, 'h' },
		{ "parent",     required_argument, NULL, 'p' },
		{ "pve",        no_argument,       NULL, OPT_PVE },
		{ "quiet",      no_argument,       NULL, 'q' },
		{ "root",       required_argument, NULL, 'R' },
		{ "start-auto", no_argument,       NULL, OPT_START },
		{ "type",       required_argument, NULL, 't' },
		{ "uuid",       required_argument, NULL, 'u' },
		{ "verbose",    no_argument,       NULL, 'v' },
		{ "version",    no_argument,       NULL, 'V' },
		{ "wait",       required_argument, NULL, OPT_WAIT },
		{ "xml",        no_argument,       NULL, OPT_XML },
		{ 0 }
	};
	_cleanup_free_ char **ids = xcalloc((size_t)argc, sizeof(*ids));
	struct mk mk = { .ids = ids };
	bool start_auto = false, ok = true;
	int c, status;

	while (ok && (c = getopt_long(argc, argv, RECORD_SHORTOPTS "c:hnp:qR:t:u:vV",
				      longopts, NULL)) != -1) {
		switch (c) {
		case 'c': ok = take_number("-c", optarg, 1, 65535, &mk.count); break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'n': sysfs_dry_run = true; break;
		case 'p': mk.parent = optarg; break;
		case 'q': msg_level = -1; break;
		case 'R': root_set(optarg); break;
		case 't': mk.type = optarg; break;
		case 'u': ids[mk.n_ids++] = optarg; break;
		case 'v': msg_level++; break;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		case OPT_ATTR: ok = take_attr(&mk, optarg); break;
		case OPT_AUTO: mk.is_auto = true; break;
		case OPT_DEFINE: mk.is_defined = true; break;
		case OPT_PVE:
		case OPT_XML: ok = take_print(&mk, c == OPT_PVE ? MK_PVE : MK_XML); break;
		case OPT_START: start_auto = true; break;
		case OPT_WAIT:
			ok = take_number("--wait", optarg, 0, 3600, &mk.wait);
			break;
		default:
			ok = record_opt(&mk.record, c, optarg);
		}
	}
	c = optind + (start_auto ? 1 : 0);
	ok = ok && is_right(&mk, start_auto, argc - optind, c < argc ? argv[c] : "");
	status = ok ? run(&mk, start_auto, argv[optind]) : msg_usage_error();
	mdevdef_done(&mk.attrs);
	if (!close_stdout())
		return EX_IOERR;
	return status;
}
