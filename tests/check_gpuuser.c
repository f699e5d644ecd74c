/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pcitree.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "gpu/gpuuser.h"

#define GPU "pci0000:00/0000:00:01.0/0000:01:00.0"
#define AUDIO "pci0000:00/0000:00:01.0/0000:01:00.1"
#define OTHER "pci0000:00/0000:00:02.0/0000:02:00.0"

static void put_group(const char *place, int group)
{
	_cleanup_free_ char *link = xasprintf("/sys/devices/%s/iommu_group", place);
	_cleanup_free_ char *target = xasprintf("%s/sys/kernel/iommu_groups/%d", testroot,
						group);

	testroot_link(link, target);
}

/* A node of a class of devices, below the function as sysfs has it. */
static void put_class(const char *class, const char *name, const char *place)
{
	_cleanup_free_ char *link = xasprintf("/sys/class/%s/%s", class, name);
	_cleanup_free_ char *target = xasprintf("../../devices/%s/%s/%s", place, class, name);
	_cleanup_free_ char *dir = xasprintf("/sys/devices/%s/%s/%s", place, class, name);

	testroot_dir(dir);
	testroot_link(link, target);
}

static void put_process(int pid, const char *comm)
{
	_cleanup_free_ char *name = xasprintf("/proc/%d/comm", pid);
	_cleanup_free_ char *cgroup = xasprintf("/proc/%d/cgroup", pid);
	_cleanup_free_ char *fds = xasprintf("/proc/%d/fd", pid);
	_cleanup_free_ char *text = xasprintf("%s\n", comm);

	testroot_file(name, text);
	testroot_file(cgroup, "0::/qemu.slice/100.scope\n");
	testroot_dir(fds);
}

static void put_fd(int pid, int fd, const char *target)
{
	_cleanup_free_ char *link = xasprintf("/proc/%d/fd/%d", pid, fd);

	testroot_link(link, target);
}

static void build_host(void)
{
	pcitree_bridge("pci0000:00/0000:00:01.0");
	pcitree_bridge("pci0000:00/0000:00:02.0");
	pcitree_function(GPU, 0x10de, 1, 0x030000);
	pcitree_function(AUDIO, 0x10de, 2, 0x040300);
	pcitree_function(OTHER, 0x1002, 3, 0x030000);
	put_group(GPU, 12);
	put_group(AUDIO, 12);
	put_group(OTHER, 13);
	testroot_dir("/proc");
}

/* "pid comm owner what addr[ ?]", one a line. */
static char *list(void)
{
	const struct pciaddr addrs[] = { at("0000:01:00.0"), at("0000:01:00.1") };
	struct gpuuser *users;
	char *text = xstrdup("");
	size_t n;

	ck_assert_int_eq(gpuuser_list(addrs, ARRAY_SIZE(addrs), &users, &n), 0);
	for (size_t i = 0; i < n; i++) {
		char addr[PCIADDR_STRLEN];
		char *longer = xasprintf("%s%d %s %s %s %s%s\n", text, (int)users[i].pid,
					 users[i].comm, users[i].owner, users[i].what,
					 pciaddr_format(&users[i].addr, addr),
					 users[i].is_certain ? "" : " ?");

		free(text);
		text = longer;
	}
	gpuuser_free(users, n);
	return text;
}

static void wants(const char *want)
{
	_cleanup_free_ char *text = list();

	ck_assert_str_eq(text, want);
}

START_TEST(nobody)
{
	build_host();
	put_process(300, "bash");
	put_fd(300, 0, "/dev/null");
	put_fd(300, 1, "/dev/vfio/13");
	put_fd(300, 2, "/dev/vfio/vfio");
	put_fd(300, 3, "/dev/dri/card7");
	wants("");
}
END_TEST

START_TEST(host_drivers)
{
	build_host();
	put_class("drm", "card1", GPU);
	put_class("drm", "renderD129", GPU);
	put_class("drm", "card2", OTHER);
	put_class("sound", "controlC3", AUDIO);
	put_class("i2c-dev", "i2c-7", GPU);
	put_class("graphics", "fb1", GPU);
	put_class("accel", "accel0", GPU);
	testroot_file("/proc/driver/nvidia/gpus/0000:01:00.0/information", "Device Minor: 4\n");
	put_process(41, "Xorg");
	put_fd(41, 3, "/dev/dri/card1");
	put_fd(41, 4, "/dev/dri/card1");
	put_fd(41, 5, "/dev/dri/card2");
	put_fd(41, 6, "/dev/fb1");
	put_process(9, "pipewire");
	put_fd(9, 3, "/dev/snd/controlC3");
	put_process(500, "nvidia-persiste");
	put_fd(500, 3, "/dev/nvidia4");
	put_fd(500, 4, "/dev/nvidiactl");
	put_fd(500, 5, "/dev/i2c-7");
	put_fd(500, 6, "/dev/accel/accel0 (deleted)");
	wants("9 pipewire qemu/100 /dev/snd/controlC3 0000:01:00.1\n"
	      "41 Xorg qemu/100 /dev/dri/card1 0000:01:00.0\n"
	      "41 Xorg qemu/100 /dev/fb1 0000:01:00.0\n"
	      "500 nvidia-persiste qemu/100 /dev/accel/accel0 0000:01:00.0\n"
	      "500 nvidia-persiste qemu/100 /dev/i2c-7 0000:01:00.0\n"
	      "500 nvidia-persiste qemu/100 /dev/nvidia4 0000:01:00.0\n");
}
END_TEST

START_TEST(vfio_group)
{
	build_host();
	pcitree_driver(GPU, "vfio-pci");
	put_process(77, "kvm");
	put_fd(77, 20, "/dev/vfio/vfio");
	put_fd(77, 21, "/dev/vfio/12");
	put_fd(77, 22, "anon_inode:[vfio-device]");
	put_process(78, "kvm");		/* another guest's */
	put_fd(78, 21, "/dev/vfio/13");
	put_fd(78, 22, "anon_inode:[vfio-device]");
	/* The audio is not bound to VFIO: only its group is held. */
	wants("77 kvm qemu/100 /dev/vfio/12 0000:01:00.0\n"
	      "77 kvm qemu/100 /dev/vfio/12 0000:01:00.1\n"
	      "77 kvm qemu/100 anon_inode:[vfio-device] 0000:01:00.0\n");
}
END_TEST

START_TEST(vfio_device_node)
{
	build_host();
	pcitree_driver(GPU, "vfio-pci");
	put_class("vfio-dev", "vfio2", GPU);
	put_process(77, "kvm");
	put_fd(77, 21, "/dev/vfio/devices/vfio2");
	put_process(78, "kvm");
	put_fd(78, 21, "/dev/vfio/devices/vfio3");
	put_fd(78, 22, "anon_inode:[vfio-device]");
	wants("77 kvm qemu/100 /dev/vfio/devices/vfio2 0000:01:00.0\n");
}
END_TEST

/* A device without its group: it may be ours, unless the kernel says whose it is. */
START_TEST(vfio_device_alone)
{
	build_host();
	pcitree_driver(GPU, "vfio-pci");
	put_process(77, "holder");
	put_fd(77, 5, "anon_inode:[vfio-device]");
	wants("77 holder qemu/100 anon_inode:[vfio-device] 0000:01:00.0 ?\n");
	testroot_file("/proc/77/fdinfo/5", "pos:\t0\nflags:\t02\n");
	wants("77 holder qemu/100 anon_inode:[vfio-device] 0000:01:00.0 ?\n");
	testroot_file("/proc/77/fdinfo/5", "pos:\t0\nvfio-device-syspath: /sys/devices/"
		      OTHER "\nflags:\t02\n");
	wants("");
	testroot_file("/proc/77/fdinfo/5", "pos:\t0\nvfio-device-syspath: /sys/devices/"
		      AUDIO "\nflags:\t02\n");
	wants("77 holder qemu/100 anon_inode:[vfio-device] 0000:01:00.1\n");
}
END_TEST

START_TEST(gone_meanwhile)
{
	build_host();
	testroot_dir("/proc/90/fd");
	put_fd(90, 3, "/dev/vfio/12");
	wants("");
}
END_TEST

/* The host this test runs on: nobody holds what is not there. */
START_TEST(on_the_host)
{
	struct gpuuser *users;
	struct pciaddr none = at("0000:ff:1f.7");
	size_t n;

	root_set("");
	ck_assert_int_eq(gpuuser_list(&none, 1, &users, &n), 0);
	ck_assert_uint_eq(n, 0);
	gpuuser_free(users, n);
}
END_TEST

/*
 * A namespace where /sys is the one of the test and /dev has a plain file for the group.
 */
static bool enter_own_names(void)
{
	_cleanup_free_ char *sys = xasprintf("%s/sys", testroot);

	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount(sys, "/sys", NULL, MS_BIND, NULL) == 0 &&
	       mount("none", "/dev", "tmpfs", 0, NULL) == 0 &&
	       mkdir("/dev/vfio", 0755) == 0;
}

/* How many of this process's files are those of the function, for another one. */
static int count_users_of(pid_t pid)
{
	struct pciaddr gpu = at("0000:01:00.0");
	struct gpuuser *users;
	size_t n;
	int found = 0;

	root_set("");
	if (gpuuser_list(&gpu, 1, &users, &n) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		found += users[i].pid == pid;
	gpuuser_free(users, n);
	return found;
}

/* In a mount namespace anybody can open a file of a node's name. */
START_TEST(plain_file)
{
	int ready[2], status, found;
	pid_t pid;
	char c;

	build_host();
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (!enter_own_names() ||
		    open("/dev/vfio/12", O_CREAT | O_RDWR | O_CLOEXEC, 0600) < 0)
			_exit(1);
		unlink("/dev/vfio/12");
		/* The node is not there for who looks, as on a host without VFIO. */
		if (fork() == 0) {
			found = count_users_of(getppid());
			_exit(found == 0 ? 0 : 2);
		}
		wait(&status);
		c = WIFEXITED(status) ? (char)WEXITSTATUS(status) : 3;
		_exit(write(ready[1], &c, 1) == 1 ? 0 : 1);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		fputs("(no mount namespace: a plain file was not tried)\n", stderr);
	else
		ck_assert_int_eq(c, 0);
	close(ready[0]);
	waitpid(pid, &status, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gpuuser");
	TCase *tc = tcase_create("gpuuser");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_test(tc, nobody);
	tcase_add_test(tc, host_drivers);
	tcase_add_test(tc, vfio_group);
	tcase_add_test(tc, vfio_device_node);
	tcase_add_test(tc, vfio_device_alone);
	tcase_add_test(tc, gone_meanwhile);
	tcase_add_test(tc, on_the_host);
	tcase_add_test(tc, plain_file);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
