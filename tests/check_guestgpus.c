/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <stdint.h>
#include <time.h>

#include "base/cleanup.h"
#include "pve/guestgpus.h"

enum { FUTURE = 1, PAST };

/* One record of qemu/100 unless it says otherwise: key, alt, addr, mdev type. */
#define R(key, alt, addr) \
	"qemu/100\t" key "\t" alt "\t" addr "\t-\t-\tstopped\tpve1\tok\t-\n"
#define MDEV(key, alt, addr) \
	"qemu/100\t" key "\t" alt "\t" addr "\tnvidia-63\t-\tstopped\tpve1\tok\t-\n"
#define BAD(key, status) \
	"qemu/100\t" key "\t0\t-\t-\t-\tstopped\tpve1\t" status "\t-\n"
#define OTHER(addr) \
	"qemu/101\thostpci0\t0\t" addr "\t-\t-\trunning\tpve1\tok\tcmdline\n"
#define HELD(key, addr, how) \
	"qemu/100\t" key "\t0\t" addr "\t-\t-\trunning\tpve1\tok\t" how "\n"

static const struct start {
	const char *name, *records;
	struct {
		const char *addr;
		uint32_t vmid;
		int when;
	} reserved[2];
	const char *want;
} starts[] = {
	{ "nothing", "", { { 0 } }, "" },
	{ "another guest's", OTHER("0000:01:00.0"), { { 0 } }, "" },
	{ "a slot", R("hostpci0", "0", "0000:01:00.0") R("hostpci0", "0", "0000:01:00.1"),
	  { { 0 } }, "01:00.0 01:00.1" },
	{ "two settings, sorted",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci1", "0", "0000:01:00.0"), { { 0 } },
	  "01:00.0 02:00.0" },
	{ "the first alternative",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci0", "1", "0000:01:00.0"), { { 0 } },
	  "02:00.0" },
	{ "the first that is not reserved",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci0", "1", "0000:01:00.0"),
	  { { "0000:02:00.0", 101, FUTURE } }, "01:00.0" },
	{ "one's own reservation does not count",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci0", "1", "0000:01:00.0"),
	  { { "0000:02:00.0", 100, FUTURE } }, "02:00.0" },
	{ "nor one that is over",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci0", "1", "0000:01:00.0"),
	  { { "0000:02:00.0", 101, PAST } }, "02:00.0" },
	{ "all functions of an alternative have to be free",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci0", "0", "0000:02:00.1")
	  R("hostpci0", "1", "0000:01:00.0"),
	  { { "0000:02:00.1", 101, FUTURE } }, "01:00.0" },
	{ "the second setting gets what the first left",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci0", "1", "0000:01:00.0")
	  R("hostpci1", "0", "0000:02:00.0") R("hostpci1", "1", "0000:01:00.0"),
	  { { 0 } }, "01:00.0 02:00.0" },
	{ "none is free: PVE does not start it, nothing is to be reset",
	  R("hostpci0", "0", "0000:03:00.0") R("hostpci1", "0", "0000:02:00.0")
	  R("hostpci1", "1", "0000:01:00.0"),
	  { { "0000:02:00.0", 101, FUTURE }, { "0000:01:00.0", 102, FUTURE } }, "" },
	{ "none is free, and more follow",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci1", "0", "0000:03:00.0"),
	  { { "0000:02:00.0", 101, FUTURE } }, "" },
	{ "twice the same: PVE refuses",
	  R("hostpci0", "0", "0000:02:00.0") R("hostpci1", "0", "0000:02:00.0"), { { 0 } },
	  "" },
	{ "an mdev's parent is left alone",
	  MDEV("hostpci0", "0", "0000:02:00.0") R("hostpci1", "0", "0000:01:00.0"),
	  { { 0 } }, "01:00.0" },
	{ "missing", R("hostpci0", "0", "0000:02:00.0") BAD("hostpci1", "missing"),
	  { { 0 } }, "" },
	{ "refused", R("hostpci0", "0", "0000:02:00.0") BAD("hostpci1", "refused"),
	  { { 0 } }, "" },
	{ "an args line's device is not PVE's choice", R("args", "0", "0000:02:00.0"),
	  { { 0 } }, "" },
	{ "held, but not given any more", R("hostpci", "0", "0000:02:00.0"), { { 0 } },
	  "" },
};

static size_t read_records(const char *text, struct assignment **a)
{
	_cleanup_fclose_ FILE *in = NULL;
	size_t n;

	*a = NULL;
	if (!*text)
		return 0;
	in = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
	ck_assert_int_eq(assignments_read(in, "records", false, a, &n), 0);
	return n;
}

/* "01:00.0 01:00.1"; the list is freed. */
static char *as_text(struct pciaddr *addrs, size_t n)
{
	char *text = xstrdup("");

	for (size_t i = 0; i < n; i++) {
		char buf[PCIADDR_STRLEN];
		char *longer = xasprintf("%s%s%s", text, i ? " " : "",
					 pciaddr_format(&addrs[i], buf) + 5);

		free(text);
		text = longer;
	}
	free(addrs);
	return text;
}

START_TEST(what_pve_will_choose)
{
	const struct start *t = &starts[_i];
	struct reservation r[2];
	struct pciaddr *addrs;
	struct assignment *a;
	size_t n = read_records(t->records, &a), n_r = 0, n_chosen;
	_cleanup_free_ char *got = NULL;

	for (; n_r < ARRAY_SIZE(r) && t->reserved[n_r].addr; n_r++) {
		r[n_r] = (struct reservation){ .vmid = t->reserved[n_r].vmid };
		ck_assert(pciaddr_parse(t->reserved[n_r].addr, &r[n_r].addr));
		r[n_r].until = time(NULL) + (t->reserved[n_r].when == FUTURE ? 60 : -60);
	}
	n_chosen = guestgpus_for_start(a, n, 100, r, n_r, &addrs);
	got = as_text(addrs, n_chosen);
	ck_assert_msg(strcmp(got, t->want) == 0, "%s: %s, not %s", t->name, got, t->want);
	assignments_free(a, n);
}
END_TEST

static const struct held {
	const char *records, *want;
} helds[] = {
	{ R("hostpci0", "0", "0000:01:00.0"), "" },
	{ HELD("hostpci0", "0000:01:00.0", "cmdline") R("hostpci0", "1", "0000:02:00.0"),
	  "01:00.0" },
	{ HELD("args", "0000:03:00.0", "cmdline") HELD("hostpci0", "0000:01:00.0", "config"),
	  "01:00.0 03:00.0" },
	{ OTHER("0000:01:00.0"), "" },
	{ "qemu/100\thostpci0\t0\t0000:01:00.0\tnvidia-63\t-\trunning\tpve1\tok\tcmdline\n",
	  "" },
};

START_TEST(what_it_holds)
{
	struct pciaddr *addrs;
	struct assignment *a;
	size_t n = read_records(helds[_i].records, &a), n_held;
	_cleanup_free_ char *got = NULL;

	n_held = guestgpus_held(a, n, 100, &addrs);
	got = as_text(addrs, n_held);
	ck_assert_str_eq(got, helds[_i].want);
	assignments_free(a, n);
}
END_TEST

/* What pci-rescan left: all of these are gone, but 01:00.1. */
static const struct snapshot_fn left_fns[] = {
	{ .addr = { 0, 0, 1, 0 }, .class = 0x060400 },
	{ .addr = { 0, 1, 0, 0 }, .class = 0x030000, .whole = true },
	{ .addr = { 0, 1, 0, 1 }, .class = 0x040300, .whole = true },
	{ .addr = { 0, 1, 0, 2 }, .class = 0x0c0330, .whole = true },
	{ .addr = { 0, 3, 0, 0 }, .class = 0x060400, .whole = true },
	{ .addr = { 0, 5, 0, 0 }, .class = 0x030000, .whole = true },
	{ .addr = { 0, 5, 0, 1 }, .class = 0x030000, .whole = true, .is_vf = true },
};

#define MISSING(key, addr) \
	"qemu/100\t" key "\t0\t" addr "\t-\t-\tstopped\tpve1\tmissing\t-\n"

static const struct held losts[] = {
	{ "", "" },
	{ MISSING("hostpci0", "0000:01:00.0"), "01:00.0 01:00.2" },
	{ MISSING("hostpci0", "0000:01:00"), "01:00.0 01:00.2" },
	/* the rest of a slot, which PVE would pass alone */
	{ R("hostpci0", "0", "0000:01:00.1"), "01:00.0 01:00.2" },
	{ R("hostpci0", "0", "0000:02:00.0"), "" },
	{ MISSING("hostpci0", "0000:03:00.0"), "" },
	{ MISSING("hostpci0", "0000:05:00.0"), "05:00.0" },
	{ MDEV("hostpci0", "0", "0000:05:00.0"), "" },
	{ OTHER("0000:05:00.0"), "" },
	{ "qemu/100\thostpci0\t0\t-\t-\tgpu\tstopped\tpve1\tno-mapping\t-\n", "" },
};

START_TEST(what_was_lost)
{
	struct snapshot_fn fns[ARRAY_SIZE(left_fns)];
	struct snapshot left = { .fns = fns, .n = ARRAY_SIZE(fns) };
	struct pciaddr *addrs;
	struct assignment *a;
	size_t n = read_records(losts[_i].records, &a), n_lost;
	_cleanup_free_ char *got = NULL;

	memcpy(fns, left_fns, sizeof(fns));
	testroot_file("/sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n");
	n_lost = guestgpus_lost(a, n, 100, &left, 1, &addrs);
	got = as_text(addrs, n_lost);
	ck_assert_str_eq(got, losts[_i].want);
	assignments_free(a, n);
}
END_TEST

/* The functions of a host; sorted. */
static const struct {
	const char *addr;
	uint32_t class;
	bool is_vf, is_bridge;
} host[] = {
	{ "0000:00:01.0", 0x060400, false, true },
	{ "0000:00:02.0", 0x030000, false, false },
	{ "0000:01:00.0", 0x030000, false, false },
	{ "0000:01:00.1", 0x040300, false, false },
	{ "0000:01:00.2", 0x0c0330, false, false },
	{ "0000:02:00.0", 0x020000, false, false },
	{ "0000:02:00.1", 0x010802, false, false },
	{ "0000:03:00.0", 0x030000, false, false },
	{ "0000:03:00.1", 0x060400, false, true },
	{ "0000:41:00.0", 0x038000, false, false },
	{ "0000:41:00.1", 0x038000, true, false },
	{ "0000:41:00.2", 0x038000, true, false },
};

static const struct cards {
	const char *given, *want;
} cards[] = {
	{ "", "" },
	{ "01:00.0", "01:00.0 01:00.1 01:00.2" },
	{ "01:00.0 01:00.1 01:00.2", "01:00.0 01:00.1 01:00.2" },
	{ "01:00.1", "" },
	{ "02:00.0 02:00.1", "" },
	{ "00:02.0", "00:02.0" },
	{ "00:02.0 02:00.0 01:00.0", "00:02.0 01:00.0 01:00.1 01:00.2" },
	{ "03:00.0", "03:00.0" },
	{ "41:00.1", "" },
	{ "41:00.0", "41:00.0" },
	{ "07:00.0", "" },
};

START_TEST(cards_and_their_slots)
{
	struct pcidev devs[ARRAY_SIZE(host)] = { 0 };
	_cleanup_free_ char *words = xstrdup(cards[_i].given), *got = NULL;
	struct pciaddr *addrs = xcalloc(8, sizeof(*addrs));
	char *rest = words, *word, *save = NULL;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(host); i++) {
		ck_assert(pciaddr_parse(host[i].addr, &devs[i].addr));
		devs[i].class = host[i].class;
		devs[i].is_vf = host[i].is_vf;
		devs[i].is_bridge = host[i].is_bridge;
	}
	for (; (word = strtok_r(rest, " ", &save)); rest = NULL)
		ck_assert(pciaddr_parse(word, &addrs[n++]));
	n = guestgpus_cards(devs, ARRAY_SIZE(devs), &addrs, n);
	got = as_text(addrs, n);
	ck_assert_str_eq(got, cards[_i].want);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guestgpus");
	TCase *t = tcase_create("guestgpus");

	tcase_add_checked_fixture(t, testroot_setup, testroot_teardown);
	tcase_add_loop_test(t, what_pve_will_choose, 0, ARRAY_SIZE(starts));
	tcase_add_loop_test(t, what_it_holds, 0, ARRAY_SIZE(helds));
	tcase_add_loop_test(t, what_was_lost, 0, ARRAY_SIZE(losts));
	tcase_add_loop_test(t, cards_and_their_slots, 0, ARRAY_SIZE(cards));
	suite_add_tcase(s, t);
	return testroot_run(s);
}
