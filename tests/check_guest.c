/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "base/msg.h"
#include "pve/guest.h"
#include "pve/guestdir.h"
#include "pve/guestfacts.h"
#include "pve/pveconf.h"

static const struct {
	const char *text;
	bool ok;
	enum guest_kind kind;
	uint32_t vmid;
} names[] = {
	{ "qemu/100", true, GUEST_QEMU, 100 },
	{ "lxc/999999999", true, GUEST_LXC, 999999999 },
	{ "qemu/99", false, 0, 0 },
	{ "qemu/0100", false, 0, 0 },
	{ "qemu/1000000000", false, 0, 0 },
	{ "qemu/100 ", false, 0, 0 },
	{ "qemu/../100", false, 0, 0 },
	{ "qemu/", false, 0, 0 },
	{ "QEMU/100", false, 0, 0 },
	{ "100", false, 0, 0 },
	{ "", false, 0, 0 },
};

START_TEST(names_of_guests)
{
	struct guest_id id = { GUEST_QEMU, 7 };
	char buf[GUEST_STRLEN];

	ck_assert(guest_parse(names[_i].text, &id) == names[_i].ok);
	if (!names[_i].ok) {
		ck_assert_uint_eq(id.vmid, 7);
		return;
	}
	ck_assert_int_eq(id.kind, names[_i].kind);
	ck_assert_uint_eq(id.vmid, names[_i].vmid);
	ck_assert_str_eq(guest_format(id, buf), names[_i].text);
}
END_TEST

START_TEST(order_of_guests)
{
	struct guest_id a = { GUEST_QEMU, 300 }, b = { GUEST_LXC, 200 },
			c = { GUEST_LXC, 1000 };

	ck_assert_int_lt(guest_compare(&a, &b), 0);
	ck_assert_int_gt(guest_compare_vmid(&a, &b), 0);
	ck_assert_int_lt(guest_compare(&b, &c), 0);
	ck_assert_int_eq(guest_compare_vmid(&b, &b), 0);
}
END_TEST

static const struct {
	const char *text;
	enum guest_kind kind;
	struct guest want;	/* name and lock point to constants */
} facts[] = {
	{ "name: web\nonboot: 1\nscsi0: local:vm-1,size=8G\nstartup: order=3,up=30,down=90\n",
	  GUEST_QEMU, { .name = (char *)(uintptr_t)"web", .onboot = true, .has_disk = true,
			.order = 3, .up = 30, .down = 90 } },
	{ "hostname: ct\nname: not-this\nonboot: yes\nlock: backup\nrootfs: local:x\nstartup: 5\n",
	  GUEST_LXC, { .name = (char *)(uintptr_t)"ct", .lock = (char *)(uintptr_t)"backup",
		       .onboot = true, .order = 5, .up = -1, .down = -1 } },
	{ "template: 1\nide2: none,media=cdrom\nscsi0: local:iso/x.iso,media=cdrom\n", GUEST_QEMU,
	  { .template = true, .order = -1, .up = -1, .down = -1 } },
	{ "virtio15: local:x,backup=0\nsata5: local:y,backup=no\nunused0: local:z\n", GUEST_QEMU,
	  { .order = -1, .up = -1, .down = -1 } },
	{ "virtio0: local:x,backup=0\nsata5: local:y,backup=1\n", GUEST_QEMU,
	  { .has_disk = true, .order = -1, .up = -1, .down = -1 } },
	{ "efidisk0: local:x\n", GUEST_QEMU, { .order = -1, .up = -1, .down = -1 } },
	{ "efidisk0: local:x\nbios: ovmf\n", GUEST_QEMU,
	  { .has_disk = true, .order = -1, .up = -1, .down = -1 } },
	{ "tpmstate0: local:x,version=v2.0\n", GUEST_QEMU,
	  { .has_disk = true, .order = -1, .up = -1, .down = -1 } },
	{ "cores: 1\n[snap]\nscsi0: local:x\nname: old\nlock: backup\n[PENDING]\nonboot: 1\n",
	  GUEST_QEMU, { .order = -1, .up = -1, .down = -1 } },
	{ "#lock: backup\nscsi31: local:x\nide4: local:y\nstartup: order=x\n", GUEST_QEMU,
	  { .order = -1, .up = -1, .down = -1 } },
};

static void same(const char *got, const char *want)
{
	ck_assert_str_eq(got ? got : "(none)", want ? want : "(none)");
}

START_TEST(facts_of_a_config)
{
	const struct guest *want = &facts[_i].want;
	struct guest g = { .id = { facts[_i].kind, 100 }, .order = -1, .up = -1,
			   .down = -1 };

	guestfacts_read(&g, facts[_i].text, strlen(facts[_i].text));
	same(g.name, want->name);
	same(g.lock, want->lock);
	ck_assert_int_eq(g.template, want->template);
	ck_assert_int_eq(g.has_disk, want->has_disk);
	ck_assert_int_eq(g.onboot, want->onboot);
	ck_assert_int_eq(g.order, want->order);
	ck_assert_int_eq(g.up, want->up);
	ck_assert_int_eq(g.down, want->down);
	guest_done(&g);
}
END_TEST

static void add_process(int pid, const char *argv0, const char *pidfile, char state)
{
	_cleanup_free_ char *dir = xasprintf("/proc/%d/cmdline", pid);
	_cleanup_free_ char *stat_path = xasprintf("/proc/%d/stat", pid);
	_cleanup_free_ char *words = xasprintf("%s%c-id%c1%c-pidfile%c%s%c-S%c", argv0, 0, 0, 0, 0,
					       pidfile, 0, 0);
	_cleanup_free_ char *stat_text = xasprintf(
		"%d (a) b (kvm) %c 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0\n", pid, state);
	size_t len = strlen(argv0) + strlen(pidfile) + sizeof("..-id.1.-pidfile..-S") - 2;

	testroot_data(dir, words, len);
	testroot_file(stat_path, stat_text);
}

static void build_node(void)
{
	testroot_setup();
	testroot_link("/etc/pve/local", "nodes/pve1");
	testroot_file("/etc/pve/nodes/pve1/qemu-server/100.conf", "name: a\nscsi0: x\n");
	testroot_file("/etc/pve/nodes/pve1/qemu-server/9000.conf", "name: b\n");
	testroot_file("/etc/pve/nodes/pve1/qemu-server/101.conf", "");
	testroot_file("/etc/pve/nodes/pve1/qemu-server/102.conf.tmp.77", "name: no\n");
	testroot_file("/etc/pve/nodes/pve1/qemu-server/0103.conf", "name: no\n");
	testroot_file("/etc/pve/nodes/pve1/lxc/200.conf", "hostname: c\n");
	testroot_file("/etc/pve/nodes/pve2/qemu-server/300.conf", "name: d\n");
	testroot_file("/etc/pve/ha/resources.cfg",
		      "vm: 100\n\tgroup g\n\tstate started\n\nct: 200\n\tstate ignored\n\nvm: 9000\n");
	testroot_file("/run/qemu-server/100.pid", "77\n");
	add_process(77, "/usr/bin/kvm", "/var/run/qemu-server/100.pid", 'S');
	testroot_file("/run/qemu-server/9000.pid", "78\n");
	add_process(78, "/usr/bin/kvm", "/var/run/qemu-server/9000.pid", 'Z');
	testroot_file("/proc/net/unix",
		"Num       RefCount Protocol Flags    Type St Inode Path\n"
		"0: 00000002 00000000 00010000 0001 01 1 @/var/lib/lxc/200/command\n"
		"0: 00000002 00000000 00010000 0001 01 1 @/var/lib/lxc/200/command\n"
		"0: 00000002 00000000 00010000 0001 01 2 @/var/lib/lxc/201/commander\n"
		"0: 00000002 00000000 00010000 0001 01 3 /var/lib/lxc/202/command\n");
}

START_TEST(guests_of_this_node)
{
	struct guest *g;
	size_t n;

	ck_assert_int_eq(guest_list(NULL, &g, &n), 0);
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(g[0].id.vmid, 100);
	ck_assert(g[0].running && g[0].pid == 77 && g[0].start_time == 4242);
	ck_assert(g[0].ha && g[0].has_disk);
	ck_assert_str_eq(g[0].node, "pve1");
	ck_assert_uint_eq(g[1].id.vmid, 101);
	ck_assert(!g[1].running && !g[1].ha && !g[1].name);
	ck_assert_uint_eq(g[2].id.vmid, 9000);
	ck_assert(!g[2].running && g[2].pid == 0 && g[2].ha);	/* a zombie */
	ck_assert_int_eq(g[3].id.kind, GUEST_LXC);
	ck_assert(g[3].running && !g[3].ha);
	ck_assert_str_eq(g[3].name, "c");
	guest_list_free(g, n);

	ck_assert_int_eq(guest_list("pve2", &g, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert(!g[0].running);
	guest_list_free(g, n);
	ck_assert_int_eq(guest_list("pve3", &g, &n), -ENOENT);
}
END_TEST

START_TEST(one_guest)
{
	struct guest g;

	ck_assert_int_eq(guest_find("100", &g), 0);
	ck_assert_int_eq(g.id.kind, GUEST_QEMU);
	guest_done(&g);
	ck_assert_int_eq(guest_find("200", &g), 0);
	ck_assert_int_eq(g.id.kind, GUEST_LXC);
	guest_done(&g);
	ck_assert_int_eq(guest_find("lxc/100", &g), -ENOENT);
	ck_assert_int_eq(guest_find("300", &g), -ENOENT);
	ck_assert_int_eq(guest_find("../100", &g), -EINVAL);
	ck_assert_int_eq(guest_find("", &g), -EINVAL);
}
END_TEST

static const struct {
	const char *argv0, *pidfile;
	char state;
	bool runs;
} processes[] = {
	{ "/usr/bin/kvm", "/var/run/qemu-server/100.pid", 'S', true },
	{ "/usr/bin/qemu-system-x86_64", "/var/run/qemu-server/100.pid", 'R', true },
	{ "kvm", "/var/run/qemu-server/100.pid", 'T', true },
	{ "/usr/bin/bash", "/var/run/qemu-server/100.pid", 'S', false },
	{ "/opt/qemu-x/bash", "/var/run/qemu-server/100.pid", 'S', false },
	{ "/usr/bin/kvm", "/run/qemu-server/100.pid", 'S', false },
	{ "/usr/bin/kvm", "/var/run/qemu-server/1000.pid", 'S', false },
	{ "/usr/bin/kvm", "/var/run/qemu-server/100.pid", 'Z', false },
};

START_TEST(who_runs)
{
	struct guest_id id = { GUEST_QEMU, 100 };
	pid_t pid;

	add_process(99, processes[_i].argv0, processes[_i].pidfile, processes[_i].state);
	testroot_file("/run/qemu-server/100.pid", "99\n");
	ck_assert(guest_is_running(id, &pid, NULL) == processes[_i].runs);
	ck_assert_int_eq(pid, processes[_i].runs ? 99 : 0);
}
END_TEST

START_TEST(pid_files_that_are_none)
{
	static const char *const texts[] = { "", "\n", "x\n", "-77\n", "77x\n", "0\n", "99999999999\n" };
	struct guest_id id = { GUEST_QEMU, 100 };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		testroot_file("/run/qemu-server/100.pid", texts[i]);
		ck_assert_msg(!guest_is_running(id, NULL, NULL), "'%s'", texts[i]);
	}
}
END_TEST

START_TEST(running_vmids)
{
	uint32_t *vmids;
	size_t n;

	ck_assert_int_eq(guest_running(GUEST_QEMU, &vmids, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(vmids[0], 100);
	free(vmids);
	ck_assert_int_eq(guest_running(GUEST_LXC, &vmids, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(vmids[0], 200);
	free(vmids);
}
END_TEST

START_TEST(what_is_in_the_way_of_a_config)
{
	static const char *const words[] = { "not a regular file", "leads nowhere",
					     "not a regular file", "larger than 1 MiB" };
	struct readfile buf = { 0 };
	struct guestdir dir;
	char *path = testroot_path("/etc/pve/nodes/pve1/qemu-server/602.conf");
	char *big = xcalloc(PVECONF_MAX + 1, 1);

	testroot_dir("/etc/pve/nodes/pve1/qemu-server/600.conf");
	testroot_link("/etc/pve/nodes/pve1/qemu-server/601.conf", "nowhere");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	memset(big, 'x', PVECONF_MAX + 1);
	testroot_data("/etc/pve/nodes/pve1/qemu-server/603.conf", big, PVECONF_MAX + 1);
	testroot_data("/etc/pve/nodes/pve1/qemu-server/604.conf", big, PVECONF_MAX);

	ck_assert_int_eq(guestdir_open(&dir, GUEST_QEMU, "pve1", NULL, 0), 0);
	ck_assert_uint_eq(dir.n, 8);
	for (size_t i = 0; i < dir.n; i++) {
		int rc = guestdir_read(&dir, &dir.entries[i], &buf);
		uint32_t vmid = dir.entries[i].vmid;

		if (vmid < 600 || vmid == 604 || vmid > 1000)
			ck_assert_int_eq(rc, 0);
		else
			ck_assert_msg(strstr(guestdir_strerror(rc),
					     words[vmid - 600]) != NULL,
				      "%u: %s", vmid, guestdir_strerror(rc));
		if (vmid == 604)
			ck_assert_uint_eq(buf.len, PVECONF_MAX);
	}
	free(buf.data);
	guestdir_close(&dir);
	free(path);
	free(big);
}
END_TEST

START_TEST(configs_of_all_nodes)
{
	static const uint32_t some[] = { 100, 300, 400 };
	struct guestdir dir;

	ck_assert_int_eq(guestdir_open(&dir, GUEST_QEMU, NULL, NULL, 0), 0);
	ck_assert_uint_eq(dir.n_nodes, 2);
	ck_assert_uint_eq(dir.n, 4);
	ck_assert_uint_eq(dir.entries[2].vmid, 300);
	guestdir_close(&dir);
	ck_assert_int_eq(guestdir_open(&dir, GUEST_QEMU, NULL, some, 3), 0);
	ck_assert_uint_eq(dir.n, 2);
	guestdir_close(&dir);
	/* a node that has no containers */
	ck_assert_int_eq(guestdir_open(&dir, GUEST_LXC, "pve2", NULL, 0), 0);
	ck_assert_uint_eq(dir.n, 0);
	guestdir_close(&dir);
}
END_TEST

START_TEST(name_of_this_node)
{
	char *node = guest_local_node();

	ck_assert_str_eq(node, "pve1");
	free(node);
	testroot_teardown();
	node = guest_local_node();
	ck_assert_uint_gt(strlen(node), 0);
	ck_assert_ptr_null(strchr(node, '.'));
	free(node);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest");
	TCase *tcase = tcase_create("guest");

	msg_level = -1;
	tcase_add_checked_fixture(tcase, build_node, testroot_teardown);
	tcase_add_loop_test(tcase, names_of_guests, 0, ARRAY_SIZE(names));
	tcase_add_test(tcase, order_of_guests);
	tcase_add_loop_test(tcase, facts_of_a_config, 0, ARRAY_SIZE(facts));
	tcase_add_test(tcase, guests_of_this_node);
	tcase_add_test(tcase, one_guest);
	tcase_add_loop_test(tcase, who_runs, 0, ARRAY_SIZE(processes));
	tcase_add_test(tcase, pid_files_that_are_none);
	tcase_add_test(tcase, running_vmids);
	tcase_add_test(tcase, what_is_in_the_way_of_a_config);
	tcase_add_test(tcase, configs_of_all_nodes);
	tcase_add_test(tcase, name_of_this_node);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
