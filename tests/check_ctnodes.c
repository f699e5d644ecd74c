/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "gpu/ctnodes.h"

#define GPUS	"/proc/driver/nvidia/gpus/"
#define MIG	"/proc/driver/nvidia/capabilities/gpu"

/* Two NVIDIA GPUs whose minors are not in the order of their addresses, one with MIG. */
static void add_nvidia(void)
{
	testroot_file(GPUS "0000:01:00.0/information", "Model: A100\nDevice Minor: \t 1\n");
	testroot_file(GPUS "0000:41:00.0/information", "Model: A100\nDevice Minor: \t 0\n");
	testroot_file(MIG "1/mig/gi3/access", "DeviceFileMinor: 30\nDeviceFileMode: 292\n");
	testroot_file(MIG "1/mig/gi3/ci0/access", "DeviceFileMinor: 31\nDeviceFileMode: 292\n");
	testroot_file(MIG "1/mig/gi3/ci1/access", "DeviceFileMinor: 32\nDeviceFileMode: 292\n");
	testroot_file(MIG "1/mig/gi5/access", "DeviceFileMinor: 48\nDeviceFileMode: 292\n");
	testroot_file(MIG "1/mig/gi5/ci0/access", "DeviceFileMinor: 49\nDeviceFileMode: 292\n");
	testroot_file("/dev/nvidia0", "");
	testroot_file("/dev/nvidia1", "");
	testroot_file("/dev/nvidiactl", "");
	testroot_file("/proc/devices", "Character devices:\n  1 mem\n195 nvidia\n237 nvidia-caps\n"
		      "508 nvidia-uvm\n509 kfd\n\nBlock devices:\n 11 nvidia-late\n");
}

static void add_card(const char *addr, const char *vendor, const char *card,
		     const char *render, unsigned minor)
{
	char *path = xasprintf("/sys/bus/pci/devices/%s/vendor", addr);
	const char *names[] = { card, render };

	testroot_file(path, vendor);
	free(path);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *dev = xasprintf("/sys/class/drm/%s/dev", names[i]),
		     *link = xasprintf("/sys/class/drm/%s/device", names[i]),
		     *to = xasprintf("../../../%s", addr),
		     *node = xasprintf("/dev/dri/%s", names[i]),
		     *text = xasprintf("226:%u\n", i ? minor + 128 : minor),
		     *udev = xasprintf("/dev/dri/by-path/pci-%s-%s", addr, i ? "render" : "card"),
		     *target = xasprintf("../%s", names[i]);

		testroot_file(dev, text);
		testroot_link(link, to);
		testroot_file(node, "");
		testroot_link(udev, target);
		free(dev);
		free(link);
		free(to);
		free(node);
		free(text);
		free(udev);
		free(target);
	}
}

static void add_host(void)
{
	add_nvidia();
	add_card("0000:00:02.0", "0x8086\n", "card1", "renderD129", 1);
	add_card("0000:06:00.0", "0x1002\n", "card0", "renderD128", 0);
	testroot_file("/sys/bus/pci/drivers/amdgpu/0000:06:00.0/vendor", "0x1002\n");
	testroot_file("/dev/kfd", "");
	add_card("0000:07:00.0", "0x1a03\n", "card2", "renderD130", 2);
}

/* "PATH MAJOR:MINOR GROUP there;", in order. */
static char *describe(const struct ctnodes *c)
{
	static const char *const groups[] = { "all", "video", "render" };
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	for (size_t i = 0; i < c->n; i++) {
		const struct ctnode *n = &c->nodes[i];

		fprintf(f, "%s", n->path + strlen("/dev/"));
		if (strcmp(n->path, n->name) != 0)
			fprintf(f, ">%s", n->name + strlen("/dev/"));
		if (n->has_number)
			fprintf(f, " %u:%u", n->major, n->minor);
		fprintf(f, "%s%s%s%s\n", n->group ? " " : "", n->group ? groups[n->group] : "",
			n->is_dir ? " dir" : "", n->is_there ? "" : " missing");
	}
	fclose(f);
	return out;
}

#define STANDARD_UVM	"nvidia-uvm 508:0 missing\nnvidia-uvm-tools 508:1 missing\n"
#define INTEL	"dri/by-path/pci-0000:00:02.0-card>dri/card1 226:1 video\n" \
		"dri/by-path/pci-0000:00:02.0-render>dri/renderD129 226:129 render\n"
#define CAPS	"nvidia-caps dir missing\n"
#define CAP(n)	"nvidia-caps/nvidia-cap" #n " 237:" #n " missing\n"

static const struct {
	const char *wish;
	const char *nodes;
	size_t n_gpus;
} cases[] = {
	{ "none", CAPS STANDARD_UVM "nvidiactl 195:255\n", 0 },
	/* by address: the first one has minor 1 */
	{ "1", CAPS STANDARD_UVM "nvidia0 195:0\nnvidiactl 195:255\n", 1 },
	{ "0000:41:00.0", CAPS STANDARD_UVM "nvidia0 195:0\nnvidiactl 195:255\n", 1 },
	{ "41:00", CAPS STANDARD_UVM "nvidia0 195:0\nnvidiactl 195:255\n", 1 },
	{ "0/gi5", CAPS CAP(48) CAP(49) STANDARD_UVM "nvidia1 195:1\nnvidiactl 195:255\n", 1 },
	{ "0/gi3/ci1", CAPS CAP(30) CAP(32) STANDARD_UVM "nvidia1 195:1\nnvidiactl 195:255\n", 1 },
	{ "01:00.0/gi3/ci1,0/gi5", CAPS CAP(30) CAP(32) CAP(48) CAP(49)STANDARD_UVM
	  "nvidia1 195:1\nnvidiactl 195:255\n", 1 },
	{ "0,1, 0", CAPS CAP(30) CAP(31) CAP(32) CAP(48) CAP(49)STANDARD_UVM
	  "nvidia0 195:0\nnvidia1 195:1\nnvidiactl 195:255\n", 2 },
	{ "0000:06:00.0", "dri/renderD128 226:128 render\nkfd 509:0 render\n", 1 },
	{ "0000:00:02.0", INTEL, 1 },
	{ "0000:07:00.0", "dri/by-path/pci-0000:07:00.0-card>dri/card2 226:2 video\n"
	  "dri/by-path/pci-0000:07:00.0-render>dri/renderD130 226:130 render\n", 1 },
	{ "all", INTEL "dri/renderD128 226:128 render\nkfd 509:0 render\n" CAPS
	  CAP(30) CAP(31) CAP(32) CAP(48) CAP(49) STANDARD_UVM
	  "nvidia0 195:0\nnvidia1 195:1\nnvidiactl 195:255\n", 4 },
};

START_TEST(finds)
{
	struct ctnodes c;
	char *why = NULL, *text;

	add_host();
	ck_assert_int_eq(ctnodes_find(cases[_i].wish, &c, &why), 0);
	text = describe(&c);
	ck_assert_msg(strcmp(text, cases[_i].nodes) == 0, "%s:\n%s", cases[_i].wish, text);
	ck_assert_uint_eq(c.n_gpus, cases[_i].n_gpus);
	free(text);
	ctnodes_done(&c);
}
END_TEST

#define NO_NAME	"a GPU without a name: all, none, or a list of NVIDIA GPUs' numbers and " \
		"PCI addresses"

static const struct {
	const char *wish;
	int rc;
	const char *why;
} bad[] = {
	{ "2", -ENOENT, "no NVIDIA GPU 2: gpu-ls lists the GPUs, others are named by address" },
	{ "", -EINVAL, NO_NAME },
	{ "0,,1", -EINVAL, NO_NAME },
	{ "0,", -EINVAL, NO_NAME },
	{ "/gi3", -EINVAL, NO_NAME },
	{ "all,0", -EINVAL, "all stands alone, in no list" },
	{ "0, none", -EINVAL, "none stands alone, in no list" },
	{ "-1", -EINVAL, "-1: not all, none, an NVIDIA GPU's number or a PCI address" },
	{ "99999", -EINVAL, "99999: not all, none, an NVIDIA GPU's number or a PCI address" },
	{ "0000:99:00.0", -ENOENT, "0000:99:00.0 has no device nodes: no host driver has it" },
	{ "0/gi4", -ENOENT, "/dev/nvidia1 has no MIG instance gi4" },
	{ "0/gi3/ci7", -ENOENT, "/dev/nvidia1 has no MIG instance gi3/ci7" },
	{ "1/gi3", -ENOENT, "/dev/nvidia0 has no MIG instance gi3" },
	{ "0/", -EINVAL, "'': not a MIG instance (giN or giN/ciN)" },
	{ "0/gi", -EINVAL, "'gi': not a MIG instance (giN or giN/ciN)" },
	{ "0/gi3/", -EINVAL, "'gi3/': not a MIG instance (giN or giN/ciN)" },
	{ "0/../../x", -EINVAL, "'../../x': not a MIG instance (giN or giN/ciN)" },
	{ "0000:06:00.0/gi3", -ENOENT, "0000:06:00.0 is no NVIDIA GPU: it has no gi3" },
};

START_TEST(refuses)
{
	struct ctnodes c = { 0 };
	char *why = NULL;

	add_host();
	ck_assert_int_eq(ctnodes_find(bad[_i].wish, &c, &why), bad[_i].rc);
	ck_assert_str_eq(why, bad[_i].why);
	ck_assert_uint_eq(c.n, 0);
	free(why);
}
END_TEST

START_TEST(without_driver)
{
	struct ctnodes c;
	char *why = NULL, *text;

	ck_assert_int_eq(ctnodes_find("all", &c, &why), -ENOENT);
	free(why);
	ck_assert_int_eq(ctnodes_find("none", &c, &why), 0);
	text = describe(&c);
	ck_assert_str_eq(text, "nvidia-uvm missing\nnvidia-uvm-tools missing\n"
			 "nvidiactl 195:255 missing\n");
	free(text);
	testroot_file("/dev/nvidiactl", "");
	ctnodes_look(&c);
	ck_assert(!c.nodes[0].is_there && c.nodes[2].is_there);
	ctnodes_done(&c);
}
END_TEST

START_TEST(majors)
{
	add_nvidia();
	ck_assert_int_eq(ctnodes_major("nvidia-uvm"), 508);
	ck_assert_int_eq(ctnodes_major("nvidia"), 195);
	ck_assert_int_eq(ctnodes_major("nvidia-late"), -1);
	ck_assert_int_eq(ctnodes_major("nope"), -1);
}
END_TEST

/* Without udev's links: by number. */
START_TEST(without_by_path)
{
	struct ctnodes c;
	char *why = NULL, *text;

	testroot_file("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n");
	testroot_link("/sys/class/drm/card0/device", "../../../0000:00:02.0");
	testroot_link("/sys/class/drm/renderD128/device", "../../../0000:00:02.0");
	ck_assert_int_eq(ctnodes_find("all", &c, &why), 0);
	text = describe(&c);
	ck_assert_str_eq(text, "dri/card0 226:0 video missing\n"
			 "dri/renderD128 226:128 render missing\n");
	free(text);
	ctnodes_done(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ctnodes");
	TCase *t = tcase_create("ctnodes");

	tcase_add_checked_fixture(t, testroot_setup, testroot_teardown);
	tcase_add_loop_test(t, finds, 0, ARRAY_SIZE(cases));
	tcase_add_loop_test(t, refuses, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, without_driver);
	tcase_add_test(t, majors);
	tcase_add_test(t, without_by_path);
	suite_add_tcase(s, t);
	return testroot_run(s);
}
