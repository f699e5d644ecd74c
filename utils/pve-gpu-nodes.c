/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pve-gpu-nodes - make the NVIDIA device nodes that do not exist after a boot */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/configvalue.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/sysfs.h"
#include "base/xalloc.h"

/* NVIDIA's major: Documentation/admin-guide/devices.txt; minors: nvidia-modprobe(1). */
enum { NVIDIA_MAJOR = 195, MINOR_CTL = 255, MINOR_MODESET = 254, PROC_MAX = 1 << 20 };

struct look {			/* owner and mode of new nodes */
	unsigned uid, gid, mode;
};

struct run {
	bool dry_run;
	bool modify;		/* the driver's ModifyDeviceFiles */
	struct look look;
	char *devices;		/* owned; /proc/devices */
	int status;		/* the first failure's */
};

static void usage(FILE *out)
{
	fputs("Usage: pve-gpu-nodes [OPTION]...\n"
	      "Load nvidia-uvm and make the NVIDIA device nodes that are missing in /dev.\n\n"
	      "  -R, --root=DIR  use DIR as the system root; loads nothing\n"
	      "  -n, --dry-run   print the commands that would do it, do nothing\n"
	      "  -q, --quiet     no warnings\n"
	      "  -v, --verbose   say each node that is made\n"
	      "  -w, --wait=S    wait up to S seconds for the cards' driver (0)\n"
	      "  -h, --help      print this help and exit\n"
	      "  -V, --version   print the version and exit\n", out);
}

static void fail(struct run *run, int status)
{
	if (run->status == EX_OK)
		run->status = status;
}

/* The number after "KEY:" at the start of a line of text; false when there is none. */
static bool number_of(const char *text, const char *key, unsigned *value)
{
	size_t len = strlen(key);

	for (const char *line = text; line && *line;) {
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			const char *at = line + len + 1 + strspn(line + len + 1, " \t");
			char *end;
			unsigned long n = strtoul(at, &end, 10);

			if (end == at || *at == '-' || n > UINT_MAX)
				return false;
			*value = (unsigned)n;
			return true;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return false;
}

/* Major of a character device in /proc/devices; false when no driver has it. */
static bool major_of(const char *devices, const char *name, unsigned *major)
{
	char word[64];
	unsigned n;

	for (const char *line = devices; line && *line;) {
		if (strncmp(line, "Block devices:", strlen("Block devices:")) == 0)
			return false;
		if (sscanf(line, " %u %63s", &n, word) == 2 && strcmp(word, name) == 0) {
			*major = n;
			return true;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return false;
}

static void read_devices(struct run *run)
{
	_cleanup_free_ char *path = root_path("/proc/devices");

	free(run->devices);
	run->devices = readfile_string(path, PROC_MAX);
	if (!run->devices)
		run->devices = xstrdup("");
}

/* ---- the driver ---- */

/* Is there an NVIDIA display function (class 03xxxx) that no driver has taken yet? */
static bool card_without_driver(void)
{
	_cleanup_free_ char *dir = root_path("/sys/bus/pci/devices");
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_free_ char *id = xasprintf("%s/%s/vendor", dir, e->d_name);
		_cleanup_free_ char *kind = xasprintf("%s/%s/class", dir, e->d_name);
		_cleanup_free_ char *driver = xasprintf("%s/%s/driver", dir, e->d_name);
		uint64_t vendor, class;

		if (e->d_name[0] == '.' || sysfs_read_u64(id, &vendor) < 0 ||
		    sysfs_read_u64(kind, &class) < 0)
			continue;
		if (vendor == 0x10de && class >> 16 == 0x03 && access(driver, F_OK) < 0)
			return true;
	}
	return false;
}

static bool is_there(const char *path)
{
	_cleanup_free_ char *full = root_path("%s", path);

	return access(full, F_OK) == 0;
}

/* udev loads the driver beside us: until it has, or every card has another one. */
static void wait_for_driver(unsigned seconds)
{
	int64_t end = spawn_now() + (int64_t)seconds * 1000;

	while (card_without_driver() && spawn_now() < end)
		usleep(100 * 1000);
}

static void load_uvm(struct run *run)
{
	static const char *const helper[] = { "/usr/bin/nvidia-modprobe", "-u", NULL };
	static const char *const modprobe[] = { "/sbin/modprobe", "-qb", "nvidia-uvm", NULL };
	const char *const *argv = access(helper[0], X_OK) == 0 ? helper : modprobe;
	const struct spawn_opts opts = { .timeout = 60, .pass = true };
	unsigned major;
	int rc;

	if (major_of(run->devices, "nvidia-uvm", &major))
		return;
	if (run->dry_run) {
		puts("modprobe nvidia-uvm");
		return;
	}
	if (!root_is_host())
		return;
	rc = spawn_run(argv, &opts);
	if (rc != 0)
		say_info("%s: ended with %d", argv[0], rc);
	read_devices(run);
}

/* /proc/driver/nvidia/params: what the driver's options say of its device files. */
static void read_params(struct run *run)
{
	_cleanup_free_ char *path = root_path("/proc/driver/nvidia/params");
	_cleanup_free_ char *params = readfile_string(path, PROC_MAX);
	unsigned modify = 1;

	run->look = (struct look){ .uid = 0, .gid = 0, .mode = 0666 };
	if (params) {
		number_of(params, "DeviceFileUID", &run->look.uid);
		number_of(params, "DeviceFileGID", &run->look.gid);
		number_of(params, "DeviceFileMode", &run->look.mode);
		number_of(params, "ModifyDeviceFiles", &modify);
	}
	run->modify = modify != 0;
}

/* ---- the nodes ---- */

/* Beside path and renamed over it: there with its owner and mode, or not there. */
static int make_node(const char *path, dev_t dev, const struct look *look)
{
	unsigned random;
	_cleanup_free_ char *tmp = NULL;
	int rc;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	tmp = xasprintf("%s.%08x", path, random);
	if (mknod(tmp, S_IFCHR, dev) < 0)
		return -errno;
	if (chown(tmp, look->uid, look->gid) == 0 && chmod(tmp, look->mode & 07777) == 0 &&
	    rename(tmp, path) == 0)
		return 0;
	rc = -errno;
	unlink(tmp);
	return rc;
}

static void want_node(struct run *run, const char *name, unsigned major, unsigned minor,
		      const struct look *look)
{
	_cleanup_free_ char *path = root_path("/dev/%s", name);
	dev_t dev = makedev(major, minor);
	struct stat st;
	int rc;

	if (lstat(path, &st) == 0) {
		if (S_ISCHR(st.st_mode) && st.st_rdev == dev)
			return;
		if (!S_ISCHR(st.st_mode)) {
			say("%s: is no device node: move it away", path);
			fail(run, EX_CANTCREAT);
			return;
		}
	}
	if (run->dry_run) {
		printf("mknod -m %04o %s c %u %u\n", look->mode & 07777, path, major, minor);
		return;
	}
	rc = make_node(path, dev, look);
	if (rc < 0) {
		errno = -rc;
		say_errno("%s", path);
		fail(run, EX_OSERR);
		return;
	}
	say_info("%s: made (%u:%u)", path, major, minor);
}

static void gpu_nodes(struct run *run)
{
	_cleanup_free_ char *dir = root_path("/proc/driver/nvidia/gpus");
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("%s/%s/information", dir, e->d_name);
		_cleanup_free_ char *text = readfile_string(path, PROC_MAX);
		char name[32];
		unsigned minor;

		if (e->d_name[0] == '.' || !text ||
		    !number_of(text, "Device Minor", &minor) || minor >= MINOR_MODESET)
			continue;
		snprintf(name, sizeof(name), "nvidia%u", minor);
		want_node(run, name, NVIDIA_MAJOR, minor, &run->look);
	}
	want_node(run, "nvidiactl", NVIDIA_MAJOR, MINOR_CTL, &run->look);
}

static void uvm_nodes(struct run *run)
{
	unsigned major;

	if (!major_of(run->devices, "nvidia-uvm", &major)) {
		if (run->dry_run)
			return;
		say("nvidia-uvm is not loaded, and without it there is no CUDA: 'modprobe nvidia-uvm' says why");
		fail(run, EX_UNAVAILABLE);
		return;
	}
	want_node(run, "nvidia-uvm", major, 0, &run->look);
	want_node(run, "nvidia-uvm-tools", major, 1, &run->look);
}

static bool caps_folder(struct run *run)
{
	_cleanup_free_ char *path = root_path("/dev/nvidia-caps");

	if (access(path, F_OK) == 0)
		return true;
	if (run->dry_run) {
		printf("mkdir -m 0755 %s\n", path);
		return true;
	}
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return true;
	say_errno("%s", path);
	fail(run, EX_OSERR);
	return false;
}

/*
 * Of each file below /proc/driver/nvidia/capabilities: MIG's config and monitor,
 * the GPU and compute instances that are there now.
 */
static void cap_nodes(struct run *run, const char *dir, unsigned major)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		struct look look = { .uid = 0, .gid = 0, .mode = 0400 };
		_cleanup_free_ char *text = NULL;
		unsigned minor, modify = 1;
		struct stat st;
		char name[64];

		if (e->d_name[0] == '.' || lstat(path, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			cap_nodes(run, path, major);
			continue;
		}
		text = S_ISREG(st.st_mode) ? readfile_string(path, PROC_MAX) : NULL;
		if (!text || !number_of(text, "DeviceFileMinor", &minor))
			continue;
		number_of(text, "DeviceFileMode", &look.mode);
		number_of(text, "DeviceFileModify", &modify);
		if (modify == 0)
			continue;
		snprintf(name, sizeof(name), "nvidia-caps/nvidia-cap%u", minor);
		want_node(run, name, major, minor, &look);
	}
}

static void make_nodes(struct run *run)
{
	_cleanup_free_ char *caps = root_path("/proc/driver/nvidia/capabilities");
	unsigned major;

	read_params(run);
	if (!run->modify) {
		say_warn("none made: the driver's NVreg_ModifyDeviceFiles=0 forbids it");
		return;
	}
	gpu_nodes(run);
	if (is_there("/sys/module/nvidia_modeset"))
		want_node(run, "nvidia-modeset", NVIDIA_MAJOR, MINOR_MODESET, &run->look);
	uvm_nodes(run);
	if (access(caps, F_OK) == 0 && major_of(run->devices, "nvidia-caps", &major) &&
	    caps_folder(run))
		cap_nodes(run, caps, major);
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "root", required_argument, NULL, 'R' },    { "dry-run", no_argument, NULL, 'n' },
		{ "quiet", no_argument, NULL, 'q' },	     { "verbose", no_argument, NULL, 'v' },
		{ "wait", required_argument, NULL, 'w' },    { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },	     { NULL, 0, NULL, 0 },
	};
	struct run run = { .status = EX_OK };
	unsigned wait = 0;
	int c;

	while ((c = getopt_long(argc, argv, "R:nqvw:hV", longopts, NULL)) >= 0) {
		switch (c) {
		case 'R': root_set(optarg); break;
		case 'n': run.dry_run = true; break;
		case 'q': msg_level = -1; break;
		case 'v': msg_level++; break;
		case 'w':
			if (!configvalue_number(optarg, 0, 3600, &wait)) {
				say("--wait=%s: is no number of seconds up to 3600", optarg);
				return msg_usage_error();
			}
			break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default: return msg_usage_error();
		}
	}
	if (optind < argc) {
		say("unexpected operand: %s", argv[optind]);
		return msg_usage_error();
	}
	if (!run.dry_run && root_is_host() && geteuid() != 0) {
		say("must be root to make device nodes");
		return EX_NOPERM;
	}
	wait_for_driver(wait);
	if (!is_there("/proc/driver/nvidia/gpus")) {
		say_info("the NVIDIA driver is not loaded: nothing to do");
		return EX_OK;
	}
	umask(0022);
	read_devices(&run);
	load_uvm(&run);
	make_nodes(&run);
	free(run.devices);
	if (!close_stdout())
		return EX_IOERR;
	return run.status;
}
