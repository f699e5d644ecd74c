/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/inotify.h>
#include <sys/sysmacros.h>

#include "testroot.h"

#include "base/cleanup.h"
#include "base/readfile.h"
#include "pve/ctfile.h"
#include "pve/ctgroup.h"

enum fault { FAULT_NONE, FAULT_WRITE, FAULT_SHORT, FAULT_SYNC, FAULT_RENAME };

static enum fault fault;
static int fault_errno;
static unsigned writes, chmods;

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmodat(int fd, const char *path, mode_t mode, int flags);

static int refuse(void)
{
	errno = fault_errno;
	return -1;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	writes++;
	if (fault == FAULT_WRITE)
		return refuse();
	return __real_write(fd, data, fault == FAULT_SHORT ? len / 2 : len);
}

int __wrap_fsync(int fd)
{
	return fault == FAULT_SYNC ? refuse() : __real_fsync(fd);
}

int __wrap_renameat(int a, const char *from, int b, const char *to)
{
	return fault == FAULT_RENAME ? refuse() : __real_renameat(a, from, b, to);
}

/* pmxcfs refuses both: nobody may call them. */
int __wrap_fchmod(int fd, mode_t mode)
{
	(void)fd;
	(void)mode;
	chmods++;
	return refuse();
}

int __wrap_fchmodat(int fd, const char *path, mode_t mode, int flags)
{
	(void)path;
	(void)flags;
	return __wrap_fchmod(fd, mode);
}

static char *config;

static void setup(void)
{
	testroot_setup();
	testroot_file("/etc/pve/nodes/n/lxc/200.conf", "old\n");
	config = root_path("/etc/pve/nodes/n/lxc/200.conf");
	fault = FAULT_NONE;
	writes = 0;
}

static void teardown(void)
{
	free(config);
	testroot_teardown();
}

static void check_config(const char *want)
{
	char *text = readfile_string(config, 1000);

	ck_assert_str_eq(text, want);
	free(text);
}

static unsigned count_files(void)
{
	char *folder = root_path("/etc/pve/nodes/n/lxc");
	DIR *dir = opendir(folder);
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	free(folder);
	return n - 2;
}

START_TEST(writes_once)
{
	struct stat st;
	mode_t mask = umask(077);

	ck_assert_int_eq(chmod(config, 0640), 0);
	testroot_file("/etc/pve/nodes/n/lxc/200.conf.tmp.lxc-gpu-mount.1", "half");
	testroot_file("/etc/pve/nodes/n/lxc/200.conf.tmp.99", "PVE's own");
	writes = 0;
	ck_assert_int_eq(ctfile_write(config, "new\n", 4), 0);
	umask(mask);
	check_config("new\n");
	ck_assert_uint_eq(writes, 1);
	ck_assert_uint_eq(chmods, 0);
	ck_assert_int_eq(stat(config, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0640);
	ck_assert_uint_eq(count_files(), 2);
	ck_assert_int_eq(ctfile_write(config, "", 0), 0);
	check_config("");
}
END_TEST

static const struct {
	enum fault fault;
	int with, rc;
} faults[] = {
	{ FAULT_WRITE, EACCES, -EACCES }, { FAULT_WRITE, EFBIG, -EFBIG },
	{ FAULT_WRITE, ENOSPC, -ENOSPC }, { FAULT_SHORT, 0, -EIO },
	{ FAULT_SYNC, EIO, -EIO }, { FAULT_RENAME, EACCES, -EACCES },
	{ FAULT_RENAME, EIO, -EIO },
};

START_TEST(keeps_the_old_one)
{
	fault = faults[_i].fault;
	fault_errno = faults[_i].with;
	ck_assert_int_eq(ctfile_write(config, "new\n", 4), faults[_i].rc);
	fault = FAULT_NONE;
	check_config("old\n");
	ck_assert_uint_eq(count_files(), 1);
}
END_TEST

START_TEST(no_file)
{
	ck_assert_int_eq(unlink(config), 0);
	ck_assert_int_eq(ctfile_write(config, "new\n", 4), -ENOENT);
	ck_assert_uint_eq(count_files(), 0);
}
END_TEST

START_TEST(locks)
{
	int one = ctfile_lock(200, 0), two;

	ck_assert_int_ge(one, 0);
	ck_assert_int_eq(ctfile_lock(200, 100), -EAGAIN);
	two = ctfile_lock(201, 0);
	ck_assert_int_ge(two, 0);
	close(two);
	close(one);
	one = ctfile_lock(200, 0);
	ck_assert_int_ge(one, 0);
	close(one);
}
END_TEST

/* Whoever puts a FIFO there gets an error out of us, no wait without end. */
START_TEST(waits_for_no_fifo)
{
	_cleanup_free_ char *path = root_path("/run/lock/lxc/pve-config-200.lock");

	testroot_dir("/run/lock/lxc");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(ctfile_lock(200, 100), -ENXIO);
}
END_TEST

static const struct {
	const char *text;
	int video, render;
} groups[] = {
	{ "", -1, -1 },
	{ "root:x:0:\nvideo:x:44:a,b\nrender:x:992:\n", 44, 992 },
	{ "render:x:104", -1, 104 },
	{ "render:*:104:\nrender:x:105:\n", -1, 104 },
	{ "renderer:x:1:\nxrender:x:2:\nrender2:x:3:\n", -1, -1 },
	{ "render:x:\nvideo:x:-1:\n", -1, -1 },
	{ "render:x:12x:\nvideo:x\n", -1, -1 },
	{ "render\nvideo:\n", -1, -1 },
	{ "render:x:4294967295:\nvideo:x:999999999999999999999:\n", -1, -1 },
	{ "#render:x:1:\n+:::\nvideo:x:0:\n", 0, -1 },
};

START_TEST(parses_groups)
{
	struct ctgroups g;

	ctgroups_parse(groups[_i].text, &g);
	ck_assert_int_eq(g.video, groups[_i].video);
	ck_assert_int_eq(g.render, groups[_i].render);
}
END_TEST

START_TEST(reads_groups)
{
	struct ctgroups g;
	bool unmounted;

	ck_assert_int_eq(ctgroups_read(200, NULL, true, &g, &unmounted), -ENOENT);
	ck_assert(unmounted);
	testroot_file("/var/lib/lxc/200/rootfs/usr/group", "render:x:7:\n");
	testroot_link("/var/lib/lxc/200/rootfs/etc/group", "/usr/group");
	ck_assert_int_eq(ctgroups_read(200, NULL, true, &g, &unmounted), 0);
	ck_assert_int_eq(g.render, 7);
	testroot_link("/var/lib/lxc/201/rootfs/etc", "../../200/rootfs/etc");
	ck_assert_int_eq(ctgroups_read(201, NULL, true, &g, &unmounted), -ENOENT);
	testroot_dir("/var/lib/lxc/202/rootfs/etc/group");
	ck_assert_int_eq(ctgroups_read(202, NULL, true, &g, &unmounted), -EINVAL);
}
END_TEST

static const mode_t no_files[] = { S_IFIFO | 0644, S_IFCHR | 0644 };

/* To open a device can do something: nothing but a file is opened at all. */
START_TEST(opens_files_only)
{
	_cleanup_free_ char *path = root_path("/var/lib/lxc/200/rootfs/etc/group");
	_cleanup_close_ int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct ctgroups g;
	bool unmounted;
	char event[4096];

	testroot_dir("/var/lib/lxc/200/rootfs/etc");
	/* a device number that no driver has; only root may make one */
	if (mknod(path, no_files[_i], makedev(511, 4242)) < 0) {
		ck_assert(S_ISCHR(no_files[_i]) && errno == EPERM);
		return;
	}
	ck_assert_int_ge(watch, 0);
	ck_assert_int_ge(inotify_add_watch(watch, path, IN_OPEN), 0);
	ck_assert_int_eq(ctgroups_read(200, NULL, true, &g, &unmounted), -EINVAL);
	ck_assert_int_lt(read(watch, event, sizeof(event)), 0);
	ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

START_TEST(reads_no_huge_file)
{
	_cleanup_free_ char *path = root_path("/var/lib/lxc/200/rootfs/etc/group");
	struct ctgroups g;
	bool unmounted;

	testroot_file("/var/lib/lxc/200/rootfs/etc/group", "render:x:7:\n");
	ck_assert_int_eq(truncate(path, (off_t)1 << 40), 0);
	ck_assert_int_eq(ctgroups_read(200, NULL, true, &g, &unmounted), -EFBIG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ctfile");
	TCase *t = tcase_create("ctfile");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, writes_once);
	tcase_add_loop_test(t, keeps_the_old_one, 0, ARRAY_SIZE(faults));
	tcase_add_test(t, no_file);
	tcase_add_test(t, locks);
	tcase_add_test(t, waits_for_no_fifo);
	tcase_add_loop_test(t, parses_groups, 0, ARRAY_SIZE(groups));
	tcase_add_test(t, reads_groups);
	tcase_add_loop_test(t, opens_files_only, 0, ARRAY_SIZE(no_files));
	tcase_add_test(t, reads_no_huge_file);
	suite_add_tcase(s, t);
	return testroot_run(s);
}
