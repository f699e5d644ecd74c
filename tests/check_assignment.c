/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pve/assignment.h"
#include "pve/guestcheck.h"

#define LINE1 "qemu/100\thostpci0\t0\t0000:01:00.0\t-\tgpu\trunning\tpve1\tok\tcmdline\n"
#define LINE2 "qemu/101\thostpci15\t2\t0000:09:00\tnvidia-63\t-\tstopped\tpve1\tmissing\t-\n"
#define LINE3 "lxc/200\tdev0\t0\t-\t-\t-\t-\tpve2\t-\t-\n"

static size_t read_text(const char *text, int want, struct assignment **a)
{
	_cleanup_fclose_ FILE *in = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
	size_t n;

	ck_assert_ptr_nonnull(in);
	ck_assert_int_eq(assignments_read(in, "stdin", false, a, &n), want);
	return n;
}

START_TEST(read_then_put_is_the_same)
{
	static const char text[] = LINE1 LINE2 LINE3;
	struct record_opts opts = { .raw = true };
	struct record_writer *w;
	struct assignment *a;
	size_t n = read_text(text, 0, &a), len;
	char *out = NULL, *bad;
	FILE *f = open_memstream(&out, &len);

	ck_assert_uint_eq(n, 3);
	ck_assert(a[0].state == ASSIGNMENT_RUNNING && !a[0].is_slot && a[0].has_addr);
	ck_assert(a[1].is_slot && a[1].alt == 2);
	ck_assert(!a[2].has_addr && a[2].state == ASSIGNMENT_ELSEWHERE && !a[2].status);
	w = record_writer_new(f, assignment_fields, ASSIGNMENT_FIELDS, &opts, &bad);
	for (size_t i = 0; i < n; i++)
		assignment_put(w, &a[i]);
	record_writer_free(w);
	fclose(f);
	ck_assert_str_eq(out, text);
	free(out);
	assignments_free(a, n);
}
END_TEST

START_TEST(fields_beyond_ours_are_for_others)
{
	struct assignment *a;
	size_t n = read_text("#guest\tkey\n"
			     "qemu/100\thostpci0\t0\t-\t-\t-\tstopped\tn\tok\t-\tnew\n", 0, &a);

	ck_assert_uint_eq(n, 1);
	assignments_free(a, n);
}
END_TEST

static const char *const bad_lines[] = {
	"qemu/100\n",
	"qemu/100\thostpci0\t0\t-\t-\t-\tstopped\tn\tok\n",
	"100\thostpci0\t0\t-\t-\t-\tstopped\tn\tok\t-\n",
	"qemu/100\t-\t0\t-\t-\t-\tstopped\tn\tok\t-\n",
	"qemu/100\thostpci0\t-1\t-\t-\t-\tstopped\tn\tok\t-\n",
	"qemu/100\thostpci0\tx\t-\t-\t-\tstopped\tn\tok\t-\n",
	"qemu/100\thostpci0\t0\t01:00.9\t-\t-\tstopped\tn\tok\t-\n",
	"qemu/100\thostpci0\t0\t-\t-\t-\tpaused\tn\tok\t-\n",
	"qemu/100\thostpci0\t0\t-\t\\q\t-\tstopped\tn\tok\t-\n",
	"qemu/100\t\t0\t-\t-\t-\tstopped\tn\tok\t-\n",
	"\n",
};

START_TEST(a_bad_line_is_left_out)
{
	_cleanup_free_ char *text = xasprintf(LINE1 "%s" LINE3, bad_lines[_i]);
	struct assignment *a;
	size_t n = read_text(text, -EBADMSG, &a);

	ck_assert_uint_eq(n, 2);
	assignments_free(a, n);
}
END_TEST

/* What is empty says nothing: least of all that the function is held. */
START_TEST(empty_is_unknown)
{
	struct assignment *a;
	size_t n = read_text("qemu/100\thostpci0\t0\t-\t\t\tstopped\tn\t\t\n", 0, &a);

	ck_assert_uint_eq(n, 1);
	ck_assert(!a[0].mdev_type && !a[0].mapping && !a[0].status && !a[0].held);
	assignments_free(a, n);
}
END_TEST

START_TEST(no_input_is_no_assignment)
{
	FILE *in = fopen("/dev/null", "r");
	struct assignment *a;
	size_t n;

	ck_assert_int_eq(assignments_read(in, "stdin", false, &a, &n), 0);
	ck_assert_uint_eq(n, 0);
	assignments_free(a, n);
	fclose(in);
}
END_TEST

/* ---- who holds what ---- */

static void add_function(const char *addr, int group)
{
	testroot_function(addr);
	testroot_attribute(addr, "vendor", "0x10de\n");
	testroot_attribute(addr, "device", "0x2204\n");
	testroot_attribute(addr, "class", "0x030000\n");
	testroot_attribute(addr, "irq", "16\n");
	testroot_attribute(addr, "resource", "");
	testroot_group(addr, group);
}

/* VM 100 has two alternatives; its process has the given devices. */
static void build_node(void)
{
	testroot_setup();
	testroot_link("/etc/pve/local", "nodes/pve1");
	for (int bus = 1; bus <= 4; bus++) {
		_cleanup_free_ char *addr = xasprintf("0000:0%d:00.0", bus);

		add_function(addr, bus);
	}
	testroot_file("/etc/pve/mapping/pci.cfg",
		      "gpu\n\tmap id=10de:2204,iommugroup=1,node=pve1,path=0000:01:00.0\n"
		      "\tmap id=10de:2204,iommugroup=2,node=pve1,path=0000:02:00.0\n");
	testroot_file("/etc/pve/nodes/pve1/qemu-server/100.conf",
		      "hostpci0: mapping=gpu\nhostpci1: 03:00.0\n");
	testroot_file("/run/qemu-server/100.pid", "77\n");
	testroot_file("/proc/77/stat", "77 (kvm) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0\n");
}

static const struct {
	const char *devices;		/* blanks stand for NUL */
	const char *reservations;
	const char *want;		/* "KEY.ALT ADDR HELD" joined by '|' */
} holds[] = {
	{ "-device vfio-pci,host=0000:02:00.0,id=hostpci0 "
	  "-device vfio-pci,host=0000:03:00.0,id=hostpci1 ", NULL,
	  "hostpci0.0 0000:01:00.0 -|hostpci0.1 0000:02:00.0 cmdline|"
	  "hostpci1.0 0000:03:00.0 cmdline" },
	/* the config was changed since */
	{ "-device vfio-pci,host=0000:04:00.0,id=hostpci0 ", NULL,
	  "hostpci0.0 0000:01:00.0 -|hostpci0.0 0000:04:00.0 cmdline|"
	  "hostpci0.1 0000:02:00.0 -|hostpci1.0 0000:03:00.0 -" },
	/* by "args:", and a function that is gone */
	{ "-device vfio-pci,host=0000:09:00.0 ", NULL,
	  "hostpci0.0 0000:01:00.0 -|hostpci0.1 0000:02:00.0 -|hostpci1.0 0000:03:00.0 -|"
	  "args.0 0000:09:00.0 cmdline" },
	/* under another number than in the config */
	{ "-device vfio-pci,host=0000:03:00.0,id=hostpci7 ", NULL,
	  "hostpci0.0 0000:01:00.0 -|hostpci0.1 0000:02:00.0 -|hostpci1.0 0000:03:00.0 cmdline" },
	{ "", "0000:01:00.0 100 pid:77\n0000:03:00.0 100 pid:78\n0000:04:00.0 101 pid:77\n",
	  "hostpci0.0 0000:01:00.0 reservation|hostpci0.1 0000:02:00.0 -|"
	  "hostpci1.0 0000:03:00.0 -" },
	{ "", "0000:04:00.0 100 time:99999999999\n",
	  "hostpci0.0 0000:01:00.0 -|hostpci0.1 0000:02:00.0 -|hostpci1.0 0000:03:00.0 -|"
	  "hostpci.0 0000:04:00.0 reservation" },
	{ "", "0000:01:00.0 100 time:1000\n",
	  "hostpci0.0 0000:01:00.0 config|hostpci0.1 0000:02:00.0 config|"
	  "hostpci1.0 0000:03:00.0 config" },
};

static void note(const struct assignment *a, void *arg)
{
	char **out = arg, addr[PCIADDR_STRLEN] = "-";
	char *more;

	if (a->has_addr)
		pciaddr_format(&a->addr, addr);
	more = xasprintf("%s%s%s.%d %s %s", *out, **out ? "|" : "", a->key, a->alt, addr,
			 a->held ? a->held : "-");
	free(*out);
	*out = more;
}

static void start_vm(const char *devices)
{
	_cleanup_free_ char *words = xasprintf(
		"/usr/bin/kvm -id 100 -pidfile /var/run/qemu-server/100.pid %s", devices);
	size_t len = strlen(words);

	for (size_t i = 0; i < len; i++)
		if (words[i] == ' ')
			words[i] = '\0';
	testroot_data("/proc/77/cmdline", words, len);
}

START_TEST(what_a_running_vm_holds)
{
	struct assignment_query q = { 0 };
	char *got = xstrdup("");

	start_vm(holds[_i].devices);
	if (holds[_i].reservations)
		testroot_file("/run/qemu-server/pci-id-reservations", holds[_i].reservations);
	ck_assert_int_eq(assignments_qemu(&q, note, &got), 0);
	ck_assert_str_eq(got, holds[_i].want);
	free(got);
}
END_TEST

START_TEST(other_sections_hold_nothing)
{
	struct assignment_query q = { .section = "current" };
	char *got = xstrdup("");

	start_vm("-device vfio-pci,host=0000:04:00.0,id=hostpci0 ");
	ck_assert_int_eq(assignments_qemu(&q, note, &got), 0);
	ck_assert_str_eq(got, "hostpci0.0 0000:01:00.0 -|hostpci0.1 0000:02:00.0 -|"
			 "hostpci1.0 0000:03:00.0 -");
	free(got);
}
END_TEST

START_TEST(both_kinds_in_one_list)
{
	struct assignment *a;
	size_t n;

	testroot_file("/proc/driver/nvidia/gpus/0000:04:00.0/information", "Device Minor: \t 0\n");
	testroot_file("/etc/pve/nodes/pve1/lxc/99999.conf", "dev0: /dev/nvidia0\n");
	testroot_file("/proc/net/unix", "x: @/var/lib/lxc/99999/command\n");
	ck_assert_int_eq(assignments_load(&a, &n), 0);
	ck_assert_uint_eq(n, 4);
	ck_assert_str_eq(a[3].key, "dev0");
	ck_assert_str_eq(a[3].held, "config");
	ck_assert_int_eq(a[3].state, ASSIGNMENT_RUNNING);
	ck_assert_int_eq(a[0].state, ASSIGNMENT_STOPPED);
	assignments_free(a, n);
}
END_TEST

static void keep_line(bool good, char *what, char *how, void *arg)
{
	ck_assert(!good);
	*(char **)arg = what;
	free(how);
}

START_TEST(a_missing_slot_is_named_as_configured)
{
	_cleanup_free_ char *said = NULL;

	testroot_file("/etc/pve/nodes/pve1/qemu-server/99999.conf", "hostpci0: 09:00\n");
	ck_assert_int_eq(guestcheck_run(keep_line, &said), 0);
	ck_assert_str_eq(said, "qemu/99999 hostpci0: 0000:09:00 is not there");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("assignment");
	TCase *tcase = tcase_create("records");

	tcase_add_test(tcase, read_then_put_is_the_same);
	tcase_add_test(tcase, fields_beyond_ours_are_for_others);
	tcase_add_loop_test(tcase, a_bad_line_is_left_out, 0, ARRAY_SIZE(bad_lines));
	tcase_add_test(tcase, empty_is_unknown);
	tcase_add_test(tcase, no_input_is_no_assignment);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("held");
	tcase_add_checked_fixture(tcase, build_node, testroot_teardown);
	tcase_add_loop_test(tcase, what_a_running_vm_holds, 0, ARRAY_SIZE(holds));
	tcase_add_test(tcase, other_sections_hold_nothing);
	tcase_add_test(tcase, both_kinds_in_one_list);
	tcase_add_test(tcase, a_missing_slot_is_named_as_configured);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
