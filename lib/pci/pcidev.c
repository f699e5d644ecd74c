/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pci/pci.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/iommu.h"
#include "pci/pcidev.h"
#include "pci/pcifolder.h"

enum { VENDOR_ATI = 0x1002, VENDOR_AMD = 0x1022 };

/*
 * libpci leaves an error by exit(1) unless its hook does not return: this one
 * goes back to the function that called the library.
 */
static jmp_buf failed;

static void __attribute__((noreturn, format(printf, 1, 2))) on_error(char *msg, ...)
{
	(void)msg;
	longjmp(failed, 1);
}

static void __attribute__((format(printf, 1, 2))) on_warning(char *msg, ...)
{
	(void)msg;
}

static void open_session(struct pci_access *pacc, const char *sysfs)
{
	char param[] = "sysfs.path";

	pacc->error = on_error;
	pacc->warning = on_warning;
	pacc->debug = on_warning;
	pacc->method = PCI_ACCESS_SYS_BUS_PCI;
	pci_set_param(pacc, param, (char *)(uintptr_t)sysfs);
	pci_init(pacc);
}

static bool has_entry(const char *addr, const char *name)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s/%s", addr, name);

	return access(path, F_OK) == 0;
}

static void fill_ident(struct pcidev *dev, struct pci_dev *from)
{
	pci_fill_info(from, PCI_FILL_IDENT | PCI_FILL_CLASS | PCI_FILL_CLASS_EXT
		      | PCI_FILL_SUBSYS);
	dev->vendor = from->vendor_id;
	dev->device = from->device_id;
	dev->class = (uint32_t)from->device_class << 8 | from->prog_if;
	dev->subvendor = from->subsys_vendor_id;
	dev->subdevice = from->subsys_id;
}

static void fill_bind(struct pcidev *dev)
{
	_cleanup_free_ char *driver = NULL, *physfn = NULL, *link = NULL;
	char addr[PCIADDR_STRLEN];

	pciaddr_format(&dev->addr, addr);
	driver = root_path("/sys/bus/pci/devices/%s/driver", addr);
	free(dev->driver);
	dev->driver = sysfs_link_name(driver);
	dev->iommu_group = iommu_group_of(&dev->addr);
	dev->is_bridge = has_entry(addr, "pci_bus");
	link = root_path("/sys/bus/pci/devices/%s/physfn", addr);
	physfn = sysfs_link_name(link);
	dev->is_vf = physfn && pciaddr_parse(physfn, &dev->physfn);
	dev->has_mdev =
		has_entry(addr, "mdev_supported_types") || has_entry(addr, "nvidia");
}

static int compare_dev(const void *a, const void *b)
{
	const struct pcidev *x = a, *y = b;

	return pciaddr_compare(&x->addr, &y->addr);
}

void pcidev_free(struct pcidev *devs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(devs[i].driver);
	free(devs);
}

const struct pcidev *pcidev_find(const struct pcidev *devs, size_t n,
				 const struct pciaddr *addr)
{
	struct pcidev key = { .addr = *addr };

	return n ? bsearch(&key, devs, n, sizeof(*devs), compare_dev) : NULL;
}

static int fill_ident_of(struct pcidev *dev)
{
	_cleanup_free_ char *sysfs = root_path("/sys/bus/pci");
	struct pci_access *pacc = pci_alloc();
	struct pci_dev *volatile one = NULL;

	if (setjmp(failed)) {
		if (one)
			pci_free_dev(one);
		pci_cleanup(pacc);
		return -EIO;
	}
	open_session(pacc, sysfs);
	one = pci_get_dev(pacc, (int)dev->addr.domain, dev->addr.bus, dev->addr.slot,
			  dev->addr.func);
	fill_ident(dev, one);
	pci_free_dev(one);
	pci_cleanup(pacc);
	return 0;
}

int pcidev_fill(struct pcidev *dev, unsigned what)
{
	_cleanup_free_ char *path = NULL;
	char addr[PCIADDR_STRLEN];

	path = root_path("/sys/bus/pci/devices/%s", pciaddr_format(&dev->addr, addr));
	if (access(path, F_OK) < 0)
		return -errno;
	if (what & PCIDEV_BIND)
		fill_bind(dev);
	if (what & PCIDEV_IDENT) {
		int rc = fill_ident_of(dev);

		if (rc < 0)
			return access(path, F_OK) < 0 ? -ENOENT : rc;
	}
	return 0;
}

/* Returns how many are left: a function that goes away meanwhile is left out. */
static size_t fill_all(struct pcidev *devs, size_t n, unsigned what)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (pcidev_fill(&devs[i], what) == -ENOENT)
			free(devs[i].driver);
		else
			devs[kept++] = devs[i];
	}
	return kept;
}

/*
 * The names alone come from the folder: libpci's own scan fails as a whole when
 * one function goes away under it, as VFs do.
 */
int pcidev_list(unsigned what, struct pcidev **devs, size_t *n)
{
	_cleanup_free_ char *folder = root_path("/sys/bus/pci/devices");
	_cleanup_free_ struct pciaddr *addrs = NULL;
	struct pcidev *list;
	size_t used;
	int rc = pcifolder_read(folder, &addrs, &used);

	if (rc < 0)
		return rc;
	list = xcalloc(used, sizeof(*list));
	for (size_t i = 0; i < used; i++)
		list[i] = (struct pcidev){ .addr = addrs[i], .iommu_group = -1 };
	*devs = list;
	*n = what == PCIDEV_ADDR ? used : fill_all(list, used, what);
	return 0;
}

bool pcidev_is_of_board(const struct pcidev *mate, const struct pcidev *gpu)
{
	return gpu->vendor == VENDOR_ATI && mate->vendor == VENDOR_AMD &&
	       pciaddr_same_slot(&mate->addr, &gpu->addr) &&
	       mate->iommu_group >= 0 && mate->iommu_group != gpu->iommu_group;
}
