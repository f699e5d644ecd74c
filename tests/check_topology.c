/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pcitree.h"

#include "pci/pciconfig.h"
#include "pci/topology.h"

#define ROOT "pci0000:00/0000:00:01.0"
#define UP ROOT "/0000:01:00.0"
#define DOWN_A UP "/0000:02:00.0"
#define DOWN_B UP "/0000:02:01.0"
#define GPU DOWN_A "/0000:03:00.0"
#define AUDIO DOWN_B "/0000:04:00.0"
#define SLOT "pci0000:00/0000:00:02.0"

enum { ENDPOINT = 0, ROOT_PORT = 4, UPSTREAM = 5, DOWNSTREAM = 6, TO_PCI = 7 };

/* An Arc behind its switch, with config space when known. */
static void build_arc(bool known)
{
	pcitree_bridge(ROOT);
	pcitree_bridge(UP);
	pcitree_bridge(DOWN_A);
	pcitree_bridge(DOWN_B);
	pcitree_function(GPU, 0x8086, 0x56a6, 0x030000);
	pcitree_function(AUDIO, 0x8086, 0x4f92, 0x040300);
	if (!known)
		return;
	pcitree_config(ROOT, 256, 1, ROOT_PORT, false);
	pcitree_config(UP, 256, 1, UPSTREAM, false);
	pcitree_config(DOWN_A, 256, 1, DOWNSTREAM, false);
	pcitree_config(DOWN_B, 256, 1, DOWNSTREAM, false);
	pcitree_config(GPU, 256, 0, ENDPOINT, false);
	pcitree_config(AUDIO, 256, 0, ENDPOINT, false);
}

/* A GPU with its audio and USB functions in one slot right below a root port. */
static void build_slot(void)
{
	pcitree_bridge(SLOT);
	pcitree_function(SLOT "/0000:05:00.0", 0x10de, 0x1e84, 0x030000);
	pcitree_function(SLOT "/0000:05:00.1", 0x10de, 0x10f8, 0x040300);
	pcitree_function(SLOT "/0000:05:00.2", 0x10de, 0x1ad8, 0x0c0330);
}

static int find(const struct topology *t, const char *addr)
{
	struct pciaddr a = at(addr);

	return topology_find(t, &a);
}

static const char *name(const struct topology *t, int fn)
{
	static char text[PCIADDR_STRLEN];

	return fn < 0 ? "none" : pciaddr_format(&t->fns[fn].dev.addr, text);
}

START_TEST(no_bus)
{
	struct topology t;

	ck_assert_int_eq(topology_read(&t), -ENOENT);
}
END_TEST

/* _i: config space was read, or only the tree tells. */
START_TEST(ports_and_parents)
{
	static const struct {
		const char *addr, *parent;
		enum topology_port port;
	} want[] = {
		{ "0000:00:01.0", "none", TOPOLOGY_ROOT_PORT },
		{ "0000:01:00.0", "0000:00:01.0", TOPOLOGY_UPSTREAM },
		{ "0000:02:00.0", "0000:01:00.0", TOPOLOGY_DOWNSTREAM },
		{ "0000:02:01.0", "0000:01:00.0", TOPOLOGY_DOWNSTREAM },
		{ "0000:03:00.0", "0000:02:00.0", TOPOLOGY_ENDPOINT },
		{ "0000:04:00.0", "0000:02:01.0", TOPOLOGY_ENDPOINT },
	};
	struct topology t;

	build_arc(_i);
	ck_assert_int_eq(topology_read(&t), 0);
	ck_assert_uint_eq(t.n, ARRAY_SIZE(want));
	for (size_t i = 0; i < t.n; i++) {
		const struct topofn *fn = &t.fns[i];

		ck_assert_str_eq(name(&t, (int)i), want[i].addr);
		ck_assert_str_eq(name(&t, fn->parent), want[i].parent);
		ck_assert_int_eq(fn->port, want[i].port);
		ck_assert_int_eq(fn->is_port_known, _i || !fn->dev.is_bridge);
		ck_assert_int_eq(fn->has_config, _i);
		ck_assert_int_eq(fn->header, _i ? fn->dev.is_bridge : -1);
		ck_assert_str_eq(fn->root, "pci0000:00");
		ck_assert(!fn->is_dead && !fn->boot_vga && !fn->is_multifunction);
		ck_assert_int_eq(fn->numa_node, -1);
		ck_assert_int_eq(fn->totalvfs, -1);
		ck_assert_ptr_null(fn->reset_method);
	}
	ck_assert(topology_is_below(&t, find(&t, "0000:03:00.0"), 0));
	ck_assert(!topology_is_below(&t, 0, 0));
	ck_assert(!topology_is_below(&t, find(&t, "0000:03:00.0"), find(&t, "0000:02:01.0")));
	topology_done(&t);
	ck_assert_uint_eq(t.n, 0);
}
END_TEST

START_TEST(config_space_wins_over_the_guess)
{
	struct topology t;

	/* A root port with one bridge below it: a PCIe-to-PCI bridge, no switch. */
	pcitree_bridge(ROOT);
	pcitree_bridge(UP);
	pcitree_bridge(DOWN_A);
	pcitree_config(UP, 256, 1, TO_PCI, false);
	ck_assert_int_eq(topology_read(&t), 0);
	ck_assert_int_eq(t.fns[1].port, TOPOLOGY_BRIDGE);
	ck_assert(t.fns[1].is_port_known);
	ck_assert_int_eq(t.fns[2].port, TOPOLOGY_BRIDGE);	/* empty, below it */
	topology_done(&t);
}
END_TEST

START_TEST(facts_of_one_function)
{
	struct topology t;
	const struct topofn *fn;

	build_slot();
	pcitree_config(SLOT "/0000:05:00.0", 256, 0x80, ENDPOINT, true);
	pcitree_attribute(SLOT "/0000:05:00.0", "reset_method", "flr bus\n");
	pcitree_attribute(SLOT "/0000:05:00.0", "boot_vga", "1\n");
	pcitree_attribute(SLOT "/0000:05:00.0", "numa_node", "1\n");
	pcitree_attribute(SLOT "/0000:05:00.0", "sriov_totalvfs", "16\n");
	pcitree_attribute(SLOT "/0000:05:00.0", "sriov_numvfs", "0\n");
	pcitree_attribute(SLOT "/0000:05:00.1", "numa_node", "-1\n");
	pcitree_attribute(SLOT "/0000:05:00.1", "boot_vga", "0\n");
	pcitree_attribute(SLOT "/0000:05:00.1", "reset_method", "\n");
	ck_assert_int_eq(topology_read(&t), 0);
	fn = &t.fns[1];
	ck_assert_str_eq(fn->reset_method, "flr bus");
	ck_assert(fn->boot_vga && fn->has_flr && fn->is_multifunction);
	ck_assert_int_eq(fn->header, 0);
	ck_assert_int_eq(fn->numa_node, 1);
	ck_assert_int_eq(fn->totalvfs, 16);
	ck_assert_int_eq(fn->numvfs, 0);
	ck_assert_int_eq(fn->dev.class, 0x030000);
	fn = &t.fns[2];
	ck_assert_str_eq(fn->reset_method, "");
	ck_assert(!fn->boot_vga && !fn->has_flr);
	ck_assert_int_eq(fn->numa_node, -1);
	topology_done(&t);
}
END_TEST

/* What a hung card, or one that sleeps, looks like. */
START_TEST(dead_or_asleep)
{
	unsigned char ones[64], vf[64];
	struct pciaddr gpu = at("0000:03:00.0"), audio = at("0000:04:00.0");
	struct pciaddr gone = at("0000:09:00.0");
	struct topology t;

	memset(ones, 0xff, sizeof(ones));
	memset(vf, 0, sizeof(vf));
	memset(vf, 0xff, 4);
	build_arc(true);
	pcitree_config_bytes(UP, ones, sizeof(ones));
	pcitree_config_bytes(GPU, ones, sizeof(ones));
	pcitree_attribute(AUDIO, "power_state", "D3cold\n");
	pcitree_function(DOWN_B "/0000:04:00.1", 0x8086, 1, 0x030000);
	pcitree_vf(DOWN_B "/0000:04:00.1", "0000:04:00.0");
	pcitree_config_bytes(DOWN_B "/0000:04:00.1", vf, sizeof(vf));
	ck_assert_int_eq(topology_read(&t), 0);
	ck_assert(t.fns[1].is_dead && t.fns[1].has_config && !t.fns[1].is_port_known);
	ck_assert_int_eq(t.fns[1].port, TOPOLOGY_UPSTREAM);
	ck_assert_int_eq(t.fns[1].header, -1);
	ck_assert(t.fns[find(&t, "0000:03:00.0")].is_dead);
	ck_assert(!t.fns[find(&t, "0000:04:00.0")].has_config);
	/* The ids of a virtual function read as all ones at the best of times. */
	ck_assert(t.fns[find(&t, "0000:04:00.1")].has_config);
	ck_assert(!t.fns[find(&t, "0000:04:00.1")].is_dead);
	ck_assert_int_eq(topology_answers(&gpu, false), -ENODEV);
	ck_assert_int_eq(topology_answers(&audio, false), 0);
	ck_assert_int_eq(topology_answers(&gone, false), -ENOENT);
	topology_done(&t);
}
END_TEST

static const struct {
	const char *what;
	size_t len;
	unsigned char at, value;	/* a byte changed in what has PCIe and FLR */
	int header, port;
	bool flr;
} configs[] = {
	{ "whole", 256, 0, 0x02, 1, 5, true },
	{ "first part only", 64, 0, 0x02, 1, -1, false },
	{ "ids only", 4, 0, 0x02, -1, -1, false },
	{ "cut in the capability", 0x62, 0, 0x02, 1, -1, false },
	{ "cut before DevCap", 0x64, 0, 0x02, 1, 5, false },
	{ "no capabilities", 256, 0x06, 0, 1, -1, false },
	{ "list loops", 256, 0x51, 0x50, 1, -1, false },
	{ "list leads into the header", 256, 0x51, 0x10, 1, -1, false },
	{ "list ends", 256, 0x51, 0, 1, -1, false },
	{ "no FLR", 256, 0x67, 0, 1, 5, false },
};

START_TEST(config_space)
{
	_cleanup_free_ char *path = NULL;
	struct pciaddr addr = at("0000:00:01.0");
	unsigned char byte = configs[_i].value;
	struct pciconfig c;
	int fd;

	pcitree_bridge(ROOT);
	pcitree_config(ROOT, configs[_i].len, 1, UPSTREAM, true);
	path = xasprintf("%s/sys/devices/" ROOT "/config", testroot);
	fd = open(path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, &byte, 1, configs[_i].at), 1);
	close(fd);
	ck_assert_int_eq(pciconfig_read(&addr, &c), 0);
	ck_assert_uint_eq(c.len, configs[_i].len);
	ck_assert_msg(pciconfig_header(&c) == configs[_i].header, "%s", configs[_i].what);
	ck_assert_msg(pciconfig_port_type(&c) == configs[_i].port, "%s", configs[_i].what);
	ck_assert_msg(pciconfig_has_flr(&c) == configs[_i].flr, "%s", configs[_i].what);
	ck_assert(!pciconfig_is_dead(&c, false));
}
END_TEST

START_TEST(af_flr)
{
	unsigned char bytes[256] = { 0x86, 0x80, [0x06] = 0x10, [0x34] = 0x98,
				     [0x98] = 0x13,
				     [0x9b] = (unsigned char)_i };
	struct pciaddr addr = at("0000:00:01.0");
	struct pciconfig c;

	pcitree_bridge(ROOT);
	pcitree_config_bytes(ROOT, bytes, sizeof(bytes));
	ck_assert_int_eq(pciconfig_read(&addr, &c), 0);
	ck_assert_int_eq(pciconfig_has_flr(&c), _i == 3);	/* both TP and FLR */
	ck_assert(!pciconfig_is_multifunction(&c));
	pcitree_config_bytes(ROOT, bytes, 3);
	ck_assert_int_eq(pciconfig_read(&addr, &c), -EIO);
}
END_TEST

START_TEST(card_of_its_own)
{
	struct topology t;
	char *why = NULL;
	size_t n;
	int *fns;

	build_arc(_i);
	build_slot();
	ck_assert_int_eq(topology_read(&t), 0);
	/* Whichever of the card's functions is asked for. */
	ck_assert_str_eq(name(&t, topology_card(&t, find(&t, "0000:03:00.0"), &why)),
			 "0000:01:00.0");
	ck_assert_ptr_null(why);
	ck_assert_str_eq(name(&t, topology_card(&t, find(&t, "0000:04:00.0"), NULL)),
			 "0000:01:00.0");
	ck_assert_str_eq(name(&t, topology_hold(&t, find(&t, "0000:03:00.0"), &why)),
			 "0000:00:01.0");
	ck_assert_ptr_null(why);
	topology_card_functions(&t, find(&t, "0000:04:00.0"), &fns, &n);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(name(&t, fns[0]), "0000:03:00.0");
	ck_assert_str_eq(name(&t, fns[1]), "0000:04:00.0");
	free(fns);

	/* A card without a switch: no card rung, held by the port above. */
	ck_assert_int_eq(topology_card(&t, find(&t, "0000:05:00.1"), &why), -1);
	ck_assert_ptr_null(why);
	ck_assert_str_eq(name(&t, topology_hold(&t, find(&t, "0000:05:00.1"), &why)),
			 "0000:00:02.0");
	topology_card_functions(&t, find(&t, "0000:05:00.1"), &fns, &n);
	ck_assert_uint_eq(n, 3);
	ck_assert_str_eq(name(&t, fns[2]), "0000:05:00.2");
	free(fns);
	topology_done(&t);
}
END_TEST

static const struct {
	unsigned vendor, class;
	const char *why;		/* NULL: it belongs to the card */
} extras[] = {
	{ 0x8086, 0x0c0330, NULL },	/* the card's own USB */
	{ 0x1b21, 0x0c0330, "0000:06:00.0 (USB controller) is below 0000:01:00.0 too" },
	{ 0x1002, 0x040300, NULL },
	{ 0x10de, 0x0c8000, NULL },
	{ 0x8086, 0x118000, NULL },
	{ 0x10ec, 0x118000, "0000:06:00.0 (device) is below 0000:01:00.0 too" },
	{ 0x8086, 0x010802, "0000:06:00.0 (disk) is below 0000:01:00.0 too" },
	{ 0x8086, 0x020000, "0000:06:00.0 (network card) is below 0000:01:00.0 too" },
	{ 0x8086, 0x030000, "0000:06:00.0 (GPU) is below 0000:01:00.0 too" },
	{ 0x10de, 0x030200, "0000:06:00.0 (GPU) is below 0000:01:00.0 too" },
	{ 0x1002, 0x120000, "0000:06:00.0 (GPU) is below 0000:01:00.0 too" },
};

START_TEST(what_else_is_below_the_switch)
{
	struct topology t;
	char *why = NULL;
	int card;

	build_arc(true);
	pcitree_bridge(UP "/0000:02:02.0");
	pcitree_function(UP "/0000:02:02.0/0000:06:00.0", extras[_i].vendor, 1,
			 extras[_i].class);
	ck_assert_int_eq(topology_read(&t), 0);
	card = topology_card(&t, find(&t, "0000:03:00.0"), &why);
	if (!extras[_i].why) {
		ck_assert_str_eq(name(&t, card), "0000:01:00.0");
		ck_assert_ptr_null(why);
		topology_done(&t);
		return;
	}
	ck_assert_int_eq(card, -1);
	ck_assert_str_eq(why, extras[_i].why);
	free(why);
	/* Then the slot has the downstream port to itself. */
	ck_assert_str_eq(name(&t, topology_hold(&t, find(&t, "0000:03:00.0"), &why)),
			 "0000:02:00.0");
	topology_done(&t);
}
END_TEST

START_TEST(no_bridge_holds_it)
{
	struct topology t;
	char *why = NULL;

	pcitree_function("pci0000:00/0000:00:03.0", 0x8086, 1, 0x030000);
	pcitree_bridge(SLOT);
	pcitree_config(SLOT, 256, 1, TO_PCI, false);
	pcitree_function(SLOT "/0000:05:00.0", 0x102b, 1, 0x030000);
	pcitree_function(SLOT "/0000:05:01.0", 0x8086, 1, 0x020000);
	ck_assert_int_eq(topology_read(&t), 0);
	ck_assert_int_eq(topology_hold(&t, find(&t, "0000:00:03.0"), &why), -1);
	ck_assert_str_eq(why, "0000:00:03.0 is on a root bus, no bridge holds it");
	free(why);
	ck_assert_int_eq(topology_hold(&t, find(&t, "0000:05:00.0"), &why), -1);
	ck_assert_str_eq(why, "0000:05:01.0 (network card) is below 0000:00:02.0 too");
	free(why);
	ck_assert_int_eq(topology_hold(&t, find(&t, "0000:05:00.0"), NULL), -1);
	topology_done(&t);
}
END_TEST

/*
 * A switch whose upstream port has a function beside it, as some have for their DMA
 * engine.
 */
START_TEST(upstream_port_with_a_mate)
{
	struct topology t;

	build_arc(true);
	pcitree_function(ROOT "/0000:01:00.1", 0x10b5, 1, 0x088000);
	ck_assert_int_eq(topology_read(&t), 0);
	ck_assert_str_eq(name(&t, topology_hold(&t, find(&t, "0000:03:00.0"), NULL)),
			 "0000:00:01.0");
	topology_done(&t);

	/* Two devices on the root port's bus: the upstream port itself is the lowest. */
	pcitree_function(ROOT "/0000:01:01.0", 0x10b5, 1, 0x020000);
	ck_assert_int_eq(topology_read(&t), 0);
	ck_assert_str_eq(name(&t, topology_hold(&t, find(&t, "0000:03:00.0"), NULL)),
			 "0000:01:00.0");
	topology_done(&t);
}
END_TEST

START_TEST(virtual_functions)
{
	struct topology t;
	char *why = NULL;
	int pf, vf, *fns;
	size_t n;

	build_slot();
	pcitree_function(SLOT "/0000:05:00.4", 0x10de, 2, 0x030200);
	pcitree_vf(SLOT "/0000:05:00.4", "0000:05:00.0");
	pcitree_function(SLOT "/0000:05:01.0", 0x10de, 2, 0x030200);
	pcitree_vf(SLOT "/0000:05:01.0", "0000:05:00.0");
	ck_assert_int_eq(topology_read(&t), 0);
	pf = find(&t, "0000:05:00.0");
	vf = find(&t, "0000:05:00.4");
	ck_assert_int_eq(topology_next_vf(&t, pf, -1), vf);
	ck_assert_str_eq(name(&t, topology_next_vf(&t, pf, vf)), "0000:05:01.0");
	ck_assert_int_eq(topology_next_vf(&t, pf, topology_next_vf(&t, pf, vf)), -1);
	ck_assert_int_eq(topology_next_vf(&t, vf, -1), -1);
	topology_card_functions(&t, vf, &fns, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(fns[0], vf);
	free(fns);
	topology_card_functions(&t, pf, &fns, &n);
	ck_assert_uint_eq(n, 3);
	free(fns);
	/* Virtual functions in other slots are the card's all the same. */
	ck_assert_str_eq(name(&t, topology_hold(&t, pf, NULL)), "0000:00:02.0");
	ck_assert_int_eq(topology_hold(&t, vf, &why), -1);
	ck_assert_str_eq(why, "0000:05:00.4 is a virtual function");
	free(why);
	topology_done(&t);
}
END_TEST

START_TEST(vmd)
{
	struct topology t;

	pcitree_function("pci0000:00/0000:00:0e.0", 0x8086, 0x9a0b, 0x010400);
	pcitree_bridge("pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0");
	pcitree_function("pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0",
			 0x144d, 1, 0x010802);
	ck_assert_int_eq(topology_read(&t), 0);
	ck_assert_int_eq(t.fns[1].parent, -1);
	ck_assert_str_eq(t.fns[1].root, "pci10000:e0");
	ck_assert_int_eq(t.fns[1].port, TOPOLOGY_ROOT_PORT);
	ck_assert(topology_is_below(&t, 2, 0));
	ck_assert_int_eq(topology_next_below(&t, 0, -1), 1);
	topology_done(&t);
}
END_TEST

START_TEST(class_words)
{
	static const struct {
		uint32_t class;
		const char *word;
	} words[] = {
		{ 0x030000, "GPU" }, { 0x038000, "GPU" }, { 0x120000, "GPU" },
		{ 0x040300, "audio" }, { 0x040100, "audio" }, { 0x040000, "device" },
		{ 0x0c0330, "USB controller" }, { 0x0c0500, "device" }, { 0x010802, "disk" },
		{ 0x020000, "network card" }, { 0x060400, "bridge" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		ck_assert_str_eq(topology_class_word(words[i].class), words[i].word);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("topology");
	TCase *tc = tcase_create("topology");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_test(tc, no_bus);
	tcase_add_loop_test(tc, ports_and_parents, 0, 2);
	tcase_add_test(tc, config_space_wins_over_the_guess);
	tcase_add_test(tc, facts_of_one_function);
	tcase_add_test(tc, dead_or_asleep);
	tcase_add_loop_test(tc, config_space, 0, ARRAY_SIZE(configs));
	tcase_add_loop_test(tc, af_flr, 0, 4);
	tcase_add_loop_test(tc, card_of_its_own, 0, 2);
	tcase_add_loop_test(tc, what_else_is_below_the_switch, 0, ARRAY_SIZE(extras));
	tcase_add_test(tc, no_bridge_holds_it);
	tcase_add_test(tc, upstream_port_with_a_mate);
	tcase_add_test(tc, virtual_functions);
	tcase_add_test(tc, vmd);
	tcase_add_test(tc, class_words);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
