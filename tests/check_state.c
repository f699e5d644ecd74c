/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "pve/state.h"
#include "testroot.h"

#define BOOT	"11111111-2222-3333-4444-555555555555"
#define HEAD	"#boot_id " BOOT "\n#time 1700000000\n#node pve1\n"
#define JHEAD	HEAD "#job 4242 999\n"
#define STATE	"/var/lib/pve-gpu-utils/state"
#define JOURNAL	"/var/lib/pve-gpu-utils/journal"

static void setup(void)
{
	testroot_setup();
	testroot_file("/proc/sys/kernel/random/boot_id", BOOT "\n");
	testroot_link("/etc/pve/local", "nodes/pve1");
	testroot_dir("/etc/pve/nodes/pve1/qemu-server");
}

static const struct {
	const char *text;
	int rc;
	size_t n;
} reads[] = {
	{ HEAD "#end 0\n", 0, 0 },
	{ HEAD "qemu/100\trunning\t77\tpve1\t5\tweb\t-\t0\t1\t1\n#end 1\n", 0, 1 },
	{ HEAD "qemu/100\trunning\t77\tpve1\n#end 1\n", 0, 1 },		/* the first four alone */
	{ HEAD "qemu/100\trunning\t77\tpve1\t5\tw\t-\t0\t1\t1\tmore\n#end 1\n", 0, 1 },
	{ HEAD "#new thing\nlxc/200\tstopped\t-\tpve1\n#end 1\n", 0, 1 },
	{ JHEAD "qemu/100\trunning\t77\tpve1\t5\tvzdump\t1700000000\n#end 1\n", 0, 1 },
	{ JHEAD "unit/a\\x5cx2db.service\trunning\t-\tpve1\t-\tconflict:qemu/100\t1\n#end 1\n", 0, 1 },
	/* damage */
	{ "", -EBADMSG, 0 },
	{ "#end 0\n", -EBADMSG, 0 },					/* whose boot? */
	{ HEAD, -EBADMSG, 0 },
	{ HEAD "qemu/100\trunning\t77\tpve1\n", -EBADMSG, 1 },
	{ HEAD "qemu/100\trunning\t77\tpve1\n#end 2\n", -EBADMSG, 1 },
	{ HEAD "qemu/100\trunning\t77\tpve1\n#end 0\n", -EBADMSG, 1 },
	{ HEAD "qemu/100\trunning\t77\tpve1\n#end 1", -EBADMSG, 1 },	/* cut by one byte */
	{ HEAD "qemu/100\trunning\t77\tpve1\n#end 1\nqemu/101\trunning\t7\tpve1\n", -EBADMSG, 1 },
	{ HEAD "qemu/100\trunning\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "qemu/100\twalking\t77\tpve1\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "qemu/100\trunning\t-77\tpve1\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "qemu/100\trunning\t77x\tpve1\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "qemu/../1\trunning\t77\tpve1\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "unit/\trunning\t77\tpve1\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "unit/../x\trunning\t77\tpve1\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "qemu/100\trunning\t77\tpve\\x1\n#end 0\n", -EBADMSG, 0 },
	{ JHEAD "qemu/100\trunning\t77\tpve1\t5\tvzdump\n#end 0\n", -EBADMSG, 0 },
	{ JHEAD "qemu/100\trunning\t77\tpve1\t5\tvzdump\tnow\n#end 0\n", -EBADMSG, 0 },
	{ "#boot_id short\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "#job x y\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "#job 1 2 3\n#end 0\n", -EBADMSG, 0 },
	{ HEAD "qemu/100\trunning\t77\tpve1\n#job 1 2\n#end 1\n", -EBADMSG, 1 },	/* too late */
	{ HEAD "#node pve\\x1\n#end 0\n", -EBADMSG, 0 },
};

START_TEST(read_believes_whole_files_only)
{
	struct state_file f;
	char *path = testroot_path(STATE);

	testroot_file(STATE, reads[_i].text);
	ck_assert_msg(state_read(path, &f) == reads[_i].rc, "%s", reads[_i].text);
	ck_assert_uint_eq(f.n, reads[_i].n);
	state_done(&f);
	free(path);
}
END_TEST

START_TEST(every_cut_is_seen)
{
	static const char whole[] = JHEAD
		"qemu/100\trunning\t77\tpve1\t5\tconflict:qemu/105\t1700000000\n"
		"lxc/200\trunning\t-\tpve1\t12345\tconflict:qemu/105\t1700000001\n#end 2\n";
	char *path = testroot_path(STATE);
	struct state_file f;

	for (size_t len = 0; len <= sizeof(whole) - 1; len++) {
		testroot_data(STATE, whole, len);
		ck_assert_msg(state_read(path, &f) ==
			      (len == sizeof(whole) - 1 ? 0 : -EBADMSG),
			      "cut at %zu", len);
		state_done(&f);
	}
	testroot_data(STATE, HEAD "qemu/100\trunning\0\t77\tpve1\n#end 1\n", sizeof(HEAD) + 30);
	ck_assert_int_eq(state_read(path, &f), -EBADMSG);
	state_done(&f);
	free(path);
	path = testroot_path("/absent");
	ck_assert_int_eq(state_read(path, &f), -ENOENT);
	free(path);
}
END_TEST

START_TEST(write_then_read)
{
	struct state_entry e[2] = {
		{ .name = strdup("qemu/100"), .running = true, .pid = 77, .start_time = 5,
		  .node = strdup("pve1"), .title = strdup("a\tb\\c\nd"), .has_disk = true, .onboot = true },
		{ .name = strdup("lxc/200"), .node = strdup("pve1"), .lock = strdup("backup"),
		  .template = true },
	};
	struct state_file f = { .entries = e, .n = 2 }, g;
	char *path = testroot_path(STATE);
	struct stat st;

	ck_assert_int_eq(state_stamp(&f), 0);
	ck_assert_str_eq(f.boot_id, BOOT);
	ck_assert_str_eq(f.node, "pve1");
	ck_assert_int_eq(state_write(path, &f), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(state_read(path, &g), 0);
	ck_assert(!g.journal);
	ck_assert(state_is_this_boot(&g));
	ck_assert_int_eq(g.time, f.time);
	ck_assert_uint_eq(g.n, 2);
	ck_assert_str_eq(g.entries[0].title, "a\tb\\c\nd");
	ck_assert(g.entries[0].is_guest && g.entries[0].id.vmid == 100 &&
		  g.entries[0].running);
	ck_assert_int_eq(g.entries[0].pid, 77);
	ck_assert_uint_eq(g.entries[0].start_time, 5);
	ck_assert(g.entries[0].has_disk && g.entries[0].onboot && !g.entries[0].template);
	ck_assert_str_eq(g.entries[1].lock, "backup");
	ck_assert(g.entries[1].template && !g.entries[1].running);
	ck_assert_int_eq(g.entries[1].pid, 0);
	state_done(&g);
	free(path);
	free(f.node);
	for (int i = 0; i < 2; i++)
		state_entry_done(&e[i]);
}
END_TEST

static void add_run(const char *name, const char *reason, pid_t pid, int want)
{
	struct state_entry e = { .name = strdup(name), .reason = strdup(reason),
				 .node = strdup("pve1"), .running = pid, .pid = pid,
				 .start_time = pid ? 5 : 0 };

	ck_assert_int_eq(state_journal_add(&e), want);
	state_entry_done(&e);
}

static void add(const char *name, const char *reason, int want)
{
	add_run(name, reason, 77, want);
}

START_TEST(journal_keeps_one_entry_per_kind)
{
	char *path = state_journal_path();
	struct state_file f;

	add("qemu/100", "backup", 0);
	add("qemu/101", "conflict:qemu/100", 0);
	add("qemu/101", "conflict:qemu/105", 0);
	add("qemu/101", "vzdump", 0);
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert(f.journal);
	ck_assert_uint_eq(f.n, 3);
	ck_assert(state_is_backup(&f.entries[0]));
	ck_assert_str_eq(f.entries[1].reason, "conflict:qemu/105");
	state_done(&f);
	ck_assert_int_eq(state_journal_remove("qemu/101", "conflict:qemu/100"), 0);	/* no such */
	ck_assert_int_eq(state_journal_remove("qemu/101", "vzdump"), 0);
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert_uint_eq(f.n, 2);
	state_done(&f);
	ck_assert_int_eq(state_journal_remove("qemu/101", NULL), 0);
	ck_assert_int_eq(state_journal_remove("qemu/100", NULL), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(state_journal_remove("qemu/100", NULL), 0);
	free(path);
}
END_TEST

/* Told to stop for one backup, down by the next: it is still to be started again. */
START_TEST(journal_keeps_that_it_ran)
{
	char *path = state_journal_path();
	struct state_file f;

	add_run("qemu/101", "conflict:qemu/100", 77, 0);
	add_run("qemu/101", "conflict:qemu/102", 0, 0);
	add_run("qemu/101", "vzdump", 0, 0);		/* of another kind: its own entry */
	add_run("qemu/103", "conflict:qemu/100", 0, 0);
	add_run("qemu/103", "conflict:qemu/100", 78, 0);
	add_run("qemu/104", "vzdump", 77, 0);
	add_run("qemu/104", "vzdump", 79, 0);		/* another run of it */
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert_uint_eq(f.n, 4);
	ck_assert(f.entries[0].running);
	ck_assert_int_eq(f.entries[0].pid, 77);
	ck_assert_str_eq(f.entries[0].reason, "conflict:qemu/100");
	ck_assert(!f.entries[1].running);
	ck_assert(f.entries[2].running);
	ck_assert_int_eq(f.entries[2].pid, 78);
	ck_assert_int_eq(f.entries[3].pid, 79);
	state_done(&f);
	/* not done after a boot, whose numbers are others */
	testroot_file("/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n");
	add_run("qemu/101", "conflict:qemu/102", 0, 0);
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert(state_is_this_boot(&f));
	ck_assert(f.entries[0].running);
	ck_assert_int_eq(f.entries[0].pid, 0);
	state_done(&f);
	free(path);
}
END_TEST

static void process(int pid, const char *stat)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	testroot_file(path, stat);
}

#define STAT(state, start)	"4242 (evil) R 1 (x) " state \
	" 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 " start " 20 21\n"

START_TEST(journal_names_its_job)
{
	char *path = state_journal_path();
	struct state_file f;

	testroot_file("/run/vzdump.pid", "UPID:pve1:00001092:000003E7:65000000:vzdump:100:root@pam:");
	add("qemu/101", "vzdump", 0);
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert_int_eq(f.job_pid, 0);			/* the job is long gone */
	state_done(&f);
	process(4242, STAT("S", "999"));
	add("qemu/102", "vzdump", 0);
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert_int_eq(f.job_pid, 4242);
	ck_assert_uint_eq(f.job_start, 999);
	state_done(&f);
	process(4242, STAT("Z", "999"));		/* the next job takes over */
	process(4243, STAT("R", "1000"));
	testroot_file("/run/vzdump.pid", "UPID:pve1:00001093:000003E8:65000000:vzdump:100:root@pam:\n");
	add("qemu/103", "vzdump", 0);
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert_int_eq(f.job_pid, 4243);
	ck_assert_uint_eq(f.n, 3);
	state_done(&f);
	free(path);
}
END_TEST

START_TEST(journal_of_another_boot)
{
	char *path = state_journal_path();
	struct state_file f;

	add("qemu/101", "vzdump", 0);
	testroot_file("/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n");
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert(!state_is_this_boot(&f));
	state_done(&f);
	add("qemu/102", "vzdump", 0);
	ck_assert_int_eq(state_read(path, &f), 0);
	ck_assert(state_is_this_boot(&f));
	ck_assert_int_eq(f.entries[0].pid, 0);		/* now somebody else's */
	ck_assert_int_eq(f.entries[1].pid, 77);
	state_done(&f);
	free(path);
}
END_TEST

START_TEST(journal_damaged)
{
	_cleanup_free_ char *journal = state_journal_path(), *bad = NULL;
	const struct state_file none = { 0 };
	char *first, *second;

	testroot_file(JOURNAL, JHEAD "qemu/100\trunn");
	add("qemu/101", "vzdump", -EBADMSG);
	ck_assert_int_eq(state_journal_remove("qemu/100", NULL), -EBADMSG);
	ck_assert_int_eq(state_journal_set_aside(&none, &first), 0);
	ck_assert_int_lt(access(journal, F_OK), 0);
	testroot_file(JOURNAL, "x");
	/* broken off after the first of its steps: it goes on from there */
	bad = xasprintf("%s.bad2", journal);
	ck_assert_int_eq(link(journal, bad), 0);
	ck_assert_int_eq(state_journal_set_aside(&none, &second), 0);
	ck_assert_str_eq(second, bad);
	ck_assert_str_ne(first, second);
	ck_assert_int_eq(access(first, F_OK), 0);
	ck_assert_int_eq(access(second, F_OK), 0);
	free(first);
	free(second);
	add("qemu/101", "vzdump", 0);
}
END_TEST

static const struct {
	const char *text;
	int rc;
	pid_t pid;
	uint64_t start;
} upids[] = {
	{ "UPID:pve1:00001092:000003E7:65000000:vzdump:100:root@pam:\n", 0, 4242, 999 },
	{ "UPID:node-2:0010C0DE:123456789:65000000:vzdump::root@pam:", 0, 0x10c0de, 0x123456789 },
	{ "UPID:pve1:00000000:000003E7:65000000:vzdump::root@pam:", -EBADMSG, 0, 0 },
	{ "UPID::00001092:000003E7:65000000:vzdump::root@pam:", -EBADMSG, 0, 0 },
	{ "UPID:pve1:xyz:000003E7:65000000:vzdump::root@pam:", -EBADMSG, 0, 0 },
	{ "UPID:pve1:-1:000003E7:65000000:vzdump::root@pam:", -EBADMSG, 0, 0 },
	{ "UPID:pve1:00001092:", -EBADMSG, 0, 0 },
	{ "UPID:pve1", -EBADMSG, 0, 0 },
	{ "4242\n", -EBADMSG, 0, 0 },
	{ "", -EBADMSG, 0, 0 },
	{ NULL, -ENOENT, 0, 0 },
};

START_TEST(worker_of_upid)
{
	uint64_t start = 0;
	pid_t pid = 0;

	if (upids[_i].text)
		testroot_file("/run/vzdump.pid", upids[_i].text);
	ck_assert_int_eq(state_vzdump_worker(&pid, &start), upids[_i].rc);
	if (upids[_i].rc == 0) {
		ck_assert_int_eq(pid, upids[_i].pid);
		ck_assert_uint_eq(start, upids[_i].start);
	}
}
END_TEST

START_TEST(alive)
{
	ck_assert(!state_is_alive(4242, 999));
	process(4242, STAT("S", "999"));
	ck_assert(state_is_alive(4242, 999));
	ck_assert(state_is_alive(4242, 0));
	ck_assert(!state_is_alive(4242, 998));
	ck_assert(!state_is_alive(0, 0));
	process(4242, STAT("Z", "999"));
	ck_assert(!state_is_alive(4242, 999));
	process(4242, "nonsense");
	ck_assert(!state_is_alive(4242, 999));
}
END_TEST

START_TEST(container_instance)
{
	struct guest_id id = { GUEST_LXC, 200 };
	struct state_file f = { .boot_id = BOOT };
	struct state_entry e = { .is_guest = true, .id = id, .start_time = 555 };
	uint64_t inode;
	pid_t pid;

	ck_assert(!state_instance(id, &pid, &inode));
	testroot_file("/proc/net/unix",
		"Num       RefCount Protocol Flags    Type St Inode Path\n"
		"0000000000000000: 00000003 00000000 00000000 0001 03 777 @/var/lib/lxc/200/command\n"
		"0000000000000000: 00000002 00000000 00010000 0001 01 444 @/var/lib/lxc/2001/command\n"
		"0000000000000000: 00000002 00000000 00010000 0001 01 555 @/var/lib/lxc/200/command\n"
		"0000000000000000: 00000002 00000000 00010000 0001 01 666\n");
	ck_assert(state_instance(id, &pid, &inode));
	ck_assert_int_eq(pid, 0);
	ck_assert_uint_eq(inode, 555);
	ck_assert(state_is_same_run(&f, &e));
	e.start_time = 556;
	ck_assert(!state_is_same_run(&f, &e));
	e.start_time = 555;
	f.boot_id[0] = 'x';
	ck_assert(!state_is_same_run(&f, &e));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("state");
	TCase *tcase = tcase_create("state");

	tcase_add_checked_fixture(tcase, setup, testroot_teardown);
	tcase_add_loop_test(tcase, read_believes_whole_files_only, 0, ARRAY_SIZE(reads));
	tcase_add_test(tcase, every_cut_is_seen);
	tcase_add_test(tcase, write_then_read);
	tcase_add_test(tcase, journal_keeps_one_entry_per_kind);
	tcase_add_test(tcase, journal_keeps_that_it_ran);
	tcase_add_test(tcase, journal_names_its_job);
	tcase_add_test(tcase, journal_of_another_boot);
	tcase_add_test(tcase, journal_damaged);
	tcase_add_loop_test(tcase, worker_of_upid, 0, ARRAY_SIZE(upids));
	tcase_add_test(tcase, alive);
	tcase_add_test(tcase, container_instance);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
