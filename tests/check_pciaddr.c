/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pci/pciaddr.h"

static const struct {
	const char *text;
	const char *canonical;	/* NULL: refused */
} functions[] = {
	{ "01:00.0", "0000:01:00.0" },
	{ "0000:01:00.7", "0000:01:00.7" },
	{ "0000:AB:1f.3", "0000:ab:1f.3" },
	{ "00000000:82:00.0", "0000:82:00.0" },		/* nvidia-smi */
	{ "10000:e1:00.0", "10000:e1:00.0" },		/* VMD */
	{ "ffffffff:ff:1f.7", "ffffffff:ff:1f.7" },
	{ "1:0.0", "0000:01:00.0" },
	{ "01:00", NULL },
	{ "01:20.0", NULL },
	{ "01:00.8", NULL },
	{ "01:00.00", NULL },
	{ "01:00.0 ", NULL },
	{ " 01:00.0", NULL },
	{ "0x1:00.0", NULL },
	{ "000000000:01:00.0", NULL },
	{ "0000:001:00.0", NULL },
	{ "0000:01:00.0/../..", NULL },
	{ "-1:00.0", NULL },
	{ ":01:00.0", NULL },
	{ "", NULL },
};

START_TEST(function_is_parsed_or_left_alone)
{
	struct pciaddr addr = { 7, 7, 7, 7 };
	char buf[PCIADDR_STRLEN];

	ck_assert_msg(pciaddr_parse(functions[_i].text, &addr) ==
		      !!functions[_i].canonical,
		      "'%s'", functions[_i].text);
	ck_assert_str_eq(pciaddr_format(&addr, buf),
			 functions[_i].canonical ? functions[_i].canonical : "0007:07:07.7");
}
END_TEST

static const struct {
	const char *text;
	const char *canonical;
} slots[] = {
	{ "01:00", "0000:01:00.0" },
	{ "0000:01:1F", "0000:01:1f.0" },
	{ "10000:e1:00", "10000:e1:00.0" },
	{ "01:00.0", NULL },
	{ "01", NULL },
	{ "01:", NULL },
	{ "0000:01:00:00", NULL },
};

START_TEST(slot_is_parsed_or_left_alone)
{
	struct pciaddr addr = { 7, 7, 7, 7 };
	char buf[PCIADDR_STRLEN];

	ck_assert_msg(pciaddr_parse_slot(slots[_i].text, &addr) == !!slots[_i].canonical,
		      "'%s'", slots[_i].text);
	ck_assert_str_eq(pciaddr_format(&addr, buf),
			 slots[_i].canonical ? slots[_i].canonical : "0007:07:07.7");
}
END_TEST

START_TEST(order_is_domain_bus_slot_function)
{
	static const char *const sorted[] = {
		"0000:00:00.0", "0000:00:00.1", "0000:00:01.0", "0000:01:00.0",
		"0001:00:00.0", "10000:00:00.0", "ffffffff:00:00.0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(sorted); k++) {
			struct pciaddr a, b;
			int order;

			ck_assert(pciaddr_parse(sorted[i], &a) &&
				  pciaddr_parse(sorted[k], &b));
			order = pciaddr_compare(&a, &b);
			ck_assert_int_eq((order > 0) - (order < 0), (i > k) - (i < k));
			ck_assert(pciaddr_same_slot(&a, &b) == (i == k || i + k == 1));
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pciaddr");
	TCase *tcase = tcase_create("pciaddr");

	tcase_add_loop_test(tcase, function_is_parsed_or_left_alone, 0,
			    ARRAY_SIZE(functions));
	tcase_add_loop_test(tcase, slot_is_parsed_or_left_alone, 0, ARRAY_SIZE(slots));
	tcase_add_test(tcase, order_is_domain_bus_slot_function);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
