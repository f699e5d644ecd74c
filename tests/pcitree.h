/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI trees for unit tests: functions below bridges, with config space. */
#ifndef PCITREE_H
#define PCITREE_H

#include "testroot.h"

#include "base/cleanup.h"
#include "pci/pciaddr.h"

static inline struct pciaddr at(const char *text)
{
	struct pciaddr addr;

	ck_assert(pciaddr_parse(text, &addr));
	return addr;
}

/* Write an attribute of the function with this folder below /sys/devices. */
static inline void pcitree_attribute(const char *place, const char *name,
				     const char *text)
{
	_cleanup_free_ char *path = xasprintf("/sys/devices/%s/%s", place, name);

	testroot_file(path, text);
}

/* A function: place is "pci0000:00/0000:00:01.0/0000:01:00.0"; ids and class in hex. */
static inline void pcitree_function(const char *place, unsigned vendor, unsigned device,
				    unsigned class)
{
	const char *addr = strrchr(place, '/') + 1;
	_cleanup_free_ char *link = xasprintf("/sys/bus/pci/devices/%s", addr);
	_cleanup_free_ char *target = xasprintf("../../../devices/%s", place);
	_cleanup_free_ char *dir = xasprintf("/sys/devices/%s", place);
	char text[16];

	testroot_dir(dir);
	testroot_link(link, target);
	snprintf(text, sizeof(text), "0x%04x\n", vendor);
	pcitree_attribute(place, "vendor", text);
	snprintf(text, sizeof(text), "0x%04x\n", device);
	pcitree_attribute(place, "device", text);
	snprintf(text, sizeof(text), "0x%06x\n", class);
	pcitree_attribute(place, "class", text);
	pcitree_attribute(place, "resource", "");
	pcitree_attribute(place, "irq", "0\n");
}

static inline void pcitree_bridge(const char *place)
{
	_cleanup_free_ char *dir = xasprintf("/sys/devices/%s/pci_bus", place);

	pcitree_function(place, 0x104c, 0x8232, 0x060400);
	testroot_dir(dir);
}

static inline void pcitree_driver(const char *place, const char *driver)
{
	_cleanup_free_ char *link = xasprintf("/sys/devices/%s/driver", place);
	_cleanup_free_ char *target = xasprintf("%s/sys/bus/pci/drivers/%s", testroot, driver);
	_cleanup_free_ char *dir = xasprintf("/sys/bus/pci/drivers/%s", driver);

	testroot_dir(dir);
	testroot_link(link, target);
}

/*
 * Config space, len bytes of it: header type (with the multi-function bit), and
 * a PCI Express capability of this type (-1: none), with FLR or without.
 */
static inline void pcitree_config(const char *place, size_t len, int header, int type,
				  bool flr)
{
	_cleanup_free_ char *path = xasprintf("/sys/devices/%s/config", place);
	unsigned char bytes[256] = { 0x02, 0x10, 0x46, 0x50 };

	bytes[0x0e] = (unsigned char)header;
	if (type >= 0) {
		bytes[0x06] = 0x10;
		bytes[0x34] = 0x50;
		bytes[0x50] = 0x01;	/* power management, then PCI Express */
		bytes[0x51] = 0x60;
		bytes[0x60] = 0x10;
		bytes[0x62] = (unsigned char)(type << 4 | 2);
		bytes[0x67] = flr ? 0x10 : 0;
	}
	testroot_data(path, bytes, len);
}

static inline void pcitree_config_bytes(const char *place, const void *data, size_t len)
{
	_cleanup_free_ char *path = xasprintf("/sys/devices/%s/config", place);

	testroot_data(path, data, len);
}

static inline void pcitree_vf(const char *place, const char *physfn)
{
	_cleanup_free_ char *link = xasprintf("/sys/devices/%s/physfn", place);
	_cleanup_free_ char *target = xasprintf("../%s", physfn);

	testroot_link(link, target);
}

#endif
