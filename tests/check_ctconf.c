/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "base/sha1.h"
#include "pve/ctconf.h"

/* A letter of a wish. */
static const struct {
	char letter;
	struct ctconf_want want;
} letters[] = {
	{ '0', { "/dev/nvidia0", NULL, false, true, 195, 0, -1, 0666 } },
	{ '1', { "/dev/nvidia1", NULL, false, true, 195, 1, -1, 0666 } },
	{ 'c', { "/dev/nvidiactl", NULL, false, true, 195, 255, -1, 0666 } },
	{ 'u', { "/dev/nvidia-uvm", NULL, false, true, 508, 0, -1, 0666 } },
	{ 'U', { "/dev/nvidia-uvm", NULL, false, true, 511, 0, -1, 0666 } },
	{ 'x', { "/dev/nvidia-uvm", NULL, false, false, 0, 0, -1, 0666 } },
	{ 'd', { "/dev/nvidia-caps", NULL, true, false, 0, 0, -1, 0666 } },
	{ 'm', { "/dev/nvidia-caps/nvidia-cap21", NULL, false, true, 237, 21, -1, 0666 } },
	{ 'r', { "/dev/dri/renderD128", NULL, false, true, 226, 128, 992, 0660 } },
	{ 'R', { "/dev/dri/renderD128", NULL, false, true, 226, 128, 104, 0660 } },
	{ 'i', { "/dev/dri/by-path/pci-0000:00:02.0-render", "/dev/dri/renderD128", false,
		 true, 226, 128, 104, 0660 } },
	{ 'k', { "/dev/kfd", NULL, false, true, 510, 0, 104, 0660 } },
};

#define M(path)		"lxc.mount.entry: /" path " " path " none bind,optional,create=file 0 0"
#define A(number)	"lxc.cgroup2.devices.allow: c " number " wr"
#define N0	M("dev/nvidia0") "\n" A("195:0") "\n"
#define N1	M("dev/nvidia1") "\n" A("195:1") "\n"
#define CTL	M("dev/nvidiactl") "\n" A("195:255") "\n"
#define UVM	M("dev/nvidia-uvm") "\n" A("508:0") "\n"
#define CAPS	"lxc.mount.entry: /dev/nvidia-caps dev/nvidia-caps none bind,optional,create=dir 0 0\n"
#define D0	"dev0: /dev/nvidia0,mode=0666\n"
#define D1	"dev1: /dev/nvidiactl,mode=0666\n"
#define SNAP	"\n[snap]\narch: amd64\nsnaptime: 1\n"

#define DEV	CTCONF_DEV
#define MOUNT	CTCONF_MOUNT

static const struct {
	enum ctconf_style style;
	const char *wish;
	const char *before, *after;
	const char *removed;	/* what --remove makes of after; NULL: before */
} pairs[] = {
	/* raw lines: where they go */
	{ MOUNT, "0", "", N0, NULL },
	{ MOUNT, "0", "arch: amd64\n", "arch: amd64\n" N0, NULL },
	{ MOUNT, "0c", "arch: amd64\nswap: 0\n", "arch: amd64\nswap: 0\n" N0 CTL, NULL },
	{ MOUNT, "0", "arch: amd64", "arch: amd64\n" M("dev/nvidia0") "\n" A("195:0"), NULL },
	{ MOUNT, "0", "arch: amd64\n\n\n", "arch: amd64\n" N0 "\n\n", NULL },
	{ MOUNT, "0", "arch: amd64\n \t", "arch: amd64\n" N0 " \t", NULL },
	{ MOUNT, "0", "arch: amd64\n" SNAP, "arch: amd64\n" N0 SNAP, NULL },
	{ MOUNT, "0", "arch: amd64\n[pve:pending]\nswap: 1\n",
	  "arch: amd64\n" N0 "[pve:pending]\nswap: 1\n", NULL },
	{ MOUNT, "0", "[snap]\narch: amd64\n", N0 "[snap]\narch: amd64\n", NULL },
	{ MOUNT, "0", "\n[snap]\narch: amd64\n", N0 "\n[snap]\narch: amd64\n", NULL },
	{ MOUNT, "0", "arch: amd64\n" SNAP "lxc.mount.entry: x", "arch: amd64\n" N0 SNAP
	  "lxc.mount.entry: x", NULL },
	{ MOUNT, "0", "a: 1\n[not a section]\nb: 2\n", "a: 1\n[not a section]\nb: 2\n" N0, NULL },
	{ MOUNT, "0", "#note 1\n#note 2\na: 1\n", "#note 1\n#note 2\na: 1\n" N0, NULL },
	{ MOUNT, "0", "lxc.idmap: u 0 100000 65536\n", "lxc.idmap: u 0 100000 65536\n" N0, NULL },
	/* line ends, odd bytes */
	{ MOUNT, "0", "a: 1\r\nb: 2\r\n", "a: 1\r\nb: 2\r\n" M("dev/nvidia0") "\r\n"
	  A("195:0") "\r\n", NULL },
	{ MOUNT, "0", "a: 1\nb: 2\r\n", "a: 1\nb: 2\r\n" N0, NULL },
	{ DEV, "0", "a: 1\r\n\r\n[snap]\r\n", "a: 1\r\ndev0: /dev/nvidia0,mode=0666\r\n\r\n[snap]\r\n",
	  NULL },
	{ DEV, "0", "a: \xff\xfe\n\t x\n", "a: \xff\xfe\n\t x\n" D0, NULL },
	{ DEV, "0", "a: 1\r\nb: 2", "a: 1\r\nb: 2\ndev0: /dev/nvidia0,mode=0666\r", NULL },
	/* raw lines: what they say */
	{ MOUNT, "x", "", M("dev/nvidia-uvm") "\n", NULL },
	{ MOUNT, "d", "", CAPS, NULL },
	{ MOUNT, "dm", "", CAPS A("237:21") "\n", NULL },
	{ MOUNT, "m", "", M("dev/nvidia-caps/nvidia-cap21") "\n" A("237:21") "\n", NULL },
	{ MOUNT, "i", "", "lxc.mount.entry: /dev/dri/by-path/pci-0000:00:02.0-render "
	  "dev/dri/renderD128 none bind,optional,create=file 0 0\n" A("226:128") "\n", NULL },
	{ MOUNT, "k", "", M("dev/kfd") "\n" A("510:0") "\n", NULL },
	/* the second time, and another wish */
	{ MOUNT, "0", N0, N0, "" },
	{ MOUNT, "01", "a: 1\n" N0 "b: 1\n", "a: 1\n" N0 "b: 1\n" N1, "a: 1\nb: 1\n" },
	{ MOUNT, "1", "a: 1\n" N0, "a: 1\n" N1, "a: 1\n" },
	{ MOUNT, "U", "a: 1\n" UVM, "a: 1\n" M("dev/nvidia-uvm") "\n" A("511:0") "\n", "a: 1\n" },
	{ MOUNT, "0", "lxc.mount.entry = /dev/nvidia0 dev/nvidia0 none bind,optional,create=file 0 0\n"
	  "lxc.cgroup2.devices.allow=c 195:0 wr\n",
	  "lxc.mount.entry = /dev/nvidia0 dev/nvidia0 none bind,optional,create=file 0 0\n"
	  "lxc.cgroup2.devices.allow=c 195:0 wr\n", "" },
	{ MOUNT, "0", N0 N0 "a: 1\n", N0 "a: 1\n", "a: 1\n" },
	{ MOUNT, "0", N0 "[snap]\n" N0, N0 "[snap]\n" N0, "[snap]\n" N0 },
	/* what others wrote */
	{ MOUNT, "0", "lxc.cgroup2.devices.allow: c 195:* rwm\n",
	  "lxc.cgroup2.devices.allow: c 195:* rwm\n" M("dev/nvidia0") "\n", NULL },
	{ MOUNT, "0", "lxc.cgroup2.devices.allow: a\n",
	  "lxc.cgroup2.devices.allow: a\n" M("dev/nvidia0") "\n", NULL },
	{ MOUNT, "0", "lxc.cgroup2.devices.allow: c 195:0 r\n",
	  "lxc.cgroup2.devices.allow: c 195:0 r\n" N0, NULL },
	{ MOUNT, "0", "lxc.cgroup2.devices.allow: b 195:0 rw\n",
	  "lxc.cgroup2.devices.allow: b 195:0 rw\n" N0, NULL },
	{ MOUNT, "0", "lxc.cgroup.devices.allow: c 195:* rwm\n",
	  "lxc.cgroup.devices.allow: c 195:* rwm\n" N0, NULL },
	{ MOUNT, "0", "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional 0 0\n",
	  "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional 0 0\n" A("195:0") "\n", NULL },
	{ MOUNT, "0", "lxc.mount.entry: /dev/nvidia0 /dev/nvidia0 none bind,optional,create=file 0 0\n",
	  "lxc.mount.entry: /dev/nvidia0 /dev/nvidia0 none bind,optional,create=file 0 0\n" N0, NULL },
	{ MOUNT, "0", "lxc.mount.entry: /dev/nvidia0 srv/x none bind,optional,create=file 0 0\n",
	  "lxc.mount.entry: /dev/nvidia0 srv/x none bind,optional,create=file 0 0\n" N0, NULL },
	{ MOUNT, "0", "dev3: /dev/nvidia0\n", "dev3: /dev/nvidia0\n", NULL },
	{ MOUNT, "0", "dev3: /dev/nvidia0,mode=0666\n", N0, "" },
	/* devN */
	{ DEV, "0", "", D0, NULL },
	{ DEV, "0c", "a: 1\n" SNAP, "a: 1\n" D0 D1 SNAP, NULL },
	{ DEV, "0c", "dev0: /dev/ttyS0\n", "dev0: /dev/ttyS0\ndev1: /dev/nvidia0,mode=0666\n"
	  "dev2: /dev/nvidiactl,mode=0666\n", NULL },
	{ DEV, "0", "dev1: /dev/ttyS0\n", "dev1: /dev/ttyS0\n" D0, NULL },
	{ DEV, "0d", "", D0, NULL },
	{ DEV, "r", "", "dev0: /dev/dri/renderD128,gid=992,mode=0660\n", NULL },
	{ DEV, "R", "a: 1\ndev4: /dev/dri/renderD128,gid=992,mode=0660\nb: 2\n",
	  "a: 1\ndev4: /dev/dri/renderD128,gid=104,mode=0660\nb: 2\n", "a: 1\nb: 2\n" },
	{ DEV, "i", "", "dev0: /dev/dri/by-path/pci-0000:00:02.0-render,gid=104,mode=0660\n", NULL },
	{ DEV, "0", D0, D0, "" },
	{ DEV, "0", "dev7: mode=0666,path=/dev/nvidia0\n", "dev7: mode=0666,path=/dev/nvidia0\n", "" },
	{ DEV, "c", "a: 1\n" D0, "a: 1\n" D1, "a: 1\n" },
	{ DEV, "0", "dev5: /dev/nvidia0,mode=0666,deny-write=1\n",
	  "dev5: /dev/nvidia0,mode=0666,deny-write=1\n", NULL },
	{ DEV, "0", "dev5: /dev/nvidia0\n", "dev5: /dev/nvidia0\n", NULL },
	{ DEV, "0", "dev5: /dev/nvidia0,uid=0,mode=0666\n", "dev5: /dev/nvidia0,uid=0,mode=0666\n",
	  NULL },
	{ DEV, "0", "a: 1\n" N0 CTL, "a: 1\n" D0, "a: 1\n" },
	{ DEV, "0", "dev0: /dev/nvidia0,mode=0666\ndev9: /dev/nvidia0,mode=0666\n", D0, "" },
	{ DEV, "0", "dev0: /dev/nvidia1,mode=0666\ndev0: /dev/ttyS0\n",
	  "dev0: /dev/ttyS0\ndev1: /dev/nvidia0,mode=0666\n", "dev0: /dev/ttyS0\n" },
	/* the pending section */
	{ DEV, "0", "a: 1\n[pve:pending]\ndev0: /dev/ttyS0\n",
	  "a: 1\ndev1: /dev/nvidia0,mode=0666\n[pve:pending]\ndev0: /dev/ttyS0\n", NULL },
	{ DEV, "0", "a: 1\n[pve:pending]\n" D0, "a: 1\n[pve:pending]\n" D0, "a: 1\n[pve:pending]\n" },
	{ DEV, "R", "dev0: /dev/dri/renderD128,gid=992,mode=0660\n[pve:pending]\n"
	  "dev0: /dev/dri/renderD128,gid=104,mode=0660\n",
	  "dev0: /dev/dri/renderD128,gid=992,mode=0660\n[pve:pending]\n"
	  "dev0: /dev/dri/renderD128,gid=104,mode=0660\n", "[pve:pending]\n" },
	{ DEV, "0c", "a: 1\n[pve:pending]\ndelete: dev0,!dev2;mp0\n",
	  "a: 1\ndev1: /dev/nvidia0,mode=0666\ndev3: /dev/nvidiactl,mode=0666\n"
	  "[pve:pending]\ndelete: dev0,!dev2;mp0\n", NULL },
	{ DEV, "0", D0 "[pve:pending]\ndelete: dev0\n",
	  D0 "dev1: /dev/nvidia0,mode=0666\n[pve:pending]\ndelete: dev0\n",
	  "[pve:pending]\ndelete: dev0\n" },
};

static size_t read_wish(const char *wish, struct ctconf_want *wants)
{
	size_t n = 0;

	for (; *wish; wish++)
		for (size_t i = 0; i < ARRAY_SIZE(letters); i++)
			if (letters[i].letter == *wish)
				wants[n++] = letters[i].want;
	return n;
}

static void check_text(const struct ctconf_edit *edit, const char *want, const char *what)
{
	ck_assert_msg(edit->len == strlen(want) &&
		      memcmp(edit->text, want, edit->len) == 0,
		      "%s gives\n%s---, not\n%s---", what, edit->text, want);
}

START_TEST(pair)
{
	const char *before = pairs[_i].before, *after = pairs[_i].after;
	const char *removed = pairs[_i].removed ? pairs[_i].removed : before;
	struct ctconf_want wants[8];
	size_t n = read_wish(pairs[_i].wish, wants);
	struct ctconf_edit edit;

	ck_assert_uint_eq(n, strlen(pairs[_i].wish));
	ck_assert_int_eq(ctconf_change(before, strlen(before), pairs[_i].style, wants, n,
				       &edit),
			 0);
	check_text(&edit, after, "applied");
	ctconf_edit_done(&edit);
	ck_assert_int_eq(ctconf_change(after, strlen(after), pairs[_i].style, wants, n,
				       &edit), 0);
	check_text(&edit, after, "applied again");
	ck_assert(!edit.raw_changed && !edit.raw_adds);
	ck_assert_uint_eq(edit.n_devs, 0);
	ctconf_edit_done(&edit);
	ck_assert_int_eq(ctconf_change(after, strlen(after), CTCONF_DEV, NULL, 0,
				       &edit), 0);
	check_text(&edit, removed, "removed");
	ctconf_edit_done(&edit);
}
END_TEST

/* What pct is to do, "0=VALUE 1-", and whether raw lines change. */
static const struct {
	enum ctconf_style style;
	const char *wish, *before, *devs;
	bool raw_changed, raw_adds;
} plans[] = {
	{ DEV, "0c", "a: 1\n", "0=/dev/nvidia0,mode=0666 1=/dev/nvidiactl,mode=0666 ", false, false },
	{ DEV, "0", N0, "0=/dev/nvidia0,mode=0666 ", true, false },
	{ DEV, "c", "dev3: /dev/nvidia0,mode=0666\n", "0=/dev/nvidiactl,mode=0666 3- ", false, false },
	{ MOUNT, "0", "dev3: /dev/nvidia0,mode=0666\n", "3- ", true, true },
	{ DEV, "", "dev3: /dev/nvidia0,mode=0666\n" N0, "3- ", true, false },
	{ DEV, "R", "dev3: /dev/dri/renderD128,gid=992,mode=0660\n",
	  "3=/dev/dri/renderD128,gid=104,mode=0660 ", false, false },
	{ DEV, "", "dev3: /dev/nvidia0,mode=0666\n[pve:pending]\ndelete: dev3\n", "", false, false },
	{ DEV, "", "[pve:pending]\ndev3: /dev/nvidia0,mode=0666\n", "3- ", false, false },
	{ DEV, "", "dev3: /dev/nvidia0,mode=0666\ndev3: /dev/ttyS0\n", "", false, false },
	{ MOUNT, "0", N0, "", false, false },
};

START_TEST(plan)
{
	const char *before = plans[_i].before;
	struct ctconf_want wants[8];
	size_t n = read_wish(plans[_i].wish, wants);
	struct ctconf_edit edit;
	char *devs = xstrdup("");

	ck_assert_int_eq(ctconf_change(before, strlen(before), plans[_i].style, wants, n,
				       &edit),
			 0);
	for (size_t i = 0; i < edit.n_devs; i++) {
		char *more = edit.devs[i].value
			? xasprintf("%s%u=%s ", devs, edit.devs[i].index, edit.devs[i].value)
			: xasprintf("%s%u- ", devs, edit.devs[i].index);

		free(devs);
		devs = more;
	}
	ck_assert_str_eq(devs, plans[_i].devs);
	ck_assert(edit.raw_changed == plans[_i].raw_changed);
	ck_assert(edit.raw_adds == plans[_i].raw_adds);
	free(devs);
	ctconf_edit_done(&edit);
}
END_TEST

/* dev0 to dev255, of which own ones are taken anew before all are said to be taken. */
START_TEST(full)
{
	struct ctconf_want wants[8];
	size_t n = read_wish("0c", wants);
	struct ctconf_edit edit = { 0 };
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	for (unsigned i = 0; i < 255; i++)
		fprintf(f, "dev%u: /dev/ttyS%u\n", i, i);
	fflush(f);
	ck_assert_int_eq(ctconf_change(text, len, CTCONF_DEV, wants, 1, &edit), 0);
	ck_assert_str_eq(strstr(edit.text, "dev255"), "dev255: /dev/nvidia0,mode=0666\n");
	ctconf_edit_done(&edit);
	ck_assert_int_eq(ctconf_change(text, len, CTCONF_DEV, wants, n, &edit), -ENOSPC);
	ck_assert_ptr_null(edit.text);
	fprintf(f, "dev255: /dev/nvidia9,mode=0666\n");
	fflush(f);
	ck_assert_int_eq(ctconf_change(text, len, CTCONF_DEV, wants, 1, &edit), 0);
	ck_assert_str_eq(strstr(edit.text, "dev255"), "dev255: /dev/nvidia0,mode=0666\n");
	ck_assert_uint_eq(edit.n_devs, 1);
	ck_assert_str_eq(edit.devs[0].value, "/dev/nvidia0,mode=0666");
	ctconf_edit_done(&edit);
	fclose(f);
	free(text);
}
END_TEST

START_TEST(large)
{
	size_t len = 1 << 20;
	char *text = xcalloc(len + 1, 1);
	struct ctconf_edit edit = { 0 };
	struct ctconf_want want;

	memset(text, '#', len);
	ck_assert_uint_eq(read_wish("0", &want), 1);
	ck_assert_int_eq(ctconf_change(text, len, CTCONF_MOUNT, &want, 1, &edit), -EFBIG);
	ck_assert_int_eq(ctconf_change(text, len, CTCONF_MOUNT, NULL, 0, &edit), 0);
	ck_assert(!edit.raw_changed);
	ctconf_edit_done(&edit);
	free(text);
}
END_TEST

static const struct {
	const char *line;
	bool own;
} owns[] = {
	{ "dev0: /dev/nvidia0,mode=0666\n", true },
	{ "dev255: /dev/kfd,gid=104,mode=0660\r\n", true },
	{ "dev256: /dev/kfd,gid=104,mode=0660", false },
	{ "dev0: /dev/nvidia0,mode=666", false },
	{ "dev0: /dev/nvidia0,mode=0666,mode=0666", false },
	{ "dev0: /dev/nvidia0,gid=1000000,mode=0660", false },
	{ "dev0: /dev/nvidia0,gid=,mode=0660", false },
	{ "dev0: /dev/dri/,mode=0660", false },
	{ "dev0: /dev/dri/../sda,mode=0660", false },
	{ "dev0: /dev/sda,mode=0660", false },
	{ "dev0: /dev/nvidia/x,mode=0660", false },
	{ " dev0: /dev/nvidia0,mode=0666", false },
	{ "#dev0: /dev/nvidia0,mode=0666", false },
	{ A("511:0"), true },
	{ "lxc.cgroup2.devices.allow: c 511:0 rw", false },
	{ "lxc.cgroup2.devices.allow: c 511:0 rwm", false },
	{ "lxc.cgroup2.devices.allow: c 511:* wr", false },
	{ "lxc.cgroup2.devices.allow: b 511:0 wr", false },
	{ "lxc.cgroup2.devices.allow: c 511:0  wr", false },
	{ "lxc.cgroup2.devices.allow: c 511: wr", false },
	{ "lxc.cgroup2.devices.allow: c", false },
	{ "lxc.cgroup2.devices.allow:", false },
	{ "lxc.cgroup2.devices.deny: c 511:0 wr", false },
	{ M("dev/nvidia0"), true },
	{ CAPS, true },
	{ "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,create=file 0 0", false },
	{ "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file", false },
	{ "lxc.mount.entry: /dev/nvidia0 etc/passwd none bind,optional,create=file 0 0", false },
	{ "lxc.mount.entry: /dev/fuse dev/nvidia0 none bind,optional,create=file 0 0", false },
	{ "lxc.mount.entry: /dev/nvidia0", false },
	{ "lxc.mount.entry: ", false },
	{ "", false },
};

START_TEST(own)
{
	ck_assert_msg(ctconf_is_own(owns[_i].line, strlen(owns[_i].line)) == owns[_i].own,
		      "%s", owns[_i].line);
}
END_TEST

START_TEST(facts)
{
	static const char text[] = "lock: backup\nunprivileged: 1\n"
				   "rootfs: local-lvm:vm-200-disk-0,size=8G\n[snap]\nlock: no\n";
	struct ctconf_facts f;

	ctconf_facts(text, strlen(text), &f);
	ck_assert_str_eq(f.lock, "backup");
	ck_assert_str_eq(f.rootfs, "local-lvm:vm-200-disk-0");
	ck_assert(f.unprivileged);
	ctconf_facts_done(&f);
	ctconf_facts("[snap]\nlock: no\n", 16, &f);
	ck_assert(!f.lock && !f.rootfs && !f.unprivileged);
	ctconf_facts_done(&f);
}
END_TEST

/* RFC 3174 and lengths around a block. */
START_TEST(sha1)
{
	char buf[SHA1_STRLEN], text[120];

	memset(text, 'a', sizeof(text));
	ck_assert_str_eq(sha1_text("", 0, buf), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	ck_assert_str_eq(sha1_text("abc", 3, buf), "a9993e364706816aba3e25717850c26c9cd0d89d");
	ck_assert_str_eq(sha1_text(text, 55, buf), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
	ck_assert_str_eq(sha1_text(text, 56, buf), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
	ck_assert_str_eq(sha1_text(text, 64, buf), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
	ck_assert_str_eq(sha1_text(text, 120, buf), "f34c1488385346a55709ba056ddd08280dd4c6d6");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ctconf");
	TCase *t = tcase_create("ctconf");

	tcase_add_loop_test(t, pair, 0, ARRAY_SIZE(pairs));
	tcase_add_loop_test(t, plan, 0, ARRAY_SIZE(plans));
	tcase_add_loop_test(t, own, 0, ARRAY_SIZE(owns));
	tcase_add_test(t, full);
	tcase_add_test(t, large);
	tcase_add_test(t, facts);
	tcase_add_test(t, sha1);
	suite_add_tcase(s, t);
	return testroot_run(s);
}
