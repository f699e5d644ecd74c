/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "host/hostcmd.h"

enum { ASK_TIMEOUT = 60 };	/* s */

void hostcmds_add_argv(struct hostcmds *l, const struct strlist *argv)
{
	struct strlist copy = { 0 };

	for (size_t i = 0; i < l->n; i++)
		if (strlist_equal(&l->argv[i], argv))
			return;
	for (size_t i = 0; i < argv->n; i++)
		strlist_add(&copy, argv->s[i]);
	l->argv = xgrow(l->argv, l->n, &l->room, sizeof(*l->argv));
	l->argv[l->n++] = copy;
}

void hostcmds_add(struct hostcmds *l, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	struct strlist argv = { 0 };
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		strlist_add(&argv, word);
	hostcmds_add_argv(l, &argv);
	strlist_done(&argv);
}

void hostcmds_done(struct hostcmds *l)
{
	for (size_t i = 0; i < l->n; i++)
		strlist_done(&l->argv[i]);
	free(l->argv);
	*l = (struct hostcmds){ 0 };
}

static const char *stand_ins(void)
{
	return root_is_host() ? NULL : secure_getenv("PVE_GPU_COMMANDS");
}

bool hostcmd_are_run(void)
{
	return root_is_host() || stand_ins();
}

char *hostcmd_text(const struct strlist *argv)
{
	char *text =
		hostcmd_are_run() ? xstrdup("") : xasprintf("chroot %s ", root_dir());

	for (size_t i = 0; i < argv->n; i++) {
		char *longer = xasprintf("%s%s%s", text, i ? " " : "", argv->s[i]);

		free(text);
		text = longer;
	}
	return text;
}

/* The program to execute in the place of argv's, allocated. */
static char *program_of(const struct strlist *argv)
{
	const char *name = strrchr(argv->s[0], '/');

	if (stand_ins()) {
		setenv("PVE_GPU_ROOT", root_dir(), 1);
		return xasprintf("%s%s", stand_ins(), name ? name : "/");
	}
	/* "su" leaves a user's path, where half of what they call is missing. */
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	return xstrdup(argv->s[0]);
}

static int run_program(const struct strlist *argv, const struct spawn_opts *opts)
{
	_cleanup_free_ char *program = program_of(argv);
	_cleanup_free_ const char **args = xcalloc(argv->n + 1, sizeof(*args));

	for (size_t i = 0; i < argv->n; i++)
		args[i] = argv->s[i];
	args[0] = program;
	return spawn_run(args, opts);
}

/* What proxmox-boot-tool says of each ESP. */
struct esps {
	bool skipped, done;
};

static void pass_line(const char *line, void *arg)
{
	struct esps *esps = arg;

	esps->skipped = esps->skipped || strstr(line, "skipping");
	esps->done = esps->done || strncmp(line, "Copying and configuring", 23) == 0;
	printf("%s\n", line);
	fflush(stdout);
}

static bool is_pbt(const struct strlist *argv)
{
	const char *name = strrchr(argv->s[0], '/');

	return name && strcmp(name, "/proxmox-boot-tool") == 0;
}

static int kept;

void hostcmd_keep(int fd)
{
	kept = fd;
}

int hostcmd_run(const struct strlist *argv)
{
	struct esps esps = { 0 };
	const struct spawn_opts opts = {
		.pass = !is_pbt(argv), .line = pass_line, .arg = &esps, .keep = kept,
	};
	int rc;

	if (!hostcmd_are_run())
		return 0;
	fflush(stdout);
	rc = run_program(argv, &opts);
	return rc == 0 && esps.skipped && !esps.done ? HOSTCMD_SKIPPED : rc;
}

static void keep_line(const char *line, void *arg)
{
	strlist_add(arg, line);
}

int hostcmd_ask(const struct strlist *argv, struct strlist *lines)
{
	const struct spawn_opts opts = { .timeout = ASK_TIMEOUT,
					 .line = keep_line,
					 .arg = lines };

	return hostcmd_are_run() ? run_program(argv, &opts) : -ENOTSUP;
}
