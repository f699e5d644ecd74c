/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "mdev-mk.h"

/*
 * libvirt's hostdev. A display is there for NVIDIA's Q series alone; NVIDIA's VFs stay
 * with their driver (managed='no'), those of plain SR-IOV go to vfio-pci.
 * Source: libvirt, Domain XML format, "Host device assignment".
 */
static void put_xml(const struct vgpu_parent *p, const struct vgpu_type *t,
		    const struct vgpu *g)
{
	struct pciaddr addr;

	if (p->backend == VGPU_MDEV) {
		const char *model = t && t->api ? t->api : "vfio-pci";
		bool is_pci = strcmp(model, "vfio-pci") == 0;

		printf("<hostdev mode='subsystem' type='mdev' managed='no'"
		       " model='%s'%s>\n"
		       "  <source>\n"
		       "    <address uuid='%s'/>\n", model,
		       !is_pci ? "" : vgpu_series(g->name) == 'Q' ? " display='on'" :
		       " display='off'", g->id);
	} else if (pciaddr_parse(g->id, &addr)) {
		printf("<hostdev mode='subsystem' type='pci' managed='%s'>\n"
		       "  <source>\n"
		       "    <address domain='0x%04x' bus='0x%02x' slot='0x%02x'"
		       " function='0x%x'/>\n",
		       p->backend == VGPU_NVIDIA ? "no" : "yes", addr.domain, addr.bus,
		       addr.slot, addr.func);
	}
	puts("  </source>\n</hostdev>");
}

/*
 * PVE makes the mediated devices of its VMs itself, under UUIDs of its own: one of
 * another UUID is given to a VM by args. index counts the lines that have no number.
 */
static void put_pve(const struct vgpu_parent *p, const struct vgpu *g, unsigned *index)
{
	unsigned hostpci;
	uint32_t vmid;

	if (p->backend == VGPU_SRIOV)
		printf("hostpci%u: %s\n", (*index)++, g->id);
	else if (p->backend == VGPU_NVIDIA)
		printf("hostpci%u: %s,mdev=%s\n", (*index)++, g->id,
		       g->type ? g->type : "-");
	else if (mdev_pve_uuid_parse(g->id, &hostpci, &vmid))
		printf("hostpci%u: %s,mdev=%s\n", hostpci, p->name,
		       g->type ? g->type : "-");
	else
		printf("args: -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/%s\n",
		       g->id);
}

static void put(const struct mk *mk, struct record_writer *w, const struct host *h,
		const struct vgpu *g, unsigned *index)
{
	const struct vgpu_parent *p = &h->v.parents[g->parent];
	int type = g->type ? vgpus_find_type(&h->v, g->parent, g->type) : -1;

	switch (mk->print) {
	case MK_RECORDS:
		host_put(w, h, g);
		break;
	case MK_XML:
		put_xml(p, type >= 0 ? &h->v.types[type] : NULL, g);
		break;
	case MK_PVE:
		put_pve(p, g, index);
		break;
	}
}

/* The instances of an item as they are now; one that is not seen: as it was made. */
static void put_item(const struct mk *mk, struct record_writer *w, const struct host *h,
		     const struct mk_items *items, const struct mk_item *item,
		     const char *parent, const struct vgpu_type *t, unsigned *index)
{
	const struct vgpu_vf *vf;
	int at = vgpus_find_parent(&h->v, parent, &vf);
	int instance = vgpus_find(&h->v, item->id);
	const struct vgpu made = {
		.id = item->id, .parent = (size_t)at, .type = t->id, .name = t->name,
		.group = -1,
	};

	if (at < 0)
		return;
	if (!items->numvfs) {
		put(mk, w, h, instance >= 0 ? &h->v.instances[instance] : &made, index);
		return;
	}
	for (size_t i = 0; i < h->v.n_instances; i++)
		if (h->v.instances[i].parent == (size_t)at)
			put(mk, w, h, &h->v.instances[i], index);
}

int mk_print(const struct mk *mk, struct record_writer *out, const struct host *h,
	     const struct mk_items *items)
{
	struct host now = { .writer = { .lock = -1 } };
	int status = host_read(&now, VGPUS_TYPES | VGPUS_ANY_SRIOV, false);
	unsigned index = 0;

	if (status != EX_OK)
		return status;
	for (size_t i = 0; i < items->n; i++) {
		const struct vgpu_type *t = &h->v.types[items->items[i].type];

		put_item(mk, out, &now, items, &items->items[i],
			 h->v.parents[t->parent].name, t, &index);
	}
	host_done(&now);
	return EX_OK;
}
