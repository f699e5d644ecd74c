/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doctor-redact - take names and addresses out of what gpu-doctor bundles */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/redact.h"

static void usage(FILE *out)
{
	fputs("Usage: doctor-redact NAMES\n"
	      "Copy standard input to standard output without names, addresses and serial\n"
	      "numbers. A part of gpu-doctor(8).\n\n"
	      "NAMES is a file of lines KIND<TAB>NAME; KIND is guest, host, domain,\n"
	      "user, job, mapping, pool or storage.\n\n"
	      "  -h, --help     print this help and exit\n"
	      "  -V, --version  print the version and exit\n", out);
}

/* The line without its end; -1 at the end of the file. */
static ssize_t next_line(char **line, size_t *room, FILE *in)
{
	ssize_t len = getline(line, room, in);

	if (len > 0 && (*line)[len - 1] == '\n')
		(*line)[--len] = '\0';
	return len;
}

static void take_names(struct redactor *r, FILE *in)
{
	static const char *const kinds[] = {
		"guest", "host", "domain", "user",
		"job", "mapping", "pool", "storage",
	};
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	while (next_line(&line, &room, in) >= 0) {
		char *tab = strchr(line, '\t');

		if (!tab)
			continue;
		*tab = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (strcmp(line, kinds[i]) == 0)
				redactor_add(r, kinds[i], tab + 1);
	}
}

static int read_names(struct redactor *r, const char *path)
{
	_cleanup_fclose_ FILE *in = fopen(path, "re");

	if (!in) {
		say_errno("%s", path);
		return errno == ENOENT ? EX_NOINPUT : EX_OSERR;
	}
	take_names(r, in);
	if (ferror(in)) {
		say_errno("%s", path);
		return EX_IOERR;
	}
	return EX_OK;
}

static int copy(struct redactor *r)
{
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	while (next_line(&line, &room, stdin) >= 0) {
		_cleanup_free_ char *text = redactor_line(r, line);

		puts(text);
	}
	if (ferror(stdin)) {
		say_errno("standard input");
		return EX_IOERR;
	}
	return EX_OK;
}

int main(int argc, char *argv[])
{
	static const struct option longopts[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct redactor *r;
	int c, code;

	while ((c = getopt_long(argc, argv, "hV", longopts, NULL)) != -1) {
		switch (c) {
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:  return msg_usage_error();
		}
	}
	if (argc - optind != 1) {
		say("which file of names?");
		return msg_usage_error();
	}
	r = redactor_new();
	code = read_names(r, argv[optind]);
	if (code == EX_OK)
		code = copy(r);
	redactor_free(r);
	return close_stdout() ? code : EX_IOERR;
}
