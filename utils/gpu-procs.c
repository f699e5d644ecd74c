/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gpu-procs - list the processes that use a GPU, and whose they are */
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
#include "gpu/cgroup.h"
#include "gpu/gpunode.h"
#include "gpu/gpuproc.h"
#include "gpu/vfionode.h"

static const struct record_field fields[] = {
	{ "pid", RECORD_NUMBER }, { "comm", RECORD_STRING }, { "addr", RECORD_STRING },
	{ "nodes", RECORD_STRING }, { "owner", RECORD_STRING }, { "cuda", RECORD_STRING },
};

static void usage(FILE *out)
{
	fputs("Usage: gpu-procs [-0Hjr] [-o LIST] [-g GUEST | -c ID] [ADDR...]\n"
	      "List processes that have a GPU's device node open or CUDA's driver\n"
	      "library mapped, and whose they are; exit 1 for none.\n\n"
	      "  -0, --null           end records with NUL, not newline\n"
	      "  -H, --header         begin with the names of the fields\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -c, --container=ID   only processes of this container\n"
	      "  -g, --guest=GUEST    only processes of this guest (qemu/100, lxc/200)\n"
	      "  -j, --json           print one JSON object a line\n"
	      "  -o, --output=LIST    print these fields, in this order\n"
	      "  -q, --quiet          no warnings\n"
	      "  -r, --raw            TAB-separated on a terminal too\n"
	      "  -v, --verbose        say more\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

struct filter {
	const char *guest;
	const char *container;
	struct pciaddr *addrs;	/* owned */
	size_t n_addrs;
};

static bool uses(const struct gpuproc *p, const struct filter *f)
{
	for (size_t i = 0; i < f->n_addrs; i++)
		if (p->n_addrs && bsearch(&f->addrs[i], p->addrs, p->n_addrs,
					  sizeof(*p->addrs), pciaddr_compare))
			return true;
	return f->n_addrs == 0;
}

/* A bare VMID is that of a VM or a container: no two guests have the same. */
static bool is_of_guest(const struct gpuproc *p, const char *guest)
{
	const char *vmid = strncmp(p->owner, "qemu/", 5) == 0 ? p->owner + 5
			: strncmp(p->owner, "lxc/", 4) == 0 ? p->owner + 4 : NULL;

	return vmid && strcmp(guest, strchr(guest, '/') ? p->owner : vmid) == 0;
}

static bool is_wanted(const struct gpuproc *p, const struct filter *f)
{
	if (f->guest && !is_of_guest(p, f->guest))
		return false;
	if (f->container && !cgroup_is_in_container(p->pid, f->container))
		return false;
	return uses(p, f);
}

/* Append to a comma-separated list. */
static char *join(char *list, const char *item)
{
	char *longer = list ? xasprintf("%s,%s", list, item) : xstrdup(item);

	free(list);
	return longer;
}

static void put(struct record_writer *w, const struct gpuproc *p)
{
	_cleanup_free_ char *addrs = NULL, *nodes = NULL;
	char pid[16], text[PCIADDR_STRLEN];

	snprintf(pid, sizeof(pid), "%d", (int)p->pid);
	for (size_t i = 0; i < p->n_addrs; i++)
		addrs = join(addrs, pciaddr_format(&p->addrs[i], text));
	for (size_t i = 0; i < p->n_nodes; i++)
		nodes = join(nodes, p->nodes[i]);
	record_put(w, (const char *const[]){ pid, p->comm, addrs, nodes,
		   strcmp(p->owner, "-") == 0 ? NULL : p->owner, p->cuda });
}

/* EX_OK, 1 when nothing matched, or another exit code. */
static int list(struct record_writer *w, const struct filter *f)
{
	struct gpunodes nodes = { 0 };
	struct gpuproc *procs = NULL;
	size_t n = 0, shown = 0;
	int rc = gpunodes_read(&nodes);

	if (rc == 0)
		rc = vfionode_add(&nodes);
	if (rc == 0)
		rc = gpuproc_list(&nodes, &procs, &n);
	if (rc == 0)
		rc = gpuproc_add_cuda(&procs, &n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (!is_wanted(&procs[i], f))
			continue;
		put(w, &procs[i]);
		shown++;
	}
	gpuproc_free(procs, n);
	gpunodes_done(&nodes);
	if (rc < 0) {
		errno = -rc;
		say_errno("%s/proc", root_dir());
		return rc == -ENOENT ? EX_UNAVAILABLE : EX_OSERR;
	}
	if (root_is_host() && geteuid() != 0)
		say_warn("without root only your own processes are seen");
	return shown ? EX_OK : 1;
}

/* A guest as cgroup_owner() writes it, or a VMID. */
static bool is_guest(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	const char *vmid = strncmp(text, "qemu/", 5) == 0 ? text + 5
			: strncmp(text, "lxc/", 4) == 0 ? text + 4 : NULL;

	if (!vmid)
		return digits >= 3 && digits <= 9 && !text[digits] && *text != '0';
	return *vmid && !strchr(vmid, '/');
}

static int parse_operands(struct filter *f, char **operands)
{
	for (; *operands; operands++) {
		f->addrs = xreallocarray(f->addrs, f->n_addrs + 1, sizeof(*f->addrs));
		if (!pciaddr_parse(*operands, &f->addrs[f->n_addrs++])) {
			say("%s: not the address of a PCI function (DDDD:BB:DD.F)",
			    *operands);
			return msg_usage_error();
		}
	}
	if (f->guest && f->container) {
		say("--guest and --container exclude each other");
		return msg_usage_error();
	}
	if (f->guest && !is_guest(f->guest)) {
		say("%s: not a guest (qemu/100, lxc/200, 100)", f->guest);
		return msg_usage_error();
	}
	if (f->container && !*f->container) {
		say("--container wants an id");
		return msg_usage_error();
	}
	return EX_OK;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "container", required_argument, NULL, 'c' },
		{ "guest", required_argument, NULL, 'g' },
		{ "help", no_argument, NULL, 'h' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "root", required_argument, NULL, 'R' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct record_opts ropts = { 0 };
	struct filter f = { 0 };
	struct record_writer *w = NULL;
	int c, code;

	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "R:c:g:qvhV", longopts,
				NULL)) != -1) {
		if (record_opt(&ropts, c, optarg))
			continue;
		switch (c) {
		case 'R': root_set(optarg); break;
		case 'c': f.container = optarg; break;
		case 'g': f.guest = optarg; break;
		case 'q': msg_level = -1; break;
		case 'v': msg_level++; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:  return msg_usage_error();
		}
	}
	code = parse_operands(&f, argv + optind);
	if (code == EX_OK) {
		w = record_stdout(fields, ARRAY_SIZE(fields), &ropts);
		if (!w)
			code = msg_usage_error();
	}
	if (code == EX_OK)
		code = list(w, &f);
	record_writer_free(w);
	free(f.addrs);
	if (!close_stdout() && code <= 1)
		code = EX_IOERR;
	return code;
}
