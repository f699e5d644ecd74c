/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fakewrite.h"
#include "vgputree.h"

#include <sys/mman.h>
#include <time.h>

#include "base/sysfs.h"
#include "pci/vgpu.h"

#define MTTY "virtual/mtty/mtty"
#define UUID1 "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

/* Attributes of a test root with a driver behind them, in whichever process it is. */
static struct driver {
	char log[4096];		/* "create=… " */
	struct {
		char where[64];	/* part of the path */
		int err;	/* errno of a write there */
		int times;	/* how often, then it works */
		bool is_deaf;	/* the write works and changes nothing */
	} fault[4];
} *driver;

static void fail_at(int i, const char *where, int err, int times)
{
	snprintf(driver->fault[i].where, sizeof(driver->fault[i].where), "%s", where);
	driver->fault[i].err = err;
	driver->fault[i].times = times;
}

static int store(int fd, const char *path, const char *value)
{
	char line[192];

	snprintf(driver->log + strlen(driver->log),
		 sizeof(driver->log) - strlen(driver->log), "%s=%s ",
		 strrchr(path, '/') + 1, value);
	for (size_t i = 0; i < ARRAY_SIZE(driver->fault); i++)
		if (*driver->fault[i].where && strstr(path, driver->fault[i].where)) {
			if (driver->fault[i].is_deaf)
				return 0;
			if (driver->fault[i].times-- > 0)
				return driver->fault[i].err;
		}
	snprintf(line, sizeof(line), "%s\n", value);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(pwrite(fd, line, strlen(line), 0), (ssize_t)strlen(line));
	return 0;
}

static void setup(void)
{
	testroot_setup();
	driver = mmap(NULL, sizeof(*driver), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(driver, MAP_FAILED);
	fakewrite = store;
}

static struct timedwriter writer = { .limit = 5000, .lock = -1 };

static int create(const char *parent, const char *type, const char *uuid,
		  const char *vf_name, char **id)
{
	const struct vgpu_vf *none, *vf = NULL;
	struct vgpus v;
	int p, t, rc;

	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES | VGPUS_ANY_SRIOV), 0);
	p = vgpus_find_parent(&v, parent, &none);
	ck_assert_int_ge(p, 0);
	t = vgpus_find_type(&v, (size_t)p, type);
	ck_assert_int_ge(t, 0);
	if (vf_name)
		ck_assert_int_eq(vgpus_find_parent(&v, vf_name, &vf), p);
	*id = NULL;
	rc = vgpu_create(&writer, &v, (size_t)t, uuid, vf, id);
	ck_assert((rc == 0) == (*id != NULL));
	vgpus_done(&v);
	timedwrite_done(&writer);
	return rc;
}

static int release(const char *id, unsigned wait)
{
	struct vgpus v;
	int at, rc;

	ck_assert_int_eq(vgpus_read(&v, VGPUS_ANY_SRIOV), 0);
	at = vgpus_find(&v, id);
	ck_assert_int_ge(at, 0);
	rc = vgpu_release(&writer, &v, (size_t)at, wait);
	vgpus_done(&v);
	timedwrite_done(&writer);
	return rc;
}

static void make_mtty(void)
{
	vgputree_mdev_bus("mtty", MTTY);
	vgputree_type(MTTY, "mtty-1", "Single port serial\n", 24, NULL);
}

START_TEST(mdev)
{
	char *id;

	make_mtty();
	ck_assert_int_eq(create("mtty", "mtty-1", "83B8F4F2-509F-382F-3C1E-E6BFE0FA1001", NULL,
				&id), 0);
	ck_assert_str_eq(id, UUID1);
	free(id);
	ck_assert_str_eq(driver->log, "create=" UUID1 " ");
	ck_assert_int_eq(create("mtty", "mtty-1", "83b8f4f2", NULL, &id), -EINVAL);
	ck_assert_int_eq(create("mtty", "mtty-1", NULL, NULL, &id), -EINVAL);
	ck_assert_str_eq(driver->log, "create=" UUID1 " ");
	fail_at(0, "create", EEXIST, 1);
	ck_assert_int_eq(create("mtty", "mtty-1", UUID1, NULL, &id), -EEXIST);
}
END_TEST

START_TEST(mdev_goes)
{
	make_mtty();
	vgputree_instance(MTTY, UUID1, "mtty-1", 9);
	ck_assert_int_eq(release(UUID1, 0), 0);
	ck_assert_str_eq(driver->log, "remove=1 ");
	fail_at(0, "remove", ENODEV, 1);	/* somebody else removes it just now */
	ck_assert_int_eq(release(UUID1, 0), 0);
	fail_at(0, "remove", EAGAIN, 1);
	ck_assert_int_eq(release(UUID1, 0), -EAGAIN);
	fail_at(0, "remove", EAGAIN, 1);
	ck_assert_int_eq(release(UUID1, 1), 0);
	fail_at(0, "remove", EBUSY, 9);		/* no NVIDIA: not tried again */
	ck_assert_int_eq(release(UUID1, 3), -EBUSY);
	ck_assert_int_eq(driver->fault[0].times, 8);
}
END_TEST

#define LIST "660 : NVIDIA A40-8Q\n663 : NVIDIA A40-48Q\n"

static void make_a40(void)
{
	vgputree_function("0000:41:00.0", "nvidia");
	vgputree_sriov("0000:41:00.0", "4\n", "3\n");
	vgputree_nvidia_vf("0000:41:00.4", "0000:41:00.0", 0, LIST);
	vgputree_nvidia_vf("0000:41:00.5", "0000:41:00.0", 660, "");
	vgputree_nvidia_vf("0000:41:00.6", "0000:41:00.0", 0, "660 : NVIDIA A40-8Q\n");
}

START_TEST(nvidia)
{
	char *id;

	make_a40();
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, NULL, &id), 0);
	ck_assert_str_eq(id, "0000:41:00.4");
	free(id);
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, NULL, &id), 0);
	ck_assert_str_eq(id, "0000:41:00.6");
	free(id);
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, NULL, &id), -EUSERS);
	ck_assert_str_eq(driver->log, "current_vgpu_type=660 current_vgpu_type=660 ");
}
END_TEST

START_TEST(nvidia_on_one_vf)
{
	char *id;

	make_a40();
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, "41:00.6", &id), 0);
	ck_assert_str_eq(id, "0000:41:00.6");
	free(id);
	/* The same again is no write. */
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, "41:00.5", &id), 0);
	free(id);
	ck_assert_str_eq(driver->log, "current_vgpu_type=660 ");
	ck_assert_int_eq(create("41:00.0", "nvidia-663", NULL, "41:00.5", &id), -EEXIST);
	ck_assert_int_eq(create("41:00.0", "nvidia-663", NULL, "41:00.6", &id), -EEXIST);
	/* Its own list counts. */
	testroot_attribute("0000:41:00.6", "nvidia/current_vgpu_type", "0\n");
	ck_assert_int_eq(create("41:00.0", "nvidia-663", NULL, "41:00.6", &id), -EUSERS);
	ck_assert_str_eq(driver->log, "current_vgpu_type=660 ");
}
END_TEST

START_TEST(nvidia_refuses)
{
	char *id;

	make_a40();
	fail_at(0, "41:00.4", EINVAL, 1);	/* one VF says no, the next takes it */
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, NULL, &id), 0);
	ck_assert_str_eq(id, "0000:41:00.6");
	free(id);
	testroot_attribute("0000:41:00.6", "nvidia/current_vgpu_type", "0\n");
	fail_at(0, "41:00.4", EINVAL, 1);
	fail_at(1, "41:00.6", EBUSY, 1);	/* the first error is told */
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, NULL, &id), -EINVAL);
	*driver->log = '\0';
	fail_at(0, "41:00.4", EIO, 1);		/* the order is wrong: no VF would do */
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, NULL, &id), -EIO);
	ck_assert_str_eq(driver->log, "current_vgpu_type=660 ");
	driver->fault[0].is_deaf = true;	/* the write passes, the value stays 0 */
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, "41:00.4", &id), -EIO);
}
END_TEST

START_TEST(nvidia_release)
{
	make_a40();
	fail_at(0, "41:00.5", EBUSY, 1);
	ck_assert_int_eq(release("41:00.5", 0), -EBUSY);
	fail_at(0, "41:00.5", EPERM, 2);
	ck_assert_int_eq(release("41:00.5", 2), 0);
	ck_assert_str_eq(driver->log, "current_vgpu_type=0 current_vgpu_type=0 "
			 "current_vgpu_type=0 current_vgpu_type=0 ");
	testroot_attribute("0000:41:00.5", "nvidia/current_vgpu_type", "660\n");
	driver->fault[0].is_deaf = true;
	ck_assert_int_eq(release("41:00.5", 1), -EBUSY);
}
END_TEST

static int set_vfs(unsigned count, bool autoprobe)
{
	const struct vgpu_vf *vf;
	struct vgpus v;
	int p, rc;

	*driver->log = '\0';
	ck_assert_int_eq(vgpus_read(&v, VGPUS_ANY_SRIOV), 0);
	p = vgpus_find_parent(&v, "00:02.0", &vf);
	ck_assert_int_ge(p, 0);
	rc = vgpu_set_vfs(&writer, &v, (size_t)p, count, autoprobe);
	vgpus_done(&v);
	timedwrite_done(&writer);
	return rc;
}

START_TEST(sriov)
{
	char *id;

	vgputree_function("0000:00:02.0", "i915");
	vgputree_sriov("0000:00:02.0", "7\n", "0\n");
	testroot_attribute("0000:00:02.0", "sriov_drivers_autoprobe", "1\n");
	ck_assert_int_eq(set_vfs(8, true), -ERANGE);
	ck_assert_int_eq(set_vfs(0, true), 0);
	ck_assert_str_eq(driver->log, "");
	ck_assert_int_eq(set_vfs(4, false), 0);
	ck_assert_str_eq(driver->log, "sriov_drivers_autoprobe=0 sriov_numvfs=4 "
			 "sriov_drivers_autoprobe=1 ");
	ck_assert_int_eq(set_vfs(4, true), 0);
	ck_assert_int_eq(set_vfs(5, true), -EBUSY);
	ck_assert_str_eq(driver->log, "");
	ck_assert_int_eq(set_vfs(0, false), 0);
	ck_assert_str_eq(driver->log, "sriov_numvfs=0 ");
	ck_assert_int_eq(set_vfs(2, true), 0);
	ck_assert_str_eq(driver->log, "sriov_numvfs=2 ");
	ck_assert_int_eq(create("00:02.0", "vf", UUID1, NULL, &id), -EOPNOTSUPP);
	testroot_attribute("0000:00:02.0", "sriov_numvfs", "0\n");
	fail_at(0, "sriov_numvfs", ENOENT, 1);
	ck_assert_int_eq(set_vfs(2, false), -ENOENT);	/* and the switch is back */
	ck_assert_str_eq(driver->log, "sriov_drivers_autoprobe=0 sriov_numvfs=2 "
			 "sriov_drivers_autoprobe=1 ");
	vgputree_vf("0000:00:02.1", "0000:00:02.0", "vfio-pci");
	ck_assert_int_eq(release("00:02.1", 0), -EOPNOTSUPP);
}
END_TEST

START_TEST(dry_run)
{
	char *id;

	make_a40();
	make_mtty();
	sysfs_dry_run = true;
	ck_assert_int_eq(create("41:00.0", "nvidia-660", NULL, NULL, &id), 0);
	ck_assert_str_eq(id, "0000:41:00.4");
	free(id);
	ck_assert_int_eq(create("mtty", "mtty-1", UUID1, NULL, &id), 0);
	free(id);
	ck_assert_int_eq(release("41:00.5", 0), 0);
	ck_assert_str_eq(driver->log, "");
	sysfs_dry_run = false;
}
END_TEST

static const struct {
	const char *parent, *type;
	int err;
	const char *says;
} errors[] = {
	{ "41:00.0", "nvidia-663", EUSERS, "Too many users: 0000:41:00.0 has none left; it has 1 x NVIDIA A40-8Q (nvidia-660)" },
	{ "41:00.0", "nvidia-660", EINVAL, "beside 1 x NVIDIA A40-8Q (nvidia-660)" },
	{ "41:00.0", "nvidia-660", EINVAL, "2 left to make" },
	{ "41:00.0", "nvidia-660", EINVAL, "journalctl -u nvidia-vgpu-mgr" },
	{ "41:00.0", "nvidia-660", EIO, "MIG on, VFs on, GPU instances, then vGPUs" },
	{ "41:00.0", "nvidia-660", EBUSY, "its user still holds it" },
	{ "41:00.0", "nvidia-660", EEXIST, "release it first" },
	{ "mtty", "mtty-1", EEXIST, "this UUID is in use" },
	{ "mtty", "mtty-1", ENOSPC, "mtty has none left" },
	{ "mtty", "mtty-1", EINVAL, "dmesg may tell more" },
	{ "mtty", "mtty-1", ETIMEDOUT, "somebody has the device open" },
	{ "mtty", "mtty-1", ENODEV, "mtty, or its driver, is going away" },
	{ "00:02.0", "vf", EBUSY, "0000:00:02.0 has 2 VFs: their number changes only through 0" },
	{ "00:02.0", "vf", ERANGE, "7 VFs at most" },
	{ "00:02.0", "vf", ENOENT, "no SR-IOV by sysfs" },
	{ "00:02.0", "vf", EOPNOTSUPP, "all at once" },
	{ "mtty", "mtty-1", ENOMEM, "Cannot allocate memory" },
};

START_TEST(explained)
{
	_cleanup_free_ char *text = NULL;
	const struct vgpu_vf *vf;
	struct vgpus v;
	int p;

	make_a40();
	make_mtty();
	vgputree_function("0000:00:02.0", "i915");
	vgputree_sriov("0000:00:02.0", "7\n", "2\n");
	ck_assert_int_eq(vgpus_read(&v, VGPUS_TYPES), 0);
	p = vgpus_find_parent(&v, errors[_i].parent, &vf);
	ck_assert_int_ge(p, 0);
	text = vgpu_explain(&v, (size_t)p,
			    vgpus_find_type(&v, (size_t)p, errors[_i].type),
			    -errors[_i].err);
	ck_assert_msg(strstr(text, errors[_i].says), "%s", text);
	vgpus_done(&v);
}
END_TEST

START_TEST(uuids)
{
	char a[MDEV_UUID_LEN + 1], b[MDEV_UUID_LEN + 1], again[MDEV_UUID_LEN + 1];

	ck_assert_int_eq(vgpu_uuid(a), 0);
	ck_assert_int_eq(vgpu_uuid(b), 0);
	ck_assert_str_ne(a, b);
	ck_assert(vgpu_uuid_parse(a, again));
	ck_assert_str_eq(a, again);
	ck_assert_int_eq(a[14], '4');
	ck_assert_ptr_nonnull(strchr("89ab", a[19]));
	ck_assert(!vgpu_uuid_parse("83b8f4f2-509f-382f-3c1e-e6bfe0fa100", again));
	ck_assert(!vgpu_uuid_parse(UUID1 "1", again));
	ck_assert(!vgpu_uuid_parse("83b8f4f2x509f-382f-3c1e-e6bfe0fa1001", again));
	ck_assert(!vgpu_uuid_parse("g3b8f4f2-509f-382f-3c1e-e6bfe0fa1001", again));
	ck_assert(!vgpu_uuid_parse("", again));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vgpu_make");
	TCase *t = tcase_create("vgpu_make");

	tcase_add_checked_fixture(t, setup, testroot_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, mdev);
	tcase_add_test(t, mdev_goes);
	tcase_add_test(t, nvidia);
	tcase_add_test(t, nvidia_on_one_vf);
	tcase_add_test(t, nvidia_refuses);
	tcase_add_test(t, nvidia_release);
	tcase_add_test(t, sriov);
	tcase_add_test(t, dry_run);
	tcase_add_loop_test(t, explained, 0, ARRAY_SIZE(errors));
	tcase_add_test(t, uuids);
	suite_add_tcase(s, t);
	return testroot_run(s);
}
