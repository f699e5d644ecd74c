/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shim - makes the simulated host's /sys answer as a kernel would, and commits
 * the faults that a test has ordered. Preloaded into every process of the host.
 *
 * Faults are lines of /run/pve-sim/faults (README). Steps of the suite's own
 * programs and scripts are numbered in /run/pve-sim/steps while `steps` or
 * `kill-at` is there.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIM "/run/pve-sim"
#define DEVICES "/sys/bus/pci/devices"
#define DRIVERS "/sys/bus/pci/drivers"
#define STATE "/sys/.sim"	/* what the "kernel" remembers: native/ADDR ids/DRIVER nodes/ADDR mdev/ADDR */

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static bool is_suite;		/* are we one of the suite's programs or scripts? */
static char me[32];
static dev_t sys_dev;
static bool have_sys;

static const char *const suite[] = {
	"gpu-conflicts", "gpu-ls", "gpu-procs", "guest-stop", "hooks-report", "lxc-gpu-ls", "50-gpu",
	"pve-gpu-hooks", "pve-hostpci-ls", "vfio-bind", "vm-state-restore", "vm-state-save",
	"vzdump-gpu-hook", "vzdump-hook", "vzdump-hook-chain",
};

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool known(const char *path)
{
	size_t i;

	for (i = 0; i < sizeof(suite) / sizeof(suite[0]); i++)
		if (strcmp(base(path), suite[i]) == 0)
			return true;
	return false;
}

static ssize_t raw_read(const char *path, char *buf, size_t size)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return -1;
	n = read(fd, buf, size - 1);
	syscall(SYS_close, fd);
	if (n < 0)
		return -1;
	buf[n] = '\0';
	return n;
}

static void raw_write(const char *path, const char *text, int flags)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
			      O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);

	if (fd < 0)
		return;
	if (syscall(SYS_write, fd, text, strlen(text)) < 0)
		text = "";
	syscall(SYS_close, fd);
}

__attribute__((constructor)) static void shim_init(void)
{
	char buf[1024], exe[PATH_MAX];
	struct stat st;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *arg;
	int i;

	if (stat("/sys/.sim", &st) == 0) {
		sys_dev = st.st_dev;
		have_sys = true;
	}
	if (n > 0) {
		exe[n] = '\0';
		snprintf(me, sizeof(me), "%s", base(exe));
		is_suite = known(exe);
	}
	if (is_suite || strstr(me, "perl"))
		return;
	n = raw_read("/proc/self/cmdline", buf, sizeof(buf));
	for (i = 0, arg = buf; i < 4 && arg < buf + n; i++, arg += strlen(arg) + 1) {
		if (!known(arg))
			continue;
		is_suite = true;
		snprintf(me, sizeof(me), "%s", base(arg));
		break;
	}
}

/* ---- faults ------------------------------------------------------------- */

/* The rest of the first line that begins with word; false when there is none. */
static bool fault(const char *word, char *rest, size_t size)
{
	char buf[4096], *line, *save;
	size_t len = strlen(word);

	if (raw_read(SIM "/faults", buf, sizeof(buf)) <= 0)
		return false;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, word, len) != 0 ||
		    (line[len] != '\0' && line[len] != ' '))
			continue;
		if (rest)
			snprintf(rest, size, "%s", line + len + (line[len] == ' '));
		return true;
	}
	return false;
}

/* pid, its session and state; false when it is gone. */
static bool proc_session(pid_t pid, pid_t *sid)
{
	char path[64], buf[512], *p;
	int ppid, pgrp, session;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (raw_read(path, buf, sizeof(buf)) <= 0)
		return false;
	p = strrchr(buf, ')');
	if (!p || sscanf(p + 1, " %*c %d %d %d", &ppid, &pgrp, &session) != 3)
		return false;
	*sid = session;
	return true;
}

/*
 * SIGKILL the session of the vzdump worker, with or without the worker; ourselves last.
 */
static void kill_session(bool worker_too)
{
	char buf[256];
	unsigned worker = 0;
	struct dirent *d;
	pid_t pid, sid;
	DIR *dir;

	if (raw_read("/run/vzdump.pid", buf, sizeof(buf)) <= 0 || sscanf(buf, "UPID:%*[^:]:%x:", &worker) != 1)
		worker = (unsigned)getsid(0);
	dir = opendir("/proc");
	if (worker_too)
		kill((pid_t)worker, SIGKILL);
	while (dir && (d = readdir(dir))) {
		pid = atoi(d->d_name);
		if (pid <= 1 || pid == getpid() || pid == (pid_t)worker ||
		    !proc_session(pid, &sid))
			continue;
		if (sid == (pid_t)worker)
			kill(pid, SIGKILL);
	}
	kill(getpid(), SIGKILL);
}

static void die_as(const char *how)
{
	if (strcmp(how, "group") == 0)
		kill(0, SIGKILL);
	else if (strcmp(how, "vzdump") == 0)
		kill_session(true);
	else if (strcmp(how, "hook") == 0)
		kill_session(false);
	else if (strcmp(how, "power") == 0)
		kill(1, SIGTERM);
	else
		kill(getpid(), SIGKILL);
	for (;;)
		raise(SIGSTOP);
}

/* One more step; may be the last one. */
static void count_step(const char *what, const char *arg)
{
	char buf[256], how[32] = "self", line[512];
	int fd, saved = errno;
	unsigned long n, at = 0;

	if (fault("kill-at", buf, sizeof(buf)))
		sscanf(buf, "%lu %31s", &at, how);
	else if (!fault("steps", NULL, 0)) {
		errno = saved;
		return;
	}
	fd = (int)syscall(SYS_openat, AT_FDCWD, SIM "/steps", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	syscall(SYS_flock, fd, LOCK_EX);
	raw_read(SIM "/steps.n", buf, sizeof(buf));
	n = strtoul(buf, NULL, 10) + 1;
	snprintf(buf, sizeof(buf), "%lu\n", n);
	raw_write(SIM "/steps.n", buf, O_TRUNC);
	snprintf(line, sizeof(line), "%lu\t%d\t%s\t%s\t%s%s\n", n, (int)getpid(), me, what, arg ? arg : "",
		 n == at ? "\tKILL" : "");
	if (syscall(SYS_write, fd, line, strlen(line)) < 0)
		line[0] = '\0';
	syscall(SYS_close, fd);
	if (n == at)
		die_as(how);
	errno = saved;
}

static void step(const char *what, const char *arg)
{
	if (is_suite)
		count_step(what, arg);
}

/* path as seen from dirfd, complete; not followed. */
static const char *whole(int dirfd, const char *path, char *buf)
{
	char link[64];
	ssize_t n;

	if (path[0] == '/')
		return path;
	if (dirfd == AT_FDCWD)
		snprintf(link, sizeof(link), "/proc/self/cwd");
	else
		snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	n = readlink(link, buf, PATH_MAX - 1);
	if (n < 0)
		return path;
	snprintf(buf + n, (size_t)(PATH_MAX - n), "/%s", path);
	return buf;
}

static bool below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* May this path be changed? 0, EACCES on a cluster without quorum, ENOSPC. */
static int refused(int dirfd, const char *path, bool needs_space)
{
	char buf[PATH_MAX + 256], dir[256];
	int saved = errno;
	const char *full;

	if (access(SIM "/faults", F_OK) < 0) {
		errno = saved;
		return 0;
	}
	full = whole(dirfd, path, buf);
	errno = saved;
	if (below(full, "/etc/pve") && fault("no-quorum", NULL, 0))
		return EACCES;
	if (needs_space && fault("enospc", dir, sizeof(dir)) && below(full, dir))
		return ENOSPC;
	return 0;
}

#define REFUSE(fd, path, space, value) do {		\
	int refused_ = refused(fd, path, space);	\
	if (refused_) {					\
		errno = refused_;			\
		return value;				\
	}						\
} while (0)

/* ---- the kernel's part --------------------------------------------------- */

static bool link_name(const char *path, char *name, size_t size)
{
	char buf[PATH_MAX];
	ssize_t n = readlink(path, buf, sizeof(buf) - 1);

	if (n < 0)
		return false;
	buf[n] = '\0';
	snprintf(name, size, "%s", base(buf));
	return true;
}

static void sim_event(const char *what, const char *guest, const char *detail)
{
	char line[512];
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	snprintf(line, sizeof(line), "%lld.%03ld\t%s\t%s\t%s\n", (long long)t.tv_sec, t.tv_nsec / 1000000,
		 what, guest, detail);
	raw_write(SIM "/events", line, O_APPEND);
}

/* Device nodes and their sysfs and procfs entries come and go with the native driver. */
static void show_nodes(const char *addr, bool show)
{
	char list[2048], path[PATH_MAX], away[PATH_MAX], *line, *save, *p;

	snprintf(path, sizeof(path), STATE "/nodes/%s", addr);
	if (raw_read(path, list, sizeof(list)) <= 0)
		return;
	for (line = strtok_r(list, " \n", &save); line; line = strtok_r(NULL, " \n", &save)) {
		const char *top = below(line, "/dev") ? "/dev/.sim" :
				  below(line, "/proc") ? "/proc/driver/.sim" : STATE "/away";

		snprintf(path, sizeof(path), "%s", line);
		for (p = line; *p; p++)
			if (*p == '/')
				*p = '!';
		snprintf(away, sizeof(away), "%s/%s", top, line);
		syscall(SYS_mkdirat, AT_FDCWD, top, 0755);
		syscall(SYS_renameat2, AT_FDCWD, show ? away : path, AT_FDCWD,
			show ? path : away, 0);
	}
}

static bool attribute(const char *addr, const char *name, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", addr, name);
	n = raw_read(path, text, size);
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	return n >= 0;
}

static void native_driver(const char *addr, char *name, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), STATE "/native/%s", addr);
	raw_read(path, name, size);
	name[strcspn(name, "\n")] = '\0';
}

/* "VVVV DDDD" among the driver's dynamic ids? */
static bool has_dynid(const char *driver, const char *addr)
{
	char path[PATH_MAX], ids[4096], vendor[16], device[16], want[64];

	if (!attribute(addr, "vendor", vendor, sizeof(vendor)) || !attribute(addr, "device", device, sizeof(device)))
		return false;
	snprintf(path, sizeof(path), STATE "/ids/%s", driver);
	raw_read(path, ids, sizeof(ids));
	snprintf(want, sizeof(want), "%s %s\n", vendor + 2, device + 2);
	return strstr(ids, want) != NULL;
}

static bool matches(const char *driver, const char *addr)
{
	char override[64], native[64];

	if (attribute(addr, "driver_override", override, sizeof(override)) && override[0]
	    && strcmp(override, "(null)") != 0)
		return strcmp(override, driver) == 0;
	native_driver(addr, native, sizeof(native));
	return strcmp(native, driver) == 0 || has_dynid(driver, addr);
}

static int bind_to(const char *driver, const char *addr)
{
	char dir[PATH_MAX], path[PATH_MAX], target[PATH_MAX], native[64];

	snprintf(dir, sizeof(dir), DEVICES "/%s", addr);
	if (access(dir, F_OK) < 0)
		return ENODEV;
	snprintf(path, sizeof(path), DEVICES "/%s/driver", addr);
	if (access(path, F_OK) == 0)
		return EBUSY;
	if (!matches(driver, addr))
		return ENODEV;
	snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
	if (symlink(target, path) < 0)
		return errno;
	snprintf(path, sizeof(path), DRIVERS "/%s/%s", driver, addr);
	snprintf(target, sizeof(target), "../../../../devices/pci0000:00/%s", addr);
	if (symlink(target, path) < 0)
		return errno;
	native_driver(addr, native, sizeof(native));
	if (strcmp(native, driver) == 0)
		show_nodes(addr, true);
	sim_event("bind", addr, driver);
	return 0;
}

static int unbind_from(const char *driver, const char *addr)
{
	char path[PATH_MAX], bound[64], native[64], vf[64];
	int i;

	snprintf(path, sizeof(path), DEVICES "/%s/driver", addr);
	if (!link_name(path, bound, sizeof(bound)) || strcmp(bound, driver) != 0)
		return ENODEV;
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	snprintf(path, sizeof(path), DRIVERS "/%s/%s", driver, addr);
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	native_driver(addr, native, sizeof(native));
	if (strcmp(native, driver) == 0) {
		show_nodes(addr, false);
		/* a physical function takes its virtual ones along */
		for (i = 0; i < 256; i++) {
			snprintf(path, sizeof(path), DEVICES "/%s/virtfn%d", addr, i);
			if (!link_name(path, vf, sizeof(vf)))
				break;
			syscall(SYS_unlinkat, AT_FDCWD, path, 0);
			snprintf(path, sizeof(path), DEVICES "/%s", vf);
			syscall(SYS_unlinkat, AT_FDCWD, path, 0);
			sim_event("vf-gone", vf, addr);
		}
	}
	sim_event("unbind", addr, driver);
	return 0;
}

static int probe(const char *addr)
{
	char override[64], native[64], path[PATH_MAX];

	snprintf(path, sizeof(path), DEVICES "/%s", addr);
	if (access(path, F_OK) < 0)
		return EINVAL;
	snprintf(path, sizeof(path), DEVICES "/%s/driver", addr);
	if (access(path, F_OK) == 0)
		return 0;
	if (attribute(addr, "driver_override", override, sizeof(override)) && override[0]
	    && strcmp(override, "(null)") != 0) {
		snprintf(path, sizeof(path), DRIVERS "/%s", override);
		if (access(path, F_OK) == 0)
			bind_to(override, addr);
		return 0;
	}
	native_driver(addr, native, sizeof(native));
	if (native[0])
		bind_to(native, addr);
	else if (has_dynid("vfio-pci", addr))
		bind_to("vfio-pci", addr);
	return 0;
}

static int new_id(const char *driver, const char *text, bool remove)
{
	char path[PATH_MAX], ids[4096], want[64], *at;
	unsigned vendor, device;
	struct dirent *d;
	DIR *dir;

	if (sscanf(text, "%x %x", &vendor, &device) != 2)
		return EINVAL;
	snprintf(want, sizeof(want), "%04x %04x\n", vendor, device);
	snprintf(path, sizeof(path), STATE "/ids/%s", driver);
	raw_read(path, ids, sizeof(ids));
	at = strstr(ids, want);
	if (remove) {
		if (!at)
			return ENODEV;
		memmove(at, at + strlen(want), strlen(at + strlen(want)) + 1);
		raw_write(path, ids, O_TRUNC);
		return 0;
	}
	if (at)
		return EEXIST;
	raw_write(path, want, O_APPEND);
	dir = opendir(DEVICES);	/* it takes what is free and fits */
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.' && has_dynid(driver, d->d_name) &&
		    matches(driver, d->d_name))
			bind_to(driver, d->d_name);
	if (dir)
		closedir(dir);
	return 0;
}

/*
 * Instances of a card: one file per type says "max framebuffer"; the memory of
 * the card and of its instances decides, one size at a time when `one-size`.
 */
static void mdev_count(const char *addr)
{
	char path[PATH_MAX], buf[256], used[64] = "", type[64];
	unsigned total = 0, one_size = 0, max, fb, left, n = 0, in_use = 0;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), STATE "/mdev/%s/card", addr);
	raw_read(path, buf, sizeof(buf));
	sscanf(buf, "%u %u", &total, &one_size);
	dir = opendir("/sys/bus/mdev/devices");
	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), DEVICES "/%s/%s/mdev_type", addr, d->d_name);
		if (!link_name(path, type, sizeof(type)))
			continue;
		snprintf(used, sizeof(used), "%s", type);
		snprintf(path, sizeof(path), STATE "/mdev/%s/%s", addr, type);
		raw_read(path, buf, sizeof(buf));
		if (sscanf(buf, "%u %u", &max, &fb) == 2)
			in_use += fb;
		n++;
	}
	if (dir)
		closedir(dir);
	left = total > in_use ? total - in_use : 0;
	snprintf(path, sizeof(path), DEVICES "/%s/mdev_supported_types", addr);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), STATE "/mdev/%s/%s", addr, d->d_name);
		raw_read(path, buf, sizeof(buf));
		if (sscanf(buf, "%u %u", &max, &fb) != 2 || fb == 0)
			continue;
		if (one_size && n && strcmp(d->d_name, used) != 0)
			max = 0;
		else
			max = left / fb;
		snprintf(path, sizeof(path), DEVICES "/%s/mdev_supported_types/%s/available_instances", addr,
			 d->d_name);
		snprintf(buf, sizeof(buf), "%u\n", max);
		raw_write(path, buf, O_TRUNC);
	}
	if (dir)
		closedir(dir);
}

static int mdev_make(const char *addr, const char *type, const char *uuid)
{
	char path[PATH_MAX], target[PATH_MAX], buf[64];

	if (strlen(uuid) != 36)
		return EINVAL;
	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s", uuid);
	if (access(path, F_OK) == 0)
		return EEXIST;
	snprintf(target, sizeof(target), "mdev_supported_types/%s/available_instances", type);
	if (!attribute(addr, target, buf, sizeof(buf)) || atoi(buf) < 1)
		return ENOSPC;
	snprintf(target, sizeof(target), DEVICES "/%s/%s", addr, uuid);
	syscall(SYS_mkdirat, AT_FDCWD, target, 0755);
	snprintf(target, sizeof(target), "../../../devices/pci0000:00/%s/%s", addr, uuid);
	if (symlink(target, path) < 0)
		return errno;
	snprintf(path, sizeof(path), DEVICES "/%s/%s/mdev_type", addr, uuid);
	snprintf(target, sizeof(target), "../mdev_supported_types/%s", type);
	if (symlink(target, path) < 0)
		return errno;
	snprintf(path, sizeof(path), DEVICES "/%s/%s/remove", addr, uuid);
	raw_write(path, "", 0);
	snprintf(path, sizeof(path), DEVICES "/%s/mdev_supported_types/%s/devices/%s", addr, type, uuid);
	snprintf(target, sizeof(target), "../../../%s", uuid);
	if (symlink(target, path) < 0)
		return errno;
	mdev_count(addr);
	sim_event("mdev", addr, uuid);
	return 0;
}

static int mdev_remove(const char *addr, const char *uuid)
{
	char path[PATH_MAX], type[64];

	snprintf(path, sizeof(path), DEVICES "/%s/%s/mdev_type", addr, uuid);
	if (!link_name(path, type, sizeof(type)))
		return ENODEV;
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	snprintf(path, sizeof(path), DEVICES "/%s/mdev_supported_types/%s/devices/%s", addr, type, uuid);
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	snprintf(path, sizeof(path), DEVICES "/%s/%s/remove", addr, uuid);
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	snprintf(path, sizeof(path), DEVICES "/%s/%s", addr, uuid);
	syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s", uuid);
	syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	mdev_count(addr);
	sim_event("mdev-gone", addr, uuid);
	return 0;
}

static int vgpu_type(const char *addr, const char *path, const char *text)
{
	char list[2048], now[32], want[300];

	attribute(addr, "nvidia/current_vgpu_type", now, sizeof(now));
	if (strcmp(text, "0") != 0) {
		if (strcmp(now, "0") != 0 && strcmp(now, text) != 0)
			return EBUSY;
		attribute(addr, "nvidia/creatable_vgpu_types", list, sizeof(list));
		snprintf(want, sizeof(want), "\n%s ", text);
		if (!strstr(list, want) && strncmp(list, want + 1, strlen(want + 1)) != 0)
			return EINVAL;
	}
	snprintf(want, sizeof(want), "%s\n", text);
	raw_write(path, want, O_TRUNC);
	sim_event("vgpu", addr, text);
	return 0;
}

/* A write to an attribute: 0 done, -1 none of ours, else an errno. */
static int attribute_write(const char *path, const char *text)
{
	char a[128], b[128], line[128];
	int n = 0;

	if (sscanf(path, DRIVERS "/%127[^/]/%127[^/]", a, b) == 2) {
		if (strcmp(b, "bind") == 0)
			return bind_to(a, text);
		if (strcmp(b, "unbind") == 0)
			return unbind_from(a, text);
		if (strcmp(b, "new_id") == 0)
			return new_id(a, text, false);
		if (strcmp(b, "remove_id") == 0)
			return new_id(a, text, true);
		return -1;
	}
	if (strcmp(path, "/sys/bus/pci/drivers_probe") == 0)
		return probe(text);
	if (sscanf(path, "/sys/devices/pci0000:00/%127[^/]/%n", a, &n) != 1 || n == 0)
		return -1;
	path += n;
	if (strcmp(path, "driver_override") == 0) {
		snprintf(line, sizeof(line), "/sys/devices/pci0000:00/%.64s/driver_override", a);
		snprintf(b, sizeof(b), "%.100s\n", text[0] ? text : "(null)");
		raw_write(line, b, O_TRUNC);
		return 0;
	}
	if (strcmp(path, "reset") == 0) {
		sim_event("reset", a, "");
		return 0;
	}
	if (sscanf(path, "mdev_supported_types/%127[^/]/creat%1[e]", b, line) == 2)
		return mdev_make(a, b, text);
	if (strcmp(path, "nvidia/current_vgpu_type") == 0) {
		snprintf(line, sizeof(line), "/sys/devices/pci0000:00/%.48s/nvidia/current_vgpu_type", a);
		return vgpu_type(a, line, text);
	}
	if (sscanf(path, "%127[^/]/remov%1[e]", b, line) == 2)
		return mdev_remove(a, b);
	return -1;
}

static int sys_write(int fd, const void *data, size_t size)
{
	char link[64], path[PATH_MAX], text[256];
	int lock, rc;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 || size >= sizeof(text))
		return -1;
	path[n] = '\0';
	memcpy(text, data, size);
	text[size] = '\0';
	text[strcspn(text, "\n")] = '\0';
	step("sysfs", path);
	lock = (int)syscall(SYS_openat, AT_FDCWD, STATE "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	syscall(SYS_flock, lock, LOCK_EX);
	rc = attribute_write(path, text);
	syscall(SYS_close, lock);
	return rc;
}

/* ---- what is taken over from libc ----------------------------------------- */

ssize_t write(int fd, const void *data, size_t size)
{
	int rc, saved = errno;
	struct stat st;
	char link[64], path[PATH_MAX], dir[256];
	ssize_t n;

	if (have_sys && fstat(fd, &st) == 0 && st.st_dev == sys_dev) {
		rc = sys_write(fd, data, size);
		if (rc > 0) {
			errno = rc;
			return -1;
		}
		if (rc == 0) {
			errno = saved;
			return (ssize_t)size;
		}
	} else if (access(SIM "/faults", F_OK) == 0 && fault("enospc", dir, sizeof(dir))) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		if (below(path, dir)) {
			errno = ENOSPC;
			return -1;
		}
	}
	errno = saved;
	return syscall(SYS_write, fd, data, size);
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
	struct stat st;

	/* where qm, pct and vzdump say how far they are: mark() of PveSim.pm */
	if (strncmp(path, SIM "/step.", strlen(SIM "/step.")) == 0)
		count_step("mark", path + strlen(SIM "/step."));
	/* the sink /dev/null and the like are nobody's disk */
	if (writes && strncmp(path, "/dev/", 5) != 0)
		REFUSE(dirfd, path, flags & O_CREAT && fstatat(dirfd, path, &st, 0) < 0,
		       -1);
	return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

#define OPEN(name, args, dirfd)						\
int name args								\
{									\
	mode_t mode = 0;						\
	va_list ap;							\
									\
	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {	\
		va_start(ap, flags);					\
		mode = va_arg(ap, mode_t);				\
		va_end(ap);						\
	}								\
	return open_any(dirfd, path, flags, mode);			\
}

OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int fd, const char *path, int flags, ...), fd)
OPEN(openat64, (int fd, const char *path, int flags, ...), fd)

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int fd, const char *path, int flags);
int __openat64_2(int fd, const char *path, int flags);
int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __openat_2(int fd, const char *path, int flags)
{
	return open_any(fd, path, flags, 0);
}
int __openat64_2(int fd, const char *path, int flags)
{
	return open_any(fd, path, flags, 0);
}

#define FOPEN(name)							\
FILE *name(const char *path, const char *mode)				\
{									\
	if (mode[0] != 'r' || strchr(mode, '+'))			\
		REFUSE(AT_FDCWD, path, true, NULL);			\
	return NEXT(name)(path, mode);					\
}

FOPEN(fopen)
FOPEN(fopen64)

#define MKTEMP(name, args, call)					\
int name args								\
{									\
	REFUSE(AT_FDCWD, path, true, -1);				\
	return NEXT(name) call;						\
}

MKTEMP(mkstemp, (char *path), (path))
MKTEMP(mkstemp64, (char *path), (path))
MKTEMP(mkostemp, (char *path, int flags), (path, flags))
MKTEMP(mkostemp64, (char *path, int flags), (path, flags))

int mkdir(const char *path, mode_t mode)
{
	REFUSE(AT_FDCWD, path, true, -1);
	return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
	REFUSE(fd, path, true, -1);
	return (int)syscall(SYS_mkdirat, fd, path, mode);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	step("rename", to);
	REFUSE(to_fd, to, false, -1);
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int rename(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return renameat2(from_fd, from, to_fd, to, 0);
}

int unlinkat(int fd, const char *path, int flags)
{
	step("unlink", path);
	REFUSE(fd, path, false, -1);
	return (int)syscall(SYS_unlinkat, fd, path, flags);
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int fsync(int fd)
{
	step("fsync", "");
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	step("fsync", "");
	return (int)syscall(SYS_fdatasync, fd);
}

int flock(int fd, int op)
{
	step("flock", op & LOCK_UN ? "unlock" : "");
	return (int)syscall(SYS_flock, fd, op);
}

int execve(const char *path, char *const argv[], char *const envp[])
{
	step("exec", path);
	return (int)syscall(SYS_execve, path, argv, envp);
}

int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

int execvp(const char *path, char *const argv[])
{
	step("exec", path);
	return NEXT(execvp)(path, argv);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	step("exec", path);
	return NEXT(posix_spawn)(pid, path, actions, attr, argv, envp);
}

int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	step("exec", path);
	return NEXT(posix_spawnp)(pid, path, actions, attr, argv, envp);
}

/* Without quorum pmxcfs takes the write bits away: what PVE itself looks at. */
#define LSTAT(name, type)						\
int name(const char *path, struct type *st)				\
{									\
	int rc = NEXT(name)(path, st);					\
									\
	if (rc == 0 && strcmp(path, "/etc/pve/local") == 0 && fault("no-quorum", NULL, 0))	\
		st->st_mode &= ~(mode_t)0222;				\
	return rc;							\
}

LSTAT(lstat, stat)
LSTAT(lstat64, stat64)
