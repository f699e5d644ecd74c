/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-setup - set a host up to give its cards to guests, and undo that */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/record.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/hostcheck.h"
#include "host/setup.h"
#include "host/setupcheck.h"
#include "host/setupreport.h"
#include "host/unidiff.h"
#include "pve/guestcheck.h"

struct opts {
	struct setup_request request;
	struct record_opts record;
	bool dry_run;
	bool reboot;
};

static void usage(FILE *out)
{
	fputs("Usage: vfio-setup check|diff|apply|undo [OPTION]...\n"
	      "Set this host up to give cards to guests; undo takes exactly that back.\n\n"
	      "  -0, --null              check: records end with NUL\n"
	      "  -H, --header            check: first line is \"#level...\"\n"
	      "  -R, --root=DIR          use DIR as the system root\n"
	      "  -a, --all-gpus          all graphics cards\n"
	      "  -b, --blacklist=MODULE  do not load MODULE for a device\n"
	      "  -c, --cmdline=WORD      add WORD to the kernel's command line\n"
	      "  -e, --early             vfio-pci in the initramfs\n"
	      "  -f, --force             override a refusal\n"
	      "  -g, --gpu=ADDR          the card with this function\n"
	      "  -i, --id=VENDOR:DEVICE  cards or functions with this id\n"
	      "  -j, --json              check: one JSON object a line\n"
	      "  -n, --dry-run           print what would be done\n"
	      "  -o, --output=LIST       check: fields, in this order\n"
	      "  -q, --quiet             no warnings\n"
	      "  -r, --raw               check: TAB-separated on a terminal too\n"
	      "      --reboot            reboot afterwards, if one is needed\n"
	      "  -v, --verbose           say more\n"
	      "  -h, --help              print this help and exit\n"
	      "  -V, --version           print the version and exit\n", out);
}

/* Say what a module of lib/host found wrong; the exit code. */
static int refuse(int err, char *error)
{
	_cleanup_free_ char *text = error;

	errno = -err;
	if (text)
		say("%s", text);
	else
		say_errno("failed");
	return setupreport_exit(err);
}

static void say_warnings(const struct setup *s)
{
	for (size_t i = 0; i < s->warnings.n; i++)
		say_warn("%s", s->warnings.s[i]);
}

/* Put back what an earlier run left half-done; EX_OK or an exit code. */
static int heal(struct strlist *made, bool dry_run)
{
	int rc;

	if (!transaction_is_pending())
		return EX_OK;
	if (dry_run) {
		say_warn("an earlier run did not end; what it did would be put back first");
		return EX_OK;
	}
	say_warn("an earlier run did not end; what it did is put back first");
	rc = transaction_heal(&setup_report, made);
	if (rc == 0 || rc == 1)
		return EX_OK;
	if (rc == -EBADMSG)
		say(TRANSACTION_JOURNAL
		    ": not complete; compare the files it names, then remove it");
	else
		say("not all could be put back; when the cause is gone, run vfio-setup again");
	return rc == -EBADMSG ? EX_DATAERR : setupreport_step_exit(rc);
}

static int carry_out(struct setup *s)
{
	int back, rc = transaction_run(&s->t, &setup_report, &back);

	if (rc == 0)
		return EX_OK;
	if (back == 0)
		say("everything is as it was before");
	else
		say("not all could be put back; when the cause is gone, run vfio-setup undo");
	return setupreport_step_exit(rc);
}

/* Say whether a boot is needed and, when asked to, start it. */
static int end_with_boot(const struct setup *s, const struct opts *o, bool changed,
			 bool undo)
{
	static char *words[] = { (char *)"/usr/bin/systemctl", (char *)"reboot" };
	const struct strlist reboot = { words, ARRAY_SIZE(words), 0 };
	int rc;

	if (!changed && (undo || !setup_needs_boot(s))) {
		puts("nothing to change");
		return EX_OK;
	}
	if (!changed && setup_was_booted()) {
		puts("nothing to change; not all is in effect: vfio-setup check says what is not");
		return EX_OK;
	}
	printf("%s\n", changed ? "a reboot puts it into effect" :
	       "nothing to change; a reboot puts it into effect");
	if (!o->reboot)
		return EX_OK;
	if (!hostcmd_are_run()) {
		say_warn("another root is used: no reboot");
		return EX_OK;
	}
	puts("run /usr/bin/systemctl reboot");
	if (o->dry_run)
		return EX_OK;
	rc = hostcmd_run(&reboot);
	if (rc)
		setupreport_failed(words[0], rc, false, NULL);
	return rc ? setupreport_step_exit(rc) : EX_OK;
}

/* Plan what is asked for; EX_OK or an exit code. */
static int plan(struct setup *s, const struct opts *o, bool undo, bool force)
{
	char *error = NULL;
	int rc = setup_load(s, &error);

	if (rc == 0 && !undo && !s->applied && request_is_empty(&o->request)) {
		say("nothing is applied yet: --gpu, --id, --all-gpus, --cmdline or --blacklist is needed");
		return msg_usage_error();
	}
	if (rc == 0 && undo) {
		rc = setup_plan_undo(s, force, &error);
	} else if (rc == 0) {
		rc = setup_choose(s, &o->request, &error);
		if (rc == 0)
			rc = setup_plan_apply(s, force, &error);
	}
	return rc < 0 ? refuse(rc, error) : EX_OK;
}

/* apply and undo, under the lock. */
static int change(const struct opts *o, bool undo, struct strlist *made)
{
	struct setup s = { 0 };
	bool changed;
	int code = heal(made, o->dry_run);

	if (code != EX_OK)
		return code;
	for (size_t i = 0; i < made->n; i++)
		strlist_add(&s.made, made->s[i]);
	code = plan(&s, o, undo, o->request.force);
	changed = setup_has_changes(&s);
	if (code == EX_OK && s.t.cmds.n && s.loader.no_esp) {
		say("no EFI system partition of %s is there: proxmox-boot-tool status: %s",
		    BOOTLOADER_PBT_UUIDS, s.loader.skipped);
		code = EX_IOERR;
	}
	if (code == EX_OK && changed)
		say_warnings(&s);
	if (code == EX_OK && o->dry_run)
		setupreport_plan(&s.t);
	else if (code == EX_OK && s.t.to.n)
		code = carry_out(&s);
	if (code == EX_OK && undo)
		for (size_t i = 0; i < s.old.dirs.n; i++)
			strlist_add_new(made, s.old.dirs.s[i]);
	if (code == EX_OK)
		code = end_with_boot(&s, o, changed, undo);
	setup_done(&s);
	return code;
}

static int do_change(const struct opts *o, bool undo)
{
	struct strlist made = { 0 };
	int lock, code;

	if (o->dry_run) {
		code = change(o, undo, &made);
		strlist_done(&made);
		return code;
	}
	lock = transaction_lock(&made);
	if (lock == -EAGAIN) {
		say("another vfio-setup is at work, or a command that one began");
		code = EX_TEMPFAIL;
	} else if (lock < 0) {
		_cleanup_free_ char *path = root_path(MANIFEST_DIR);

		errno = -lock;
		say_errno("%s", path);
		code = setupreport_exit(lock);
	} else {
		hostcmd_keep(lock);
		code = change(o, undo, &made);
		hostcmd_keep(0);
		transaction_unlock(lock, &made);
	}
	strlist_done(&made);
	return code;
}

static int do_diff(const struct opts *o)
{
	struct setup s = { 0 };
	/* What was changed by hand is just what one wants to see. */
	int code = plan(&s, o, false, true), rc = 0;

	if (code == EX_OK && setup_has_changes(&s)) {
		say_warnings(&s);
		code = 1;
	}
	for (size_t i = 0; code <= 1 && rc == 0 && i < s.t.to.n; i++) {
		if (strcmp(s.t.to.f[i].path, MANIFEST_PATH) == 0)
			continue;
		rc = unidiff_print(&s.t.from.f[i], &s.t.to.f[i]);
		if (rc < 0) {
			errno = -rc;
			say_errno("/usr/bin/diff");
			code = EX_OSERR;
		}
	}
	setup_done(&s);
	return code;
}

static void add_guest_line(bool good, char *what, char *how, void *arg)
{
	hostcheck_add(arg, good ? HOSTCHECK_OK : HOSTCHECK_WARN, "guests", what, how);
}

static int do_check(const struct opts *o)
{
	struct hostcheck hc = { 0 };
	struct setup s = { 0 };
	char *error = NULL;
	int rc = setup_load(&s, &error), code;

	if (rc < 0) {
		code = refuse(rc, error);
	} else {
		setupcheck_run(&s, &o->request, &hc);
		rc = guestcheck_run(add_guest_line, &hc);
		if (rc < 0)
			add_guest_line(false,
				       xasprintf("cannot be read: %s", strerror(-rc)),
				       NULL, &hc);
		code = setupreport_check(&hc, &o->record);
		if (code == EX_OK)
			code = hostcheck_exit(&hc);
	}
	hostcheck_done(&hc);
	setup_done(&s);
	return code;
}

static int run(struct opts *o, int n, char **operands)
{
	const char *command = n ? operands[0] : "";

	if (n != 1) {
		say(n ? "%s: more than one command" : "no command is given%s",
		    n ? operands[1] : "");
		return msg_usage_error();
	}
	if (strcmp(command, "check") != 0 && strcmp(command, "diff") != 0
	    && strcmp(command, "apply") != 0 && strcmp(command, "undo") != 0) {
		say("%s: not a command", command);
		return msg_usage_error();
	}
	if (strcmp(command, "undo") == 0 &&
	    (!request_is_empty(&o->request) || o->request.early)) {
		say("undo takes back all that apply did: no cards, words or modules are given to it");
		return msg_usage_error();
	}
	if (root_is_host() && geteuid() != 0) {
		say("needs root");
		return EX_NOPERM;
	}
	if (*command == 'c')
		return do_check(o);
	return *command == 'd' ? do_diff(o) : do_change(o, *command == 'u');
}

int main(int argc, char *argv[])
{
	enum { OPT_REBOOT = 256 };
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "all-gpus", no_argument, NULL, 'a' },
		{ "blacklist", required_argument, NULL, 'b' },
		{ "cmdline", required_argument, NULL, 'c' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "early", no_argument, NULL, 'e' },
		{ "force", no_argument, NULL, 'f' },
		{ "gpu", required_argument, NULL, 'g' },
		{ "help", no_argument, NULL, 'h' },
		{ "id", required_argument, NULL, 'i' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "reboot", no_argument, NULL, OPT_REBOOT },
		{ "root", required_argument, NULL, 'R' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct opts o = { 0 };
	const char *wrong = NULL;
	int c, code;

	while (!wrong &&
	       (c = getopt_long(argc, argv, RECORD_SHORTOPTS "R:ab:c:efg:i:nqvhV",
				longopts, NULL)) != -1) {
		switch (c) {
		case 'R': root_set(optarg); break;
		case 'a': o.request.all_gpus = true; break;
		case 'b':
		case 'c':
		case 'g':
		case 'i': wrong = request_add(&o.request, c, optarg); break;
		case 'e': o.request.early = true; break;
		case 'f': o.request.force = true; break;
		case 'n': o.dry_run = true; break;
		case 'q': msg_level = -1; break;
		case 'v': msg_level++; break;
		case OPT_REBOOT: o.reboot = true; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:
			if (!record_opt(&o.record, c, optarg))
				return msg_usage_error();
		}
	}
	if (wrong) {
		say("%s: %s", optarg, wrong);
		code = msg_usage_error();
	} else {
		code = run(&o, argc - optind, argv + optind);
	}
	request_done(&o.request);
	if (!close_stdout() && code == EX_OK)
		code = EX_IOERR;
	return code;
}
