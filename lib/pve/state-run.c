/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is it still the process, or the run of a guest, that was written down? */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/state.h"

enum { PROC_MAX = 64 << 20 };

/*
 * State letter and start time out of /proc/PID/stat, whose name field may hold anything.
 */
static bool proc_stat(pid_t pid, char *state, uint64_t *start_time)
{
	_cleanup_free_ char *path = root_path("/proc/%d/stat", (int)pid);
	_cleanup_free_ char *text = readfile_string(path, 65536);
	char *p = text ? strrchr(text, ')') : NULL;

	if (!p)
		return false;
	return sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
		      " %*s %*s %*s %*s %" SCNu64, state, start_time) == 2;
}

bool state_is_alive(pid_t pid, uint64_t start_time)
{
	uint64_t start;
	char state;

	if (pid <= 0 || !proc_stat(pid, &state, &start))
		return false;
	return state != 'Z' && state != 'X' && (!start_time || start == start_time);
}

/* UPID:NODE:PID:PSTART:TIME:TYPE:ID:USER: with the numbers in hexadecimal. */
int state_vzdump_worker(pid_t *pid, uint64_t *start_time)
{
	_cleanup_free_ char *path = root_path("/run/vzdump.pid");
	_cleanup_free_ char *text = readfile_string(path, 4096);
	unsigned long long p, start;
	char *rest = text, *node, *end;

	if (!text)
		return -errno;
	if (strncmp(text, "UPID:", 5) != 0)
		return -EBADMSG;
	rest += 5;
	node = strsep(&rest, ":");
	if (!rest || *node == '\0' || !isxdigit((unsigned char)*rest))
		return -EBADMSG;
	p = strtoull(rest, &end, 16);
	if (*end != ':' || !isxdigit((unsigned char)end[1]) || p == 0 || p > INT32_MAX)
		return -EBADMSG;
	start = strtoull(end + 1, &end, 16);
	if (*end != ':')
		return -EBADMSG;
	*pid = (pid_t)p;
	*start_time = start;
	return 0;
}

static bool lxc_instance(uint32_t vmid, uint64_t *inode)
{
	_cleanup_free_ char *path = root_path("/proc/net/unix");
	_cleanup_free_ char *text = readfile_string(path, PROC_MAX);
	_cleanup_free_ char *want = xasprintf("@/var/lib/lxc/%u/command", vmid);
	char *rest = text, *line;

	while (rest && (line = strsep(&rest, "\n"))) {
		char *name = strrchr(line, ' ');
		unsigned flags;

		/* only the listening socket: clients of it carry the same name */
		if (name && strcmp(name + 1, want) == 0
		    && sscanf(line, "%*s %*s %*s %x %*s %*s %" SCNu64, &flags, inode) == 2
		    && flags & 0x10000)
			return true;
	}
	return false;
}

bool state_instance(struct guest_id id, pid_t *pid, uint64_t *start_time)
{
	*pid = 0;
	*start_time = 0;
	if (id.kind == GUEST_LXC)
		return lxc_instance(id.vmid, start_time);
	return guest_is_running(id, pid, start_time);
}

bool state_is_same_run(const struct state_file *f, const struct state_entry *e)
{
	uint64_t start;
	pid_t pid;

	return e->is_guest && e->start_time && state_is_this_boot(f)
		&& state_instance(e->id, &pid, &start)
		&& pid == e->pid && start == e->start_time;
}
