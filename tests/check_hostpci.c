/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "pve/hostpci.h"

static void add_function(const char *addr, const char *device, int group)
{
	testroot_function(addr);
	testroot_attribute(addr, "vendor", "0x10de\n");
	testroot_attribute(addr, "device", device);
	testroot_attribute(addr, "subsystem_vendor", "0x1043\n");
	testroot_attribute(addr, "subsystem_device", "0x8798\n");
	testroot_attribute(addr, "class", "0x030000\n");
	testroot_attribute(addr, "irq", "16\n");
	testroot_attribute(addr, "resource", "");
	testroot_group(addr, group);
}

static void build_host(void)
{
	testroot_setup();
	add_function("0000:00:02.0", "0x4680\n", 1);
	add_function("0000:01:00.0", "0x2204\n", 14);
	add_function("0000:01:00.1", "0x1aef\n", 14);
	add_function("0000:02:00.0", "0x2204\n", 15);
	add_function("0000:82:00.0", "0x1b38\n", 20);
	testroot_attribute("0000:82:00.0", "mdev_supported_types/nvidia-63/available_instances",
			   "2\n");
	add_function("0000:83:00.4", "0x20b5\n", 22);
	testroot_attribute("0000:83:00.4", "nvidia/current_vgpu_type", "0\n");
	add_function("10000:e1:00.0", "0xa808\n", 30);
	testroot_file("/etc/pve/mapping/pci.cfg",
		"gpu\n"
		"\tmap id=10de:2204,iommugroup=15,node=n1,path=0000:02:00,subsystem-id=1043:8798\n"
		"\tmap id=10de:2204,iommugroup=1,node=n2,path=0000:c1:00,subsystem-id=1043:8798\n"
		"\tmap id=10de:2204,iommugroup=14,node=n1,path=0000:01:00,subsystem-id=1043:8798\n"
		"\n"
		"odd\n"
		"\tmap id=10de:2204,iommugroup=14,node=n1,path=0000:01:00.0;0000:05:00,subsystem-id=1043:8798\n"
		"\tmap id=10de:2205,iommugroup=15,node=n1,path=0000:02:00.0,subsystem-id=1043:8798\n"
		"\n"
		"vgpu\n"
		"\tmap id=10de:1b38,iommugroup=20,node=n1,path=0000:82:00.0,subsystem-id=1043:8798\n"
		"\tmdev 1\n"
		"\n"
		"impossible\n"
		"\tmap id=10de:1b38,node=n1,path=0000:01:1f.f\n");
}

struct result {
	char *refused;		/* "0,3" */
	char why[256];
};

static void refuse(int index, const char *why, void *arg)
{
	struct result *r = arg;
	char *more = xasprintf("%s%s%d", r->refused, *r->refused ? "," : "", index);

	free(r->refused);
	r->refused = more;
	snprintf(r->why, sizeof(r->why), "%s", why);
}

static void bad(unsigned long line, const char *why, void *arg)
{
	(void)arg;
	ck_abort_msg("pci.cfg:%lu: %s", line, why);
}

enum { Q35 = 1, NO_VGA = 2 };

/* "INDEX.ALT ADDR STATUS" per row; values by index, joined by '|'. */
static const struct {
	const char *values;
	unsigned vm;
	const char *rows;
	const char *refused;
} cases[] = {
	{ "01:00", 0, "0.0 0000:01:00.0 ok|0.0 0000:01:00.1 ok", "" },
	{ "01:00.1", 0, "0.0 0000:01:00.1 ok", "" },
	{ "0000:02:00.0;01:00.1", 0, "0.0 0000:01:00.1 ok|0.0 0000:02:00.0 ok", "" },
	{ "10000:e1:00", 0, "0.0 10000:e1:00.0 ok", "" },
	{ "00000:01:00.0", 0, "0.0 0000:01:00.0 missing", "" },
	{ "05:00", 0, "0.0 0000:05:00 missing", "" },
	{ "05:00.3;01:00.0", 0, "0.0 0000:01:00.0 ok|0.0 0000:05:00.3 missing", "" },
	{ "01:1f.f", 0, "0.0 - refused", "0" },
	{ "01:3f", 0, "0.0 - refused", "0" },
	{ "123456789:01:00.0", 0, "0.0 - refused", "0" },
	{ "mapping=gpu", 0,
	  "0.0 0000:02:00.0 ok|0.1 0000:01:00.0 ok|0.1 0000:01:00.1 ok", "" },
	{ "mapping=odd", 0, "0.0 0000:01:00.0 ok|0.0 0000:05:00 missing|"
	  "0.1 0000:02:00.0 mismatch:id", "" },
	{ "mapping=none", 0, "0.0 - no-mapping", "" },
	{ "mapping=impossible", 0, "0.0 - refused", "0" },
	{ "mapping=vgpu,mdev=nvidia-63", 0, "0.0 0000:82:00.0 ok", "" },
	{ "mapping=gpu,host=01:00", 0, "0.0 - refused", "0" },
	{ "pcie=1", Q35, "0.0 - refused", "0" },
	{ ",", Q35, "0.0 - refused", "0" },
	{ "02:00.0,pcie=1", Q35, "0.0 0000:02:00.0 ok", "" },
	{ "02:00.0,pcie=1", 0, "0.0 - refused", "0" },
	{ "02:00.0,pcie=0", 0, "0.0 0000:02:00.0 ok", "" },
	{ "01:00,mdev=nvidia-63", 0, "0.0 - refused", "0" },
	{ "82:00.0,mdev=nvidia-63|82:00.0,mdev=nvidia-63", 0,
	  "0.0 0000:82:00.0 ok|1.0 0000:82:00.0 ok", "" },
	{ "83:00.4,mdev=nvidia-660|83:00.4,mdev=nvidia-660", 0, "0.0 0000:83:00.4 ok|1.0 - refused", "1" },
	{ "01:00.0|01:00", 0, "0.0 0000:01:00.0 ok|1.0 - refused", "1" },
	{ "01:00;01:00.1", 0, "0.0 - refused", "0" },
	{ "01:00.0|mapping=gpu", 0, "0.0 0000:01:00.0 ok|1.0 0000:02:00.0 ok|"
	  "1.1 0000:01:00.0 ok|1.1 0000:01:00.1 ok", "" },
	{ "mapping=gpu|mapping=gpu", 0, "0.0 0000:02:00.0 ok|0.1 0000:01:00.0 ok|"
	  "0.1 0000:01:00.1 ok|1.0 0000:02:00.0 ok|1.1 0000:01:00.0 ok|1.1 0000:01:00.1 ok", "" },
	/* legacy-igd */
	{ "00:02.0,legacy-igd=1", NO_VGA, "0.0 0000:00:02.0 ok", "" },
	{ "00:02.0,legacy-igd=1", 0, "0.0 - refused", "0" },
	{ "00:02.0,legacy-igd=1", NO_VGA | Q35, "0.0 - refused", "0" },
	{ "00:02.0,legacy-igd=1,rombar=0", NO_VGA, "0.0 - refused", "0" },
	{ "00:02.0,legacy-igd=1,x-vga=1", NO_VGA, "0.0 - refused", "0" },
	{ "02:00.0,legacy-igd=1", NO_VGA, "0.0 - refused", "0" },
	{ "01:00,legacy-igd=1", NO_VGA, "0.0 - refused", "0" },
	{ "mapping=gpu,legacy-igd=1", NO_VGA, "0.0 - refused", "0" },
	{ "00:02.0,legacy-igd=1|02:00.0,legacy-igd=1", NO_VGA, "0.0 0000:00:02.0 ok|1.0 - refused", "1" },
};

static char *format_rows(const struct hostpci_rows *rows)
{
	char *out = xstrdup("");

	for (size_t i = 0; i < rows->n; i++) {
		const struct hostpci_row *row = &rows->list[i];
		char addr[PCIADDR_STRLEN] = "-";
		char *more;

		if (row->has_addr)
			pciaddr_format(&row->addr, addr);
		if (row->is_slot)
			*strrchr(addr, '.') = '\0';
		more = xasprintf("%s%s%d.%d %s %s", out, i ? "|" : "", row->index, row->alt, addr,
				 row->status ? row->status : "-");
		free(out);
		out = more;
	}
	return out;
}

static void resolve(const char *values, unsigned vm_flags, struct hostpci_host *host,
		    struct hostpci_rows *rows, struct result *result)
{
	_cleanup_free_ char *copy = xstrdup(values);
	const struct hostpci *settings[HOSTPCI_MAX] = { NULL };
	struct hostpci parsed[HOSTPCI_MAX];
	struct hostpci_vm vm = { .q35 = vm_flags & Q35, .vga_none = vm_flags & NO_VGA };
	char *rest = copy, *value;

	result->refused = xstrdup("");
	for (int i = 0; (value = strsep(&rest, "|")); i++) {
		char *why = NULL;

		ck_assert_msg(hostpci_parse(value, strlen(value), &parsed[i], &why), "%s", why);
		settings[i] = &parsed[i];
	}
	hostpci_resolve(host, settings, &vm, rows, refuse, result);
}

START_TEST(functions_as_pve_passes_them)
{
	struct hostpci_host host = { .node = "n1", .is_local = true, .bad_mapping = bad };
	struct hostpci_rows rows = { 0 };
	struct result result = { 0 };
	char *got;

	resolve(cases[_i].values, cases[_i].vm, &host, &rows, &result);
	got = format_rows(&rows);
	ck_assert_str_eq(got, cases[_i].rows);
	ck_assert_msg(strcmp(result.refused, cases[_i].refused) == 0, "refused '%s': %s",
		      result.refused, result.why);
	ck_assert_int_eq(host.error, 0);
	free(got);
	free(result.refused);
	free(rows.list);
	hostpci_host_done(&host);
}
END_TEST

START_TEST(another_node_is_not_looked_at)
{
	struct hostpci_host host = { .node = "n2", .bad_mapping = bad };
	struct hostpci_rows rows = { 0 };
	struct result result = { 0 };
	char *got;

	resolve("mapping=gpu|01:00|05:00.1|mapping=vgpu", 0, &host, &rows, &result);
	got = format_rows(&rows);
	ck_assert_str_eq(got, "0.0 0000:c1:00 -|1.0 0000:01:00 -|2.0 0000:05:00.1 -|3.0 - -");
	ck_assert_str_eq(result.refused, "");
	free(got);
	free(result.refused);
	free(rows.list);
	hostpci_host_done(&host);
}
END_TEST

START_TEST(carriage_return_is_refused)
{
	char text[] = "01:00\r,pcie=1";
	_cleanup_free_ char *why = NULL;
	struct hostpci h;

	ck_assert(!hostpci_parse(text, strlen(text), &h, &why));
	ck_assert_str_eq(why, "property contains a line feed");
}
END_TEST

START_TEST(without_pci_everything_is_missing)
{
	struct hostpci_host host = { .node = "n1", .is_local = true, .bad_mapping = bad };
	struct hostpci_rows rows = { 0 };
	struct result result = { 0 };
	char *got;

	testroot_teardown();
	resolve("01:00|mapping=gpu", 0, &host, &rows, &result);
	got = format_rows(&rows);
	ck_assert_str_eq(got, "0.0 0000:01:00 missing|1.0 - no-mapping");
	ck_assert_int_eq(host.error, 0);
	free(got);
	free(result.refused);
	free(rows.list);
	hostpci_host_done(&host);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hostpci");
	TCase *tcase = tcase_create("hostpci");

	tcase_add_checked_fixture(tcase, build_host, testroot_teardown);
	tcase_add_loop_test(tcase, functions_as_pve_passes_them, 0, ARRAY_SIZE(cases));
	tcase_add_test(tcase, another_node_is_not_looked_at);
	tcase_add_test(tcase, carriage_return_is_refused);
	tcase_add_test(tcase, without_pci_everything_is_missing);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
