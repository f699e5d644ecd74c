/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What hostpci_resolve() asks of this host. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pci/pcifolder.h"
#include "pve/hostpci.h"

static void fail(struct hostpci_host *host, int rc, const char *path)
{
	if (host->error)
		return;
	host->error = rc;
	host->unread = path;
}

static void read_devs(struct hostpci_host *host)
{
	int rc;

	if (host->has_devs)
		return;
	host->has_devs = true;
	rc = pcidev_list(PCIDEV_ADDR, &host->devs, &host->n_devs);
	if (rc < 0) {
		host->devs = NULL;
		host->n_devs = 0;
		if (rc != -ENOENT)
			fail(host, rc, "/sys/bus/pci/devices");
	}
	host->filled = xcalloc(host->n_devs, 1);
}

const struct mapping *hostpci_host_mapping(struct hostpci_host *host, const char *id)
{
	int rc;

	if (!host->has_mappings) {
		host->has_mappings = true;
		rc = mappings_read(&host->mappings, host->bad_mapping, host->arg);
		if (rc < 0)
			fail(host, rc, "/etc/pve/mapping/pci.cfg");
	}
	return mappings_find(&host->mappings, id);
}

void hostpci_host_done(struct hostpci_host *host)
{
	pcidev_free(host->devs, host->n_devs);
	free(host->filled);
	mappings_done(&host->mappings);
	host->devs = NULL;
	host->filled = NULL;
	host->n_devs = 0;
}

const struct pcidev *hostpci_host_find(struct hostpci_host *host,
				       const struct pciaddr *addr)
{
	read_devs(host);
	return pcidev_find(host->devs, host->n_devs, addr);
}

unsigned hostpci_host_fill(struct hostpci_host *host, const struct pcidev *dev)
{
	size_t i = (size_t)(dev - host->devs);
	int rc;

	if (host->filled[i])
		return host->filled[i];
	rc = pcidev_fill(&host->devs[i], PCIDEV_IDENT | PCIDEV_BIND);
	if (rc < 0) {
		if (rc != -ENOENT)
			fail(host, rc, "/sys/bus/pci/devices");
		return 0;
	}
	host->filled[i] = HOSTPCI_FILLED;
	if (pcifolder_has(&dev->addr, "subsystem_vendor")
	    && pcifolder_has(&dev->addr, "subsystem_device"))
		host->filled[i] |= HOSTPCI_HAS_SUBSYSTEM;
	if (pcifolder_has(&dev->addr, "nvidia")
	    && !pcifolder_has(&dev->addr, "mdev_supported_types"))
		host->filled[i] |= HOSTPCI_IS_VGPU;
	return host->filled[i];
}
