/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host as a whole: configs, mappings and reservations to assignment records. */
#include "fuzz.h"
#include "pve/assignment.h"

static int fds[4] = { -1, -1, -1, -1 };

static void put(const char *path, const char *text)
{
	int fd = -1;

	fuzz_file(&fd, path, text, strlen(text));
	close(fd);
}

static void make_function(const char *addr, const char *class, const char *group)
{
	char *path = xasprintf("/sys/bus/pci/devices/%s/class", addr);

	put(path, class);
	free(path);
	path = xasprintf("/sys/bus/pci/devices/%s/vendor", addr);
	put(path, "0x10de\n");
	free(path);
	path = xasprintf("/sys/bus/pci/devices/%s/device", addr);
	put(path, "0x2204\n");
	free(path);
	path = xasprintf("/sys/bus/pci/devices/%s/iommu_group", addr);
	fuzz_link(path, group);
	free(path);
}

static void make_host(void)
{
	char *folder = fuzz_path("/sys/kernel/iommu_groups/14/devices/");

	free(folder);
	make_function("0000:01:00.0", "0x030000\n", "../../../../kernel/iommu_groups/14");
	make_function("0000:01:00.1", "0x040300\n", "../../../../kernel/iommu_groups/14");
	make_function("0000:02:00.0", "0x030000\n", "../../../../kernel/iommu_groups/15");
	fuzz_link("/etc/pve/local", "nodes/pve1");
	put("/proc/net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n");
}

/* VM 100, container 200, mappings, reservations; "%%" between. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {
		"/etc/pve/nodes/pve1/qemu-server/100.conf", "/etc/pve/nodes/pve1/lxc/200.conf",
		"/etc/pve/mapping/pci.cfg", "/run/qemu-server/pci-id-reservations",
	};
	struct assignment *a = NULL;
	size_t n = 0;

	if (fds[0] < 0)
		make_host();
	for (size_t i = 0; i < 4; i++) {
		char *part = fuzz_part(&data, &size);

		fuzz_file(&fds[i], paths[i], part, strlen(part));
		free(part);
	}
	assignments_load(&a, &n);
	for (size_t i = 0; i < n; i++) {
		FUZZ_MUST(a[i].key && a[i].node);
		FUZZ_MUST(a[i].guest.vmid == (a[i].guest.kind == GUEST_QEMU ? 100 : 200));
		FUZZ_MUST(a[i].state == ASSIGNMENT_STOPPED && !a[i].held);
	}
	assignments_free(a, n);
	return 0;
}
