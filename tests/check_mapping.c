/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pve/mapping.h"

struct said {
	unsigned n;
	unsigned long line;	/* of the last */
	char why[256];
};

static void bad(unsigned long line, const char *why, void *arg)
{
	struct said *said = arg;

	said->n++;
	said->line = line;
	snprintf(said->why, sizeof(said->why), "%s", why);
}

#define GOOD "id=10de:2204,node=pve1,path=0000:01:00.0"

/* "ID(maps)[m] ID(maps)…", m for mdev. */
static const struct {
	const char *text;
	const char *want;
	unsigned bad;
	unsigned long line;	/* of the last bad one */
} cases[] = {
	{ "", "", 0, 0 },
	{ "gpu\n\tmap " GOOD "\n", "gpu(1)", 0, 0 },
	{ "gpu\n\tmap " GOOD "\n map " GOOD ",description=x\n\tdescription a b\n\tmdev 1\n",
	  "gpu(2)m", 0, 0 },
	{ "gpu\n\tmap " GOOD, "gpu(1)", 0, 0 },
	{ "gpu\n\tmap " GOOD "\n\nb2\n\tmap " GOOD "\n", "gpu(1) b2(1)", 0, 0 },
	/* a section ends at an empty line only: blanks, comments and CR do not end it */
	{ "gpu\n\tmap " GOOD "\nb2\n\tmap " GOOD "\n", "gpu(2)", 1, 3 },
	{ "gpu\n\tmap " GOOD "\n  \nb2\n\tmap " GOOD "\n", "gpu(2)", 2, 4 },
	{ "gpu\n#note\n\t# note\n\tmap " GOOD "\n", "gpu(1)", 0, 0 },
	/* "\r" is no empty line, and swallows what follows it */
	{ "gpu\r\n\tmap " GOOD "\r\n\r\nb2\r\n\tmap " GOOD "\r\n", "gpu(2)", 2, 4 },
	{ "gpu\n\tmdev 1\n\tmdev 0\n\tmap " GOOD "\n", "gpu(1)m", 1, 3 },
	{ "gpu\n\tmdev yes\n\tmap " GOOD "\n", "gpu(1)", 0, 0 },
	{ "gpu\n\tmdev\n\tmap " GOOD "\n", "gpu(1)m", 0, 0 },
	{ "gpu\n\tmdev maybe\n\tmdev 1\n\tmap " GOOD "\n", "gpu(1)m", 1, 2 },
	{ "gpu\n\tnosuch 1\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tlive-migration-capable 1\n\tmap " GOOD "\n", "gpu(1)", 0, 0 },
	{ "g\n\tmap " GOOD "\n\ngpu\n\tmap " GOOD "\n", "gpu(1)", 1, 1 },
	{ "1gpu\n\tmap " GOOD "\n", "", 1, 1 },
	{ "two words\ngpu\n\tmap " GOOD "\n", "gpu(1)", 1, 1 },
	{ "gpu\n\tmap id=10de:2204,node=pve1\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tmap id=10de,node=pve1,path=0000:01:00.0\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tmap id=10de:2204,node=-x,path=0000:01:00.0\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tmap id=10de:2204,node=pve1,path=01:00.0\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tmap id=10de:2204,node=pve1,path=0000:0A:00.0\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tmap id=10de:2204,node=pve1,path=0000:01:00;\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tmap id=10de:2204,node=pve1,path=0000:01:00;10000:02:00.1\n", "gpu(1)", 0, 0 },
	{ "gpu\n\tmap id=10de:2204,node=pve1,path=0000:01:00,iommugroup=x\n", "gpu(0)", 1, 2 },
	{ "gpu\n\tmap 0000:01:00\n", "gpu(0)", 1, 2 },
};

START_TEST(sections_and_lines)
{
	_cleanup_free_ char *text = xstrdup(cases[_i].text), *got = xstrdup("");
	struct said said = { 0 };
	struct mappings m;

	mappings_parse(&m, text, strlen(cases[_i].text), bad, &said);
	for (size_t i = 0; i < m.n; i++) {
		char *more = xasprintf("%s%s%s(%zu)%s", got, i ? " " : "", m.list[i].id,
				       m.list[i].n, m.list[i].mdev ? "m" : "");

		free(got);
		got = more;
	}
	mappings_done(&m);
	ck_assert_str_eq(got, cases[_i].want);
	ck_assert_msg(said.n == cases[_i].bad && said.line == cases[_i].line,
		      "%u bad, last %lu: %s", said.n, said.line, said.why);
}
END_TEST

START_TEST(the_last_of_an_id_counts)
{
	char text[] = "gpu\n\tmap " GOOD "\n\ngpu\n\tmap " GOOD "\n\tmap " GOOD "\n";
	struct said said = { 0 };
	struct mappings m;

	mappings_parse(&m, text, sizeof(text) - 1, bad, &said);
	ck_assert_uint_eq(mappings_find(&m, "gpu")->n, 2);
	ck_assert_ptr_null(mappings_find(&m, "GPU"));
	mappings_done(&m);
}
END_TEST

START_TEST(nul_byte_loses_its_line)
{
	char text[] = "gpu\n\tmap " GOOD "\0x\n\tmdev 1\n";
	struct said said = { 0 };
	struct mappings m;

	mappings_parse(&m, text, sizeof(text) - 1, bad, &said);
	ck_assert_uint_eq(mappings_find(&m, "gpu")->n, 0);
	ck_assert(mappings_find(&m, "gpu")->mdev);
	ck_assert_uint_eq(said.n, 1);
	mappings_done(&m);
}
END_TEST

START_TEST(no_file_is_no_mapping)
{
	struct said said = { 0 };
	struct mappings m;

	ck_assert_int_eq(mappings_read(&m, bad, &said), 0);
	ck_assert_uint_eq(m.n, 0);
	testroot_file("/etc/pve/mapping/pci.cfg", "gpu\n\tmap " GOOD "\n");
	ck_assert_int_eq(mappings_read(&m, bad, &said), 0);
	ck_assert_uint_eq(m.n, 1);
	mappings_done(&m);
	ck_assert_uint_eq(said.n, 0);
}
END_TEST

static const struct {
	const char *id, *group, *subsystem;
	bool mdev, has_subsystem, is_first;
	int hw_group;
	const char *field;
} mismatches[] = {
	{ "10de:2204", "14", "1043:8798", false, true, true, 14, NULL },
	{ "0x10de:0x2204", "14", "0x1043:0x8798", false, true, true, 14, NULL },
	{ "10DE:2204", "14", "1043:8798", false, true, true, 14, "id" },
	{ "10de:2205", "15", "1043:8798", true, true, true, 14, "id" },
	{ "10de:2204", "15", "1043:0000", true, true, true, 14, "iommugroup" },
	{ "10de:2204", "15", "1043:8798", false, true, false, 14, NULL },
	{ "10de:2204", "014", "1043:8798", false, true, true, 14, "iommugroup" },
	{ "10de:2204", NULL, "1043:8798", false, true, true, 14, "iommugroup" },
	{ "10de:2204", "14", "1043:8798", false, true, true, -1, "iommugroup" },
	{ "10de:2204", NULL, "1043:8798", false, true, true, -1, NULL },
	{ "10de:2204", "14", "1043:0000", true, true, true, 14, "mdev" },
	{ "10de:2204", "14", "1043:0000", false, true, true, 14, "subsystem-id" },
	{ "10de:2204", "14", NULL, false, true, true, 14, "subsystem-id" },
	{ "10de:2204", "14", "1043:8798", false, false, true, 14, "subsystem-id" },
	{ "10de:2204", "14", NULL, false, false, true, 14, NULL },
};

START_TEST(mapping_against_hardware)
{
	struct pcidev dev = { .vendor = 0x10de, .device = 0x2204, .subvendor = 0x1043,
			      .subdevice = 0x8798,
			      .iommu_group = mismatches[_i].hw_group };
	struct mapping m = { .mdev = mismatches[_i].mdev };
	struct mapping_map map = { .id = mismatches[_i].id,
				   .iommugroup = mismatches[_i].group,
				   .subsystem_id = mismatches[_i].subsystem };
	const char *field = mapping_mismatch(&m, &map, &dev, mismatches[_i].has_subsystem,
					     mismatches[_i].is_first);

	if (mismatches[_i].field)
		ck_assert_str_eq(field ? field : "(none)", mismatches[_i].field);
	else
		ck_assert_ptr_null(field);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mapping");
	TCase *tcase = tcase_create("mapping");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tcase, sections_and_lines, 0, ARRAY_SIZE(cases));
	tcase_add_test(tcase, the_last_of_an_id_counts);
	tcase_add_test(tcase, nul_byte_loses_its_line);
	tcase_add_test(tcase, no_file_is_no_mapping);
	tcase_add_loop_test(tcase, mapping_against_hardware, 0, ARRAY_SIZE(mismatches));
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
