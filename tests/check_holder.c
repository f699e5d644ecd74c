/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <time.h>

#include "base/cleanup.h"
#include "pve/holder.h"

#define KVM "/usr/bin/kvm\0-id\0" "100\0-pidfile\0/var/run/qemu-server/100.pid\0"

static const struct {
	const char *words;	/* blanks stand for NUL */
	const char *want;	/* "N ADDR[ TYPE]" joined by '|' */
} cases[] = {
	{ "kvm -device vfio-pci,host=0000:01:00.0,id=hostpci0.0,bus=ich9-pcie-port-1,addr=0x0.0 "
	  "-device vfio-pci,host=0000:01:00.1,id=hostpci0.1", "0 0000:01:00.0|0 0000:01:00.1" },
	{ "kvm -device vfio-pci,host=10000:e1:00.0,id=hostpci15,enable-migration=on",
	  "15 10000:e1:00.0" },
	{ "kvm -device vfio-pci,id=hostpci1,host=02:00.0", "1 0000:02:00.0" },
	{ "kvm --device vfio-pci,host=02:00.0", "-1 0000:02:00.0" },
	/* a number that no slot has, also one that wraps round in an int */
	{ "kvm -device vfio-pci,host=02:00.0,id=hostpci16 "
	  "-device vfio-pci,host=02:00.1,id=hostpci4294967297 "
	  "-device vfio-pci,host=02:00.2,id=hostpci099991111111111.0 "
	  "-device vfio-pci,host=02:00.3,id=hostpci1x",
	  "-1 0000:02:00.0|-1 0000:02:00.1|-1 0000:02:00.2|-1 0000:02:00.3" },
	{ "kvm -device vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:03:00.0,id=gpu",
	  "-1 0000:03:00.0" },
	{ "kvm -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/"
	  "00000001-0000-0000-0000-000000000100,id=hostpci1", "1 0000:82:00.0 nvidia-63" },
	{ "kvm -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/"
	  "00000002-0000-0000-0000-000000000100,id=hostpci2", "" },
	{ "kvm -device virtio-net-pci,host=0000:01:00.0,id=net0 -device", "" },
	{ "kvm -name -device vfio-pci,host=junk -S", "" },
	{ "", "" },
};

static void add_mdev(void)
{
	testroot_setup();
	testroot_function("0000:82:00.0");
	testroot_dir("/sys/devices/pci0000:00/0000:82:00.0/mdev_supported_types/nvidia-63");
	testroot_link("/sys/devices/pci0000:00/0000:82:00.0/"
		      "00000001-0000-0000-0000-000000000100/mdev_type",
		      "../mdev_supported_types/nvidia-63");
	testroot_link("/sys/bus/mdev/devices/00000001-0000-0000-0000-000000000100",
		      "../../../devices/pci0000:00/0000:82:00.0/"
		      "00000001-0000-0000-0000-000000000100");
}

START_TEST(functions_on_a_command_line)
{
	_cleanup_free_ char *text = xstrdup(cases[_i].words), *got = xstrdup("");
	size_t len = strlen(text), n;
	struct holding *h;

	for (size_t i = 0; i < len; i++)
		if (text[i] == ' ')
			text[i] = '\0';
	holder_parse_cmdline(text, len ? len + 1 : 0, &h, &n);
	for (size_t i = 0; i < n; i++) {
		char addr[PCIADDR_STRLEN];
		char *more = xasprintf("%s%s%d %s%s%s", got, i ? "|" : "", h[i].hostpci,
				       pciaddr_format(&h[i].addr, addr),
				       h[i].mdev_type ? " " : "",
				       h[i].mdev_type ? h[i].mdev_type : "");

		free(got);
		got = more;
	}
	holdings_free(h, n);
	ck_assert_str_eq(got, cases[_i].want);
}
END_TEST

START_TEST(command_line_of_a_process)
{
	static const char words[] = KVM "-device\0vfio-pci,host=0000:01:00.0,id=hostpci0";
	struct holding *h;
	size_t n;

	ck_assert_int_eq(holder_cmdline(77, &h, &n), -ESRCH);
	testroot_data("/proc/77/cmdline", words, sizeof(words));
	ck_assert_int_eq(holder_cmdline(77, &h, &n), 0);
	ck_assert_uint_eq(n, 1);
	holdings_free(h, n);
	testroot_file("/proc/77/cmdline", "");
	ck_assert_int_eq(holder_cmdline(77, &h, &n), -ESRCH);
}
END_TEST

START_TEST(reservations_of_pve)
{
	_cleanup_free_ char *text = xasprintf(
		"0000:02:00.0 101 time:%lld\n"
		"0000:01:00.0 100 pid:77\n"
		"0000:03:00.0 102 pid:78\n"
		"0000:04:00.0 103 time:1000\n"
		"junk\n"
		"0000:05:00.0 103 pid:\n"
		"0000:05:00.0 103 pid:9x\n"
		"0000:05:00.0  103 pid:9\n"
		"0000:05:00.0 99 pid:9\n"
		"0000:05:00.0 103 other:9\n", (long long)time(NULL) + 100);
	static const char words[] = KVM;
	struct reservation *r;
	size_t n;

	ck_assert_int_eq(reservations_read(&r, &n), 0);
	ck_assert_uint_eq(n, 0);
	testroot_file("/run/qemu-server/pci-id-reservations", text);
	testroot_file("/run/qemu-server/100.pid", "77\n");
	testroot_data("/proc/77/cmdline", words, sizeof(words));
	testroot_file("/proc/77/stat", "77 (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 555 0\n");
	ck_assert_int_eq(reservations_read(&r, &n), 0);
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(r[0].addr.bus, 1);
	ck_assert(reservation_is_held(&r[0]));		/* its VM runs with that pid */
	ck_assert(reservation_is_held(&r[1]));		/* in the future */
	ck_assert(!reservation_is_held(&r[2]));		/* nobody runs */
	ck_assert(!reservation_is_held(&r[3]));		/* over */
	free(r);
}
END_TEST

START_TEST(released_or_what_is_left)
{
	static const struct pciaddr vf = { 0, 0x83, 0, 4 };
	char *what;

	ck_assert(!holder_is_released(100, NULL, 0, &what));
	ck_assert_str_eq(what, "mdev 00000001-0000-0000-0000-000000000100");
	free(what);
	ck_assert(holder_is_released(101, NULL, 0, &what));
	ck_assert_ptr_null(what);

	testroot_function("0000:83:00.4");
	testroot_attribute("0000:83:00.4", "nvidia/current_vgpu_type", "660\n");
	ck_assert(!holder_is_released(101, &vf, 1, &what));
	ck_assert_str_eq(what, "vGPU type 660 of 0000:83:00.4");
	free(what);
	testroot_attribute("0000:83:00.4", "nvidia/current_vgpu_type", "0\n");
	ck_assert(holder_is_released(101, &vf, 1, &what));

	testroot_file("/run/qemu-server/pci-id-reservations",
		      "0000:02:00.0 101 time:99999999999\n0000:03:00.0 102 time:1\n");
	ck_assert(!holder_is_released(101, NULL, 0, &what));
	ck_assert_str_eq(what, "reservation of 0000:02:00.0");
	free(what);
	ck_assert(holder_is_released(102, NULL, 0, &what));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("holder");
	TCase *tcase = tcase_create("holder");

	tcase_add_checked_fixture(tcase, add_mdev, testroot_teardown);
	tcase_add_loop_test(tcase, functions_on_a_command_line, 0, ARRAY_SIZE(cases));
	tcase_add_test(tcase, command_line_of_a_process);
	tcase_add_test(tcase, reservations_of_pve);
	tcase_add_test(tcase, released_or_what_is_left);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
