/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "gpu/gpuproc.h"
#include "gpu/procmaps.h"

#define AT "7f1200000000-7f1201a00000 r-xp 00000000 00:2f 77 "

static const struct {
	const char *maps, *library;
} mapped[] = {
	{ AT "/usr/lib/libcuda.so\n", "libcuda.so" },
	{ AT "      /usr/lib/x86_64-linux-gnu/libcuda.so.1\n", "libcuda.so.1" },
	{ AT "/usr/lib/libcuda.so.580.65.06", "libcuda.so.580.65.06" },
	{ AT "/usr/lib/libcuda.so.580.65.06 (deleted)\n", "libcuda.so.580.65.06" },
	{ AT "/a b/libcuda.so.1\n", "libcuda.so.1" },
	{ AT "/bin/sh\n" AT "\n" AT "[heap]\n" AT "/libcuda.so.1\n" AT "/bin/x\n", "libcuda.so.1" },
	{ AT "/usr/lib/libcudart.so.12\n", NULL },
	{ AT "/usr/lib/libcuda.so.\n", NULL },
	{ AT "/usr/lib/libcuda.sock\n", NULL },
	{ AT "/usr/lib/mylibcuda.so.1\n", NULL },
	{ AT "/usr/lib/libcuda.so.1/x\n", NULL },
	{ AT "libcuda.so.1\n", NULL },		/* no path */
	{ "libcuda.so.1\n", NULL },
	{ "/libcuda.so.1\n", NULL },
	{ "\n\n", NULL },
	{ "", NULL },
};

START_TEST(libraries)
{
	char *library;

	testroot_file("/proc/42/maps", mapped[_i].maps);
	ck_assert_int_eq(procmaps_library(42, "libcuda.so", &library), 0);
	if (mapped[_i].library)
		ck_assert_str_eq(library, mapped[_i].library);
	else
		ck_assert_ptr_null(library);
	free(library);
}
END_TEST

START_TEST(no_process)
{
	char *library;

	ck_assert_int_eq(procmaps_library(42, "libcuda.so", &library), -ENOENT);
	ck_assert_ptr_null(library);
}
END_TEST

/* This very process: it has libc, and the kernel's own form of the file. */
START_TEST(real_process)
{
	char *library;

	root_set("");
	ck_assert_int_eq(procmaps_library(getpid(), "libc.so", &library), 0);
	ck_assert_str_eq(library, "libc.so.6");
	free(library);
	ck_assert_int_eq(procmaps_library(getpid(), "libcuda.so", &library), 0);
	ck_assert_ptr_null(library);
}
END_TEST

static void put_process(int pid, const char *cgroup, const char *maps)
{
	char *path = xasprintf("/proc/%d/comm", pid);

	testroot_file(path, "job\n");
	free(path);
	path = xasprintf("/proc/%d/cgroup", pid);
	testroot_file(path, cgroup);
	free(path);
	path = xasprintf("/proc/%d/maps", pid);
	testroot_file(path, maps);
	free(path);
}

START_TEST(with_and_without_nodes)
{
	struct gpunodes none = { 0 };
	struct gpuproc *procs;
	size_t n;

	put_process(50, "0::/lxc/200/ns\n", AT "/libcuda.so.1\n");
	put_process(7, "0::/a.service\n", AT "/libcuda.so.570\n");
	put_process(60, "0::/b.service\n", AT "/libc.so.6\n");
	testroot_file("/proc/8/maps", AT "/libcuda.so.1\n");	/* ended meanwhile */
	testroot_link("/proc/50/fd/3", "/dev/nvidia0");
	testroot_link("/proc/60/fd/3", "/dev/nvidia0");
	ck_assert_int_eq(gpuproc_list(&none, &procs, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_ptr_null(procs[0].cuda);
	ck_assert_int_eq(gpuproc_add_cuda(&procs, &n), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(procs[0].pid, 7);
	ck_assert_str_eq(procs[0].cuda, "libcuda.so.570");
	ck_assert_str_eq(procs[0].owner, "unit/a.service");
	ck_assert_uint_eq(procs[0].n_nodes, 0);
	ck_assert_int_eq(procs[1].pid, 50);
	ck_assert_str_eq(procs[1].cuda, "libcuda.so.1");
	ck_assert_uint_eq(procs[1].n_nodes, 1);
	ck_assert_int_eq(procs[2].pid, 60);
	ck_assert_ptr_null(procs[2].cuda);
	/* Asked again: the same. */
	ck_assert_int_eq(gpuproc_add_cuda(&procs, &n), 0);
	ck_assert_uint_eq(n, 3);
	gpuproc_free(procs, n);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gpuproc");
	TCase *tcase = tcase_create("gpuproc");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tcase, libraries, 0, ARRAY_SIZE(mapped));
	tcase_add_test(tcase, no_process);
	tcase_add_test(tcase, real_process);
	tcase_add_test(tcase, with_and_without_nodes);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
