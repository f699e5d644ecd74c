/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pve/snippet.h"

static const char config[] =
	"# storages\n"
	"dir: local\n"
	"\tpath /var/lib/vz\n"
	"\tcontent iso,snippets\n"
	"\n"
	"nfs: office\n"
	"\tserver 10.0.0.9\n"
	"\texport /x\n"
	"\n"
	"cephfs: fs\n"
	"\tpath /mnt/ceph  \n"
	"dir: other\n"
	"        path /srv/vz\n"
	"        content-dirs iso=a,snippets=etc/hooks\n"
	"\n"
	"dir: odd\n"
	"\tpath /srv/odd\n"
	"\tcontent-dirs my-snippets=no\n"
	"\n"
	"zfspool: local-zfs\n"
	"\tpool rpool/data\n";

static const struct {
	const char *config, *volid, *want;
} cases[] = {
	{ config, "local:snippets/a", "/var/lib/vz/snippets/a" },
	{ config, "local:snippets/pve-gpu-hook++my hook.pl",
	  "/var/lib/vz/snippets/pve-gpu-hook++my hook.pl" },
	{ config, "office:snippets/a", "/mnt/pve/office/snippets/a" },
	{ config, "fs:snippets/a", "/mnt/ceph/snippets/a" },
	{ config, "other:snippets/a", "/srv/vz/etc/hooks/a" },
	{ config, "odd:snippets/a", "/srv/odd/snippets/a" },
	{ config, "local-zfs:snippets/a", NULL },
	{ config, "gone:snippets/a", NULL },
	{ config, "local:iso/a", NULL },
	{ config, "local:snippets/", NULL },
	{ config, "local:snippets/a/b", NULL },
	{ config, "local", NULL },
	{ config, "/var/lib/vz/snippets/a", NULL },
	{ "", "local:snippets/a", "/var/lib/vz/snippets/a" },
	{ NULL, "local:snippets/a", "/var/lib/vz/snippets/a" },
	{ NULL, "other:snippets/a", NULL },
	{ "dir: local\n\tcontent iso\n", "local:snippets/a", "/var/lib/vz/snippets/a" },
	{ "dir: local\n\tpath /elsewhere\n", "local:snippets/a", "/var/lib/vz/snippets/a" },
	{ "lvm: local\n\tvgname pve\n", "local:snippets/a", "/var/lib/vz/snippets/a" },
	{ "\tpath /x\ndir:\n\tpath /y\n: a\n", "a:snippets/b", NULL },
};

START_TEST(path_of_a_volume)
{
	_cleanup_free_ char *got = NULL;

	if (cases[_i].config)
		testroot_file("/etc/pve/storage.cfg", cases[_i].config);
	got = snippet_path(cases[_i].volid);
	if (!cases[_i].want)
		ck_assert_ptr_null(got);
	else
		ck_assert_str_eq(got, cases[_i].want);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snippet");
	TCase *t = tcase_create("snippet");

	tcase_add_checked_fixture(t, testroot_setup, testroot_teardown);
	tcase_add_loop_test(t, path_of_a_volume, 0, ARRAY_SIZE(cases));
	suite_add_tcase(s, t);
	return testroot_run(s);
}
