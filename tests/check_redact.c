/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/redact.h"

#define HEX32 "0123456789abcdef0123456789ABCDEF"

static const struct {
	const char *line, *want;
} lines[] = {
	{ "", "" },
	{ "name: web", "name: guest-1" },
	{ "WEB-Server and web2", "guest-2 and web2" },		/* the longest name */
	{ "web\tdb.web,web/web", "guest-1\tdb.guest-1,guest-1/guest-1" },
	{ "cobweb webs web_", "cobweb webs guest-1_" },
	{ "alpha.example.org alpha", "host-1.domain-1 host-1" },
	{ "/etc/pve/nodes/alpha/qemu-server/100.conf", "/etc/pve/nodes/host-1/qemu-server/100.conf" },
	{ "a\\x09web\\x0a", "a\\x09guest-1\\x0a" },		/* a record's escapes */
	{ "pve-gpu-hooks on pve: qemu/100 is running", "pve-gpu-hooks on pve: qemu/100 is running" },
	{ "ip 192.168.1.20/24 via 192.168.1.1, 192.168.1.20.", "ip ip-1/24 via ip-2, ip-1." },
	{ "127.0.0.1 0.0.0.0 255.255.255.0", "127.0.0.1 0.0.0.0 255.255.255.0" },
	{ "6.8.12-9-pve 580.65.06 1.2.3.4.5 300.1.1.1", "6.8.12-9-pve 580.65.06 1.2.3.4.5 300.1.1.1" },
	{ "fe80::1%eth0 2001:db8::/32 2001:0db8:0:0:0:0:0:1", "ip-1%eth0 ip-2/32 ip-3" },
	{ "::ffff:192.0.2.7 ::1 ::", "ip-1 ::1 ::" },
	{ "0000:01:00.0 00000000:01:00.0 10de:2204 01:00", "0000:01:00.0 00000000:01:00.0 10de:2204 01:00" },
	{ "0::/qemu.slice/100.scope 17:41:26", "0::/qemu.slice/100.scope 17:41:26" },
	{ "virtio=BC:24:11:2E:C5:01,x bc:24:11:2e:c5:01", "virtio=mac-1,x mac-1" },
	{ "00-11-22-ff-ff-33-44-55 00-11-22", "mac-1 00-11-22" },
	{ "uuid=8C6D4B20-1b54-4048-85b3-a6a62d165c01 GPU-8c6d4b20-1b54-4048-85b3-a6a62d165c01",
	  "uuid=uuid-1 GPU-uuid-1" },
	{ "00000001-0000-0000-0000-000000000100", "00000001-0000-0000-0000-000000000100" },
	{ "8c6d4b20-1b54-4048-85b3-a6a62d165c011", "8c6d4b20-1b54-4048-85b3-a6a62d165c011" },
	{ "boot " HEX32 " docker-" HEX32 HEX32 ".scope " HEX32 "0",
	  "boot id-1 docker-id-2.scope " HEX32 "0" },
	{ "mailto someone@web.example.org.", "mailto mail-1." },
	{ "pve-gpu-mdev@abc.service root@pam", "pve-gpu-mdev@abc.service root@pam" },
	{ "serial=WD-1234.5,size=1 Serial Number: WD-1234.5", "serial=serial-1,size=1 Serial Number: serial-1" },
	{ "serial web: WD-1 serial alphabet=x", "serial guest-1: serial-1 serial alphabet=serial-2" },
	{ "serial0: socket, Single port serial", "serial0: socket, Single port serial" },
	{ "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1 wwn-0x5000c500a1b2c3d4",
	  "/dev/disk/by-id/serial-1 wwn-0xserial-2" },
	{ "/dev/serial/by-id/usb-FTDI_UART_A50285BI-if00,mode=0660", "/dev/serial/by-id/serial-1,mode=0660" },
	{ "nvme-eui.0025385b01234567 eui.", "nvme-eui.serial-1 eui." },
	{ "01-bc-24-11-2e-c5-01 80:00:00:48:fe:80:00:00:00:00", "mac-1 mac-2" },
	{ "enxbc24112ec501: up, enx, enxbc24112ec5011", "enxmac-1: up, enx, enxbc24112ec5011" },
	{ "\\x \\xz \\", "\\x \\xz \\" },
	{ "-- :: : 1: .1.", "-- :: : 1: .1." },
};

static struct redactor *new_redactor(void)
{
	struct redactor *r = redactor_new();

	ck_assert(redactor_add(r, "guest", "web"));
	ck_assert(redactor_add(r, "guest", "web-server"));
	ck_assert(redactor_add(r, "guest", "Web"));	/* the same again */
	ck_assert(redactor_add(r, "host", "alpha"));
	ck_assert(redactor_add(r, "domain", "example.org"));
	return r;
}

START_TEST(one_line)
{
	struct redactor *r = new_redactor();
	char *text = redactor_line(r, lines[_i].line);

	ck_assert_str_eq(text, lines[_i].want);
	free(text);
	redactor_free(r);
}
END_TEST

/* The same in every line, whatever comes between. */
START_TEST(consistent)
{
	struct redactor *r = new_redactor();
	char *a = redactor_line(r, "10.0.0.1 10.0.0.2 web");
	char *b = redactor_line(r, "10.0.0.2 02:00:00:00:00:01 10.0.0.3 10.0.0.1 WEB");

	ck_assert_str_eq(a, "ip-1 ip-2 guest-1");
	ck_assert_str_eq(b, "ip-2 mac-1 ip-3 ip-1 guest-1");
	free(a);
	free(b);
	redactor_free(r);
}
END_TEST

START_TEST(names_that_tell_nothing)
{
	static const char *const none[] = { "", "a", "100", "10.0.0.1", "pve", "PVE", "gpu", "-" };
	struct redactor *r = redactor_new();

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		ck_assert_msg(!redactor_add(r, "host", none[i]), "%s", none[i]);
	redactor_free(r);
	redactor_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redact");
	TCase *tcase = tcase_create("redact");

	tcase_add_loop_test(tcase, one_line, 0, ARRAY_SIZE(lines));
	tcase_add_test(tcase, consistent);
	tcase_add_test(tcase, names_that_tell_nothing);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
