/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "base/config.h"

#define CONF "/etc/pve-gpu-utils/pve-gpu-utils.conf"

static void assert_defaults(const struct config *cfg)
{
	ck_assert_uint_eq(cfg->stop_timeout, 180);
	ck_assert(!cfg->force_stop);
	ck_assert_int_eq(cfg->restart, CONFIG_RESTART_EARLY);
	ck_assert_uint_eq(cfg->lookahead, 2);
	ck_assert_uint_eq(cfg->max_wait, 15);
	ck_assert_uint_eq(cfg->n_never_stop, 0);
	ck_assert(cfg->rebind);
	ck_assert_uint_eq(cfg->n_host_services, 0);
	ck_assert(!cfg->ha_stop);
	ck_assert_int_eq(cfg->boot_restart, CONFIG_BOOT_YES);
	ck_assert_uint_eq(cfg->rescan_timeout, 30);
	ck_assert(!cfg->on_failure_abort);
	ck_assert(!cfg->post_stop_host);
	ck_assert_uint_eq(cfg->n_cards, 0);
	ck_assert_uint_eq(cfg->n_groups, 0);
}

START_TEST(no_file_is_the_defaults)
{
	struct config cfg;
	char *error;

	ck_assert_int_eq(config_load(NULL, &cfg, &error), 0);
	ck_assert_ptr_null(error);
	assert_defaults(&cfg);
	config_done(&cfg);
}
END_TEST

START_TEST(every_key)
{
	struct config cfg;
	char *error;

	testroot_file(CONF,
		      "# comment\n"
		      "[backup]\n"
		      "stop-timeout = 86400\n"
		      "  force-stop: yes ; said inline\n"
		      "\trestart=job-end\r\n"
		      "lookahead = 0\n"
		      "max-wait = 10080\n"
		      "never-stop = 101, qemu/100 lxc/999999999\n"
		      "never-stop = 100 102\n"
		      "host-driver = leave\n"
		      "host-services = ollama, gdm.service foo.bar x@1.socket\n"
		      "ha = stop\n"
		      "boot-restart = onboot\n"
		      "\n"
		      "[rescan] ; more\n"
		      "timeout = 5\n"
		      "on-failure = abort\n"
		      "post-stop = host\n"
		      "card = 0000:03:00.0 card\n"
		      "card = 04:00.0 own\n"
		      "[gpu-groups]\n"
		      "group = 0000:01:00.0 102 100 101\n"
		      "group = 02:00 200\n"
		      "group = 0000:01:00.0 99999 100");	/* no final newline */
	ck_assert_int_eq(config_load(NULL, &cfg, &error), 0);
	ck_assert_uint_eq(cfg.stop_timeout, 86400);
	ck_assert(cfg.force_stop);
	ck_assert_int_eq(cfg.restart, CONFIG_RESTART_JOB_END);
	ck_assert_uint_eq(cfg.lookahead, 0);
	ck_assert_uint_eq(cfg.max_wait, 10080);
	ck_assert_uint_eq(cfg.n_never_stop, 4);
	ck_assert_uint_eq(cfg.never_stop[0], 100);
	ck_assert_uint_eq(cfg.never_stop[1], 101);
	ck_assert_uint_eq(cfg.never_stop[2], 102);
	ck_assert_uint_eq(cfg.never_stop[3], 999999999);
	ck_assert(!cfg.rebind);
	ck_assert_uint_eq(cfg.n_host_services, 4);
	ck_assert_str_eq(cfg.host_services[0], "ollama.service");
	ck_assert_str_eq(cfg.host_services[1], "gdm.service");
	ck_assert_str_eq(cfg.host_services[2], "foo.bar.service");
	ck_assert_str_eq(cfg.host_services[3], "x@1.socket");
	ck_assert(cfg.ha_stop);
	ck_assert_int_eq(cfg.boot_restart, CONFIG_BOOT_ONBOOT);
	ck_assert_uint_eq(cfg.rescan_timeout, 5);
	ck_assert(cfg.on_failure_abort);
	ck_assert(cfg.post_stop_host);
	ck_assert_uint_eq(cfg.n_cards, 2);
	ck_assert_str_eq(cfg.cards[1].addr, "04:00.0");
	ck_assert_str_eq(cfg.cards[1].rung, "own");
	ck_assert_uint_eq(cfg.n_groups, 2);
	ck_assert_str_eq(cfg.groups[0].addr, "0000:01:00.0");
	ck_assert_uint_eq(cfg.groups[0].n, 4);
	ck_assert_uint_eq(cfg.groups[0].vmids[0], 100);
	ck_assert_uint_eq(cfg.groups[0].vmids[3], 99999);
	ck_assert_uint_eq(cfg.groups[1].n, 1);
	config_done(&cfg);
}
END_TEST

static const struct {
	const char *line;
	bool want;
} bools[] = {
	{ "yes", true }, { "on", true }, { "true", true }, { "1", true },
	{ "no", false }, { "off", false }, { "false", false }, { "0", false },
};

START_TEST(yes_and_no)
{
	char *text = xasprintf("[backup]\nforce-stop = %s\nboot-restart = %s\n", bools[_i].line,
			       bools[_i].line);
	struct config cfg;
	char *error;

	testroot_file(CONF, text);
	ck_assert_int_eq(config_load(NULL, &cfg, &error), 0);
	ck_assert(cfg.force_stop == bools[_i].want);
	ck_assert_int_eq(cfg.boot_restart,
			 bools[_i].want ? CONFIG_BOOT_YES : CONFIG_BOOT_NO);
	config_done(&cfg);
	free(text);
}
END_TEST

/* 198 bytes, the most that both versions of libinih take whole; 199 are refused. */
#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define SERVICE_198 "host-services = " X100 X10 X10 X10 X10 X10 X10 X10 X10 "xx"

static const struct {
	const char *text;
	const char *error;	/* after the file's name */
} wrong[] = {
	{ "[backup]\nnope = 1\n", ":2: unknown key 'nope' in [backup]" },
	{ "[backup]\ntimeout = 1\n", ":2: unknown key 'timeout' in [backup]" },
	{ "[nope]\nx = 1\n", ":1: unknown section '[nope]'" },
	{ "[backup]\n[nope]\n", ":2: unknown section '[nope]'" },
	{ "[backup\n", ":1: unknown section '[backup'" },
	{ "[backup] x = 1\n", ":1: unknown section '[backup] x = 1'" },
	{ "[Backup]\n", ":1: unknown section '[Backup]'" },
	{ "ha = stop\n", ":1: 'ha' stands before the first [section]" },
	{ "[backup]\n\nha\n", ":3: neither a [section] nor 'key = value'" },
	{ "[backup]\nha = Stop\n", ":2: ha: 'Stop' is not refuse or stop" },
	{ "[backup]\nha =\n", ":2: ha: '' is not refuse or stop" },
	{ "[backup]\nha = stop\nha = stop\n", ":3: 'ha' is set a second time" },
	{ "[backup]\nha = stop\n  lookahead = 1\nha = refuse\n", ":4: 'ha' is set a second time" },
	{ "[backup]\nforce-stop = maybe\n", ":2: force-stop: 'maybe' is not yes or no" },
	{ "[backup]\nlookahead = -1\n", ":2: lookahead: '-1' is not a number of guests, 0 to 1000" },
	{ "[backup]\nlookahead = 1001\n",
	  ":2: lookahead: '1001' is not a number of guests, 0 to 1000" },
	{ "[backup]\nlookahead = 4294967296\n",
	  ":2: lookahead: '4294967296' is not a number of guests, 0 to 1000" },
	{ "[backup]\nstop-timeout = 0\n", ":2: stop-timeout: '0' is not seconds, 1 to 86400" },
	{ "[backup]\nstop-timeout = 3m\n", ":2: stop-timeout: '3m' is not seconds, 1 to 86400" },
	{ "[backup]\nstop-timeout = 86401\n", ":2: stop-timeout: '86401' is not seconds, 1 to 86400" },
	{ "[backup]\nmax-wait = 10081\n", ":2: max-wait: '10081' is not minutes, 1 to 10080" },
	{ "[backup]\nrestart = soon\n", ":2: restart: 'soon' is not early, last or job-end" },
	{ "[backup]\nnever-stop = 99\n", ":2: never-stop: '99' is not a list of guests" },
	{ "[backup]\nnever-stop = 0100\n", ":2: never-stop: '0100' is not a list of guests" },
	{ "[backup]\nnever-stop = 100 vm/101\n", ":2: never-stop: '100 vm/101' is not a list of guests" },
	{ "[backup]\nnever-stop = 100 # x\n", ":2: never-stop: '100 # x' is not a list of guests" },
	{ "[backup]\nhost-services = a b/c\n",
	  ":2: host-services: 'a b/c' is not a list of systemd units" },
	{ "[backup]\nhost-services = --now\n",
	  ":2: host-services: '--now' is not a list of systemd units" },
	{ "[rescan]\ncard = 01:00.0\n",
	  ":2: card: '01:00.0' is not an address and own, subordinate, slot or card" },
	{ "[rescan]\ncard = 01:00.0 whole\n",
	  ":2: card: '01:00.0 whole' is not an address and own, subordinate, slot or card" },
	{ "[gpu-groups]\ngroup = 01:00.0\n", ":2: group: '01:00.0' is not an address and guests" },
	{ "[gpu-groups]\ngroup = 100 101\n", ":2: group: '100 101' is not an address and guests" },
	{ "[gpu-groups]\ngroup = 01:00.0 100 x\n",
	  ":2: group: '01:00.0 100 x' is not an address and guests" },
	{ "[gpu-groups]\n0000:01:00.0 = 100\n", ":2: unknown key '0000' in [gpu-groups]" },
	{ "[backup]\n" SERVICE_198 "x\n", ":2: line is longer than 198 bytes" },
	{ "[backup]\n" SERVICE_198 "xxha = stop", ":2: line is longer than 198 bytes" },
	{ "[backup]\nnope = 1\nalso = 2\n", ":2: unknown key 'nope' in [backup]" },
};

START_TEST(mistake_is_said_with_its_line)
{
	char *want = xasprintf("%s" CONF "%s", testroot, wrong[_i].error), *error;
	struct config cfg;

	testroot_file(CONF, wrong[_i].text);
	ck_assert_int_eq(config_load(NULL, &cfg, &error), -EINVAL);
	ck_assert_str_eq(error, want);
	assert_defaults(&cfg);
	config_done(&cfg);
	free(error);
	free(want);
}
END_TEST

START_TEST(longest_line)
{
	struct config cfg;
	char *error;

	testroot_file(CONF, "[backup]\n" SERVICE_198 "\nha = stop\n;" SERVICE_198 X100 "\n");
	ck_assert_msg(config_load(NULL, &cfg, &error) == 0, "%s", error);
	ck_assert_uint_eq(cfg.n_host_services, 1);
	ck_assert_uint_eq(strlen(cfg.host_services[0]), 182 + strlen(".service"));
	ck_assert(cfg.ha_stop);
	config_done(&cfg);
}
END_TEST

START_TEST(nul_byte)
{
	static const char text[] = "[backup]\nha = stop\0\nx = 1\n";
	struct config cfg;
	char *error;

	testroot_data(CONF, text, sizeof(text) - 1);
	ck_assert_int_eq(config_load(NULL, &cfg, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, ":2: there is a NUL byte"));
	assert_defaults(&cfg);
	free(error);
}
END_TEST

START_TEST(what_is_no_file)
{
	struct config cfg;
	char *error, *path;

	testroot_dir("/dir");
	testroot_link("/dangling", "nowhere");
	path = testroot_path("/fifo");
	ck_assert_int_eq(mkfifo(path, 0600), 0);

	ck_assert_int_eq(config_load(path, &cfg, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "/fifo: not a regular file"));
	free(error);
	free(path);

	path = testroot_path("/dir");
	ck_assert_int_eq(config_load(path, &cfg, &error), -EISDIR);
	ck_assert_ptr_nonnull(strstr(error, "/dir: Is a directory"));
	free(error);
	free(path);

	path = testroot_path("/dangling");
	ck_assert_int_eq(config_load(path, &cfg, &error), -ENOENT);
	ck_assert_ptr_nonnull(strstr(error, "/dangling: No such file"));
	free(error);
	free(path);
	assert_defaults(&cfg);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tcase = tcase_create("config");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_test(tcase, no_file_is_the_defaults);
	tcase_add_test(tcase, every_key);
	tcase_add_loop_test(tcase, yes_and_no, 0, ARRAY_SIZE(bools));
	tcase_add_loop_test(tcase, mistake_is_said_with_its_line, 0, ARRAY_SIZE(wrong));
	tcase_add_test(tcase, longest_line);
	tcase_add_test(tcase, nul_byte);
	tcase_add_test(tcase, what_is_no_file);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
