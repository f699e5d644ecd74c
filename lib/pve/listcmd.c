/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/listcmd.h"
#include "pve/pveconf.h"

enum { OPT_SECTION = 256 };

static bool is_node_name(const char *name)
{
	return *name && *name != '-' && *name != '.'
	       && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-.")] == '\0';
}

static bool is_section_name(const char *name)
{
	size_t n = strlen(name);

	return n < ASSIGNMENT_SECTION_LEN && pveconf_is_config_id(name, n);
}

/* "100", or with this program's kind in front. */
static bool parse_operand(const struct listcmd *cmd, const char *text, uint32_t *vmid)
{
	struct guest_id id;

	if (guest_parse_vmid(text, vmid))
		return true;
	if (!guest_parse(text, &id)) {
		say("'%s' is no VMID (three to nine digits, the first not 0)", text);
		return false;
	}
	if (id.kind != cmd->kind) {
		say("%s is no %s: ask %s", text,
		    cmd->kind == GUEST_QEMU ? "VM" : "container",
		    cmd->kind == GUEST_QEMU ? "lxc-gpu-ls" : "pve-hostpci-ls");
		return false;
	}
	*vmid = id.vmid;
	return true;
}

static bool take_operands(const struct listcmd *cmd, char *const operands[], size_t n,
			  struct assignment_query *q)
{
	uint32_t *vmids = xcalloc(n, sizeof(*vmids));
	size_t kept = 0;

	q->vmids = vmids;
	for (size_t i = 0; i < n; i++)
		if (!parse_operand(cmd, operands[i], &vmids[i]))
			return false;
	qsort(vmids, n, sizeof(*vmids), guest_compare_number);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || vmids[kept - 1] != vmids[i])
			vmids[kept++] = vmids[i];
	q->n_vmids = kept;
	return true;
}

static void put(const struct assignment *a, void *arg)
{
	assignment_put(arg, a);
}

static int run(const struct listcmd *cmd, const struct record_opts *opts,
	       const struct assignment_query *q)
{
	struct record_writer *w =
		record_stdout(assignment_fields, ASSIGNMENT_FIELDS, opts);
	int rc;

	if (!w)
		return msg_usage_error();
	rc = cmd->resolve(q, put, w);
	record_writer_free(w);
	if (!close_stdout())
		return EX_IOERR;
	if (rc == 0)
		return EX_OK;
	if (rc == -EBADMSG)
		return EX_DATAERR;
	if (rc == -ENOENT || rc == -ENOTDIR)
		return EX_NOINPUT;
	if (rc == -EACCES || rc == -EPERM)
		return EX_NOPERM;
	return EX_OSERR;
}

int listcmd_main(const struct listcmd *cmd, int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "all", no_argument, NULL, 'a' },
		{ "node", required_argument, NULL, 'N' },
		{ "root", required_argument, NULL, 'R' },
		{ "section", required_argument, NULL, OPT_SECTION },
		{ "quiet", no_argument, NULL, 'q' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct assignment_query q = { 0 };
	struct record_opts opts = { 0 };
	int c, status;

	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "aN:R:qvhV", longopts, NULL))
	       != -1) {
		if (record_opt(&opts, c, optarg))
			continue;
		switch (c) {
		case 'a': q.all_nodes = true; break;
		case 'N': q.node = optarg; break;
		case 'R': root_set(optarg); break;
		case 'q': msg_level = -1; break;
		case 'v': msg_level++; break;
		case OPT_SECTION: q.section = optarg; break;
		case 'h':
			fputs(cmd->usage, stdout);
			return close_stdout() ? EX_OK : EX_IOERR;
		case 'V':
			msg_version();
			return close_stdout() ? EX_OK : EX_IOERR;
		default:
			return msg_usage_error();
		}
	}
	if (q.all_nodes && q.node) {
		say("-a does not go with -N");
		return msg_usage_error();
	}
	if (q.node && !is_node_name(q.node)) {
		say("'%s' is no name of a node", q.node);
		return msg_usage_error();
	}
	if (q.section && !is_section_name(q.section)) {
		say("'%s' is no name of a section", q.section);
		return msg_usage_error();
	}
	status = optind == argc
		 || take_operands(cmd, argv + optind, (size_t)(argc - optind), &q)
		 ? run(cmd, &opts, &q) : msg_usage_error();
	free((void *)(uintptr_t)q.vmids);
	return status;
}
