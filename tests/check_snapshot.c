/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <sys/file.h>

#include "base/cleanup.h"
#include "pci/snapshot.h"

#define GPU "0000:01:00.0"
#define VF "0000:01:00.4"
#define PORT "0000:00:01.0"

enum { CONFIG = 64 };

static struct pciaddr at(const char *text)
{
	struct pciaddr addr;

	ck_assert(pciaddr_parse(text, &addr));
	return addr;
}

static void put_config(const char *addr, uint16_t vendor, uint16_t device, uint8_t header,
		       uint32_t bar0)
{
	char *path = xasprintf("/sys/devices/pci0000:00/%s/config", addr);
	uint8_t head[CONFIG] = {
		(uint8_t)vendor, (uint8_t)(vendor >> 8), (uint8_t)device,
		(uint8_t)(device >> 8), [11] = 0x03, [14] = header,
		[16] = (uint8_t)bar0, (uint8_t)(bar0 >> 8), (uint8_t)(bar0 >> 16),
		(uint8_t)(bar0 >> 24),
	};

	testroot_data(path, head, sizeof(head));
	free(path);
}

/* BAR 0 at start, and an expansion ROM of rom bytes at 0x1000000. */
static void put_resource(const char *addr, uint64_t start, uint64_t size, uint64_t flags,
			 uint64_t rom)
{
	char text[1024];
	size_t len =
		(size_t)snprintf(text, sizeof(text), "0x%016llx 0x%016llx 0x%016llx\n",
				 (unsigned long long)start,
				 (unsigned long long)(size ? start + size - 1 : 0),
				 (unsigned long long)flags);

	for (int i = 1; i < 6; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"0x%016x 0x%016x 0x%016x\n", 0, 0, 0);
	snprintf(text + len, sizeof(text) - len, "0x%016x 0x%016llx 0x%016x\n",
		 rom ? 0x1000000 : 0, rom ? 0xffffffull + rom : 0, rom ? 0x46200 : 0);
	testroot_attribute(addr, "resource", text);
}

static void build_gpu(void)
{
	testroot_function(GPU);
	testroot_attribute(GPU, "vendor", "0x10de\n");
	testroot_attribute(GPU, "device", "0x2204\n");
	testroot_attribute(GPU, "subsystem_vendor", "0x1043\n");
	testroot_attribute(GPU, "subsystem_device", "0x87c0\n");
	testroot_attribute(GPU, "class", "0x030000\n");
	testroot_attribute(GPU, "driver_override", "vfio-pci\n");
	testroot_attribute(GPU, "reset_method", "\n");
	testroot_attribute(GPU, "power/control", "auto\n");
	testroot_attribute(GPU, "d3cold_allowed", "1\n");
	testroot_driver(GPU, "vfio-pci");
	testroot_group(GPU, 7);
	put_config(GPU, 0x10de, 0x2204, 0x80, 0xf0000000);
	put_resource(GPU, 0xf0000000, 16 << 20, 0x40200, 0x10000);
	testroot_file("/sys/bus/pci/drivers_autoprobe", "1\n");
}

static void build_port(void)
{
	testroot_function(PORT);
	testroot_attribute(PORT, "power/control", "auto\n");
	put_config(PORT, 0x8086, 0xa70d, 1, 0);
	put_resource(PORT, 0, 0, 0, 0);
}

static struct snapshot take(void)
{
	struct pciaddr gpu = at(GPU), port = at(PORT);
	struct snapshot s;

	ck_assert_int_eq(snapshot_read(&s, &gpu, 1, &port, 1), 0);
	ck_assert_uint_eq(s.n, 2);
	return s;
}

START_TEST(function_is_read)
{
	struct pciaddr gpu = at(GPU), gone = at("0000:09:00.0");
	struct snapshot_fn fn = { .addr = gone };
	struct snapshot s;

	build_gpu();
	build_port();
	ck_assert_int_eq(snapshot_fn_read(&fn), -ENOENT);
	s = take();
	ck_assert_str_eq(s.autoprobe, "1");
	ck_assert_ptr_eq(snapshot_find(&s, &gone), NULL);
	fn = *snapshot_find(&s, &gpu);
	ck_assert(fn.whole && !fn.is_vf);
	ck_assert_uint_eq(fn.vendor, 0x10de);
	ck_assert_uint_eq(fn.subdevice, 0x87c0);
	ck_assert_uint_eq(fn.class, 0x030000);
	ck_assert_uint_eq(fn.header, 0x80);
	ck_assert_uint_eq(fn.bars[0].end, 0xf0ffffff);
	ck_assert_str_eq(fn.driver, "vfio-pci");
	ck_assert_int_eq(fn.iommu_group, 7);
	ck_assert_str_eq(fn.attrs[SNAPSHOT_OVERRIDE], "vfio-pci");
	ck_assert_str_eq(fn.attrs[SNAPSHOT_RESET_METHOD], "");
	ck_assert_str_eq(fn.attrs[SNAPSHOT_CONTROL], "auto");
	ck_assert_ptr_null(fn.attrs[SNAPSHOT_NUMVFS]);
	/* "(null)" is no override. */
	ck_assert_str_eq(s.fns[0].attrs[SNAPSHOT_OVERRIDE], "");
	ck_assert(!s.fns[0].whole);
	snapshot_done(&s);
}
END_TEST

static const struct {
	const char *what;	/* NULL: healthy */
	enum snapshot_health health;
	uint16_t vendor, device;
	uint8_t header;
	uint32_t bar0;		/* the register */
	uint64_t start, size, flags, rom;
} checks[] = {
	{ NULL, SNAPSHOT_HEALTHY, 0x10de, 0x2204, 0x80, 0xf0000000, 0xf0000000, 16 << 20,
	  0x40200, 0x10000 },
	/* moved, as a rescan may do */
	{ NULL, SNAPSHOT_HEALTHY, 0x10de, 0x2204, 0x80, 0xe0000000, 0xe0000000, 16 << 20,
	  0x40200, 0x10000 },
	{ "config space reads ffff", SNAPSHOT_DEAD, 0xffff, 0xffff, 0xff, 0xffffffff,
	  0xf0000000, 16 << 20, 0x40200, 0x10000 },
	{ "is 10de:2206, was 10de:2204", SNAPSHOT_CHANGED, 0x10de, 0x2206, 0x80,
	  0xf0000000, 0xf0000000, 16 << 20, 0x40200, 0x10000 },
	{ "header type is 00, was 80", SNAPSHOT_CHANGED, 0x10de, 0x2204, 0, 0xf0000000,
	  0xf0000000, 16 << 20, 0x40200, 0x10000 },
	{ "BAR 0 has 4 MiB, had 16 MiB", SNAPSHOT_CHANGED, 0x10de, 0x2204, 0x80,
	  0xf0000000, 0xf0000000, 4 << 20, 0x40200, 0x10000 },
	{ "BAR 0 has 0 bytes, had 16 MiB", SNAPSHOT_CHANGED, 0x10de, 0x2204, 0x80, 0, 0,
	  0, 0, 0x10000 },
	{ "BAR 0 has no address any more", SNAPSHOT_CHANGED, 0x10de, 0x2204, 0x80, 0, 0,
	  16 << 20, 0x20040200, 0x10000 },
	{ "BAR 0 is of another kind", SNAPSHOT_CHANGED, 0x10de, 0x2204, 0x80, 0xf0000001,
	  0xf0000000, 16 << 20, 0x40101, 0x10000 },
	{ "BAR 0: the register lost its address", SNAPSHOT_CHANGED, 0x10de, 0x2204, 0x80,
	  0, 0xf0000000, 16 << 20, 0x40200, 0x10000 },
	{ "expansion ROM has 0 bytes, had 64 KiB", SNAPSHOT_CHANGED, 0x10de, 0x2204, 0x80,
	  0xf0000000, 0xf0000000, 16 << 20, 0x40200, 0 },
};

START_TEST(changes_are_seen)
{
	struct pciaddr gpu = at(GPU);
	struct snapshot s;
	char *what;

	build_gpu();
	build_port();
	s = take();
	put_config(GPU, checks[_i].vendor, checks[_i].device, checks[_i].header,
		   checks[_i].bar0);
	put_resource(GPU, checks[_i].start, checks[_i].size, checks[_i].flags,
		     checks[_i].rom);
	ck_assert_int_eq(snapshot_check(snapshot_find(&s, &gpu), &what),
			 checks[_i].health);
	ck_assert_pstr_eq(what, checks[_i].what);
	free(what);
	snapshot_done(&s);
}
END_TEST

START_TEST(groups_are_compared)
{
	struct pciaddr both[] = { at(GPU), at(VF) };
	_cleanup_free_ char *same = NULL, *less = NULL, *link = NULL;
	struct snapshot s;

	build_gpu();
	testroot_function(VF);
	put_resource(VF, 0xd0000000, 1 << 20, 0x40200, 0);
	testroot_group(VF, 7);
	ck_assert_int_eq(snapshot_read(&s, both, 2, NULL, 0), 0);
	same = snapshot_groups_changed(&s);
	ck_assert_ptr_null(same);
	link = testroot_path("/sys/devices/pci0000:00/" VF "/iommu_group");
	ck_assert_int_eq(unlink(link), 0);
	testroot_group(VF, 8);
	less = snapshot_groups_changed(&s);
	ck_assert_str_eq(less, GPU " and " VF " are no longer in one IOMMU group");
	snapshot_done(&s);
}
END_TEST

START_TEST(gone_is_seen)
{
	struct pciaddr gpu = at(GPU);
	struct snapshot s;
	char *what, *link = testroot_path("/sys/bus/pci/devices/" GPU);

	build_gpu();
	build_port();
	s = take();
	ck_assert(snapshot_is_present(&gpu));
	ck_assert_int_eq(unlink(link), 0);
	ck_assert(!snapshot_is_present(&gpu));
	ck_assert_int_eq(snapshot_check(snapshot_find(&s, &gpu), &what), SNAPSHOT_GONE);
	ck_assert_str_eq(what, "is not on the bus");
	free(what);
	free(link);
	snapshot_done(&s);
}
END_TEST

/* The ids in a virtual function's own registers are ffff always. */
START_TEST(virtual_function_is_well)
{
	struct pciaddr vf = at(VF);
	struct snapshot s;
	char *what;

	testroot_function(VF);
	testroot_link("/sys/devices/pci0000:00/" VF "/physfn", "../" GPU);
	put_config(VF, 0xffff, 0xffff, 0, 0);
	put_resource(VF, 0xd0000000, 1 << 20, 0x40200, 0);
	ck_assert_int_eq(snapshot_read(&s, &vf, 1, NULL, 0), 0);
	ck_assert(s.fns[0].is_vf);
	ck_assert_int_eq(snapshot_check(&s.fns[0], &what), SNAPSHOT_HEALTHY);
	ck_assert_ptr_null(what);
	snapshot_done(&s);
}
END_TEST

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

START_TEST(file_keeps_all)
{
	struct snapshot s, *back;
	size_t n, bad;
	struct stat st;

	build_gpu();
	build_port();
	s = take();
	ck_assert_int_eq(snapshot_load_all(&back, &n, &bad), 0); /* no folder yet */
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(snapshot_save(&s), 0);
	ck_assert(strstr(s.path, "/run/pve-gpu-utils/rescan/" GPU));
	ck_assert_int_eq(stat(s.path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(snapshot_load_all(&back, &n, &bad), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(bad, 0);
	ck_assert_str_eq(back->autoprobe, "1");
	ck_assert_str_eq(back->path, s.path);
	ck_assert_uint_eq(back->n, s.n);
	for (size_t i = 0; i < s.n; i++) {
		const struct snapshot_fn *a = &s.fns[i], *b = &back->fns[i];

		ck_assert_int_eq(pciaddr_compare(&a->addr, &b->addr), 0);
		ck_assert(a->whole == b->whole && a->is_vf == b->is_vf);
		ck_assert(a->vendor == b->vendor && a->device == b->device);
		ck_assert(a->subvendor == b->subvendor && a->subdevice == b->subdevice);
		ck_assert(a->class == b->class && a->header == b->header);
		ck_assert_mem_eq(a->bars, b->bars, sizeof(a->bars));
		ck_assert_int_eq(a->iommu_group, b->iommu_group);
		ck_assert_pstr_eq(a->driver, b->driver);
		for (int k = 0; k < SNAPSHOT_ATTRS; k++)
			ck_assert(same_text(a->attrs[k], b->attrs[k]));
	}
	snapshot_free_all(back, n);
	ck_assert_int_eq(snapshot_forget(&s), 0);
	ck_assert_int_eq(snapshot_load_all(&back, &n, &bad), 0);
	ck_assert_uint_eq(n, 0);
	free(back);
	snapshot_done(&s);
}
END_TEST

/* Cut anywhere, or with something else in it: not believed, never harmful. */
START_TEST(damaged_files_are_not_believed)
{
	static const char *const damage[] = { "", "x", "autoprobe\t1\n#end 0\n" };
	struct snapshot s, *back;
	size_t n, bad, len;
	char *text, *path;
	FILE *f;

	build_gpu();
	build_port();
	s = take();
	ck_assert_int_eq(snapshot_save(&s), 0);
	path = xstrdup(s.path);
	text = xcalloc(4096, 1);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	len = fread(text, 1, 4095, f);
	fclose(f);
	for (size_t cut = 0; cut < len + ARRAY_SIZE(damage); cut++) {
		f = fopen(path, "w");
		if (cut < len)
			fwrite(text, 1, cut, f);
		else
			fputs(damage[cut - len], f);
		fclose(f);
		ck_assert_int_eq(snapshot_load_all(&back, &n, &bad), 0);
		ck_assert_uint_eq(n, 0);
		ck_assert_uint_eq(bad, 1);
		free(back);
	}
	/* A driver's name stands in a path. */
	f = fopen(path, "w");
	for (char *p = text; *p; p++)
		fputc(strncmp(p, "vfio-pci", 8) == 0 ? '/' : *p, f);
	fclose(f);
	ck_assert_int_eq(snapshot_load_all(&back, &n, &bad), 0);
	ck_assert_uint_eq(bad, 1);
	free(back);
	free(text);
	free(path);
	snapshot_done(&s);
}
END_TEST

START_TEST(lock_keeps_runs_apart)
{
	volatile sig_atomic_t stop = 0;
	pid_t holder;
	char *left = testroot_path("/run/pve-gpu-utils/rescan/." GPU ".Ab12Cd");
	char *other = testroot_path("/run/pve-gpu-utils/rescan/.keep.Ab12Cd");
	int fd = -1, second;

	testroot_file("/run/pve-gpu-utils/rescan/." GPU ".Ab12Cd", "");
	testroot_file("/run/pve-gpu-utils/rescan/.keep.Ab12Cd", "");
	fd = snapshot_lock(0, &stop, &holder);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_lt(access(left, F_OK), 0);
	ck_assert_int_eq(access(other, F_OK), 0);
	second = snapshot_lock(30, &stop, &holder);
	ck_assert_int_eq(second, -EAGAIN);
	ck_assert_int_eq(holder, getpid());
	snapshot_lock_name(fd, 4711);
	stop = 1;
	second = snapshot_lock(10000, &stop, &holder);
	ck_assert_int_eq(second, -EINTR);
	ck_assert_int_eq(holder, 4711);
	close(fd);
	fd = snapshot_lock(0, NULL, &holder);
	ck_assert_int_ge(fd, 0);
	close(fd);
	free(left);
	free(other);
}
END_TEST

/* Somebody's link in the folder's place is not followed. */
START_TEST(link_is_no_folder)
{
	struct snapshot s;

	build_gpu();
	build_port();
	s = take();
	testroot_dir("/run/pve-gpu-utils");
	testroot_dir("/elsewhere");
	testroot_link("/run/pve-gpu-utils/rescan", "../../elsewhere");
	ck_assert_int_eq(snapshot_save(&s), -ENOTDIR);
	snapshot_done(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot");
	TCase *tc = tcase_create("snapshot");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_test(tc, function_is_read);
	tcase_add_loop_test(tc, changes_are_seen, 0, ARRAY_SIZE(checks));
	tcase_add_test(tc, groups_are_compared);
	tcase_add_test(tc, gone_is_seen);
	tcase_add_test(tc, virtual_function_is_well);
	tcase_add_test(tc, file_keeps_all);
	tcase_add_test(tc, damaged_files_are_not_believed);
	tcase_add_test(tc, lock_keeps_runs_apart);
	tcase_add_test(tc, link_is_no_folder);
	tcase_set_timeout(tc, 30);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
