/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/jobs.h"

enum { FILE_MAX = 1024 * 1024 };	/* pmxcfs holds no longer file */

static const char blanks[] = " \t\r\n\v\f";

/* Cut the next line out of *text; NULL at the end. */
static char *next_line(char **text)
{
	char *line = *text, *end;

	if (!line || !*line)
		return NULL;
	end = strchr(line, '\n');
	*text = end ? end + 1 : NULL;
	if (end)
		*end = '\0';
	return line;
}

/* Cut blanks off both ends. */
static char *trim(char *s)
{
	size_t len;

	s += strspn(s, blanks);
	len = strlen(s);
	while (len && strchr(blanks, s[len - 1]))
		len--;
	s[len] = '\0';
	return s;
}

static void set(char **field, const char *value)
{
	free(*field);
	*field = *value ? xstrdup(value) : NULL;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Add the VMIDs of a list to an array; what is none is left out, as PVE does. */
static void add_vmids(uint32_t **vmids, size_t *n, const char *list)
{
	for (;;) {
		_cleanup_free_ char *word = NULL;
		uint32_t vmid;
		size_t len;

		list += strspn(list, ",; \t");
		len = strcspn(list, ",; \t");
		if (len == 0)
			break;
		word = xstrndup(list, len);
		list += len;
		if (!guest_parse_vmid(word, &vmid))
			continue;
		*vmids = xreallocarray(*vmids, *n + 1, sizeof(**vmids));
		(*vmids)[(*n)++] = vmid;
	}
	if (*n)
		qsort(*vmids, *n, sizeof(**vmids), compare_u32);
}

static bool has_vmid(const uint32_t *vmids, size_t n, uint32_t vmid)
{
	return n && bsearch(&vmid, vmids, n, sizeof(vmid), compare_u32);
}

static void job_set(struct job *job, const char *key, const char *value)
{
	if (strcmp(key, "enabled") == 0)
		job->enabled = strcmp(value, "0") != 0;
	else if (strcmp(key, "all") == 0)
		job->all = strcmp(value, "0") != 0;
	else if (strcmp(key, "schedule") == 0)
		set(&job->schedule, value);
	else if (strcmp(key, "mode") == 0)
		set(&job->mode, value);
	else if (strcmp(key, "node") == 0)
		set(&job->node, value);
	else if (strcmp(key, "pool") == 0)
		set(&job->pool, value);
	else if (strcmp(key, "script") == 0)
		set(&job->script, value);
	else if (strcmp(key, "storage") == 0)
		set(&job->storage, value);
	else if (strcmp(key, "vmid") == 0)
		add_vmids(&job->vmids, &job->n_vmids, value);
	else if (strcmp(key, "exclude") == 0)
		add_vmids(&job->exclude, &job->n_exclude, value);
}

static struct job *job_add(struct job **jobs, size_t *n, char *id)
{
	struct job *job;

	*jobs = xreallocarray(*jobs, *n + 1, sizeof(**jobs));
	job = &(*jobs)[(*n)++];
	*job = (struct job){ .id = id, .enabled = true };
	return job;
}

static void parse_jobs_cfg(char *text, struct job **jobs, size_t *n)
{
	struct job *job = NULL;

	for (char *line; (line = next_line(&text)); ) {
		bool indented = *line == ' ' || *line == '\t';
		char *word = trim(line), *rest;

		if (*word == '#')
			continue;
		if (!*word) {
			job = NULL;
			continue;
		}
		rest = word + strcspn(word, blanks);
		if (*rest)
			*rest++ = '\0';
		rest = trim(rest);
		if (indented) {
			if (job)
				job_set(job, word, rest);
			continue;
		}
		job = NULL;
		if (strcmp(word, "vzdump:") == 0)
			job = job_add(jobs, n, xstrdup(rest));
	}
}

/* "30 2 * * *" as "02:30", anything less plain as it stands. */
static char *cron_schedule(char *const f[5])
{
	char *end;
	unsigned long m = strtoul(f[0], &end, 10), h;
	bool plain = f[0][0] != '*' && !*end && m < 60;

	h = strtoul(f[1], &end, 10);
	plain = plain && f[1][0] != '*' && !*end && h < 24;
	if (plain && strcmp(f[2], "*") == 0 && strcmp(f[3], "*") == 0) {
		bool daily = strcmp(f[4], "*") == 0;

		return xasprintf("%s%s%02lu:%02lu", daily ? "" : f[4],
				 daily ? "" : " ", h, m);
	}
	return xasprintf("%s %s %s %s %s", f[0], f[1], f[2], f[3], f[4]);
}

/* MINUTE HOUR DAY MONTH WEEKDAY root vzdump [VMID...] [--OPTION VALUE]... */
static void parse_cron(char *text, struct job **jobs, size_t *n)
{
	unsigned long number = 0;

	for (char *line; (line = next_line(&text)); ) {
		char *field[7] = { NULL }, *save = NULL, *word, *key = NULL;
		struct job *job;
		int i = 0;

		number++;
		line = trim(line);
		if (!*line || *line == '#')
			continue;
		for (word = strtok_r(line, blanks, &save); word;
		     word = strtok_r(NULL, blanks, &save)) {
			field[i++] = word;
			if (i == 7)
				break;
		}
		if (i < 7 || strcmp(field[6], "vzdump") != 0)
			continue;
		job = job_add(jobs, n, xasprintf("vzdump.cron:%lu", number));
		job->schedule = cron_schedule(field);
		while ((word = strtok_r(NULL, blanks, &save))) {
			if (*word == '-') {
				char *value;

				if (key)
					job_set(job, key, "1");
				key = word + strspn(word, "-");
				value = strchr(key, '=');
				if (!value)
					continue;
				*value++ = '\0';
				job_set(job, key, value);
				key = NULL;
			} else if (key) {
				job_set(job, key, word);
				key = NULL;
			} else {
				add_vmids(&job->vmids, &job->n_vmids, word);
			}
		}
		if (key)
			job_set(job, key, "1");
	}
}

/* 1 = read, 0 = there is no such file, or -errno with *failed set to the path. */
static int read_text(const char *name, char **text, char **failed)
{
	_cleanup_free_ char *path = root_path("%s", name);
	int err;

	*text = readfile_string(path, FILE_MAX);
	if (*text)
		return 1;
	err = errno;
	if (err == ENOENT)
		return 0;
	if (failed)
		*failed = TAKE_PTR(path);
	return -err;
}

int jobs_read(struct job **jobs, size_t *n, char **path)
{
	static const struct {
		const char *name;
		void (*parse)(char *text, struct job **jobs, size_t *n);
	} files[] = {
		{ "/etc/pve/jobs.cfg", parse_jobs_cfg },
		{ "/etc/pve/vzdump.cron", parse_cron },
	};

	*jobs = NULL;
	*n = 0;
	*path = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *text = NULL;
		int err = read_text(files[i].name, &text, path);

		if (err < 0) {
			jobs_free(*jobs, *n);
			*jobs = NULL;
			*n = 0;
			return err;
		}
		if (err)
			files[i].parse(text, jobs, n);
	}
	return 0;
}

void jobs_free(struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(jobs[i].id);
		free(jobs[i].schedule);
		free(jobs[i].mode);
		free(jobs[i].node);
		free(jobs[i].pool);
		free(jobs[i].script);
		free(jobs[i].storage);
		free(jobs[i].vmids);
		free(jobs[i].exclude);
	}
	free(jobs);
}

bool job_is_for_node(const struct job *job, const char *node)
{
	return !job->node || strcmp(job->node, node) == 0;
}

int job_pool_members(const char *pool, uint32_t **vmids, size_t *n)
{
	_cleanup_free_ char *text = NULL;
	char *rest;
	int err = read_text("/etc/pve/user.cfg", &text, NULL);

	*vmids = NULL;
	*n = 0;
	if (err < 0)
		return err;
	if (!err)
		return -ENOENT;
	rest = text;
	/* pool:NAME:COMMENT:VMIDS:STORAGES: */
	for (char *line; (line = next_line(&rest)); ) {
		char *field[4], *at = line;
		int i;

		for (i = 0; i < 4 && at; i++)
			field[i] = strsep(&at, ":");
		if (i < 4 || strcmp(trim(field[0]), "pool") != 0
		    || strcmp(trim(field[1]), pool) != 0)
			continue;
		add_vmids(vmids, n, field[3]);
		return 0;
	}
	return -ENOENT;
}

int job_select(const struct job *job, const struct guest *guests, size_t n_guests,
	       struct guest_id **selected, size_t *n)
{
	_cleanup_free_ uint32_t *pool = NULL;
	size_t n_pool = 0;
	int err = 0;

	*selected = xcalloc(n_guests + 1, sizeof(**selected));
	*n = 0;
	if (job->pool)
		err = job_pool_members(job->pool, &pool, &n_pool);
	for (size_t i = 0; i < n_guests; i++) {
		uint32_t vmid = guests[i].id.vmid;
		bool in;

		if (job->pool)
			in = has_vmid(pool, n_pool, vmid);
		else if (job->n_vmids)
			in = has_vmid(job->vmids, job->n_vmids, vmid);
		else	/* a list of exclusions alone means all others */
			in = (job->all || job->n_exclude)
				&& !has_vmid(job->exclude, job->n_exclude, vmid);
		if (in)
			(*selected)[(*n)++] = guests[i].id;
	}
	if (*n)
		qsort(*selected, *n, sizeof(**selected), guest_compare_vmid);
	return err;
}

int job_defaults_read(struct job_defaults *d)
{
	_cleanup_free_ char *text = NULL;
	char *rest;
	int err;

	*d = (struct job_defaults){ 0 };
	err = read_text("/etc/vzdump.conf", &text, NULL);
	if (err <= 0)
		return err;
	rest = text;
	for (char *line; (line = next_line(&rest)); ) {
		char *key = trim(line), *value = strchr(key, ':');

		if (*key == '#' || !value)
			continue;
		*value++ = '\0';
		value = trim(value);
		if (!*value)
			continue;
		if (strcmp(key, "script") == 0)
			set(&d->script, value);
		else if (strcmp(key, "mode") == 0)
			set(&d->mode, value);
		else if (strcmp(key, "hookscript") == 0)
			d->hookscript = true;
	}
	return 0;
}

void job_defaults_done(struct job_defaults *d)
{
	free(d->script);
	free(d->mode);
	*d = (struct job_defaults){ 0 };
}
