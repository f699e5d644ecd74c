/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resource mappings of PCI devices: /etc/pve/mapping/pci.cfg.
 * Source: pve-common, SectionConfig.pm parse_config; pve-guest-common,
 * Mapping/PCI.pm.
 */
#ifndef PVE_MAPPING_H
#define PVE_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pcidev.h"

struct mapping_map {		/* one "map" line: an alternative of its node */
	char *text;		/* owned; the fields point into it */
	unsigned long line;
	const char *node;
	const char *path;	/* "DDDD:BB:DD[.F]", several joined by ';' go together */
	const char *id;		/* "10de:2204" as written */
	const char *subsystem_id;	/* NULL without */
	const char *iommugroup;	/* NULL without */
};

struct mapping {
	char *id;		/* owned */
	bool mdev;
	struct mapping_map *maps;	/* owned, in file order */
	size_t n;
};

struct mappings {
	struct mapping *list;	/* owned, in file order; of one ID the last counts */
	size_t n;
};

/*
 * Read all mappings. Without a file there are none.
 * bad: told of every line that PVE warns of and ignores.
 * Returns 0 or -errno.
 */
int mappings_read(struct mappings *m,
		  void (*bad)(unsigned long line, const char *why, void *arg),
		  void *arg);
/* The same from text, which is changed. */
void mappings_parse(struct mappings *m, char *text, size_t len,
		    void (*bad)(unsigned long line, const char *why, void *arg),
		    void *arg);
void mappings_done(struct mappings *m);

/* NULL when there is none; IDs are compared exactly. */
const struct mapping *mappings_find(const struct mappings *m, const char *id);

/*
 * Compare one path of a map with the function that it names (a slot: function 0).
 *
 * dev: with PCIDEV_IDENT and PCIDEV_BIND filled in.
 * has_subsystem_id: sysfs knows one, be it 0000:0000.
 * is_first: the IOMMU group is compared for the first path alone.
 * Returns NULL, or the field that PVE would refuse to start with:
 * id, iommugroup, mdev, subsystem-id.
 */
const char *mapping_mismatch(const struct mapping *m, const struct mapping_map *map,
			     const struct pcidev *dev, bool has_subsystem_id,
			     bool is_first);

#endif
