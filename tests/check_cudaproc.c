/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "gpu/cgroupfs.h"
#include "gpu/cudaproc.h"
#include "gpu/cudaselect.h"
#include "gpu/cudasigns.h"

#define MAPS "7f00-7f10 r-xp 00000000 08:01 42                 /usr/lib/libcuda.so.580.65.06\n"
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void file(int pid, const char *name, const char *text)
{
	char *path = xasprintf("/proc/%d/%s", pid, name);

	testroot_file(path, text);
	free(path);
}

/* A process with CUDA; state and what else counts can be put over it. */
static void process(int pid, int ppid, const char *state, const char *cgroup)
{
	char *status = xasprintf("Name:\tname %d\nState:\t%s\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\n"
				 "TracerPid:\t0\nUid:\t0\t0\t0\t0\n", pid, state, pid, pid, ppid);
	char *stat = xasprintf("%d (a) b) 1 2) %c %d 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 "
			       "777 23\n", pid, *state, ppid);

	file(pid, "status", status);
	file(pid, "stat", stat);
	file(pid, "cgroup", cgroup);
	file(pid, "maps", MAPS);
	file(pid, "environ", "");
	free(status);
	free(stat);
}

static const struct {
	const char *text;
	int rc;
	pid_t pid;
} pids[] = {
	{ "1", 0, 1 }, { "0012", 0, 12 }, { "2147483647", 0, 2147483647 },
	{ "2147483648", -ERANGE, 0 }, { "99999999999999999999", -ERANGE, 0 },
	{ "0", -EINVAL, 0 }, { "000", -EINVAL, 0 }, { "", -EINVAL, 0 }, { "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 }, { " 1", -EINVAL, 0 }, { "1 ", -EINVAL, 0 }, { "12a", -EINVAL, 0 },
	{ "0x10", -EINVAL, 0 }, { "1.5", -EINVAL, 0 }, { "1\n", -EINVAL, 0 },
};

START_TEST(test_pid)
{
	pid_t pid = 0;

	ck_assert_int_eq(cudaproc_parse_pid(pids[_i].text, &pid), pids[_i].rc);
	ck_assert_int_eq(pid, pids[_i].pid);
}
END_TEST

static const struct {
	const char *state, *maps, *uid, *environ;
	enum cudaproc_fault fault;
	bool in_job;
} procs[] = {
	{ "S (sleeping)", MAPS, "0", "", CUDAPROC_FIT, false },
	{ "R (running)", MAPS, "0", "A=1", CUDAPROC_FIT, false },
	{ "D (disk sleep)", MAPS, "0", "CUDA_CHECKPOINT_JOB_FILE=/f", CUDAPROC_FIT, true },
	{ "S (sleeping)", MAPS, "0", "XCUDA_CHECKPOINT_JOB_FILE=/f", CUDAPROC_FIT, false },
	{ "S (sleeping)", MAPS, "0", "CUDA_CHECKPOINT_JOB_FILE2=/f", CUDAPROC_FIT, false },
	{ "T (stopped)", MAPS, "0", "", CUDAPROC_STOPPED, false },
	{ "t (tracing stop)", MAPS, "0", "", CUDAPROC_TRACED, false },
	{ "Z (zombie)", "", "0", "", CUDAPROC_ZOMBIE, false },
	{ "S (sleeping)", "", "0", "", CUDAPROC_NO_CUDA, false },
	{ "T (stopped)", "", "0", "", CUDAPROC_NO_CUDA, false },
	{ "S (sleeping)", "7f00-7f10 r-xp 0 08:01 42   /usr/lib/libcudart.so.12\n", "0", "",
	  CUDAPROC_NO_CUDA, false },
	{ "S (sleeping)", "7f00-7f10 r-xp 0 08:01 42   /a/libcuda.so.1 (deleted)\n", "0", "",
	  CUDAPROC_FIT, false },
};

START_TEST(test_fault)
{
	struct cudaproc p;

	process(10, 1, procs[_i].state, "0::/a\n");
	file(10, "maps", procs[_i].maps);
	file(10, "environ", procs[_i].environ);
	ck_assert_int_eq(cudaproc_read(10, &p), 0);
	ck_assert_int_eq(cudaproc_fault(&p), procs[_i].fault);
	ck_assert_int_eq(p.in_job, procs[_i].in_job);
	ck_assert_str_eq(p.comm, "name 10");
	ck_assert_uint_eq(p.start, 777);
	ck_assert_int_eq(p.ppid, 1);
	cudaproc_done(&p);
}
END_TEST

START_TEST(test_thread)
{
	struct cudaproc p;

	process(11, 1, "S (sleeping)", "0::/a\n");
	file(11, "status", "Name:\tx\nState:\tS (sleeping)\nTgid:\t10\nPid:\t11\nUid:\t0\t0\t0\t0\n");
	ck_assert_int_eq(cudaproc_read(11, &p), 0);
	ck_assert_int_eq(cudaproc_fault(&p), CUDAPROC_THREAD);
	ck_assert_int_eq(p.tgid, 10);
	cudaproc_done(&p);
	ck_assert_int_eq(cudaproc_read(12, &p), -ENOENT);
}
END_TEST

START_TEST(test_foreign)
{
	struct cudaproc p = { .uid = 1000, .euid = 1000, .state = 'S', .library = NULL };

	ck_assert(cudaproc_is_ours(&p) == (geteuid() == 0 || geteuid() == 1000));
	p.uid = p.euid = geteuid();
	ck_assert(cudaproc_is_ours(&p));
	p.euid = geteuid() + 1;
	ck_assert(cudaproc_is_ours(&p) == (geteuid() == 0));
}
END_TEST

static const struct {
	const char *cgroup;
	const char *files[4];	/* path, text, path, text */
	const char *thaw;	/* below the root; NULL: not frozen */
} freezers[] = {
	{ "0::/a/b\n", { "/cgroup.controllers", "", "/a/cgroup.freeze", "0\n" }, NULL },
	{ "0::/a/b\n", { "/cgroup.controllers", "", "/a/b/cgroup.freeze", "1\n" },
	  "echo 0 > /sys/fs/cgroup/a/b/cgroup.freeze" },
	/* A group above it, too: the outermost is what is to be thawed. */
	{ "0::/a/b\n", { "/a/cgroup.freeze", "1\n", "/a/b/cgroup.freeze", "1\n" },
	  "echo 0 > /sys/fs/cgroup/unified/a/cgroup.freeze" },
	{ "0::/a/bc\n", { "/cgroup.controllers", "", "/a/b/cgroup.freeze", "1\n" }, NULL },
	{ "6:freezer:/x\n0::/\n", { "/freezer/x/freezer.state", "FROZEN\n", NULL, NULL },
	  "echo THAWED > /sys/fs/cgroup/freezer/x/freezer.state" },
	{ "6:cpu,freezer:/x/y\n", { "/freezer/x/y/freezer.state", "FREEZING\n",
				    "/freezer/x/freezer.state", "FROZEN\n" },
	  "echo THAWED > /sys/fs/cgroup/freezer/x/freezer.state" },
	{ "6:freezer:/x\n", { "/freezer/x/freezer.state", "THAWED\n", NULL, NULL }, NULL },
	{ "6:freezers:/x\n", { "/freezer/x/freezer.state", "FROZEN\n", NULL, NULL }, NULL },
	{ "0::/../x\n", { "/cgroup.controllers", "", "/x/cgroup.freeze", "1\n" }, NULL },
	/* A name of a user's choice is no command in whoever pastes this. */
	{ "0::/$(x)\n", { "/cgroup.controllers", "", "/$(x)/cgroup.freeze", "1\n" },
	  "echo 0 > '/sys/fs/cgroup/$(x)/cgroup.freeze'" },
	{ "0::/a'b\n", { "/cgroup.controllers", "", "/a'b/cgroup.freeze", "1\n" },
	  "echo 0 > '/sys/fs/cgroup/a'\\''b/cgroup.freeze'" },
	{ "garbage\n0:\n0::\n\n", { "/cgroup.controllers", "", NULL, NULL }, NULL },
};

START_TEST(test_frozen)
{
	char *thaw = NULL;

	process(10, 1, "S (sleeping)", freezers[_i].cgroup);
	for (size_t i = 0; i < 4 && freezers[_i].files[i]; i += 2) {
		const char *where = strcmp(freezers[_i].files[0], "/a/cgroup.freeze") == 0
				    ? "/unified" : "";
		char *path = xasprintf("/sys/fs/cgroup%s%s", where, freezers[_i].files[i]);

		testroot_file(path, freezers[_i].files[i + 1]);
		free(path);
	}
	ck_assert_int_eq(cgroupfs_frozen(10, &thaw), 0);
	ck_assert_pstr_eq(thaw, freezers[_i].thaw);
	free(thaw);
	ck_assert_int_eq(cgroupfs_frozen(99, &thaw), -ENOENT);
}
END_TEST

START_TEST(test_limits)
{
	struct cgroupfs_limit *limits;
	size_t n;

	process(10, 1, "S (sleeping)", "0::/a/b/c\n");
	testroot_file("/sys/fs/cgroup/cgroup.controllers", "memory\n");
	testroot_file("/sys/fs/cgroup/a/memory.max", "5000\n");
	testroot_file("/sys/fs/cgroup/a/memory.current", "6000\n");
	testroot_file("/sys/fs/cgroup/a/b/memory.max", "max\n");
	testroot_file("/sys/fs/cgroup/a/b/memory.current", "100\n");
	testroot_file("/sys/fs/cgroup/a/b/c/memory.max", "1000\n");
	testroot_file("/sys/fs/cgroup/a/b/c/memory.current", "800\n");
	testroot_file("/sys/fs/cgroup/a/b/c/memory.stat",
		      "anon 1\nfile 500\ninactive_file 100\nactive_file 20\n");
	ck_assert_int_eq(cgroupfs_limits(10, &limits, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(limits[0].group, "/sys/fs/cgroup/a/b/c");
	ck_assert_uint_eq(limits[0].room, 320);
	ck_assert_str_eq(limits[1].group, "/sys/fs/cgroup/a");
	ck_assert_uint_eq(limits[1].room, 0);
	cgroupfs_limits_free(limits, n);
}
END_TEST

START_TEST(test_limits_v1)
{
	struct cgroupfs_limit *limits;
	size_t n;

	process(10, 1, "S (sleeping)", "4:memory:/m\n0::/\n");
	testroot_file("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1000\n");
	testroot_file("/sys/fs/cgroup/memory/m/memory.usage_in_bytes", "900\n");
	testroot_file("/sys/fs/cgroup/memory/m/memory.stat", "inactive_file 900\ntotal_active_file 50\n");
	testroot_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	testroot_file("/sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n");
	ck_assert_int_eq(cgroupfs_limits(10, &limits, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(limits[0].room, 150);
	cgroupfs_limits_free(limits, n);
}
END_TEST

static const struct {
	const char *cgroup, *path;
	bool is_unified, is_below;
} places[] = {
	{ "0::/lxc/200/ns\n", "/lxc/200", true, true },
	{ "0::/lxc/200/ns\n", "/lxc/200/", true, true },
	{ "0::/lxc/200\n", "/lxc/200", true, true },
	{ "0::/lxc/2001\n", "/lxc/200", true, false },
	{ "0::/a/lxc/200\n", "/lxc/200", true, false },
	{ "0::/lxc/200\n", "/sys/fs/cgroup/lxc/200", true, true },
	{ "0::/lxc/200\n", "/sys/fs/cgroup/lxc/20", true, false },
	{ "6:freezer:/x\n5:memory:/y\n", "/x", false, true },
	{ "6:freezer:/x\n5:memory:/y\n", "/sys/fs/cgroup/freezer/x", false, true },
	{ "6:freezer:/x\n5:memory:/y\n", "/sys/fs/cgroup/memory/x", false, false },
	{ "1:name=systemd:/s\n0::/u\n", "/sys/fs/cgroup/systemd/s", false, true },
	{ "1:name=systemd:/s\n0::/u\n", "/sys/fs/cgroup/unified/u", false, true },
	{ "1:name=systemd:/s\n0::/u\n", "/sys/fs/cgroup/unified/s", false, false },
};

START_TEST(test_below)
{
	process(10, 1, "S (sleeping)", places[_i].cgroup);
	if (places[_i].is_unified)
		testroot_file("/sys/fs/cgroup/cgroup.controllers", "\n");
	ck_assert_int_eq(cgroupfs_is_below(10, places[_i].path), places[_i].is_below);
	ck_assert(!cgroupfs_is_below(99, places[_i].path));
}
END_TEST

START_TEST(test_exists)
{
	testroot_dir("/sys/fs/cgroup/freezer/x");
	ck_assert(cgroupfs_exists("/x"));
	ck_assert(cgroupfs_exists("/sys/fs/cgroup/freezer/x"));
	ck_assert(!cgroupfs_exists("/sys/fs/cgroup/memory/x"));
	ck_assert(!cgroupfs_exists("/y"));
	ck_assert(!cgroupfs_exists(""));
}
END_TEST

static const struct {
	struct cudaselect sel;
	const pid_t named[2];
	const char *want;
} selections[] = {
	{ { .n_pids = 2 }, { 20, 10 }, "10 20 " },
	{ { .n_pids = 2 }, { 99, 99 }, "99 " },		/* not there: for others to say */
	{ { .n_pids = 1, .tree = true }, { 20 }, "5 20 30 31 " },
	{ { .n_pids = 1, .tree = true }, { 30 }, "5 30 " },
	{ { .cgroup = "/lxc/200" }, { 0 }, "20 30 " },
	{ { .guest = "lxc/200" }, { 0 }, "20 30 " },
	{ { .guest = "lxc/20" }, { 0 }, "" },
	{ { .container = "0123456789ab" }, { 0 }, "31 " },
	{ { .container = "0123456789" }, { 0 }, "" },
	{ { .container = ID, .n_pids = 1 }, { 10 }, "10 31 " },
	{ { .cgroup = "/lxc/200", .tree = true, .n_pids = 1 }, { 31 }, "5 20 30 31 " },
};

START_TEST(test_select)
{
	struct cudaselect sel = selections[_i].sel;
	char text[128] = "";
	pid_t *found = NULL;
	size_t n = 0;

	process(10, 1, "S (sleeping)", "0::/user.slice\n");
	process(20, 10, "S (sleeping)", "0::/lxc/200/ns\n");
	process(30, 20, "S (sleeping)", "0::/lxc/200/ns/a\n");
	process(31, 20, "S (sleeping)", "0::/docker/" ID "\n");
	process(5, 30, "S (sleeping)", "0::/user.slice\n");	/* a number may be below its parent's */
	sel.pids = selections[_i].named;
	ck_assert_int_eq(cudaselect_list(&sel, &found, &n), 0);
	for (size_t i = 0; i < n; i++)
		sprintf(text + strlen(text), "%d ", (int)found[i]);
	ck_assert_str_eq(text, selections[_i].want);
	free(found);
}
END_TEST

static const struct {
	const char *fd, *maps, *environ;
	unsigned bits;
	const char *nodes;
} signs[] = {
	{ NULL, MAPS, "", 0, "" },
	{ "/dev/nvidia0", MAPS, "", 0, "/dev/nvidia0 " },
	{ "/dev/nvidiactl (deleted)", MAPS, "", 0, "/dev/nvidiactl " },
	{ "/dev/null", MAPS, "CUDA_CHECKPOINT_JOB_FILE=/f", CUDASIGNS_JOB, "" },
	{ "/dev/shm/cuda.shm.0.1234.1", MAPS, "", CUDASIGNS_IPC, "" },
	{ NULL, "7f00-7f10 rw-s 0 00:01 4  /dev/shm/nccl-abc (deleted)\n", "", CUDASIGNS_IPC, "" },
	{ "/dev/nvidia-caps-imex-channels/channel0", "", "", CUDASIGNS_FABRIC,
	  "/dev/nvidia-caps-imex-channels/channel0 " },
	{ "/dev/nvidia-caps/nvidia-cap12", "", "", CUDASIGNS_MIG, "/dev/nvidia-caps/nvidia-cap12 " },
	{ NULL, "", "CUDA_VISIBLE_DEVICES=MIG-1", CUDASIGNS_MIG, "" },
	{ NULL, "", "CUDA_VISIBLE_DEVICES=0", 0, "" },
	{ NULL, "", "CUDA_MPS_PIPE_DIRECTORY=/tmp/mps", CUDASIGNS_MPS, "" },
	{ "/dev/nvidia-uvm", "7f00-7f10 rw-s 0 00:05 9  /dev/nvidia-uvm\n", "", CUDASIGNS_UVM,
	  "/dev/nvidia-uvm " },
	{ NULL, "7f00-7f10 ---s 0 00:05 9  /dev/nvidia-uvm\n", "", 0, "/dev/nvidia-uvm " },
	{ NULL, "7f00-7f10 r-xp 0 08:01 4  /usr/lib/libnvidia-ml.so.580.65.06\n", "",
	  CUDASIGNS_NVML, "" },
	{ NULL, "7f00-7f10 r-xp 0 08:01 4  /opt/libcupti.so.12\n", "", CUDASIGNS_PROFILER, "" },
	{ "/dev/gdrdrv", "", "", CUDASIGNS_RDMA, "/dev/gdrdrv " },
	{ "/dev/infiniband/uverbs0", "", "", CUDASIGNS_RDMA, "" },
};

START_TEST(test_signs)
{
	char text[256] = "";
	struct cudasigns s;

	process(10, 1, "S (sleeping)", "0::/a\n");
	testroot_dir("/proc/10/fd");
	testroot_link("/proc/10/fd/0", "/dev/pts/0");
	if (signs[_i].fd) {
		testroot_link("/proc/10/fd/7", signs[_i].fd);
		testroot_link("/proc/10/fd/8", signs[_i].fd);
	}
	file(10, "maps", signs[_i].maps);
	file(10, "environ", signs[_i].environ);
	ck_assert_int_eq(cudasigns_read(10, &s), 0);
	ck_assert_uint_eq(s.bits, signs[_i].bits);
	for (size_t i = 0; i < s.n_nodes; i++)
		sprintf(text + strlen(text), "%s ", s.nodes[i]);
	ck_assert_str_eq(text, signs[_i].nodes);
	cudasigns_done(&s);
	ck_assert_int_eq(cudasigns_read(99, &s), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cudaproc");
	TCase *tc = tcase_create("cudaproc");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tc, test_pid, 0, ARRAY_SIZE(pids));
	tcase_add_loop_test(tc, test_fault, 0, ARRAY_SIZE(procs));
	tcase_add_test(tc, test_thread);
	tcase_add_test(tc, test_foreign);
	tcase_add_loop_test(tc, test_frozen, 0, ARRAY_SIZE(freezers));
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_limits_v1);
	tcase_add_loop_test(tc, test_below, 0, ARRAY_SIZE(places));
	tcase_add_test(tc, test_exists);
	tcase_add_loop_test(tc, test_select, 0, ARRAY_SIZE(selections));
	tcase_add_loop_test(tc, test_signs, 0, ARRAY_SIZE(signs));
	suite_add_tcase(s, tc);
	return testroot_run(s);
}
