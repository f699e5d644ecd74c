/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm - a guest of the simulated host, a real process that does nothing.
 *
 * As a VM: kvm -id 100 … -pidfile FILE … [-S] …; goes into the background, ends
 * as its pid file is written. As a container (argv[0] "[lxc monitor] …"): VMID,
 * then the device nodes it keeps open; listens on @/var/lib/lxc/VMID/command.
 *
 * SIGUSR1 asks the guest to power off: it does after its simulated `shutdown`
 * seconds (guest/VMID, read at that moment), or never. SIGTERM ends it at once,
 * unless `stop = never`. SIGUSR2 lets a paused one run, SIGHUP pauses it.
 * state/VMID tells what QMP would tell. As a service (argv[0] "[unit] …"): its
 * name, then nodes; SIGTERM ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIM "/run/pve-sim"

static const char *id;
static bool is_ct, is_unit;

static const char *kind(void)
{
	return is_unit ? "unit" : is_ct ? "lxc" : "qemu";
}

static void event(const char *what, const char *detail)
{
	char line[256];
	struct timespec t;
	int fd, len;

	clock_gettime(CLOCK_BOOTTIME, &t);
	len = snprintf(line, sizeof(line), "%lld.%03ld\t%s\t%s/%s\t%s\n", (long long)t.tv_sec,
		       t.tv_nsec / 1000000, what, kind(), id, detail);
	fd = open(SIM "/events", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	if (write(fd, line, (size_t)len) != len)
		len = 0;
	close(fd);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return;
	fputs(text, f);
	fclose(f);
}

static void put_state(const char *text)
{
	char path[128], new[132];

	snprintf(path, sizeof(path), SIM "/state/%s", id);
	snprintf(new, sizeof(new), "%s.new", path);
	put(new, text);
	rename(new, path);
}

/* The value of KEY in a file of "key = value" lines. */
static bool value_of(const char *path, const char *key, char *value, size_t size)
{
	char line[256], k[64], v[160];
	bool found = false;
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %63[a-z-] = %159s", k, v) != 2 || strcmp(k, key) != 0)
			continue;
		snprintf(value, size, "%s", v);
		found = true;
	}
	fclose(f);
	return found;
}

static bool attr(const char *key, char *value, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), SIM "/guest/%s", id);
	return value_of(path, key, value, size);
}

static bool attr_is_never(const char *key)
{
	char value[64];

	return attr(key, value, sizeof(value)) && strcmp(value, "never") == 0;
}

/* Simulated seconds as real time. */
static struct timespec scaled(const char *key, double standard)
{
	char value[64];
	double s = standard, speed = 60;

	if (attr(key, value, sizeof(value)))
		s = atof(value);
	if (value_of(SIM "/conf", "speed", value, sizeof(value)) && atof(value) > 0)
		speed = atof(value);
	s /= speed;
	return (struct timespec){ (time_t)s, (long)((s - (double)(time_t)s) * 1e9) };
}

/*
 * The cgroup that PVE would have put us in, for those who ask whose process
 * this is. In the mount namespace of the host, wherever we were started.
 */
static void show_cgroup(pid_t pid)
{
	char path[64], text[128], file[128];
	int ns, root, status;
	pid_t child = fork();

	if (child > 0)
		waitpid(child, &status, 0);
	if (child != 0)
		return;
	ns = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
	root = open("/proc/1/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ns < 0 || root < 0 || setns(ns, CLONE_NEWNS) < 0)
		_exit(1);
	/* when all of this is in a chroot, setns has just left it */
	if (fchdir(root) < 0 || chroot(".") < 0)
		_exit(1);
	snprintf(text, sizeof(text), is_unit ? "0::/system.slice/%s\n" : is_ct ? "0::/lxc/%s/ns/init.scope\n" :
		 "0::/qemu.slice/%s.scope\n", id);
	snprintf(file, sizeof(file), SIM "/state/%s.cgroup", id);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	put(file, text);
	_exit(mount(file, path, NULL, MS_BIND, NULL) < 0);
}

static int listen_command(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int len, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	len = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "/var/lib/lxc/%s/command", id);
	if (bind(fd, (struct sockaddr *)&addr,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			     (size_t)len)) < 0)
		return -1;
	return listen(fd, 4);
}

static bool backup_holds(void)
{
	char path[128];

	snprintf(path, sizeof(path), SIM "/state/%s.backup", id);
	return access(path, F_OK) == 0;
}

/* Live until the end; what ends the guest is the event's detail. */
static const char *live(bool paused)
{
	const struct timespec *wait = NULL;
	struct timespec t;
	bool started = !paused;
	sigset_t set;
	int sig;

	sigfillset(&set);
	for (;;) {
		sig = sigtimedwait(&set, NULL, wait);
		if (sig < 0 && errno == EAGAIN) {
			wait = NULL;
			if (is_ct || !backup_holds())
				return "powered off";
			/* QEMU stays for its backup job, the guest is down */
			put_state("shutdown\n");
			event("down", "powered off, QEMU kept by the backup");
			paused = true;
			started = false;
			continue;
		}
		switch (sig) {
		case SIGUSR1:
			if (paused || wait || attr_is_never("shutdown"))
				continue;
			t = scaled("shutdown", 5);
			wait = &t;
			break;
		case SIGUSR2:
			put_state("running\n");
			if (paused)
				event(started ? "resumed" : "up", "");
			paused = false;
			started = true;
			break;
		case SIGHUP:
			if (is_ct || paused)
				continue;
			paused = true;
			put_state("paused\n");
			event("paused", "");
			break;
		case SIGTERM:
		case SIGINT:
			if (attr_is_never("stop"))
				continue;
			return started ? "stopped" : NULL;
		default:
			break;
		}
	}
}

int main(int argc, char **argv)
{
	const char *pidfile = NULL, *why;
	bool paused = false;
	int i, sync[2];
	char text[32], path[128];
	sigset_t set;

	is_unit = strncmp(argv[0], "[unit", 5) == 0;
	is_ct = is_unit || strncmp(argv[0], "[lxc", 4) == 0;
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-S") == 0)
			paused = true;
		else if (strcmp(argv[i], "-id") == 0 && i + 1 < argc)
			id = argv[++i];
		else if (strcmp(argv[i], "-pidfile") == 0 && i + 1 < argc)
			pidfile = argv[++i];
	}
	if (is_ct && argc > 1)
		id = argv[1];
	if (!id || pipe2(sync, O_CLOEXEC) < 0)
		return 1;

	switch (fork()) {
	case -1:
		return 1;
	case 0:
		break;
	default:	/* ends when the guest is up, as QEMU's -daemonize */
		close(sync[1]);
		return read(sync[0], text, 1) == 1 ? 0 : 1;
	}
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setsid();
	if (chdir("/") < 0)
		return 1;
	for (i = 0; is_ct && i < argc - 2; i++)
		if (open(argv[i + 2], O_RDWR | O_CLOEXEC) < 0)
			return 1;
	if (is_ct && !is_unit && listen_command() < 0)
		return 1;
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	snprintf(path, sizeof(path), is_unit ? SIM "/units/%.*s.pid" : SIM "/state/%.*s.pid",
		 is_unit ? (int)strcspn(id, ".") : (int)strlen(id), id);
	put(pidfile ? pidfile : path, text);
	show_cgroup(getpid());
	put_state(paused ? "prelaunch\n" : "running\n");
	event(paused ? "kvm-up" : "up", "");
	if (write(sync[1], "", 1) != 1)
		return 1;
	close(sync[1]);
	close(sync[0]);
	i = open("/dev/null", O_RDWR);
	dup2(i, 0);
	dup2(i, 1);
	dup2(i, 2);

	why = live(paused);
	put_state("gone\n");
	if (why)
		event("down", why);
	else
		event("kvm-down", "");
	return 0;
}
