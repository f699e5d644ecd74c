/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "gpu/cgroup.h"
#include "pve/ctconf.h"
#include "pve/ctgroup.h"
#include "pve/guest.h"
#include "pve/pveconf.h"

enum { GROUP_MAX = 1 << 20, STATUS_MAX = 64 * 1024, PCT_TIMEOUT = 60 };

static const char pct[] = "/usr/sbin/pct";

/* "name:x:44:members" */
static int id_of_line(const char *line, const char *name)
{
	size_t n = strlen(name);
	const char *p;
	char *end;
	long id;

	if (strncmp(line, name, n) != 0 || line[n] != ':')
		return -1;
	p = strchr(line + n + 1, ':');
	if (!p)
		return -1;
	id = strtol(p + 1, &end, 10);
	return end == p + 1 || (*end != ':' && *end != '\0') || id < 0 || id > 999999
	       ? -1 : (int)id;
}

void ctgroups_parse(const char *text, struct ctgroups *groups)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *line, *rest = copy;

	*groups = (struct ctgroups){ -1, -1 };
	while ((line = strsep(&rest, "\n"))) {
		if (groups->video < 0)
			groups->video = id_of_line(line, "video");
		if (groups->render < 0)
			groups->render = id_of_line(line, "render");
	}
}

/*
 * Whoever is root in there made these files: no link may lead out of them, nor to a mount
 * of theirs, whose FUSE server need never answer; and what is no file is not opened: with
 * some devices, such as a watchdog, that alone does harm.
 */
static int read_group(const char *rootfs, struct ctgroups *groups)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
					   | RESOLVE_NO_XDEV };
	_cleanup_close_ int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL, *self = NULL;
	struct stat st;

	if (root < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, root, "etc/group", &how, sizeof(how));
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	self = xasprintf("/proc/self/fd/%d", fd);
	text = readfile_string(self, GROUP_MAX);
	if (!text)
		return -errno;
	ctgroups_parse(text, groups);
	return 0;
}

/* Process 1 of the container: two numbers, of which the second is 1. */
static bool is_init(const char *pid)
{
	_cleanup_free_ char *path = root_path("/proc/%s/status", pid),
			    *text = readfile_string(path, STATUS_MAX);
	const char *line = text ? strstr(text, "\nNSpid:") : NULL;
	int outer, inner, more;

	return line && sscanf(line, "\nNSpid: %d %d", &outer, &inner) == 2 && inner == 1
	       && sscanf(line, "\nNSpid: %*d %*d%*[ \t]%d", &more) != 1;
}

/* The init process of a running container; 0: it is not found. */
static pid_t find_init(uint32_t ctid)
{
	_cleanup_free_ char *folder = root_path("/proc"),
			    *want = xasprintf("lxc/%u", ctid);
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *owner = NULL;
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && cgroup_owner(pid, &owner) == 0 && strcmp(owner, want) == 0
		    && is_init(entry->d_name))
			return pid;
	}
	return 0;
}

static void take_path(const char *line, void *arg)
{
	char **path = arg;

	if (!*path && *line == '/')
		*path = xstrdup(line);
}

/* A root file system that is a folder of the host lies open to us. */
static int read_volume(const char *volume, struct ctgroups *groups)
{
	_cleanup_free_ char *path = NULL;
	const struct spawn_opts opts = { .timeout = PCT_TIMEOUT, .line = take_path,
					 .arg = &path };
	const char *argv[] = { "/usr/sbin/pvesm", "path", volume, NULL };
	struct stat st;

	if (spawn_run(argv, &opts) != 0 || !path || stat(path, &st) < 0
	    || !S_ISDIR(st.st_mode))
		return -EAGAIN;
	return read_group(path, groups);
}

static int run_pct(const char *verb, uint32_t ctid)
{
	const struct spawn_opts opts = { .timeout = PCT_TIMEOUT };
	_cleanup_free_ char *id = xasprintf("%u", ctid);
	const char *argv[] = { pct, verb, id, NULL };
	int rc = spawn_run(argv, &opts);

	return rc > 0 ? -EIO : rc;
}

/* Has it the lock of pct mount? It stays on one that pct could not mount. */
static bool is_lock_of_mount(uint32_t ctid)
{
	_cleanup_free_ char *path = root_path("/etc/pve/local/lxc/%u.conf", ctid),
			    *text = readfile_string(path, PVECONF_MAX);
	struct ctconf_facts facts = { 0 };
	bool is_mounted;

	if (text)
		ctconf_facts(text, strlen(text), &facts);
	is_mounted = facts.lock && strcmp(facts.lock, "mounted") == 0;
	ctconf_facts_done(&facts);
	return is_mounted;
}

static bool is_seen(const char *rootfs)
{
	_cleanup_free_ char *etc = xasprintf("%s/etc", rootfs);
	struct stat st;

	return lstat(etc, &st) == 0;
}

/*
 * Have we locked it? A mount of somebody else's meanwhile, for which ours was refused,
 * has the same lock; but then there is something to see, as pct that fails leaves nothing.
 */
static bool is_lock_ours(int rc, bool was_mounted, uint32_t ctid, const char *rootfs)
{
	if (rc == 0)
		return true;
	if (was_mounted || !is_lock_of_mount(ctid))
		return false;
	return rc == -ETIMEDOUT || !is_seen(rootfs);
}

/* A signal between the two would leave the container mounted, and locked by it. */
static int read_mounted(uint32_t ctid, const char *rootfs, struct ctgroups *groups,
			bool *unmounted)
{
	sigset_t block, old;
	bool was_mounted = is_lock_of_mount(ctid), is_ours;
	int rc;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	sigprocmask(SIG_BLOCK, &block, &old);
	rc = run_pct("mount", ctid);
	is_ours = is_lock_ours(rc, was_mounted, ctid, rootfs);
	if (rc == 0)
		rc = read_group(rootfs, groups);
	if (is_ours)
		*unmounted = run_pct("unmount", ctid) == 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
	return rc;
}

int ctgroups_read(uint32_t ctid, const char *volume, bool may_mount,
		  struct ctgroups *groups, bool *unmounted)
{
	_cleanup_free_ char *rootfs = root_path("/var/lib/lxc/%u/rootfs", ctid);
	struct guest_id id = { GUEST_LXC, ctid };
	int rc;

	*unmounted = true;
	if (guest_is_running(id, NULL, NULL)) {
		pid_t pid = find_init(ctid);
		_cleanup_free_ char *root = root_path("/proc/%d/root", (int)pid);

		return pid ? read_group(root, groups) : -ESRCH;
	}
	rc = read_group(rootfs, groups);
	if (rc != -ENOENT || !root_is_host())
		return rc;
	rc = volume ? read_volume(volume, groups) : -EAGAIN;
	if (rc != -EAGAIN || !may_mount)
		return rc;
	return read_mounted(ctid, rootfs, groups, unmounted);
}
