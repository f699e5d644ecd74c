/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pci/parentname.h"

static const struct {
	const char *text, *name, *virsh;
} spellings[] = {
	{ "0000:82:00.0", "0000:82:00.0", "pci_0000_82_00_0" },
	{ "82:00.0", "0000:82:00.0", "pci_0000_82_00_0" },
	{ "00000000:82:00.0", "0000:82:00.0", "pci_0000_82_00_0" },
	{ "00000000:C1:1F.7", "0000:c1:1f.7", "pci_0000_c1_1f_7" },
	{ "00010000:82:00.0", "10000:82:00.0", "pci_10000_82_00_0" },
	{ "pci_0000_82_00_0", "0000:82:00.0", "pci_0000_82_00_0" },
	{ "pci_0000_C1_1f_7", "0000:c1:1f.7", "pci_0000_c1_1f_7" },
	{ "/sys/class/mdev_bus/mtty", "mtty", NULL },
	{ "/sys/bus/pci/devices/0000:82:00.0", "0000:82:00.0", "pci_0000_82_00_0" },
	{ "mtty", "mtty", NULL },
	{ "matrix", "matrix", NULL },
	{ "0.0.26ab", "0.0.26ab", NULL },
	{ "css_0_0_26ab", "0.0.26ab", NULL },
	/* No PCI address: names of their own. */
	{ "pci_0000_82_00", "pci_0000_82_00", NULL },
	{ "pci_0000_82_00_0_1", "pci_0000_82_00_0_1", NULL },
	{ "82:00", "82:00", NULL },
	{ "82:00.8", "82:00.8", NULL },
	/* No names. */
	{ "", NULL, NULL },
	{ ".", NULL, NULL },
	{ "..", NULL, NULL },
	{ "../mtty", NULL, NULL },
	{ "a/b", NULL, NULL },
	{ "/sys/", NULL, NULL },
	{ "/sys/class/..", NULL, NULL },
};

START_TEST(spelling)
{
	_cleanup_free_ char *name = parentname_parse(spellings[_i].text);
	_cleanup_free_ char *virsh = name ? parentname_virsh(name) : NULL;

	ck_assert_pstr_eq(name, spellings[_i].name);
	ck_assert_pstr_eq(virsh, spellings[_i].virsh);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("parentname");
	TCase *t = tcase_create("parentname");

	tcase_add_loop_test(t, spelling, 0, ARRAY_SIZE(spellings));
	suite_add_tcase(s, t);
	return testroot_run(s);
}
