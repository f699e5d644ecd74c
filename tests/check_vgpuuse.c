/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vgputree.h"

#include "pve/vgpuuse.h"

#define P40 "pci0000:00/0000:82:00.0"
#define MTTY "virtual/mtty/mtty"
#define PVE100 "00000000-0000-0000-0000-000000000100"
#define UUID1 "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

static void process(int pid, const char *comm, const char *cgroup, int parent)
{
	_cleanup_free_ char *comm_path = xasprintf("/proc/%d/comm", pid);
	_cleanup_free_ char *cgroup_path = xasprintf("/proc/%d/cgroup", pid);
	_cleanup_free_ char *stat_path = xasprintf("/proc/%d/stat", pid);
	_cleanup_free_ char *fds = xasprintf("/proc/%d/fd", pid);
	_cleanup_free_ char *comm_text = xasprintf("%s\n", comm);
	_cleanup_free_ char *cgroup_text = xasprintf("0::%s\n", cgroup);
	_cleanup_free_ char *stat_text =
		xasprintf("%d (%s) S %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 777 0\n", pid, comm,
			  parent);

	testroot_file(comm_path, comm_text);
	testroot_file(cgroup_path, cgroup_text);
	testroot_file(stat_path, stat_text);
	testroot_dir(fds);
}

static void open_file(int pid, int fd, const char *target)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", pid, fd);

	testroot_link(path, target);
}

/* words: parted by '|', which becomes NUL. */
static void command(int pid, const char *words)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/cmdline", pid);
	_cleanup_free_ char *data = xstrdup(words);

	for (char *p = data; *p; p++)
		if (*p == '|')
			*p = '\0';
	testroot_data(path, data, strlen(words) + 1);
}

static void make_instances(void)
{
	testroot_setup();
	testroot_dir("/proc");
	vgputree_function("0000:82:00.0", "nvidia");
	vgputree_mdev_bus("0000:82:00.0", P40);
	vgputree_type(P40, "nvidia-50", "GRID P40-6Q\n", 2, NULL);
	vgputree_instance(P40, PVE100, "nvidia-50", 90);
	vgputree_instance(P40, UUID1, "nvidia-50", 91);
	testroot_dir("/sys/devices/" P40 "/" UUID1 "/vfio-dev/vfio7");
	vgputree_function("0000:41:00.0", "nvidia");
	vgputree_sriov("0000:41:00.0", "16\n", "1\n");
	vgputree_nvidia_vf("0000:41:00.4", "0000:41:00.0", 660, "");
	testroot_group("0000:41:00.4", 54);
}

/* Users of an instance as "how pid owner", one after the other. */
static char *users_of(const char *id)
{
	struct vgpuuse *uses;
	char *text = xstrdup("");
	struct vgpus v;
	size_t n;
	int at;

	ck_assert_int_eq(vgpus_read(&v, 0), 0);
	at = vgpus_find(&v, id);
	ck_assert_int_ge(at, 0);
	ck_assert_int_eq(vgpuuse_list(&v, &uses, &n), 0);
	for (size_t i = 0; i < n; i++) {
		static const char *const hows[] = { "file", "cmdline", "pve", "maybe" };
		_cleanup_free_ char *before = text;

		text = uses[i].instance == (size_t)at ?
		       xasprintf("%s%s %d %s;", before, hows[uses[i].how], (int)uses[i].pid,
				 uses[i].owner) : xstrdup(before);
	}
	ck_assert_int_eq(vgpuuse_is_leftover(&v, uses, n, (size_t)at, false), !*text);
	ck_assert(!vgpuuse_is_leftover(&v, uses, n, (size_t)at, true));
	vgpuuse_free(uses, n);
	vgpus_done(&v);
	return text;
}

static void is_used(const char *id, const char *want)
{
	_cleanup_free_ char *text = users_of(id);

	ck_assert_str_eq(text, want);
}

START_TEST(nobody)
{
	process(1, "systemd", "/init.scope", 0);
	process(50, "kvm", "/qemu.slice/200.scope", 1);
	open_file(50, 3, "/dev/vfio/vfio");
	open_file(50, 4, "/dev/vfio/9");	/* something else's group */
	open_file(50, 5, "anon_inode:[vfio-device]");
	command(50, "kvm|-device|vfio-pci,host=0000:82:00.1");
	process(51, "grep", "/user.slice", 1);
	command(51, "grep|" UUID1);
	is_used(PVE100, "");
	is_used(UUID1, "");
	is_used("41:00.4", "");
}
END_TEST

START_TEST(open_files)
{
	process(50, "kvm", "/qemu.slice/200.scope", 1);
	open_file(50, 4, "/dev/vfio/91");
	open_file(50, 5, "anon_inode:[vfio-device]");
	is_used(UUID1, "file 50 qemu/200;");
	is_used(PVE100, "");
	process(51, "qemu-system-x86", "/user.slice/user-0.slice/session-1.scope", 1);
	open_file(51, 4, "/dev/vfio/devices/vfio7");
	open_file(51, 5, "/dev/vfio/noiommu-54");
	is_used(UUID1, "file 50 qemu/200;file 51 unit/session-1.scope;");
	is_used("41:00.4", "file 51 unit/session-1.scope;");
}
END_TEST

/* The group is closed, the device is not: all that is known is that it may be. */
START_TEST(device_alone)
{
	process(50, "holder", "/system.slice/x.service", 1);
	open_file(50, 5, "anon_inode:[vfio-device]");
	is_used(UUID1, "maybe 50 unit/x.service;");
	is_used("41:00.4", "maybe 50 unit/x.service;");
	testroot_file("/proc/50/fdinfo/5", "pos:\t0\nvfio-device-syspath: "
		      "/sys/devices/" P40 "/" UUID1 "\n");
	is_used(UUID1, "file 50 unit/x.service;");
	is_used(PVE100, "");
}
END_TEST

static const struct {
	const char *word, *id;
	bool is_it;
} words[] = {
	{ "vfio-pci,sysfsdev=/sys/bus/mdev/devices/" UUID1 ",id=hostpci0", UUID1, true },
	{ "vfio-pci,sysfsdev=/sys/bus/mdev/devices/" UUID1, UUID1, true },
	{ "vfio-pci-nohotplug,sysfsdev=/sys/bus/mdev/devices/" UUID1, UUID1, true },
	{ "{\"driver\":\"vfio-pci\",\"sysfsdev\":\"/sys/bus/mdev/devices/" UUID1 "\"}", UUID1,
	  true },
	{ "path=/sys/bus/mdev/devices/" UUID1 "/", UUID1, true },
	{ "vfio-pci,host=0000:41:00.4,id=hostpci0", "0000:41:00.4", true },
	{ "vfio-pci,host=41:00.4", "0000:41:00.4", true },
	{ "vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:41:00.4,id=x", "0000:41:00.4", true },
	{ "vfio-pci,host=0000:41:00.5", "0000:41:00.4", false },
	{ "/sys/bus/mdev/devices/" UUID1, UUID1, false },
	{ UUID1, UUID1, false },
};

START_TEST(command_lines)
{
	_cleanup_free_ char *line = xasprintf("kvm|-device|%s|-x", words[_i].word);

	process(50, "kvm", "/qemu.slice/200.scope", 1);
	command(50, line);
	is_used(words[_i].id, words[_i].is_it ? "cmdline 50 qemu/200;" : "");
}
END_TEST

START_TEST(pve)
{
	/* VM 100 runs and has nothing open that we see. */
	process(60, "kvm", "/qemu.slice/100.scope", 1);
	command(60, "/usr/bin/kvm|-pidfile|/var/run/qemu-server/100.pid");
	testroot_file("/run/qemu-server/100.pid", "60\n");
	is_used(PVE100, "pve 60 qemu/100;");
	open_file(60, 3, "/dev/vfio/90");
	is_used(PVE100, "file 60 qemu/100;");
	/* It does not run, whoever has its number. */
	testroot_file("/run/qemu-server/100.pid", "61\n");
	open_file(60, 4, "/dev/vfio/91");
	is_used(UUID1, "file 60 qemu/100;");
}
END_TEST

/* A VM that PVE starts just now has no process yet. */
START_TEST(pve_starts)
{
	testroot_file("/run/qemu-server/pci-id-reservations",
		      "0000:82:00.0 100 time:99999999999\n0000:41:00.4 101 time:99999999999\n");
	is_used(PVE100, "pve 0 qemu/100;");
	is_used("41:00.4", "pve 0 qemu/101;");
	is_used(UUID1, "");
	testroot_file("/run/qemu-server/pci-id-reservations", "0000:41:00.4 101 time:1\n");
	is_used("41:00.4", "");
	is_used(PVE100, "");
}
END_TEST

START_TEST(plain_vfs)
{
	struct vgpuuse *uses;
	struct vgpus v;
	size_t n;

	vgputree_function("0000:00:02.0", "i915");
	vgputree_sriov("0000:00:02.0", "7\n", "1\n");
	vgputree_vf("0000:00:02.1", "0000:00:02.0", "i915");
	process(50, "holder", "/", 1);
	open_file(50, 5, "anon_inode:[vfio-device]");
	ck_assert_int_eq(vgpus_read(&v, 0), 0);
	ck_assert_int_eq(vgpuuse_list(&v, &uses, &n), 0);
	ck_assert_uint_eq(n, 3);	/* not the VF that a host driver has */
	ck_assert_int_eq(vgpus_find(&v, "00:02.1"), 0);
	ck_assert(!vgpuuse_is_leftover(&v, uses, n, 0, false));
	vgpuuse_free(uses, n);
	vgpus_done(&v);
}
END_TEST

START_TEST(texts)
{
	char owner[] = "qemu/100", other[] = "-";
	struct vgpuuse use = { .pid = 50, .comm = "kvm", .owner = owner };
	char *text = vgpuuse_text(&use);

	ck_assert_str_eq(text, "VM 100");
	free(text);
	use.owner = other;
	text = vgpuuse_text(&use);
	ck_assert_str_eq(text, "process 50 (kvm)");
	free(text);
	use.how = VGPUUSE_MAYBE;
	text = vgpuuse_text(&use);
	ck_assert_str_eq(text, "perhaps process 50 (kvm)");
	free(text);
}
END_TEST

static void managers_are(size_t want, int pid, const char *id)
{
	struct vgpumgr *mgrs;
	struct vgpus v;
	size_t n;

	ck_assert_int_eq(vgpus_read(&v, 0), 0);
	ck_assert_int_eq(vgpuuse_stale_managers(&v, &mgrs, &n), 0);
	ck_assert_uint_eq(n, want);
	if (n) {
		ck_assert_int_eq(mgrs[0].pid, pid);
		ck_assert_pstr_eq(mgrs[0].id, id);
	}
	vgpumgr_free(mgrs, n);
	vgpus_done(&v);
}

START_TEST(managers)
{
	process(900, "nvidia-vgpu-mgr", "/system.slice/nvidia-vgpu-mgr.service", 1);
	command(900, "/usr/bin/nvidia-vgpu-mgr");
	process(901, "nvidia-vgpu-mgr", "/system.slice/nvidia-vgpu-mgr.service", 900);
	command(901, "vgpu|" UUID1);
	process(902, "nvidia-vgpu-mgr", "/system.slice/nvidia-vgpu-mgr.service", 900);
	command(902, "vgpu");
	managers_are(0, 0, NULL);
	command(901, "vgpu|83b8f4f2-509f-382f-3c1e-e6bfe0fa1002");
	managers_are(1, 901, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002");
}
END_TEST

/* With no vGPU left, the daemon's children serve none. */
START_TEST(managers_of_none)
{
	testroot_teardown();
	testroot_setup();
	process(900, "nvidia-vgpu-mgr", "/system.slice/nvidia-vgpu-mgr.service", 1);
	process(902, "nvidia-vgpu-mgr", "/system.slice/nvidia-vgpu-mgr.service", 900);
	managers_are(1, 902, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vgpuuse");
	TCase *t = tcase_create("vgpuuse");

	tcase_add_checked_fixture(t, make_instances, testroot_teardown);
	tcase_add_test(t, nobody);
	tcase_add_test(t, open_files);
	tcase_add_test(t, device_alone);
	tcase_add_loop_test(t, command_lines, 0, ARRAY_SIZE(words));
	tcase_add_test(t, pve);
	tcase_add_test(t, pve_starts);
	tcase_add_test(t, plain_vfs);
	tcase_add_test(t, texts);
	tcase_add_test(t, managers);
	tcase_add_test(t, managers_of_none);
	suite_add_tcase(s, t);
	return testroot_run(s);
}
