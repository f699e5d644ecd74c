/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host with cards and kernel modules in a testroot, for the modules of lib/host. */
#ifndef TESTHOST_H
#define TESTHOST_H

#include "testroot.h"

#include "base/cleanup.h"
#include "host/request.h"

/* One function; ids "10de:2204", subsystem "1043:87b3", class "030000"; driver may be NULL. */
static inline void testhost_function(const char *addr, const char *class, const char *ids,
				     const char *subsystem, const char *driver, int group)
{
	const struct {
		const char *name;
		const char *text;
	} attributes[] = {
		{ "class", class }, { "vendor", ids }, { "device", ids + 5 },
		{ "subsystem_vendor", subsystem }, { "subsystem_device", subsystem + 5 },
	};

	testroot_function(addr);
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		char *text = xasprintf("0x%.*s\n", i ? 4 : 6, attributes[i].text);

		testroot_attribute(addr, attributes[i].name, text);
		free(text);
	}
	testroot_attribute(addr, "boot_vga", "0\n");
	if (driver)
		testroot_driver(addr, driver);
	if (group >= 0)
		testroot_group(addr, group);
}

/* A kernel with the modules of a list in the form of tests/mkmodules.pl. */
static inline void testhost_kernel(const char *release, const char *modules)
{
	const char *source = getenv("TEST_SRC");
	char *command = xasprintf("perl '%s/mkmodules.pl' '%s' '%s' 2>/dev/null",
				  source ? source : "tests", testroot, release);
	FILE *pipe = popen(command, "w");

	ck_assert_ptr_nonnull(pipe);
	ck_assert_int_ne(fputs(modules, pipe), EOF);
	ck_assert_int_eq(pclose(pipe), 0);
	free(command);
}

/* What the kernels of these tests have. */
#define TESTHOST_VFIO \
	"vfio\nvfio_iommu_type1 depends=vfio\nvfio_pci alias=vfio_pci:v*d*sv*sd*bc*sc*i* depends=vfio\n"
#define TESTHOST_DRIVERS \
	"nouveau alias=pci:v000010DEd*sv*sd*bc03sc*i*\n" \
	"nvidiafb alias=pci:v000010DEd*sv*sd*bc03sc*i*\n" \
	"i915 alias=pci:v00008086d*sv*sd*bc03sc*i*\n" \
	"snd_hda_intel alias=pci:v*d*sv*sd*bc04sc03i00*\n" \
	"xhci_pci alias=pci:v*d*sv*sd*bc0Csc03i30*\n" \
	"ahci alias=pci:v*d*sv*sd*bc01sc06i01*\n"

/*
 * An Intel board: host bridge, graphics, USB, sound, disk; an NVIDIA card with
 * display and sound in 01:00.
 */
static inline void testhost_board(void)
{
	testroot_file("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\n");
	testroot_file("/proc/sys/kernel/osrelease", "6.8.12-1-pve\n");
	testroot_file("/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n");
	testroot_file("/boot/config-6.8.12-1-pve", "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n");
	testroot_dir("/sys/class/iommu/dmar0");
	testhost_kernel("6.8.12-1-pve", TESTHOST_VFIO TESTHOST_DRIVERS);
	testhost_function("0000:00:00.0", "060000", "8086:4660", "1043:8882", NULL, 0);
	testhost_function("0000:00:02.0", "030000", "8086:4680", "1043:8882", "i915", 1);
	testhost_function("0000:00:14.0", "0c0330", "8086:7ae0", "1043:8882", "xhci_hcd", 2);
	testhost_function("0000:00:17.0", "010601", "8086:7ae2", "1043:8882", "ahci", 3);
	testhost_function("0000:00:1f.3", "040300", "8086:7ad0", "1043:8882", "snd_hda_intel",
			  4);
	testhost_function("0000:01:00.0", "030000", "10de:2204", "1043:87b3", "nouveau", 14);
	testhost_function("0000:01:00.1", "040300", "10de:1aef", "1043:87b3",
			  "snd_hda_intel", 14);
}

/* An equal card in 65:00. */
static inline void testhost_twin(void)
{
	testhost_function("0000:65:00.0", "030000", "10de:2204", "1043:87b3", "nouveau", 15);
	testhost_function("0000:65:00.1", "040300", "10de:1aef", "1043:87b3",
			  "snd_hda_intel", 15);
}

#endif
