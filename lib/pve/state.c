/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/record.h"
#include "base/root.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "pve/state.h"

enum {
	FILE_MAX = 16 << 20,
	FIELDS_MAX = 16,
};

char *state_path(void)
{
	return root_path(STATE_DIR "/state");
}

char *state_journal_path(void)
{
	return root_path(STATE_DIR "/journal");
}

char *state_drivers_dir(void)
{
	return root_path(STATE_DIR "/drivers");
}

void state_entry_done(struct state_entry *e)
{
	free(e->name);
	free(e->node);
	free(e->reason);
	free(e->title);
	free(e->lock);
	*e = (struct state_entry){ 0 };
}

bool state_is_backup(const struct state_entry *e)
{
	return e->reason && strcmp(e->reason, "backup") == 0;
}

void state_done(struct state_file *f)
{
	for (size_t i = 0; i < f->n; i++)
		state_entry_done(&f->entries[i]);
	free(f->entries);
	free(f->node);
	*f = (struct state_file){ 0 };
}

static bool number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' && *value <= max;
}

/* Take \xHH back, in place. */
static bool unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s == '\\') {
			if (s[1] != 'x' || text_hex_digit(s[2]) < 0 ||
			    text_hex_digit(s[3]) < 0)
				return false;
			*out++ = (char)(text_hex_digit(s[2]) << 4 | text_hex_digit(s[3]));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
	return true;
}

static size_t split(char *line, char *fields[FIELDS_MAX])
{
	size_t n = 0;

	while (n < FIELDS_MAX) {
		fields[n] = strsep(&line, "\t");
		if (!fields[n])
			break;
		n++;
	}
	return n;
}

static char *dup_or_null(const char *s)
{
	return strcmp(s, "-") == 0 || *s == '\0' ? NULL : xstrdup(s);
}

static bool parse_entry(char *line, bool journal, struct state_entry *e)
{
	char *v[FIELDS_MAX];
	size_t n = split(line, v);
	uint64_t pid = 0, start = 0, since = 0;

	if (n < 4 || (journal && n < 7))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!unescape(v[i]))
			return false;
	if (strcmp(v[2], "-") != 0 && !number(v[2], INT32_MAX, &pid))
		return false;
	if (n > 4 && strcmp(v[4], "-") != 0 && !number(v[4], UINT64_MAX, &start))
		return false;
	if (strcmp(v[1], "running") != 0 && strcmp(v[1], "stopped") != 0)
		return false;
	if (journal && !number(v[6], INT64_MAX, &since))
		return false;
	*e = (struct state_entry){ .running = strcmp(v[1], "running") == 0,
		.pid = (pid_t)pid, .start_time = start, .since = (int64_t)since };
	e->is_guest = guest_parse(v[0], &e->id);
	if (!e->is_guest && (strncmp(v[0], "unit/", 5) != 0 || strchr(v[0] + 5, '/') || !v[0][5]))
		return false;
	e->name = xstrdup(v[0]);
	e->node = dup_or_null(v[3]);
	if (journal)
		e->reason = dup_or_null(v[5]);
	if (!journal && n >= 10) {
		e->title = dup_or_null(v[5]);
		e->lock = dup_or_null(v[6]);
		e->template = strcmp(v[7], "1") == 0;
		e->has_disk = strcmp(v[8], "1") == 0;
		e->onboot = strcmp(v[9], "1") == 0;
	}
	return true;
}

/* One "#word value" line; 1 when it is the end line, 0, -EBADMSG. */
static int parse_head(char *line, struct state_file *f)
{
	uint64_t a, b;
	char rest;

	if (strncmp(line, "#boot_id ", 9) == 0) {
		if (strlen(line + 9) != sizeof(f->boot_id) - 1)
			return -EBADMSG;
		memcpy(f->boot_id, line + 9, sizeof(f->boot_id));
	} else if (strncmp(line, "#time ", 6) == 0) {
		if (!number(line + 6, INT64_MAX, &a))
			return -EBADMSG;
		f->time = (int64_t)a;
	} else if (strncmp(line, "#node ", 6) == 0) {
		if (!unescape(line + 6))
			return -EBADMSG;
		free(f->node);
		f->node = dup_or_null(line + 6);
	} else if (strncmp(line, "#job ", 5) == 0) {
		/* it says how the entries are to be read */
		if (sscanf(line, "#job %" SCNu64 " %" SCNu64 "%c", &a, &b, &rest) != 2
		    || a > INT32_MAX || f->n)
			return -EBADMSG;
		f->journal = true;
		f->job_pid = (pid_t)a;
		f->job_start = b;
	} else if (strncmp(line, "#end ", 5) == 0) {
		return number(line + 5, SIZE_MAX, &a) && a == f->n ? 1 : -EBADMSG;
	}
	return 0;
}

int state_read(const char *path, struct state_file *f)
{
	_cleanup_free_ char *text = NULL;
	size_t room = 0;
	int rc = 0, head = 0;
	char *rest, *line;

	*f = (struct state_file){ 0 };
	text = readfile_string(path, FILE_MAX);
	if (!text)
		return -errno;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		struct state_entry e;

		if (!rest && *line == '\0')
			break;		/* after the last LF */
		if (!rest || head == 1) {
			rc = -EBADMSG;	/* cut in a line, or more after the end */
			break;
		}
		if (*line == '#') {
			head = parse_head(line, f);
			if (head < 0)
				rc = -EBADMSG;
		} else if (parse_entry(line, f->journal, &e)) {
			f->entries = xgrow(f->entries, f->n, &room, sizeof(e));
			f->entries[f->n++] = e;
		} else {
			rc = -EBADMSG;
		}
	}
	return head != 1 || !f->boot_id[0] ? -EBADMSG : rc;
}

static void put_field(FILE *out, const char *value)
{
	putc('\t', out);
	if (!value || !*value)
		putc('-', out);
	else
		record_escape(out, value);
}

static void put_entry(FILE *out, bool journal, const struct state_entry *e)
{
	record_escape(out, e->name);
	fputs(e->running ? "\trunning" : "\tstopped", out);
	if (e->pid)
		fprintf(out, "\t%d", (int)e->pid);
	else
		fputs("\t-", out);
	put_field(out, e->node);
	if (e->start_time)
		fprintf(out, "\t%" PRIu64, e->start_time);
	else
		fputs("\t-", out);
	if (journal) {
		put_field(out, e->reason);
		fprintf(out, "\t%" PRId64, e->since);
	} else {
		put_field(out, e->title);
		put_field(out, e->lock);
		fprintf(out, "\t%d\t%d\t%d", e->template, e->has_disk, e->onboot);
	}
	putc('\n', out);
}

static int make_dir_of(const char *path)
{
	_cleanup_free_ char *dir = xstrdup(path);
	_cleanup_free_ char *ours = root_path(STATE_DIR);
	char *slash = strrchr(dir, '/');

	if (!slash)
		return 0;
	*slash = '\0';
	/* somebody else's directory keeps its mode, and is not made for him */
	return strcmp(dir, ours) == 0 ? atomicfile_state_dir(dir) : 0;
}

int state_write(const char *path, const struct state_file *f)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	FILE *out;
	int rc;

	rc = make_dir_of(path);
	if (rc < 0)
		return rc;
	out = open_memstream(&text, &len);
	if (!out)
		return -errno;
	fprintf(out, "#boot_id %s\n#time %" PRId64 "\n#node ", f->boot_id, f->time);
	record_escape(out, f->node ? f->node : "-");
	putc('\n', out);
	if (f->journal)
		fprintf(out, "#job %d %" PRIu64 "\n", (int)f->job_pid, f->job_start);
	for (size_t i = 0; i < f->n; i++)
		put_entry(out, f->journal, &f->entries[i]);
	fprintf(out, "#end %zu\n", f->n);
	if (fclose(out) != 0)
		return -ENOMEM;
	return atomicfile_write(path, text, len, 0600);
}

static int boot_id(char id[37])
{
	_cleanup_free_ char *path = root_path("/proc/sys/kernel/random/boot_id");
	_cleanup_free_ char *text = readfile_string(path, 4096);

	if (!text)
		return -errno;
	if (strlen(text) < 36)
		return -EBADMSG;
	memcpy(id, text, 36);
	id[36] = '\0';
	return 0;
}

int state_stamp(struct state_file *f)
{
	int rc = boot_id(f->boot_id);

	if (rc < 0)
		return rc;
	f->time = (int64_t)time(NULL);
	free(f->node);
	f->node = guest_local_node();
	return f->node ? 0 : -ENOENT;
}

bool state_is_this_boot(const struct state_file *f)
{
	char now[37];

	return boot_id(now) == 0 && strcmp(now, f->boot_id) == 0;
}
