/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder that stands for "/" in a unit test: built file by file, removed at the end. */
#ifndef TESTROOT_H
#define TESTROOT_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "base/root.h"
#include "base/xalloc.h"

static char testroot[64];

static inline void testroot_setup(void)
{
	strcpy(testroot, "/tmp/testroot.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(testroot));
	root_set(testroot);
}

static inline int testroot_rm(const char *path, const struct stat *st, int flag,
			      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void testroot_teardown(void)
{
	nftw(testroot, testroot_rm, 16, FTW_DEPTH | FTW_PHYS);
}

/* Complete path of an absolute one; its folders are made. The caller frees. */
static inline char *testroot_path(const char *path)
{
	char *full = xasprintf("%s%s", testroot, path);

	for (char *slash = strchr(full + strlen(testroot) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		ck_assert(mkdir(full, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	return full;
}

static inline void testroot_data(const char *path, const void *data, size_t len)
{
	char *full = testroot_path(path);
	FILE *f = fopen(full, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
	free(full);
}

static inline void testroot_file(const char *path, const char *text)
{
	testroot_data(path, text, strlen(text));
}

static inline void testroot_dir(const char *path)
{
	char *full = xasprintf("%s/", path), *made = testroot_path(full);

	free(made);
	free(full);
}

static inline void testroot_link(const char *path, const char *target)
{
	char *full = testroot_path(path);

	ck_assert_int_eq(symlink(target, full), 0);
	free(full);
}

/*
 * A PCI function below pci0000:00, as /sys has it, with its link in /sys/bus/pci/devices.
 */
static inline void testroot_function(const char *addr)
{
	char *dir = xasprintf("/sys/devices/pci0000:00/%s", addr);
	char *link = xasprintf("/sys/bus/pci/devices/%s", addr);
	char *target = xasprintf("../../../devices/pci0000:00/%s", addr);
	char *override = xasprintf("%s/driver_override", dir);

	testroot_dir(dir);
	testroot_link(link, target);
	testroot_file(override, "(null)\n");
	free(override);
	free(target);
	free(link);
	free(dir);
}

static inline void testroot_attribute(const char *addr, const char *name,
				      const char *text)
{
	char *path = xasprintf("/sys/devices/pci0000:00/%s/%s", addr, name);

	testroot_file(path, text);
	free(path);
}

static inline void testroot_driver(const char *addr, const char *driver)
{
	char *link = xasprintf("/sys/devices/pci0000:00/%s/driver", addr);
	char *target = xasprintf("../../../bus/pci/drivers/%s", driver);
	char *dir = xasprintf("/sys/bus/pci/drivers/%s", driver);

	testroot_dir(dir);
	testroot_link(link, target);
	free(dir);
	free(target);
	free(link);
}

static inline void testroot_group(const char *addr, int group)
{
	char *link = xasprintf("/sys/devices/pci0000:00/%s/iommu_group", addr);
	char *target = xasprintf("../../../kernel/iommu_groups/%d", group);
	char *member = xasprintf("/sys/kernel/iommu_groups/%d/devices/%s", group, addr);
	char *back = xasprintf("../../../../devices/pci0000:00/%s", addr);

	testroot_link(link, target);
	testroot_link(member, back);
	free(back);
	free(member);
	free(target);
	free(link);
}

/* libcheck's 4 s for a test are soon over on a busy machine. */
static __attribute__((constructor)) void testroot_time(void)
{
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
}

/* Run one suite and give the program's exit status. */
static inline int testroot_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
