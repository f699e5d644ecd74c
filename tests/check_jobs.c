/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/jobs.h"

static char dir[] = "/tmp/check_jobs.XXXXXX";

static void put(const char *name, const char *text)
{
	_cleanup_free_ char *path = root_path("%s", name);
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void drop(const char *name)
{
	_cleanup_free_ char *path = root_path("%s", name);

	remove(path);
}

static void setup(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	root_set(dir);
	for (const char *const *p = (const char *const[]){ "/etc", "/etc/pve", NULL }; *p;
	     p++) {
		_cleanup_free_ char *path = root_path("%s", *p);

		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
}

static void teardown(void)
{
	drop("/etc/pve/jobs.cfg");
	drop("/etc/pve/vzdump.cron");
	drop("/etc/pve/user.cfg");
	drop("/etc/vzdump.conf");
	drop("/etc/pve");
	drop("/etc");
	remove(dir);
}

/* One job as text: id|schedule|mode|node|pool|script|enabled|all|vmids|exclude */
static char *job_text(const struct job *j)
{
	char *s = xasprintf("%s|%s|%s|%s|%s|%s|%d|%d|", j->id,
			    j->schedule ? j->schedule : "-", j->mode ? j->mode : "-",
			    j->node ? j->node : "-", j->pool ? j->pool : "-",
			    j->script ? j->script : "-", j->enabled, j->all);

	for (int list = 0; list < 2; list++) {
		const uint32_t *v = list ? j->exclude : j->vmids;
		size_t n = list ? j->n_exclude : j->n_vmids;

		for (size_t i = 0; i < n; i++) {
			char *more = xasprintf("%s%s%u", s, i ? "," : "", v[i]);

			free(s);
			s = more;
		}
		if (!list) {
			char *more = xasprintf("%s|", s);

			free(s);
			s = more;
		}
	}
	return s;
}

static const struct {
	const char *file, *text;
	const char *want[4]; /* NULL-terminated */
} parse_cases[] = {
	{ "/etc/pve/jobs.cfg", "", { NULL } },
	{ "/etc/pve/jobs.cfg", "vzdump: a", { "a|-|-|-|-|-|1|0||" } },
	{ "/etc/pve/jobs.cfg",
	  "vzdump: backup-1\n\tschedule sat 18:15\n\tenabled 0\n\tall 1\n\texclude "
	  "105,103\n"
	  "\tmode snapshot\n\tnode pve1\n\tscript /x y\n\n"
	  "realm-sync: b\n\tschedule 01:00\n\tvmid 999\n\n"
	  "vzdump: backup-2\n        schedule 02:00\n        vmid 300, 100;200\n        "
	  "pool gpus\n",
	  { "backup-1|sat 18:15|snapshot|pve1|-|/x y|0|1||103,105",
	    "backup-2|02:00|-|-|gpus|-|1|0|100,200,300|" } },
	/* no blank line between sections; a comment; no newline at the end; CR */
	{ "/etc/pve/jobs.cfg",
	  "vzdump: a\n\tvmid 100\nvzdump: b\n# \tvmid 1\n\tmode stop\r\n\tvmid 101",
	  { "a|-|-|-|-|-|1|0|100|", "b|-|stop|-|-|-|1|0|101|" } },
	/* what is no VMID, keys outside of a section */
	{ "/etc/pve/jobs.cfg",
	  "\tvmid 100\nvzdump: a\n\tvmid 99,../100,1000000000,100x,101\n\n\tvmid 102\n",
	  { "a|-|-|-|-|-|1|0|101|" } },
	{ "/etc/pve/vzdump.cron",
	  "# cluster wide vzdump cron schedule\nPATH=\"/usr/sbin:/usr/bin\"\n\n"
	  "30 2 * * * root vzdump 101 100 --mode snapshot --quiet 1 --script /s\n"
	  "0 3 * * sat root vzdump --all --mode=stop --exclude 105\n"
	  "*/5 * 1 * * root vzdump --pool p --all\n#0 3 * * * root vzdump 100\n"
	  "0 4 * * * root other 100\n0 4 * *\n",
	  { "vzdump.cron:4|02:30|snapshot|-|-|/s|1|0|100,101|",
	    "vzdump.cron:5|sat 03:00|stop|-|-|-|1|1||105",
	    "vzdump.cron:6|*/5 * 1 * *|-|-|p|-|1|1||" } },
};

START_TEST(test_parse)
{
	struct job *jobs;
	char *path;
	size_t n, want = 0;

	put(parse_cases[_i].file, parse_cases[_i].text);
	ck_assert_int_eq(jobs_read(&jobs, &n, &path), 0);
	while (want < ARRAY_SIZE(parse_cases[0].want) && parse_cases[_i].want[want])
		want++;
	ck_assert_uint_eq(n, want);
	for (size_t i = 0; i < n; i++) {
		char *text = job_text(&jobs[i]);

		ck_assert_str_eq(text, parse_cases[_i].want[i]);
		free(text);
	}
	jobs_free(jobs, n);
}
END_TEST

START_TEST(test_no_files)
{
	struct job_defaults d;
	struct job *jobs;
	char *path;
	size_t n;

	ck_assert_int_eq(jobs_read(&jobs, &n, &path), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(job_defaults_read(&d), 0);
	ck_assert_ptr_null(d.script);
	job_defaults_done(&d);
}
END_TEST

START_TEST(test_unreadable)
{
	_cleanup_free_ char *cfg = root_path("/etc/pve/jobs.cfg");
	_cleanup_free_ char *path = NULL;
	struct job *jobs;
	size_t n;

	ck_assert_int_eq(mkdir(cfg, 0700), 0);
	ck_assert_int_eq(jobs_read(&jobs, &n, &path), -EISDIR);
	ck_assert_str_eq(path, cfg);
	ck_assert_uint_eq(n, 0);
}
END_TEST

static const struct {
	const char *text, *script, *mode;
	bool hookscript;
} default_cases[] = {
	{ "", NULL, NULL, false },
	{ "#script: FILE\n # script: /a\nmode: stop\n", NULL, "stop", false },
	{ "script: /a\n  script:/b \nscript:\n", "/b", NULL, false },
	{ "hookscript: /a\nscript : /c\nscript", NULL, NULL, true },
	{ "script: /a b\r\nmode:suspend", "/a b", "suspend", false },
};

START_TEST(test_defaults)
{
	struct job_defaults d;

	put("/etc/vzdump.conf", default_cases[_i].text);
	ck_assert_int_eq(job_defaults_read(&d), 0);
	ck_assert_pstr_eq(d.script, default_cases[_i].script);
	ck_assert_pstr_eq(d.mode, default_cases[_i].mode);
	ck_assert_int_eq(d.hookscript, default_cases[_i].hookscript);
	job_defaults_done(&d);
}
END_TEST

static const struct {
	const char *job;
	int err;
	const char *want;
} select_cases[] = {
	{ "\tall 1\n", 0, "100 101 200 " },
	{ "\tall 1\n\texclude 101,555\n", 0, "100 200 " },
	{ "\texclude 100\n", 0, "101 200 " },
	{ "\tvmid 200,100,777\n", 0, "100 200 " },
	{ "\tpool gpus\n", 0, "101 200 " },
	{ "\tpool empty\n", 0, "" },
	{ "\tpool none\n", -ENOENT, "" },
	{ "\tschedule 02:00\n", 0, "" },
};

START_TEST(test_select)
{
	static const struct guest guests[] = {
		{ .id = { GUEST_QEMU, 100 } },
		{ .id = { GUEST_QEMU, 200 } },
		{ .id = { GUEST_LXC, 101 } },
	};
	_cleanup_free_ struct guest_id *selected = NULL;
	_cleanup_free_ char *text = xasprintf("vzdump: j\n%s", select_cases[_i].job);
	char got[100] = "", *path;
	struct job *jobs;
	size_t n, n_selected;

	put("/etc/pve/jobs.cfg", text);
	put("/etc/pve/user.cfg", "user:root@pam:1:0::::::\n\n"
				 "pool:empty::::\npool:gpus:a "
				 "comment:200,101,999:local:\npool:gpus2::100::\n");
	ck_assert_int_eq(jobs_read(&jobs, &n, &path), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(
		job_select(&jobs[0], guests, ARRAY_SIZE(guests), &selected, &n_selected),
		select_cases[_i].err);
	for (size_t i = 0; i < n_selected; i++)
		sprintf(got + strlen(got), "%u ", selected[i].vmid);
	ck_assert_str_eq(got, select_cases[_i].want);
	jobs_free(jobs, n);
}
END_TEST

START_TEST(test_node)
{
	char node[] = "pve1";
	struct job everywhere = { 0 }, here = { .node = node };

	ck_assert(job_is_for_node(&everywhere, "pve1"));
	ck_assert(job_is_for_node(&here, "pve1"));
	ck_assert(!job_is_for_node(&here, "pve2"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("jobs");
	TCase *tc = tcase_create("jobs");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_parse, 0, ARRAY_SIZE(parse_cases));
	tcase_add_test(tc, test_no_files);
	tcase_add_test(tc, test_unreadable);
	tcase_add_loop_test(tc, test_defaults, 0, ARRAY_SIZE(default_cases));
	tcase_add_loop_test(tc, test_select, 0, ARRAY_SIZE(select_cases));
	tcase_add_test(tc, test_node);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
