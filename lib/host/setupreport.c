/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
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
	default:	return err > 0 ? EX_IOERR : EX_OSERR;
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
	printf("%s%s %s\n", hostcmd_are_run() ? "run" : "to run:", back ? " again" : "", text);
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
