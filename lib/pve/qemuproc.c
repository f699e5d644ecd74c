/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pve/guest.h"
#include "pve/qemuproc.h"

enum { CMDLINE_MAX = 4 << 20 };

/* 0, -ENOENT for no number, or another -errno. */
static int read_pid(uint32_t vmid, pid_t *pid)
{
	_cleanup_free_ char *path = root_path("/run/qemu-server/%u.pid", vmid);
	char text[32], *end;
	long value;
	int rc = sysfs_read(path, text, sizeof(text));

	if (rc < 0)
		return rc;
	if (text[0] < '0' || text[0] > '9')
		return -ENOENT;
	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || value < 1 || value > INT32_MAX || (*end && *end != '\n'))
		return -ENOENT;
	*pid = (pid_t)value;
	return 0;
}

static bool is_qemu(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	size_t n = strlen(argv0);

	if (n >= 3 && strcmp(argv0 + n - 3, "kvm") == 0)
		return true;
	return strncmp(slash ? slash + 1 : argv0, "qemu-", 5) == 0;
}

static bool is_of_vm(const struct readfile *cmdline, uint32_t vmid)
{
	const char *word = cmdline->data, *end = cmdline->data + cmdline->len;
	char pidfile[sizeof("/var/run/qemu-server/4294967295.pid")];

	if (cmdline->len == 0 || !is_qemu(word))
		return false;
	snprintf(pidfile, sizeof(pidfile), "/var/run/qemu-server/%u.pid", vmid);
	while (word < end) {
		const char *next = word + strlen(word) + 1;

		if ((strcmp(word, "-pidfile") == 0 || strcmp(word, "--pidfile") == 0)
		    && next < end)
			return strcmp(next, pidfile) == 0;
		word = next;
	}
	return false;
}

/* 0, -ENOENT for a process that has ended, or another -errno. */
static int read_stat(pid_t pid, uint64_t *start_time)
{
	_cleanup_free_ char *path = root_path("/proc/%d/stat", (int)pid);
	char text[SYSFS_MAX], *p, *end;
	int rc = sysfs_read(path, text, sizeof(text));

	if (rc < 0)
		return rc;
	/* the command's name may hold anything, ')' too */
	p = strrchr(text, ')');
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return -ENOENT;
	/* proc(5): the state is field 3, starttime field 22 */
	p += 2;
	for (int field = 3; field < 22; field++) {
		p = strchr(p, ' ');
		if (!p)
			return -ENOENT;
		p++;
	}
	errno = 0;
	*start_time = strtoull(p, &end, 10);
	return !errno && end != p ? 0 : -ENOENT;
}

bool qemuproc_read(uint32_t vmid, struct qemuproc *p)
{
	_cleanup_free_ char *path = NULL;
	int rc = read_pid(vmid, &p->pid);

	if (rc == 0) {
		path = root_path("/proc/%d/cmdline", (int)p->pid);
		rc = readfile_at(AT_FDCWD, path, CMDLINE_MAX, &p->cmdline);
	}
	if (rc == 0)
		rc = is_of_vm(&p->cmdline, vmid) ? read_stat(p->pid, &p->start_time) : -ENOENT;
	errno = rc == -ENOENT || rc == -ESRCH ? 0 : -rc;
	return rc == 0;
}

void qemuproc_done(struct qemuproc *p)
{
	free(p->cmdline.data);
	*p = (struct qemuproc){ 0 };
}

int qemuproc_candidates(uint32_t **vmids, size_t *n)
{
	_cleanup_free_ char *path = root_path("/run/qemu-server");
	_cleanup_closedir_ DIR *d = opendir(path);
	_cleanup_free_ uint32_t *list = NULL;
	size_t used = 0, room = 0;
	const struct dirent *de;

	if (!d && errno != ENOENT)
		return -errno;
	for (;;) {
		errno = 0;
		de = d ? readdir(d) : NULL;
		if (!de)
			break;

		size_t len = strlen(de->d_name);
		uint32_t vmid;

		if (len < 4 || strcmp(de->d_name + len - 4, ".pid") != 0
		    || !guest_parse_vmid_n(de->d_name, len - 4, &vmid))
			continue;
		list = xgrow(list, used, &room, sizeof(*list));
		list[used++] = vmid;
	}
	if (errno)
		return -errno;
	if (used > 0)
		qsort(list, used, sizeof(*list), guest_compare_number);
	*vmids = TAKE_PTR(list);
	*n = used;
	return 0;
}
