/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <dirent.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/sysfs.h"

static void assert_content(const char *path, const char *want)
{
	char *text = readfile_string(path, 1 << 20);

	ck_assert_ptr_nonnull(text);
	ck_assert_str_eq(text, want);
	free(text);
}

static size_t entries(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

START_TEST(file_is_made_and_replaced)
{
	char *path = testroot_path("/file");
	struct stat st;

	umask(0077);
	ck_assert_int_eq(atomicfile_write(path, "one\n", 4, 0644), 0);
	assert_content(path, "one\n");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0644);
	ck_assert_int_eq(atomicfile_write(path, "", 0, 0600), 0);
	assert_content(path, "");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(entries(testroot), 1);
	free(path);
}
END_TEST

START_TEST(link_is_replaced_not_followed)
{
	char *path = testroot_path("/link"), *other = testroot_path("/other");
	struct stat st;

	testroot_file("/other", "mine");
	testroot_link("/link", "other");
	ck_assert_int_eq(atomicfile_write(path, "new", 3, 0600), 0);
	assert_content(other, "mine");
	assert_content(path, "new");
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	free(other);
	free(path);
}
END_TEST

/* NULL: a FIFO. A plain device is not tried: what fails would take it from everybody. */
static const struct {
	const char *to;
	int rc;
} not_files[] = {
	{ NULL, -EINVAL }, { "fifo", -EINVAL }, { "socket", -EINVAL },
	{ "/dev/null", -EINVAL }, { "/proc/self/fd/1", -EINVAL }, { "/proc/none", -EINVAL },
	{ "/procedure/none", 0 }, { "/proc", 0 }, { "/", 0 }, { "file", 0 },
};

START_TEST(what_is_no_file_is_not_replaced)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char *path = testroot_path("/x"), *fifo = testroot_path("/fifo");
	const char *to = not_files[_i].to;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;
	struct stat was, now;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", testroot);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	close(fd);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	testroot_file("/file", "mine");
	if (to)
		ck_assert_int_eq(symlink(to, path), 0);
	else
		ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(lstat(path, &was), 0);
	rc = atomicfile_write(path, "new", 3, 0600);
	ck_assert_int_eq(rc, not_files[_i].rc);
	ck_assert_int_eq(lstat(path, &now), 0);
	if (rc < 0) {
		ck_assert_uint_eq(now.st_ino, was.st_ino);
		ck_assert_uint_eq(now.st_mode, was.st_mode);
		ck_assert_str_eq(atomicfile_error(rc), "not a regular file");
	} else {
		assert_content(path, "new");
	}
	ck_assert_uint_eq(entries(testroot), 4);
	if (!to) {
		ck_assert_int_eq(atomicfile_write(at.sun_path, "new", 3, 0600), -EINVAL);
		ck_assert_int_eq(stat(at.sun_path, &now), 0);
		ck_assert(S_ISSOCK(now.st_mode));
	}
	ck_assert_str_eq(atomicfile_error(-ENOSPC), strerror(ENOSPC));
	free(fifo);
	free(path);
}
END_TEST

START_TEST(relative_name)
{
	ck_assert_int_eq(chdir(testroot), 0);
	ck_assert_int_eq(atomicfile_write("here", "x", 1, 0600), 0);
	assert_content("here", "x");
}
END_TEST

START_TEST(failure_leaves_the_old_and_no_litter)
{
	static const struct rlimit limit = { 100, RLIM_INFINITY };
	char *path = testroot_path("/file"), *in_dir = testroot_path("/gone/file");
	char big[1000] = { 0 };

	testroot_file("/file", "old");
	/* A file size limit stands for the disk that is full. */
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(atomicfile_write(path, big, sizeof(big), 0600), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE,
				   &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }), 0);
	assert_content(path, "old");
	ck_assert_uint_eq(entries(testroot), 2);
	ck_assert_int_eq(rmdir(strcat(strcpy(big, testroot), "/gone")), 0);
	ck_assert_int_eq(atomicfile_write(in_dir, "x", 1, 0600), -ENOENT);

	testroot_dir("/file2/sub");
	free(in_dir);
	in_dir = testroot_path("/file2");
	ck_assert_int_eq(atomicfile_write(in_dir, "x", 1, 0600), -EISDIR);
	ck_assert_uint_eq(entries(testroot), 2);
	free(in_dir);
	free(path);
}
END_TEST

START_TEST(folders)
{
	char *path = testroot_path("/a/b/c/");
	struct stat st;

	umask(0);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(atomicfile_mkdir(path), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(atomicfile_mkdir(path), 0);
	free(path);

	testroot_file("/file", "x");
	testroot_link("/link", "a");
	path = testroot_path("/file");
	ck_assert_int_eq(atomicfile_mkdir(path), -ENOTDIR);
	free(path);
	path = testroot_path("/link");
	ck_assert_int_eq(atomicfile_mkdir(path), -ENOTDIR);
	free(path);
	path = xasprintf("%s/file/sub", testroot);
	ck_assert_int_eq(atomicfile_mkdir(path), -ENOTDIR);
	free(path);
	path = xasprintf("%s/none/run/x", testroot);
	root_set("/nonexistent/none");
	ck_assert_int_eq(atomicfile_mkdir(path), -ENOENT);
	root_set(testroot);
	free(path);
}
END_TEST

START_TEST(readfile_limits)
{
	char *path = testroot_path("/file"), *fifo = testroot_path("/fifo");
	struct readfile buf = { 0 };
	char big[70000];

	memset(big, 'x', sizeof(big));
	testroot_data("/file", big, sizeof(big));
	ck_assert_int_eq(readfile_at(AT_FDCWD, path, sizeof(big), &buf), 0);
	ck_assert_uint_eq(buf.len, sizeof(big));
	ck_assert_int_eq(buf.data[buf.len], '\0');
	ck_assert_int_eq(readfile_at(AT_FDCWD, path, sizeof(big) - 1, &buf), -EFBIG);
	ck_assert_int_eq(readfile_at(AT_FDCWD, testroot, 10, &buf), -EISDIR);
	ck_assert_int_eq(readfile_at(AT_FDCWD, "/dev/null", 10, &buf), -EINVAL);
	ck_assert_int_eq(readfile_at(AT_FDCWD, "/dev/zero", 10, &buf), -EFBIG);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	ck_assert_int_eq(readfile_at(AT_FDCWD, fifo, 10, &buf), -EINVAL);
	testroot_data("/file", "a\0b", 3);
	ck_assert_int_eq(readfile_at(AT_FDCWD, path, 3, &buf), 0);
	ck_assert_uint_eq(buf.len, 3);
	ck_assert_mem_eq(buf.data, "a\0b", 4);
	testroot_file("/file", "");
	ck_assert_int_eq(readfile_at(AT_FDCWD, path, 3, &buf), 0);
	ck_assert_uint_eq(buf.len, 0);
	free(buf.data);
	free(fifo);
	free(path);
}
END_TEST

static const struct {
	const char *text;
	int rc;
	uint64_t value;
} numbers[] = {
	{ "0\n", 0, 0 }, { "42", 0, 42 }, { "0x10de\n", 0, 0x10de }, { "0xFF", 0, 255 },
	{ "18446744073709551615\n", 0, UINT64_MAX }, { "18446744073709551616", -EINVAL, 0 },
	{ "", -EINVAL, 0 }, { "\n", -EINVAL, 0 }, { "-1", -EINVAL, 0 }, { "+1", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 }, { "1 ", -EINVAL, 0 }, { "0x", -EINVAL, 0 }, { "0x-1", -EINVAL, 0 },
	{ "1\n2\n", -EINVAL, 0 }, { "12345678901234567890123456789012345", -EINVAL, 0 },
};

START_TEST(attribute_number)
{
	char *path = testroot_path("/attr");
	uint64_t value = 0;

	testroot_file("/attr", numbers[_i].text);
	ck_assert_int_eq(sysfs_read_u64(path, &value), numbers[_i].rc);
	ck_assert_uint_eq(value, numbers[_i].value);
	free(path);
}
END_TEST

START_TEST(attribute_text_and_write)
{
	char *path = testroot_path("/attr"), *absent = testroot_path("/absent"), *name;
	char buf[8];

	testroot_file("/attr", "1234567");
	ck_assert_int_eq(sysfs_read(path, buf, sizeof(buf)), 7);
	ck_assert_str_eq(buf, "1234567");
	testroot_file("/attr", "12345678");
	ck_assert_int_eq(sysfs_read(path, buf, sizeof(buf)), -ENAMETOOLONG);
	ck_assert_int_eq(sysfs_read(absent, buf, sizeof(buf)), -ENOENT);
	ck_assert_int_eq(sysfs_write(absent, "1"), -ENOENT);
	ck_assert_int_eq(access(absent, F_OK), -1);
	ck_assert_int_eq(sysfs_write(path, "ab"), 0);
	assert_content(path, "ab345678");
	ck_assert_int_eq(sysfs_write("/dev/full", "x"), -ENOSPC);
	sysfs_dry_run = true;
	ck_assert_int_eq(sysfs_write(path, "no"), 0);
	assert_content(path, "ab345678");
	testroot_link("/driver", "../../bus/pci/drivers/vfio-pci");
	free(absent);
	absent = testroot_path("/driver");
	name = sysfs_link_name(absent);
	ck_assert_str_eq(name, "vfio-pci");
	free(name);
	ck_assert_ptr_null(sysfs_link_name(path));
	ck_assert_int_eq(errno, EINVAL);
	free(absent);
	free(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("files");
	TCase *tcase = tcase_create("files");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_test(tcase, file_is_made_and_replaced);
	tcase_add_test(tcase, link_is_replaced_not_followed);
	tcase_add_loop_test(tcase, what_is_no_file_is_not_replaced, 0,
			    ARRAY_SIZE(not_files));
	tcase_add_test(tcase, relative_name);
	tcase_add_test(tcase, failure_leaves_the_old_and_no_litter);
	tcase_add_test(tcase, folders);
	tcase_add_test(tcase, readfile_limits);
	tcase_add_loop_test(tcase, attribute_number, 0, ARRAY_SIZE(numbers));
	tcase_add_test(tcase, attribute_text_and_write);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
