/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <pthread.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/sysfs.h"
#include "pci/bind.h"

#define GPU "0000:01:00.0"
#define AUDIO "0000:01:00.1"
#define BRIDGE "0000:00:01.0"

static struct pciaddr at(const char *text)
{
	struct pciaddr addr;

	ck_assert(pciaddr_parse(text, &addr));
	return addr;
}

static void build_card(void)
{
	testroot_function(BRIDGE);
	testroot_dir("/sys/devices/pci0000:00/" BRIDGE "/pci_bus");
	testroot_group(BRIDGE, 1);
	testroot_function(GPU);
	testroot_driver(GPU, "nvidia");
	testroot_file("/sys/bus/pci/drivers/nvidia/unbind", "");
	testroot_group(GPU, 1);
	testroot_function(AUDIO);
	testroot_group(AUDIO, 1);
	testroot_attribute(AUDIO, "driver_override", "vfio-pci\n");
	testroot_dir("/sys/bus/pci/drivers/vfio-pci");
	testroot_file("/sys/bus/pci/drivers_probe", "");
}

START_TEST(group_is_recorded_without_bridges)
{
	struct pciaddr gpu = at(GPU), gone = at("0000:09:00.0"), alone = at("0000:05:00.0");
	struct bind_record *recs;
	char text[PCIADDR_STRLEN];
	size_t n;

	build_card();
	ck_assert_int_eq(bind_record_group(&gone, &recs, &n), -ENOENT);
	ck_assert_int_eq(bind_record_group(&gpu, &recs, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(pciaddr_format(&recs[0].addr, text), GPU);
	ck_assert_str_eq(recs[0].driver, "nvidia");
	ck_assert_ptr_null(recs[0].override);
	ck_assert_str_eq(pciaddr_format(&recs[1].addr, text), AUDIO);
	ck_assert_ptr_null(recs[1].driver);
	ck_assert_str_eq(recs[1].override, "vfio-pci");
	bind_records_free(recs, n);

	testroot_function("0000:05:00.0");	/* without an IOMMU group */
	ck_assert_int_eq(bind_record_group(&alone, &recs, &n), 0);
	ck_assert_uint_eq(n, 1);
	bind_records_free(recs, n);
}
END_TEST

START_TEST(records_keep)
{
	char nvidia[] = "nvidia", vfio[] = "vfio-pci";
	const struct bind_record recs[] = {
		{ at(GPU), nvidia, NULL }, { at(AUDIO), NULL, vfio }, { at("10000:e1:00.0"), NULL, NULL },
	};
	char *path = testroot_path("/state/record");
	struct bind_record *back;
	size_t n;

	ck_assert_int_eq(bind_records_write(path, recs, _i), 0);
	ck_assert_int_eq(bind_records_read(path, &back, &n), 0);
	ck_assert_uint_eq(n, _i);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(pciaddr_compare(&back[i].addr, &recs[i].addr), 0);
		ck_assert_pstr_eq(back[i].driver, recs[i].driver);
		ck_assert_pstr_eq(back[i].override, recs[i].override);
	}
	bind_records_free(back, n);
	free(path);
}
END_TEST

/* What was recorded before counts where a run for vfio-pci may have been since. */
START_TEST(older_record_is_kept)
{
	char nvidia[] = "nvidia", nouveau[] = "nouveau", vfio[] = "vfio-pci";
	const struct bind_record old[] = {
		{ at(GPU), nvidia, NULL }, { at(AUDIO), NULL, nouveau },
		{ at("0000:05:00.0"), nvidia, NULL }, { at("0000:06:00.0"), nvidia, NULL },
	};
	static const char *const now[][4] = {	/* address, driver, override; wanted */
		{ GPU, "vfio-pci", "vfio-pci", "nvidia" },	/* bound already */
		{ AUDIO, NULL, "vfio-pci", NULL },		/* killed before the probe */
		{ "0000:05:00.0", "nouveau", "vfio-pci", "nvidia" },
		{ "0000:06:00.0", "nouveau", NULL, "nouveau" },	/* somebody else's since */
		{ "0000:07:00.0", "vfio-pci", NULL, "vfio-pci" },	/* not in the file */
	};
	struct bind_record *recs = xcalloc(ARRAY_SIZE(now), sizeof(*recs));
	char *path = testroot_path("/state/record");

	for (size_t i = 0; i < ARRAY_SIZE(now); i++) {
		recs[i].addr = at(now[i][0]);
		recs[i].driver = now[i][1] ? xstrdup(now[i][1]) : NULL;
		recs[i].override = now[i][2] ? xstrdup(now[i][2]) : NULL;
	}
	bind_records_keep(path, vfio, recs, ARRAY_SIZE(now));	/* no file yet */
	ck_assert_str_eq(recs[0].driver, "vfio-pci");
	ck_assert_int_eq(bind_records_write(path, old, ARRAY_SIZE(old)), 0);
	bind_records_keep(path, vfio, recs, ARRAY_SIZE(now));
	for (size_t i = 0; i < ARRAY_SIZE(now); i++)
		ck_assert_pstr_eq(recs[i].driver, now[i][3]);
	ck_assert_str_eq(recs[1].override, "nouveau");
	bind_records_free(recs, ARRAY_SIZE(now));
	free(path);
}
END_TEST

#define HEAD "#addr\tdriver\tdriver_override\n"
#define LINE "0000:01:00.0\tnvidia\t-\n"

static const struct {
	const char *text;
	int rc;
} files[] = {
	{ HEAD LINE "#end 1\n", 0 },
	{ HEAD "0000:01:00.0\tnvidia\t-\tmore\n#end 1\n", 0 },	/* fields may grow at the end */
	{ HEAD "#end 0\n", 0 },
	{ HEAD LINE, -EBADMSG },
	{ HEAD LINE "#end 1", -EBADMSG },
	{ HEAD LINE "#end 2\n", -EBADMSG },
	{ HEAD LINE "#end 1\n" LINE, -EBADMSG },
	{ HEAD "0000:01:00.0\tnvidia\n#end 1\n", -EBADMSG },
	{ HEAD "01:00\tnvidia\t-\n#end 1\n", -EBADMSG },
	{ HEAD "-\tnvidia\t-\n#end 1\n", -EBADMSG },
	{ HEAD "0000:01:00.0\t../../x\t-\n#end 1\n", -EBADMSG },
	{ HEAD "0000:01:00.0\tx\t..\n#end 1\n", -EBADMSG },
	{ HEAD "0000:01:00.0\tx\\x2fy\t-\n#end 1\n", -EBADMSG },
	{ "", -EBADMSG },
	{ "\n", -EBADMSG },
	{ "#end 0\n", -EBADMSG },
};

START_TEST(file_is_believed_or_not)
{
	char *path = testroot_path("/record");
	struct bind_record *recs = NULL;
	size_t n = 0;

	testroot_file("/record", files[_i].text);
	ck_assert_int_eq(bind_records_read(path, &recs, &n), files[_i].rc);
	bind_records_free(recs, n);
	unlink(path);
	ck_assert_int_eq(bind_records_read(path, &recs, &n), -ENOENT);
	free(path);
}
END_TEST

/*
 * What a kernel does with the files is played by a thread: it waits for a write
 * to drivers_probe and moves the link.
 */
static volatile bool play_end;

static void *play_kernel(void *driver)
{
	char *probe = testroot_path("/sys/bus/pci/drivers_probe");
	char *link = testroot_path("/sys/devices/pci0000:00/" GPU "/driver");
	char *target = xasprintf("../../../bus/pci/drivers/%s", (const char *)driver);
	struct stat st;

	while (!play_end && (stat(probe, &st) < 0 || st.st_size == 0))
		usleep(100);
	unlink(link);
	ck_assert_int_eq(symlink(target, link), 0);
	free(target);
	free(link);
	free(probe);
	return NULL;
}

static void assert_file(const char *path, const char *want)
{
	char *full = testroot_path(path), *text = readfile_string(full, 4096);

	ck_assert_ptr_nonnull(text);
	ck_assert_str_eq(text, want);
	free(text);
	free(full);
}

START_TEST(right_already_writes_nothing)
{
	struct pciaddr gpu = at(GPU);
	char nvidia[] = "nvidia";
	const struct bind_record rec = { gpu, nvidia, NULL };

	build_card();
	ck_assert_int_eq(bind_function(&gpu, "nvidia", NULL), 0);
	ck_assert_int_eq(bind_restore(&rec, 1, NULL, NULL), 0);
	ck_assert_int_eq(bind_host(&gpu), 0);
	assert_file("/sys/bus/pci/drivers_probe", "");
	assert_file("/sys/bus/pci/drivers/nvidia/unbind", "");
	assert_file("/sys/devices/pci0000:00/" GPU "/driver_override", "(null)\n");
}
END_TEST

START_TEST(override_alone_is_put_right)
{
	struct pciaddr gpu = at(GPU);

	build_card();
	testroot_attribute(GPU, "driver_override", "vfio-pci\n");
	ck_assert_int_eq(bind_function(&gpu, "nvidia", NULL), 0);
	/* A plain file keeps what a shorter write does not reach. */
	assert_file("/sys/devices/pci0000:00/" GPU "/driver_override", "\nfio-pci\n");
	assert_file("/sys/bus/pci/drivers/nvidia/unbind", "");
}
END_TEST

START_TEST(refused_before_anything_is_written)
{
	struct pciaddr gpu = at(GPU), gone = at("0000:09:00.0");
	char *link = testroot_path("/sys/devices/pci0000:00/" GPU "/driver");

	build_card();
	ck_assert_int_eq(bind_function(&gpu, "nouveau", NULL), -ENODEV);
	ck_assert_int_eq(bind_function(&gone, "nvidia", NULL), -ENOENT);
	ck_assert_int_eq(bind_host(&gone), -ENOENT);
	testroot_file("/sys/bus/pci/drivers/vfio-pci/unbind", "");
	unlink(link);
	free(link);
	testroot_driver(GPU, "vfio-pci");
	testroot_link("/proc/4711/fd/17", "/dev/vfio/1");
	ck_assert_int_eq(bind_vfio_user(&gpu), 4711);
	ck_assert_int_eq(bind_function(&gpu, "nvidia", NULL), -EBUSY);
	ck_assert_int_eq(bind_host(&gpu), -EBUSY);
	assert_file("/sys/devices/pci0000:00/" GPU "/driver_override", "(null)\n");
	assert_file("/sys/bus/pci/drivers/vfio-pci/unbind", "");
}
END_TEST

START_TEST(users_by_device_node)
{
	struct pciaddr gpu = at(GPU);

	build_card();
	testroot_dir("/sys/devices/pci0000:00/" GPU "/vfio-dev/vfio3");
	testroot_link("/proc/40/fd/3", "/dev/vfio/11");
	testroot_link("/proc/41/fd/3", "/dev/vfio/devices/vfio33");
	ck_assert_int_eq(bind_vfio_user(&gpu), 0);
	testroot_link("/proc/42/fd/3", "/dev/vfio/devices/vfio3");
	ck_assert_int_eq(bind_vfio_user(&gpu), 42);
}
END_TEST

START_TEST(bind_is_verified)
{
	struct pciaddr gpu = at(GPU);
	char driver[] = "vfio-pci";
	pthread_t kernel;

	build_card();
	/* Nobody moves the link: the writes succeed, the bind did not. */
	ck_assert_int_eq(bind_function(&gpu, "vfio-pci", "vfio-pci"), -ENODEV);
	assert_file("/sys/devices/pci0000:00/" GPU "/driver_override", "vfio-pci");
	assert_file("/sys/bus/pci/drivers/nvidia/unbind", GPU);
	assert_file("/sys/bus/pci/drivers_probe", GPU);

	testroot_file("/sys/bus/pci/drivers_probe", "");
	ck_assert_int_eq(pthread_create(&kernel, NULL, play_kernel, driver), 0);
	for (int i = 0; i < 1000; i++) {
		if (bind_function(&gpu, "vfio-pci", "vfio-pci") == 0)
			break;
		usleep(1000);
	}
	play_end = true;
	pthread_join(kernel, NULL);
	ck_assert_int_eq(bind_function(&gpu, "vfio-pci", "vfio-pci"), 0);
}
END_TEST

struct said {
	size_t n;
	int err[4];
};

static void take(const struct pciaddr *addr, int err, void *arg)
{
	struct said *said = arg;

	(void)addr;
	said->err[said->n++] = err;
}

START_TEST(host_is_the_kernels_choice)
{
	struct pciaddr audio = at(AUDIO), gpu = at(GPU);
	char *link = testroot_path("/sys/devices/pci0000:00/" GPU "/driver");

	/* No driver wants it: it has none, and no override. */
	build_card();
	ck_assert_int_eq(bind_host(&audio), 0);
	assert_file("/sys/devices/pci0000:00/" AUDIO "/driver_override", "\nfio-pci\n");
	assert_file("/sys/bus/pci/drivers_probe", AUDIO);

	/*
	 * A driver that takes it again has been taught its id; that does not help here.
	 */
	unlink(link);
	testroot_driver(GPU, "vfio-pci");
	testroot_file("/sys/bus/pci/drivers/vfio-pci/unbind", "");
	testroot_file("/sys/bus/pci/drivers/vfio-pci/remove_id", "");
	testroot_attribute(GPU, "vendor", "0x10de\n");
	testroot_attribute(GPU, "device", "0x2204\n");
	ck_assert_int_eq(bind_host(&gpu), -ENODEV);
	assert_file("/sys/bus/pci/drivers/vfio-pci/unbind", GPU);
	assert_file("/sys/bus/pci/drivers/vfio-pci/remove_id", "10de 2204");
	free(link);
}
END_TEST

START_TEST(restore_goes_on)
{
	char nvidia[] = "nvidia", gone[] = "nouveau";
	const struct bind_record recs[] = {
		{ at("0000:09:00.0"), nvidia, NULL },	/* the function is gone */
		{ at(AUDIO), gone, NULL },		/* the driver is gone */
		{ at(GPU), nvidia, NULL },		/* right */
	};
	struct said said = { 0 };

	build_card();
	ck_assert_int_eq(bind_restore(recs, 3, take, &said), -ENODEV);
	ck_assert_uint_eq(said.n, 2);
	ck_assert_int_eq(said.err[0], -ENOENT);
	ck_assert_int_eq(said.err[1], -ENODEV);
	/* Left to the kernel. */
	assert_file("/sys/bus/pci/drivers_probe", AUDIO);
}
END_TEST

START_TEST(drivers)
{
	build_card();
	ck_assert(bind_is_vfio_driver("vfio-pci"));
	ck_assert(bind_is_vfio_driver("mlx5-vfio-pci"));
	ck_assert(bind_is_vfio_driver("nvgrace_gpu_vfio_pci"));
	ck_assert(!bind_is_vfio_driver("nvidia"));
	ck_assert(!bind_is_vfio_driver(NULL));
	ck_assert(bind_driver_is_loaded("vfio-pci"));
	ck_assert(!bind_driver_is_loaded("xe"));
}
END_TEST

/* One disk or card below the function, and what /proc says of it. */
#define SATA "0000:00:1f.2"
#define ROOT_ON(number, source) \
	"20 1 0:5 / /proc rw - proc proc rw\n" \
	"29 1 " number " / /srv rw,relatime shared:1 - ext4 " source " rw\n"

static void add_disk(const char *name, const char *number)
{
	char *dir = xasprintf("/sys/devices/pci0000:00/" SATA "/ata1/block/%s", name);
	char *path = xasprintf("%s/dev", dir);
	char *link = xasprintf("/sys/block/%s", name), *target = xasprintf("../..%s", dir);

	/* "../..": from /sys/block to the root, as the text of dir begins with /sys. */
	testroot_file(path, number);
	testroot_link(link, target);
	free(target);
	free(link);
	free(path);
	free(dir);
}

static void add_partition(const char *disk, const char *name, const char *number)
{
	char *dir = xasprintf("/sys/devices/pci0000:00/" SATA "/ata1/block/%s/%s", disk, name);
	char *path = xasprintf("%s/partition", dir);

	testroot_file(path, "1\n");
	free(path);
	path = xasprintf("%s/dev", dir);
	testroot_file(path, number);
	free(path);
	free(dir);
}

/* dm-0 or md0, stacked on a partition of sda. */
static void add_stacked(const char *name, const char *number, const char *on)
{
	char *path = xasprintf("/sys/devices/virtual/block/%s/dev", name);
	char *link = xasprintf("/sys/block/%s", name);
	char *target = xasprintf("../devices/virtual/block/%s", name);

	testroot_file(path, number);
	testroot_link(link, target);
	free(path);
	path = xasprintf("/sys/devices/pci0000:00/" SATA "/ata1/block/sda/%s/holders/%s", on, name);
	testroot_link(path, "../../x");
	free(path);
	free(target);
	free(link);
}

static void assert_vital(const char *want)
{
	struct pciaddr addr = at(SATA);
	char *what = NULL;

	ck_assert(bind_is_host_vital(&addr, &what) == (want != NULL));
	ck_assert_pstr_eq(what, want);
	free(what);
}

START_TEST(disks)
{
	testroot_function(SATA);
	assert_vital(NULL);
	add_disk("sda", "8:0\n");
	add_partition("sda", "sda1", "8:1\n");
	testroot_file("/proc/self/mountinfo", ROOT_ON("8:16", "/dev/sdb"));
	testroot_file("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda10 partition 1 0 -2\n");
	assert_vital(NULL);
	testroot_file("/proc/self/mountinfo", ROOT_ON("8:0", "/dev/sda"));
	assert_vital("disk sda is mounted on /srv");
	testroot_file("/proc/self/mountinfo", ROOT_ON("8:1", "/dev/root"));
	assert_vital("disk sda1 is mounted on /srv");
	testroot_file("/proc/self/mountinfo", ROOT_ON("0:33", "/dev/sda1"));	/* btrfs */
	assert_vital("disk sda1 is mounted on /srv");
	testroot_file("/proc/self/mountinfo", "");
	testroot_file("/proc/swaps", "Filename Type\n/dev/sda1 partition 1 0 -2\n");
	assert_vital("disk sda1 is swap");
}
END_TEST

START_TEST(stacked_disks)
{
	testroot_function(SATA);
	add_disk("sda", "8:0\n");
	add_partition("sda", "sda3", "8:3\n");
	add_stacked("dm-0", "253:0\n", "sda3");
	testroot_file("/proc/self/mountinfo", "");
	assert_vital("disk sda3 is part of dm-0");
	testroot_file("/proc/self/mountinfo", ROOT_ON("253:0", "/dev/mapper/pve-root"));
	assert_vital("disk dm-0 is mounted on /srv");
	testroot_file("/sys/devices/virtual/block/dm-0/dm/name", "pve-root\n");
	testroot_file("/proc/self/mountinfo", ROOT_ON("0:40", "/dev/mapper/pve-root"));
	assert_vital("disk dm-0 is mounted on /srv");
	testroot_file("/proc/self/mountinfo", "");
	testroot_file("/proc/swaps", "Filename Type\n/dev/dm-0 partition 1 0 -2\n");
	assert_vital("disk dm-0 is swap");
}
END_TEST

START_TEST(nvme_behind_its_subsystem)
{
	testroot_function(SATA);
	testroot_dir("/sys/devices/pci0000:00/" SATA "/nvme/nvme0");
	testroot_file("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/dev", "259:1\n");
	testroot_link("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0",
		      "../../../pci0000:00/" SATA "/nvme/nvme0");
	testroot_link("/sys/block/nvme0n1",
		      "../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1");
	testroot_file("/proc/self/mountinfo", ROOT_ON("259:1", "/dev/nvme0n1"));
	assert_vital("disk nvme0n1 is mounted on /srv");
}
END_TEST

static const struct {
	const char *operstate, *carrier;
	bool up;
} cards[] = {
	{ "up\n", "1\n", true }, { "down\n", "0\n", false }, { "unknown\n", "1\n", true },
	{ "up\n", NULL, true }, { NULL, NULL, false }, { "dormant\n", "0\n", false },
};

START_TEST(network_cards)
{
	testroot_function(SATA);
	testroot_function("0000:00:1f.20");	/* a name that begins the same */
	testroot_link("/sys/class/net/eth9", "../../devices/pci0000:00/0000:00:1f.20/net/eth9");
	testroot_file("/sys/devices/pci0000:00/0000:00:1f.20/net/eth9/operstate", "up\n");
	testroot_dir("/sys/devices/pci0000:00/" SATA "/net/eno1");
	testroot_link("/sys/class/net/eno1", "../../devices/pci0000:00/" SATA "/net/eno1");
	if (cards[_i].operstate)
		testroot_attribute(SATA, "net/eno1/operstate", cards[_i].operstate);
	if (cards[_i].carrier)
		testroot_attribute(SATA, "net/eno1/carrier", cards[_i].carrier);
	assert_vital(cards[_i].up ? "network card eno1 is up" : NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bind");
	TCase *tcase = tcase_create("bind");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_test(tcase, group_is_recorded_without_bridges);
	tcase_add_loop_test(tcase, records_keep, 0, 4);
	tcase_add_test(tcase, older_record_is_kept);
	tcase_add_loop_test(tcase, file_is_believed_or_not, 0, ARRAY_SIZE(files));
	tcase_add_test(tcase, right_already_writes_nothing);
	tcase_add_test(tcase, override_alone_is_put_right);
	tcase_add_test(tcase, refused_before_anything_is_written);
	tcase_add_test(tcase, users_by_device_node);
	tcase_add_test(tcase, bind_is_verified);
	tcase_add_test(tcase, host_is_the_kernels_choice);
	tcase_add_test(tcase, restore_goes_on);
	tcase_add_test(tcase, drivers);
	tcase_add_test(tcase, disks);
	tcase_add_test(tcase, stacked_disks);
	tcase_add_test(tcase, nvme_behind_its_subsystem);
	tcase_add_loop_test(tcase, network_cards, 0, ARRAY_SIZE(cards));
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
