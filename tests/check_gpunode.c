/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "gpu/gpunode.h"
#include "gpu/gpuproc.h"
#include "gpu/vfionode.h"

struct node {
	const char *path, *addr;
};

static void nodes_are(const struct gpunodes *g, const struct node *want, size_t n)
{
	ck_assert_uint_eq(g->n, n);
	for (size_t i = 0; i < n; i++) {
		char text[PCIADDR_STRLEN];

		ck_assert_str_eq(g->nodes[i].path, want[i].path);
		ck_assert_str_eq(pciaddr_format(&g->nodes[i].addr, text), want[i].addr);
	}
}

static void add_card(const char *name, const char *device)
{
	char *path = xasprintf("/sys/class/drm/%s/device", name);

	testroot_link(path, device);
	free(path);
}

static void build_host(void)
{
	testroot_file("/proc/driver/nvidia/gpus/0000:01:00.0/information",
		      "Model: \t\t NVIDIA L40S\nIRQ:   \t\t 100\nDevice Minor: \t 0\n");
	testroot_file("/proc/driver/nvidia/gpus/0000:02:00.0/information",
		      "Model: \t\t NVIDIA L40S\nDevice Minor: \t 11\n");
	testroot_file("/proc/driver/nvidia/gpus/0000:03:00.0/information", "Model: broken\n");
	add_card("card0", "../../../0000:00:02.0");
	add_card("renderD128", "../../../0000:00:02.0");
	add_card("card1", "../../../0000:04:00.0");
	add_card("card2", "../../../vkms");
	add_card("card0-HDMI-A-1", "../../card0");
	testroot_link("/dev/dri/by-path/pci-0000:00:02.0-render", "../renderD128");
	testroot_link("/dev/dri/by-path/pci-0000:09:00.0-card", "../card9");
	testroot_link("/sys/bus/pci/drivers/amdgpu/0000:05:00.0", "../../../../devices/x");
	testroot_link("/sys/bus/pci/drivers/amdgpu/0000:04:00.0", "../../../../devices/y");
	testroot_file("/sys/bus/pci/drivers/amdgpu/bind", "");
}

START_TEST(nodes_of_all_kinds)
{
	static const struct node want[] = {
		{ "/dev/dri/by-path/pci-0000:00:02.0-render", "0000:00:02.0" },
		{ "/dev/dri/card0", "0000:00:02.0" },
		{ "/dev/dri/card1", "0000:04:00.0" },
		{ "/dev/dri/renderD128", "0000:00:02.0" },
		{ "/dev/kfd", "0000:04:00.0" },
		{ "/dev/kfd", "0000:05:00.0" },
		{ "/dev/nvidia0", "0000:01:00.0" },
		{ "/dev/nvidia11", "0000:02:00.0" },
	};
	struct gpunodes g;

	build_host();
	ck_assert_int_eq(gpunodes_read(&g), 0);
	nodes_are(&g, want, ARRAY_SIZE(want));
	gpunodes_done(&g);
}
END_TEST

START_TEST(no_gpu)
{
	struct gpuproc *procs;
	struct gpunodes g;
	size_t n;

	ck_assert_int_eq(gpunodes_read(&g), 0);
	ck_assert_uint_eq(g.n, 0);
	ck_assert_int_eq(gpuproc_list(&g, &procs, &n), -ENOENT);
	testroot_dir("/proc");
	ck_assert_int_eq(gpuproc_list(&g, &procs, &n), 0);
	ck_assert_uint_eq(n, 0);
	gpuproc_free(procs, n);
	gpunodes_done(&g);
}
END_TEST

static const struct {
	const char *path;
	bool is;
} paths[] = {
	{ "/dev/nvidia0", true }, { "/dev/nvidiactl", true }, { "/dev/nvidia-uvm", true },
	{ "/dev/nvidia-caps/nvidia-cap1", true }, { "/dev/dri", true }, { "/dev/dri/card0", true },
	{ "/dev/dri/by-path/x", true }, { "/dev/kfd", true }, { "/dev/null", false },
	{ "/dev/driver", false }, { "/dev/kfd0", false }, { "/mnt/dev/dri/card0", false },
	{ "dev/nvidia0", false }, { "/dev/vfio/1", false }, { "", false },
};

START_TEST(gpu_paths)
{
	ck_assert_msg(gpunode_is_gpu_path(paths[_i].path) == paths[_i].is, "%s", paths[_i].path);
}
END_TEST

START_TEST(processes)
{
	struct gpuproc *procs;
	struct gpunodes g;
	char text[PCIADDR_STRLEN];
	size_t n;

	build_host();
	testroot_file("/proc/200/comm", "ollama_llama_server\n");
	testroot_file("/proc/200/cgroup", "0::/system.slice/ollama.service\n");
	testroot_link("/proc/200/fd/0", "/dev/null");
	testroot_link("/proc/200/fd/3", "/dev/nvidiactl");
	testroot_link("/proc/200/fd/4", "/dev/nvidia11");
	testroot_link("/proc/200/fd/5", "/dev/nvidia0");
	testroot_link("/proc/200/fd/6", "/dev/nvidia0");
	testroot_link("/proc/200/fd/7", "socket:[123]");
	testroot_file("/proc/30/comm", "Xorg\n");
	testroot_file("/proc/30/cgroup", "0::/lxc/200/ns\n");
	testroot_link("/proc/30/fd/4", "/dev/dri/card0 (deleted)");
	testroot_file("/proc/31/comm", "idle\n");
	testroot_link("/proc/31/fd/0", "/dev/null");
	testroot_link("/proc/32/fd/0", "/dev/kfd");	/* has ended meanwhile: no comm */
	testroot_link("/proc/self/fd/0", "/dev/kfd");
	ck_assert_int_eq(gpunodes_read(&g), 0);
	ck_assert_int_eq(gpuproc_list(&g, &procs, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(procs[0].pid, 30);
	ck_assert_str_eq(procs[0].owner, "lxc/200");
	ck_assert_uint_eq(procs[0].n_nodes, 1);
	ck_assert_str_eq(procs[0].nodes[0], "/dev/dri/card0");
	ck_assert_int_eq(procs[1].pid, 200);
	ck_assert_str_eq(procs[1].comm, "ollama_llama_se");
	ck_assert_str_eq(procs[1].owner, "unit/ollama.service");
	ck_assert_uint_eq(procs[1].n_nodes, 3);
	ck_assert_str_eq(procs[1].nodes[0], "/dev/nvidia0");
	ck_assert_str_eq(procs[1].nodes[2], "/dev/nvidiactl");
	ck_assert_uint_eq(procs[1].n_addrs, 2);
	ck_assert_str_eq(pciaddr_format(&procs[1].addrs[0], text), "0000:01:00.0");
	ck_assert_str_eq(pciaddr_format(&procs[1].addrs[1], text), "0000:02:00.0");
	gpuproc_free(procs, n);
	gpunodes_done(&g);
}
END_TEST

#define UUID "4b20d080-1b54-4048-85b3-a6a62d165c01"

START_TEST(vfio_nodes)
{
	static const struct node want[] = {
		{ "/dev/kfd", "0000:09:00.0" },
		{ "/dev/vfio/12", "0000:01:00.0" },
		{ "/dev/vfio/27", "0000:03:00.0" },
		{ "/dev/vfio/devices/vfio3", "0000:01:00.0" },
		{ "/dev/vfio/devices/vfio4", "0000:03:00.0" },
		{ "/dev/zzz", "0000:09:00.0" },
	};
	struct gpunodes g = { .nodes = xcalloc(2, sizeof(*g.nodes)), .n = 2 };

	g.nodes[0] = (struct gpunode){ xstrdup("/dev/zzz"), { .bus = 9 } };
	g.nodes[1] = (struct gpunode){ xstrdup("/dev/kfd"), { .bus = 9 } };
	for (int i = 1; i <= 3; i++) {
		char addr[16];

		snprintf(addr, sizeof(addr), "0000:%02x:00.0", i);
		testroot_function(addr);
		/* 1 is a display, 2 a network card, 3 an accelerator without a group */
		testroot_attribute(addr, "class", i == 1 ? "0x030000\n" :
				   i == 2 ? "0x020000\n" : "0x120000\n");
		testroot_attribute(addr, "vendor", "0x10de\n");
		testroot_attribute(addr, "device", "0x1234\n");
	}
	testroot_group("0000:01:00.0", 12);
	testroot_group("0000:02:00.0", 13);
	testroot_dir("/sys/devices/pci0000:00/0000:01:00.0/vfio-dev/vfio3");
	testroot_dir("/sys/devices/pci0000:00/0000:02:00.0/vfio-dev/vfio9");
	testroot_dir("/sys/devices/pci0000:00/0000:03:00.0/" UUID "/vfio-dev/vfio4");
	testroot_link("/sys/bus/mdev/devices/" UUID,
		      "../../../devices/pci0000:00/0000:03:00.0/" UUID);
	testroot_link("/sys/devices/pci0000:00/0000:03:00.0/" UUID "/iommu_group",
		      "../../../../kernel/iommu_groups/27");
	ck_assert_int_eq(vfionode_add(&g), 0);
	nodes_are(&g, want, ARRAY_SIZE(want));
	gpunodes_done(&g);
}
END_TEST

START_TEST(no_vfio)
{
	struct gpunodes g = { 0 };

	ck_assert_int_eq(vfionode_add(&g), 0);
	ck_assert_uint_eq(g.n, 0);
	gpunodes_done(&g);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gpunode");
	TCase *tcase = tcase_create("gpunode");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_test(tcase, nodes_of_all_kinds);
	tcase_add_test(tcase, no_gpu);
	tcase_add_loop_test(tcase, gpu_paths, 0, ARRAY_SIZE(paths));
	tcase_add_test(tcase, processes);
	tcase_add_test(tcase, vfio_nodes);
	tcase_add_test(tcase, no_vfio);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
