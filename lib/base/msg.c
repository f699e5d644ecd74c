/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/text.h"

int msg_level;

/*
 * A caller may have closed 0 to 2. A lock or a file of ours must not get one of these
 * numbers, or what we print goes into it. Opened the wrong way round, they fail as
 * closed ones do.
 */
static void __attribute__((constructor)) hold_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

/* Is stderr the stream that systemd names in JOURNAL_STREAM (systemd.exec(5))? */
static bool stderr_is_journal(void)
{
	static int known = -1;
	unsigned long long dev, ino;
	const char *env;
	struct stat st;

	if (known >= 0)
		return known;
	known = 0;
	env = getenv("JOURNAL_STREAM");
	if (env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)dev &&
	    st.st_ino == (ino_t)ino)
		known = 1;
	return known;
}

static void put_line(FILE *out, int priority, const char *text, int err)
{
	if (stderr_is_journal())
		fprintf(out, "<%d>", priority);
	fprintf(out, "%s: ", program_invocation_short_name);
	text_put_shown(out, text);
	if (err)
		fprintf(out, ": %s", strerror(err));
	fputc('\n', out);
}

/* No x*() here: they end up in say() when memory is out. */
static void __attribute__((format(printf, 3, 0)))
vsay(int priority, int err, const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = NULL, *line = NULL;
	size_t len = 0;
	FILE *out;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	out = open_memstream(&line, &len);
	if (out) {
		put_line(out, priority, text ? text : fmt, err);
		if (fclose(out) != 0)
			len = 0;
	}
	fflush(stdout);
	/* One write for one line, so that programs that share a stderr do not mix. */
	if (len)
		fwrite(line, 1, len, stderr);
	else
		put_line(stderr, priority, text ? text : fmt, err);
}

enum { PRIORITY_ERR = 3, PRIORITY_WARNING = 4, PRIORITY_INFO = 6 };

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(PRIORITY_ERR, 0, fmt, ap);
	va_end(ap);
}

void say_errno(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	vsay(PRIORITY_ERR, err, fmt, ap);
	va_end(ap);
	errno = err;
}

void say_warn(const char *fmt, ...)
{
	va_list ap;

	if (msg_level < 0)
		return;
	va_start(ap, fmt);
	vsay(PRIORITY_WARNING, 0, fmt, ap);
	va_end(ap);
}

void say_info(const char *fmt, ...)
{
	va_list ap;

	if (msg_level < 1)
		return;
	va_start(ap, fmt);
	vsay(PRIORITY_INFO, 0, fmt, ap);
	va_end(ap);
}

int msg_usage_error(void)
{
	fprintf(stderr, "Try '%s --help'.\n", program_invocation_short_name);
	return EX_USAGE;
}

void msg_version(void)
{
	printf("%s (%s) %s\n", program_invocation_short_name, PACKAGE_NAME,
	       PACKAGE_VERSION);
}

bool close_stdout(void)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fclose(stdout) != 0)
		failed = true;
	if (!failed)
		return true;
	if (errno)
		say_errno("write error");
	else
		say("write error");
	return false;
}
