/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "host/setupreport.h"

int setupreport_exit(int err)
{
	switch (-err) {
	case 0:		return EX_OK;
	case EINVAL:	return EX_USAGE;
	case EBADMSG:	return EX_DATAERR;
	case ENOENT:	return EX_NOINPUT;
	case ENODEV:
	case EBUSY:
	case ESTALE:	return EX_UNAVAILABLE;
	case EEXIST:	return EX_CANTCREAT;
	case EAGAIN:
	case EINTR:	return EX_TEMPFAIL;
	case EACCES:
	case EPERM:	return EX_NOPERM;
	case EIO:
	case EDQUOT:
	case ENOSPC:
	case EROFS:	return EX_IOERR;
	default:	return EX_OSERR;
	}
}

int setupreport_step_exit(int err)
{
	switch (-err) {
	case EACCES:
	case EPERM:	return EX_NOPERM;
	case EINTR:
	case ESTALE:	return EX_TEMPFAIL;
	case ENOMEM:	return EX_OSERR;
	default:	return EX_IOERR;
	}
}

static void print_file(const struct hostfile *f, bool back, void *arg)
{
	(void)arg;
	printf("%s %s\n", back ? "put back" : f->data ? "write" : "remove", f->path);
}

static void print_command(const char *text, bool back, void *arg)
{
	(void)arg;
	printf("%s%s %s\n", hostcmd_are_run() ? "run" : "to run:", back ? " again" : "",
	       text);
}

void setupreport_failed(const char *subject, int err, bool back, void *arg)
{
	(void)arg;
	errno = -err;
	if (err == -ESTALE)
		say("%s: changed by somebody else just now", subject);
	else if (err == -EINTR)
		say("%s: told to end", subject);
	else if (err < 0)
		say_errno("%s", subject);
	else if (err == HOSTCMD_SKIPPED)
		say("%s: every EFI system partition was skipped; see 'proxmox-boot-tool status'",
		    subject);
	else
		say("%s: exit status %d%s", subject, err, back ? " once more" : "");
}

static void say_left(const char *path, void *arg)
{
	(void)arg;
	say_warn("%s: changed by somebody else since; left as it is", path);
}

const struct transaction_report setup_report = {
	print_file, print_command, setupreport_failed, say_left, NULL,
};

void setupreport_plan(const struct transaction *t)
{
	for (size_t i = 0; i < t->to.n; i++)
		print_file(&t->to.f[i], false, NULL);
	for (size_t i = 0; i < t->cmds.n; i++) {
		_cleanup_free_ char *text = hostcmd_text(&t->cmds.argv[i]);

		print_command(text, false, NULL);
	}
}

enum { INDENT = 19, WIDTH_MIN = 60, WIDTH_MAX = 100 };	/* columns */

static int terminal_width(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0)
		return 80;
	if (ws.ws_col > WIDTH_MAX)
		return WIDTH_MAX;
	return ws.ws_col < WIDTH_MIN ? WIDTH_MIN : ws.ws_col;
}

/* Print text from column INDENT on, broken between words. */
static void print_wrapped(const char *text, int width)
{
	int at = INDENT;

	while (*text) {
		size_t len = strcspn(text, " ");
		_cleanup_free_ char *word = xstrndup(text, len);

		if (at > INDENT && at + 1 + (int)len > width) {
			printf("\n%*s", INDENT, "");
			at = INDENT;
		} else if (at > INDENT) {
			putchar(' ');
			at++;
		}
		text_put_shown(stdout, word);
		at += (int)len;
		text += len + strspn(text + len, " ");
	}
	putchar('\n');
}

static void print_check(const struct hostcheck *hc)
{
	int width = terminal_width();

	for (size_t i = 0; i < hc->n; i++) {
		const struct hostcheck_line *l = &hc->lines[i];

		printf("%-4s  %-11s  ", hostcheck_level_name(l->level), l->topic);
		print_wrapped(l->what, width);
		if (!l->how)
			continue;
		printf("%*s", INDENT, "");
		print_wrapped(l->how, width);
	}
}

int setupreport_check(const struct hostcheck *hc, const struct record_opts *opts)
{
	static const struct record_field fields[] = {
		{ "level", RECORD_STRING }, { "topic", RECORD_STRING },
		{ "what", RECORD_STRING }, { "how", RECORD_STRING },
	};
	bool plain = !opts->null && !opts->header && !opts->json && !opts->raw &&
		     !opts->fields;
	struct record_writer *w;

	if (plain && isatty(STDOUT_FILENO)) {
		print_check(hc);
		return EX_OK;
	}
	w = record_stdout(fields, ARRAY_SIZE(fields), opts);
	if (!w)
		return msg_usage_error();
	for (size_t i = 0; i < hc->n; i++) {
		const struct hostcheck_line *l = &hc->lines[i];
		const char *const values[] = {
			hostcheck_level_name(l->level), l->topic, l->what, l->how,
		};

		record_put(w, values);
	}
	record_writer_free(w);
	return EX_OK;
}
