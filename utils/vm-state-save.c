/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm-state-save - record which guests run, and who is stopped for a backup */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/msg.h"
#include "base/record.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/restart.h"
#include "pve/state.h"

enum { OPT_JOURNAL = 256, OPT_FORGET };

static const struct record_field fields[] = {
	{ "guest", RECORD_STRING }, { "state", RECORD_STRING }, { "pid", RECORD_NUMBER },
	{ "node", RECORD_STRING }, { "start_time", RECORD_NUMBER }, { "name", RECORD_STRING },
	{ "lock", RECORD_STRING }, { "template", RECORD_NUMBER }, { "disks", RECORD_NUMBER },
	{ "onboot", RECORD_NUMBER },
};

static void usage(FILE *out)
{
	fputs("Usage: vm-state-save [-q] [-R DIR] [FILE [GUEST...]]\n"
	      "       vm-state-save [-0Hjr] [-o LIST] - [GUEST...]\n"
	      "       vm-state-save --journal GUEST REASON | --forget GUEST [REASON]\n"
	      "Record which guests of this node run: into FILE (the suite's own state\n"
	      "file when none is named), or as records to standard output (-).\n\n"
	      "  -0, --null         end records with NUL, not newline\n"
	      "  -H, --header       begin with the names of the fields\n"
	      "  -R, --root=DIR     use DIR as the system root\n"
	      "  -j, --json         print one JSON object a line\n"
	      "  -o, --output=LIST  print these fields, in this order\n"
	      "  -q, --quiet        no warnings\n"
	      "  -r, --raw          TAB-separated on a terminal too\n"
	      "      --forget       take GUEST's entries out of the journal\n"
	      "      --journal      note GUEST as stopped for a backup; REASON is\n"
	      "                     conflict:GUEST, vzdump or backup\n"
	      "  -h, --help         print this help and exit\n"
	      "  -V, --version      print the version and exit\n", out);
}

static struct state_entry entry_of(const struct guest *g, const char *node)
{
	char name[GUEST_STRLEN];
	struct state_entry e = { .id = g->id, .is_guest = true, .template = g->template,
				 .has_disk = g->has_disk, .onboot = g->onboot };

	e.name = xstrdup(guest_format(g->id, name));
	e.node = xstrdup(g->node ? g->node : node);
	e.title = g->name ? xstrdup(g->name) : NULL;
	e.lock = g->lock ? xstrdup(g->lock) : NULL;
	e.running = state_instance(g->id, &e.pid, &e.start_time);
	return e;
}

/* The guests named, or all of them, into f. An exit code. */
static int collect(struct state_file *f, char *const names[], size_t n_names)
{
	struct guest *guests = NULL;
	size_t n = 0, room = 0;
	int code = EX_OK, rc;

	for (size_t i = 0; i < n_names; i++) {
		struct guest g;

		rc = guest_find(names[i], &g);
		if (rc < 0) {
			say("%s: %s", names[i], rc == -EINVAL ? "not a guest (qemu/100, lxc/200 or 100)"
			    : rc == -ENOENT ? "no such guest on this node" : strerror(-rc));
			if (code == EX_OK)
				code = rc == -EINVAL ? EX_USAGE
				       : rc == -ENOENT ? EX_NOINPUT : EX_OSERR;
			continue;
		}
		f->entries = xgrow(f->entries, f->n, &room, sizeof(*f->entries));
		f->entries[f->n++] = entry_of(&g, f->node);
		guest_done(&g);
	}
	if (n_names)
		return code;
	rc = guest_list(NULL, &guests, &n);
	if (rc < 0) {
		say("%s", rc == -ENOENT ? "/etc/pve is not mounted: no guests to be seen" : strerror(-rc));
		return rc == -ENOENT ? EX_UNAVAILABLE : EX_OSERR;
	}
	f->entries = xcalloc(n + 1, sizeof(*f->entries));
	for (; f->n < n; f->n++)
		f->entries[f->n] = entry_of(&guests[f->n], f->node);
	guest_list_free(guests, n);
	return EX_OK;
}

static int print(const struct state_file *f, const struct record_opts *opts)
{
	struct record_writer *w = record_stdout(fields, ARRAY_SIZE(fields), opts);

	if (!w)
		return msg_usage_error();
	for (size_t i = 0; i < f->n; i++) {
		const struct state_entry *e = &f->entries[i];
		char pid[16] = "", start[24] = "";

		if (e->pid)
			snprintf(pid, sizeof(pid), "%d", (int)e->pid);
		if (e->start_time)
			snprintf(start, sizeof(start), "%" PRIu64, e->start_time);
		record_put(w, (const char *const[]){ e->name, e->running ? "running" : "stopped",
			pid, e->node, start, e->title, e->lock, e->template ? "1" : "0",
			e->has_disk ? "1" : "0", e->onboot ? "1" : "0" });
	}
	record_writer_free(w);
	return EX_OK;
}

static int save(const char *file, char *const names[], size_t n,
		const struct record_opts *opts)
{
	_cleanup_(state_done) struct state_file f = { 0 };
	_cleanup_free_ char *own = state_path();
	int code, rc;

	if (strcmp(file, "-") == 0) {
		f.node = guest_local_node();
		code = collect(&f, names, n);
		rc = print(&f, opts);
		return code ? code : rc;
	}
	if (!*file)
		file = own;
	rc = state_stamp(&f);
	if (rc < 0) {
		errno = -rc;
		say_errno("boot id or node name cannot be read");
		return EX_OSERR;
	}
	code = collect(&f, names, n);
	if (code)
		return code;
	rc = state_write(file, &f);
	if (rc < 0) {
		say("%s: state not saved: %s", file, atomicfile_error(rc));
		return EX_IOERR;
	}
	return EX_OK;
}

static bool is_reason(const char *reason)
{
	struct guest_id id;

	return strcmp(reason, "backup") == 0 || strcmp(reason, "vzdump") == 0
		|| (strncmp(reason, "conflict:", 9) == 0 && guest_parse(reason + 9, &id));
}

/* Complete the name ("100") and see whether it can be: allocated, NULL and said. */
static char *journal_name(const char *operand, int *code)
{
	char text[GUEST_STRLEN];
	struct guest_id id;
	struct guest g;
	int rc;

	if (strncmp(operand, "unit/", 5) == 0 && operand[5] && !strchr(operand + 5, '/'))
		return xstrdup(operand);
	/* a guest that was deleted meanwhile can still be forgotten */
	if (guest_parse(operand, &id))
		return xstrdup(operand);
	rc = guest_find(operand, &g);
	if (rc < 0) {
		say("%s: %s", operand, rc == -ENOENT ? "no such guest on this node"
		    : "not a guest (qemu/100, lxc/200 or 100) and no unit/NAME");
		*code = rc == -ENOENT ? EX_NOINPUT : EX_USAGE;
		return NULL;
	}
	guest_format(g.id, text);
	guest_done(&g);
	return xstrdup(text);
}

static int journal(const char *name, const char *reason)
{
	_cleanup_(state_entry_done) struct state_entry e = { 0 };
	_cleanup_(state_done) struct state_file damaged = { 0 };
	int rc;

	e.name = xstrdup(name);
	e.reason = xstrdup(reason);
	e.node = guest_local_node();
	e.since = (int64_t)time(NULL);
	e.is_guest = guest_parse(name, &e.id);
	e.running = e.is_guest ? state_instance(e.id, &e.pid, &e.start_time) : true;
	rc = state_journal_add(&e);
	if (rc == -EBADMSG) {
		rc = restart_journal(&damaged, false);
		if (rc == 0 || rc == -EBADMSG)
			rc = state_journal_add(&e);
	}
	if (rc < 0) {
		errno = -rc;
		say_errno("%s cannot be noted in the journal, so it must not be stopped", name);
		return EX_IOERR;
	}
	return EX_OK;
}

static int forget(const char *name, const char *reason)
{
	int rc = state_journal_remove(name, reason);

	if (rc < 0) {
		errno = -rc;
		say_errno("%s cannot be taken out of the journal", name);
		return rc == -EBADMSG ? EX_DATAERR : EX_IOERR;
	}
	return EX_OK;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "journal", no_argument, NULL, OPT_JOURNAL },
		{ "forget", no_argument, NULL, OPT_FORGET },
		{ "quiet", no_argument, NULL, 'q' },
		{ "root", required_argument, NULL, 'R' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	_cleanup_free_ char *name = NULL;
	struct record_opts opts = { 0 };
	int c, mode = 0, n, code = EX_OK;

	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "qR:hV", longopts, NULL)) != -1) {
		if (record_opt(&opts, c, optarg))
			continue;
		switch (c) {
		case OPT_JOURNAL:
		case OPT_FORGET:
			if (mode && mode != c) {
				say("--journal and --forget exclude each other");
				return msg_usage_error();
			}
			mode = c;
			break;
		case 'q': msg_level = -1; break;
		case 'R': root_set(optarg); break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default: return msg_usage_error();
		}
	}
	n = argc - optind;
	if (!mode) {
		const char *file = n ? argv[optind] : "";

		if (n && !*file) {
			say("FILE is empty");
			return msg_usage_error();
		}
		code = save(file, argv + optind + 1, n ? (size_t)n - 1 : 0, &opts);
		return close_stdout() ? code : EX_IOERR;
	}
	if (mode == OPT_JOURNAL ? n != 2 : n < 1 || n > 2) {
		say("%s", mode == OPT_JOURNAL ? "--journal needs GUEST and REASON"
		    : "--forget needs GUEST and takes one REASON");
		return msg_usage_error();
	}
	if (n == 2 && !is_reason(argv[optind + 1])) {
		say("no such reason: %s", argv[optind + 1]);
		return msg_usage_error();
	}
	name = journal_name(argv[optind], &code);
	if (!name)
		return code == EX_USAGE ? msg_usage_error() : code;
	return mode == OPT_JOURNAL ? journal(name, argv[optind + 1])
		: forget(name, n == 2 ? argv[optind + 1] : NULL);
}
