/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors, where a runtime's caller looks for them: the last one in --log counts. */
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/text.h"
#include "base/xalloc.h"

#include "cuda-runc.h"

enum { LOG_MAX = 16 << 20 };

/* Text that a JSON string and a terminal can hold; allocated. */
static char *shown(const char *text)
{
	char *buf = NULL;
	size_t len;
	FILE *out = open_memstream(&buf, &len);

	xcheck(out);
	text_put_shown(out, text);
	fclose(out);
	return xcheck(buf);
}

/* A line as logrus writes it: JSON, or key=value. */
static char *log_line(const struct call *call, const char *text)
{
	char when[sizeof("2026-11-21T10:00:00Z")];
	_cleanup_free_ char *quoted = NULL;
	time_t now = time(NULL);
	json_t *json = json_string(text);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	quoted = xcheck(json_dumps(json, JSON_ENCODE_ANY));
	json_decref(json);
	return call->log_json ?
		xasprintf("{\"level\":\"error\",\"msg\":%s,\"time\":\"%s\"}\n", quoted, when) :
		xasprintf("time=\"%s\" level=error msg=%s\n", when, quoted);
}

static bool put_log(const struct call *call, const char *text)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_close_ int fd = -1;

	if (!call->log || !*call->log)
		return false;
	fd = open(call->log, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0644);
	if (fd < 0)
		return false;
	line = log_line(call, text);
	return write(fd, line, strlen(line)) == (ssize_t)strlen(line);
}

void complain(const struct call *call, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL, *clean = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	clean = shown(text);
	if (!put_log(call, clean) || !call_is_restore(call))
		say("%s", clean);
}

size_t log_size(const struct call *call)
{
	struct stat st;

	return call->log && stat(call->log, &st) == 0 ? (size_t)st.st_size : 0;
}

char *log_error_since(const struct call *call, size_t size)
{
	_cleanup_free_ char *text = call->log_json && call->log ?
		readfile_string(call->log, LOG_MAX) : NULL;
	char *found = NULL;

	if (!text || strlen(text) < size)
		return NULL;
	for (char *line = text + size, *next; *line; line = next) {
		const char *level = NULL, *msg = NULL;
		json_t *json;

		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		json = json_loads(line, 0, NULL);
		if (json && json_unpack(json, "{s:s, s:s}", "level", &level, "msg", &msg) == 0 &&
		    (strcmp(level, "error") == 0 || strcmp(level, "fatal") == 0)) {
			free(found);
			found = xstrdup(msg);
		}
		json_decref(json);
	}
	return found;
}
