/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/cgroupfs.h"
#include "gpu/cudaproc.h"
#include "gpu/procmaps.h"

enum {
	STATUS_MAX = 64 * 1024,
	ENVIRON_MAX = 4 * 1024 * 1024,
};

int cudaproc_parse_pid(const char *text, pid_t *pid)
{
	long value;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return -EINVAL;
	errno = 0;
	value = strtol(text, NULL, 10);
	if (errno || value > INT_MAX)
		return -ERANGE;
	if (value == 0)
		return -EINVAL;
	*pid = (pid_t)value;
	return 0;
}

/* Start of the value of "KEY:\tVALUE"; NULL when there is no such line. */
static const char *status_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && *text) {
		if (strncmp(text, key, len) == 0 && text[len] == ':')
			return text + len + 1 + strspn(text + len + 1, " \t");
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

static long status_number(const char *text, const char *key)
{
	const char *value = status_value(text, key);

	return value ? strtol(value, NULL, 10) : 0;
}

static int read_status(struct cudaproc *p)
{
	_cleanup_free_ char *file = root_path("/proc/%d/status", (int)p->pid);
	_cleanup_free_ char *text = readfile_string(file, STATUS_MAX);
	const char *value;
	char *end;

	if (!text)
		return errno == ESRCH ? -ENOENT : -errno;
	p->tgid = (pid_t)status_number(text, "Tgid");
	p->ppid = (pid_t)status_number(text, "PPid");
	p->tracer = (pid_t)status_number(text, "TracerPid");
	value = status_value(text, "Uid");
	if (value) {
		p->uid = (uid_t)strtoul(value, &end, 10);
		p->euid = (uid_t)strtoul(end, NULL, 10);
	}
	value = status_value(text, "State");
	p->state = value ? *value : '?';
	value = status_value(text, "Name");
	if (value)
		snprintf(p->comm, sizeof(p->comm), "%.*s", (int)strcspn(value, "\n"), value);
	return 0;
}

/* Field 22 of /proc/PID/stat, counted behind the name, which may hold anything. */
uint64_t cudaproc_start(pid_t pid)
{
	_cleanup_free_ char *file = root_path("/proc/%d/stat", (int)pid);
	_cleanup_free_ char *text = readfile_string(file, STATUS_MAX);
	char *s = text ? strrchr(text, ')') : NULL;

	for (int i = 2; s && i < 22; i++)
		s = strchr(s + 1, ' ');
	return s ? strtoull(s, NULL, 10) : 0;
}

static bool has_variable(pid_t pid, const char *name)
{
	_cleanup_free_ char *file = root_path("/proc/%d/environ", (int)pid);
	struct readfile buf = { 0 };
	size_t len = strlen(name);
	bool found = false;

	if (readfile_at(-1, file, ENVIRON_MAX, &buf) == 0)
		for (char *s = buf.data; s < buf.data + buf.len && !found; s += strlen(s) + 1)
			found = strncmp(s, name, len) == 0 && s[len] == '=';
	free(buf.data);
	return found;
}

int cudaproc_read(pid_t pid, struct cudaproc *p)
{
	int rc;

	*p = (struct cudaproc){ .pid = pid };
	rc = read_status(p);
	if (rc < 0)
		return rc;
	p->start = cudaproc_start(pid);
	rc = cgroupfs_frozen(pid, &p->thaw);
	if (rc == -ENOENT)
		return rc;
	rc = procmaps_library(pid, "libcuda.so", &p->library);
	if (rc == -ENOENT && p->state != 'Z') {
		cudaproc_done(p);
		return rc;
	}
	p->in_job = has_variable(pid, "CUDA_CHECKPOINT_JOB_FILE");
	return 0;
}

void cudaproc_done(struct cudaproc *p)
{
	free(p->library);
	free(p->thaw);
	p->library = p->thaw = NULL;
}

bool cudaproc_is_ours(const struct cudaproc *p)
{
	uid_t us = geteuid();

	return us == 0 || (p->uid == us && p->euid == us);
}

enum cudaproc_fault cudaproc_fault(const struct cudaproc *p)
{
	if (p->tgid && p->tgid != p->pid)
		return CUDAPROC_THREAD;
	if (p->state == 'Z' || p->state == 'X')
		return CUDAPROC_ZOMBIE;
	if (!cudaproc_is_ours(p))
		return CUDAPROC_FOREIGN;
	/* That it has no CUDA is the more useful answer of a process that is stopped, too. */
	if (!p->library)
		return CUDAPROC_NO_CUDA;
	if (p->thaw)
		return CUDAPROC_FROZEN;
	if (p->state == 'T')
		return CUDAPROC_STOPPED;
	if (p->state == 't')
		return CUDAPROC_TRACED;
	return CUDAPROC_FIT;
}
