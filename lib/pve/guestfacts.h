/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest's config says beside its devices, and whether HA manages it. */
#ifndef PVE_GUESTFACTS_H
#define PVE_GUESTFACTS_H

#include <stddef.h>

#include "pve/guest.h"

/*
 * Fill in name, lock, hookscript, template, has_disk, onboot and startup of *g (g->id
 * set) from its config.
 */
void guestfacts_read(struct guest *g, const char *text, size_t len);

struct guestfacts_ha {
	struct guest_id *ids;	/* owned, sorted */
	size_t n;
};

/*
 * The guests that HA manages: "vm: 100" or "ct: 200" in
 * /etc/pve/ha/resources.cfg, not with "state ignored" below it; no file is none.
 * Source: pve-ha-manager, HA/Config.pm.
 */
void guestfacts_ha_read(struct guestfacts_ha *ha);
bool guestfacts_is_ha(const struct guestfacts_ha *ha, struct guest_id id);

#endif
