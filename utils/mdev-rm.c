/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mdev-rm - remove vGPUs that nobody uses */
#include <errno.h>
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
#include "mdev-host.h"
#include "mdev-say.h"
#include "pci/parentname.h"

struct opts {
	bool all, leftovers, undefine, force;
	const char *parent;
	unsigned wait, timeout;	/* s */
	struct record_opts record;
};

struct rm {			/* one run */
	const struct opts *opts;
	struct host h;
	struct record_writer *out;	/* NULL in a dry run */
	int status;		/* the first failure's */
	int parent;		/* index; -1: any */
	const struct vgpu_vf *vf;	/* the parent was named by this VF of it */
};

static void usage(FILE *out)
{
	fputs("Usage: mdev-rm [OPTION]... UUID|VF...\n"
	      "       mdev-rm [OPTION]... [-p PARENT] --leftovers\n"
	      "       mdev-rm [OPTION]... -p PARENT --all\n"
	      "Remove vGPUs that no guest and no process uses.\n\n"
	      "  -0, --null           end records with NUL, not newline\n"
	      "  -H, --header         begin with the names of the fields\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -a, --all            all of the parent; plain SR-IOV: its VFs\n"
	      "  -f, --force          also what may be in use, VFs of a host driver\n"
	      "  -j, --json           print one JSON object a line\n"
	      "  -l, --leftovers      those that 'mdev-ls --leftovers' lists\n"
	      "  -n, --dry-run        print the writes, make none\n"
	      "  -o, --output=LIST    print these fields, in this order\n"
	      "  -p, --parent=PARENT  of this card: 82:00.0, pci_0000_82_00_0, mtty\n"
	      "  -q, --quiet          no warnings\n"
	      "  -r, --raw            TAB-separated on a terminal too\n"
	      "  -u, --undefine       their definitions, too\n"
	      "  -v, --verbose        say each write\n"
	      "  -w, --wait=S         try a busy NVIDIA release for S seconds (10)\n"
	      "      --timeout=S      give up on a write after S seconds (30)\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

static void fail(struct rm *rm, int status)
{
	if (rm->status == EX_OK)
		rm->status = status;
}

/* A definition that goes, or would: false when it could not. */
static bool undefine(struct rm *rm, const struct mdevdef *def)
{
	_cleanup_free_ char *path = mdevdef_path(def);
	int rc;

	if (sysfs_dry_run) {
		printf("rm %s\n", path);
		return true;
	}
	rc = mdevdef_remove(def);
	if (rc == 0 || rc == -ENOENT)
		return true;
	errno = -rc;
	say_errno("%s", path);
	fail(rm, EX_CANTCREAT);
	return false;
}

static void undefine_instance(struct rm *rm, const struct mdevdef *def)
{
	if (!def)
		return;
	if (rm->opts->undefine)
		undefine(rm, def);
	else if (def->is_auto)
		say_warn("%s is defined to come again at boot; --undefine ends that",
			 def->id);
}

/* Is it free to go? Else who has it is said. */
static bool is_free(struct rm *rm, size_t instance)
{
	const struct vgpu *g = &rm->h.v.instances[instance];
	const struct vgpuuse *use = host_use_now(&rm->h, instance);
	_cleanup_free_ char *user = use ? vgpuuse_text(use) : NULL;
	bool is_vf = rm->h.v.parents[g->parent].backend == VGPU_SRIOV;

	if (use && use->how == VGPUUSE_MAYBE) {
		if (rm->opts->force)
			return true;
		say("%s: %s may use it; when it does not: -f", g->id, user);
	} else if (use) {
		say("%s is in use by %s (%s)", g->id, user, use->what);
	} else if (is_vf && g->driver && !strstr(g->driver, "vfio") && !rm->opts->force) {
		say("%s is in use by the host's driver %s: -f, when nothing needs it",
		    g->id, g->driver);
	} else {
		return true;
	}
	fail(rm, EX_TEMPFAIL);
	return false;
}

static void remove_one(struct rm *rm, size_t instance)
{
	const struct vgpu *g = &rm->h.v.instances[instance];
	const struct vgpu_parent *p = &rm->h.v.parents[g->parent];
	int rc;

	if (p->backend == VGPU_SRIOV) {
		say("%s: VFs of plain SR-IOV go all at once: mdev-rm --all -p %s", g->id,
		    p->name);
		fail(rm, EX_UNAVAILABLE);
		return;
	}
	if (!is_free(rm, instance))
		return;
	rc = vgpu_release(&rm->h.writer, &rm->h.v, instance, rm->opts->wait);
	if (rc < 0) {
		_cleanup_free_ char *why = host_explain(p->name, NULL, rc);

		say("%s: %s", g->id, why);
		fail(rm, host_exit_code(rc, EX_OSERR));
		return;
	}
	if (rm->out)
		host_put(rm->out, &rm->h, g);
	undefine_instance(rm, host_definition(&rm->h, g));
}

/* All VFs of a card, or none. */
static void remove_vfs(struct rm *rm, size_t parent)
{
	const struct vgpus *v = &rm->h.v;
	const struct vgpu_parent *p = &v->parents[parent];
	bool is_all_free = true;
	int rc;

	for (size_t i = 0; i < v->n_instances; i++)
		if (v->instances[i].parent == parent)
			is_all_free &= is_free(rm, i);
	if (!is_all_free)
		return;
	rc = vgpu_set_vfs(&rm->h.writer, v, parent, 0, true);
	if (rc < 0) {
		_cleanup_free_ char *why = host_explain(p->name, NULL, rc);

		say("%s: %s", p->name, why);
		fail(rm, host_exit_code(rc, EX_OSERR));
		return;
	}
	for (size_t i = 0; rm->out && i < v->n_instances; i++)
		if (v->instances[i].parent == parent)
			host_put(rm->out, &rm->h, &v->instances[i]);
	undefine_instance(rm, mdevdef_find(rm->h.defs, rm->h.n_defs, p->name, p->name));
}

/* What is defined and not there. */
static void remove_definitions(struct rm *rm, const char *id, const char *text)
{
	size_t found = 0;

	for (size_t i = 0; id && rm->opts->undefine && i < rm->h.n_defs; i++) {
		const struct mdevdef *def = &rm->h.defs[i];

		if (strcasecmp(def->id, id) != 0 ||
		    (rm->parent >= 0 &&
		     strcmp(rm->h.v.parents[rm->parent].name, def->parent) != 0))
			continue;
		found++;
		undefine(rm, def);
	}
	if (found)
		return;
	if (id && mdevdef_find(rm->h.defs, rm->h.n_defs, NULL, id))
		say("%s is defined and not there; --undefine removes the definition",
		    text);
	else
		say("no such vGPU: %s", text);
	fail(rm, EX_NOINPUT);
}

static void remove_named(struct rm *rm, const char *text)
{
	_cleanup_free_ char *name = parentname_parse(text);
	int at = vgpus_find(&rm->h.v, text);

	if (at < 0) {
		remove_definitions(rm, name, text);
	} else if (rm->parent >= 0 &&
		   rm->h.v.instances[at].parent != (size_t)rm->parent) {
		say("%s is at %s", text,
		    rm->h.v.parents[rm->h.v.instances[at].parent].name);
		fail(rm, EX_NOINPUT);
	} else {
		remove_one(rm, (size_t)at);
	}
}

static void remove_many(struct rm *rm)
{
	const struct vgpus *v = &rm->h.v;

	if (rm->opts->all && v->parents[rm->parent].backend == VGPU_SRIOV) {
		remove_vfs(rm, (size_t)rm->parent);
		return;
	}
	for (size_t i = 0; i < v->n_instances && !host_is_stopped(); i++) {
		const struct vgpu *g = &v->instances[i];
		const struct mdevdef *def = host_definition(&rm->h, g);

		if ((rm->parent >= 0 && g->parent != (size_t)rm->parent) ||
		    (rm->vf && strcmp(rm->vf->name, g->id) != 0))
			continue;
		if (rm->opts->leftovers &&
		    !vgpuuse_is_leftover(v, rm->h.uses, rm->h.n_uses, i,
					 def && def->is_auto))
			continue;
		remove_one(rm, i);
	}
}

/* Was anything there that this defines? Then its definition went with it, or stays. */
static bool was_there(const struct rm *rm, const struct mdevdef *def)
{
	for (size_t i = 0; i < rm->h.v.n_instances; i++)
		if (host_definition(&rm->h, &rm->h.v.instances[i]) == def)
			return true;
	return false;
}

/* Definitions of the parent that nothing is there of. */
static void undefine_rest(struct rm *rm)
{
	const char *parent = rm->h.v.parents[rm->parent].name;

	for (size_t i = 0; i < rm->h.n_defs; i++)
		if (strcmp(rm->h.defs[i].parent, parent) == 0 &&
		    !was_there(rm, &rm->h.defs[i]) &&
		    (!rm->vf || strcmp(rm->vf->name, rm->h.defs[i].id) == 0))
			undefine(rm, &rm->h.defs[i]);
}

static void say_managers(const struct rm *rm)
{
	struct vgpumgr *mgrs;
	size_t n;

	if (vgpuuse_stale_managers(&rm->h.v, &mgrs, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		say_warn("process %d of nvidia-vgpu-mgr is left over from %s",
			 (int)mgrs[i].pid, mgrs[i].id);
	if (n)
		say_warn("restart nvidia-vgpu-mgr.service when no VM uses a vGPU");
	vgpumgr_free(mgrs, n);
}

static int prepare(struct rm *rm)
{
	int status = host_need_root();

	if (status == EX_OK)
		status = host_lock(&rm->h);
	if (status == EX_OK)
		status = host_read(&rm->h, VGPUS_TYPES | VGPUS_ANY_SRIOV, true);
	if (status != EX_OK)
		return status;
	if (rm->opts->parent) {
		rm->parent = vgpus_find_parent(&rm->h.v, rm->opts->parent, &rm->vf);
		if (rm->parent < 0)
			return say_no_parent(rm->opts->parent);
	}
	if (sysfs_dry_run)
		return EX_OK;
	rm->out = host_records(&rm->opts->record);
	return rm->out ? EX_OK : msg_usage_error();
}

static int run(const struct opts *opts, char *const operands[])
{
	struct rm rm = {
		.opts = opts, .parent = -1,
		.h.writer = { .limit = opts->timeout * 1000, .lock = -1 },
	};

	host_catch_signals();
	rm.status = prepare(&rm);
	if (rm.status == EX_OK) {
		for (; *operands && !host_is_stopped(); operands++)
			remove_named(&rm, *operands);
		if (opts->all || opts->leftovers)
			remove_many(&rm);
		if (opts->all && opts->undefine && !host_is_stopped())
			undefine_rest(&rm);
		if (opts->leftovers && rm.parent < 0)
			say_managers(&rm);
		if (host_is_stopped()) {
			say("interrupted: the rest stays");
			fail(&rm, EX_TEMPFAIL);
		}
	}
	record_writer_free(rm.out);
	host_done(&rm.h);
	return rm.status;
}

static bool is_right(const struct opts *opts, bool has_operands)
{
	if (opts->all && opts->leftovers)
		say("--all and --leftovers exclude each other");
	else if ((opts->all || opts->leftovers) && has_operands)
		say("--%s takes no operands", opts->all ? "all" : "leftovers");
	else if (opts->all && !opts->parent)
		say("--all needs a parent: -p");
	else if (!opts->all && !opts->leftovers && !has_operands)
		say("remove what? a UUID, a VF, --leftovers, or --all -p PARENT");
	else
		return true;
	return false;
}

static bool take_seconds(const char *option, const char *text, unsigned min,
			 unsigned *value)
{
	if (configvalue_number(text, min, 3600, value))
		return true;
	say("%s takes a number from %u to 3600: %s", option, min, text);
	return false;
}

int main(int argc, char *argv[])
{
	enum { OPT_TIMEOUT = 256 };
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "all",       no_argument,       NULL, 'a' },
		{ "dry-run",   no_argument,       NULL, 'n' },
		{ "force",     no_argument,       NULL, 'f' },
		{ "help",      no_argument,       NULL, 'h' },
		{ "leftovers", no_argument,       NULL, 'l' },
		{ "parent",    required_argument, NULL, 'p' },
		{ "quiet",     no_argument,       NULL, 'q' },
		{ "root",      required_argument, NULL, 'R' },
		{ "timeout",   required_argument, NULL, OPT_TIMEOUT },
		{ "undefine",  no_argument,       NULL, 'u' },
		{ "verbose",   no_argument,       NULL, 'v' },
		{ "version",   no_argument,       NULL, 'V' },
		{ "wait",      required_argument, NULL, 'w' },
		{ 0 }
	};
	struct opts opts = { .wait = 10, .timeout = 30 };
	bool ok = true;
	int c, status;

	while (ok && (c = getopt_long(argc, argv, RECORD_SHORTOPTS "afhlnp:qR:uvVw:",
				      longopts, NULL)) != -1) {
		switch (c) {
		case 'a': opts.all = true; break;
		case 'f': opts.force = true; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'l': opts.leftovers = true; break;
		case 'n': sysfs_dry_run = true; break;
		case 'p': opts.parent = optarg; break;
		case 'q': msg_level = -1; break;
		case 'R': root_set(optarg); break;
		case 'u': opts.undefine = true; break;
		case 'v': msg_level++; break;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		case 'w': ok = take_seconds("--wait", optarg, 0, &opts.wait); break;
		case OPT_TIMEOUT:
			ok = take_seconds("--timeout", optarg, 1, &opts.timeout);
			break;
		default:
			ok = record_opt(&opts.record, c, optarg);
		}
	}
	ok = ok && is_right(&opts, optind < argc);
	status = ok ? run(&opts, argv + optind) : msg_usage_error();
	if (!close_stdout())
		return EX_IOERR;
	return status;
}
