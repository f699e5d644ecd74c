/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/guestgpus.h"

enum {
	CLASS_DISPLAY = 0x03,
	CLASS_BRIDGE = 0x06,
};

struct list {
	struct pciaddr *addrs;	/* owned */
	size_t n, room;
};

static bool has(const struct list *l, const struct pciaddr *addr)
{
	for (size_t i = 0; i < l->n; i++)
		if (pciaddr_compare(&l->addrs[i], addr) == 0)
			return true;
	return false;
}

static void add(struct list *l, const struct pciaddr *addr)
{
	if (has(l, addr))
		return;
	l->addrs = xgrow(l->addrs, l->n, &l->room, sizeof(*l->addrs));
	l->addrs[l->n++] = *addr;
}

static size_t hand_over(struct list *l, struct pciaddr **addrs)
{
	if (l->n > 0)
		qsort(l->addrs, l->n, sizeof(*l->addrs), pciaddr_compare);
	*addrs = l->addrs;
	return l->n;
}

static bool is_of(const struct assignment *a, uint32_t vmid)
{
	return a->guest.kind == GUEST_QEMU && a->guest.vmid == vmid;
}

/* Given by its config for the next start, not merely held now. */
static bool is_given(const struct assignment *a, uint32_t vmid)
{
	return is_of(a, vmid) && strncmp(a->key, "hostpci", 7) == 0
	       && a->key[7] >= '0' && a->key[7] <= '9';
}

static bool is_reserved(const struct reservation *r, size_t n_r, uint32_t vmid,
			const struct pciaddr *addr)
{
	for (size_t i = 0; i < n_r; i++)
		if (pciaddr_compare(&r[i].addr, addr) == 0 && r[i].vmid != vmid
		    && reservation_is_held(&r[i]))
			return true;
	return false;
}

/* Records of one alternative of one hostpciN: from *i on, up to the returned index. */
static size_t alternative_end(const struct assignment *a, size_t n, size_t i)
{
	size_t end = i + 1;

	while (end < n && guest_compare(&a[end].guest, &a[i].guest) == 0
	       && strcmp(a[end].key, a[i].key) == 0 && a[end].alt == a[i].alt)
		end++;
	return end;
}

size_t guestgpus_for_start(const struct assignment *a, size_t n, uint32_t vmid,
			   const struct reservation *r, size_t n_r,
			   struct pciaddr **addrs)
{
	struct list chosen = { 0 };
	const char *done = NULL;	/* the setting that has got its device */
	const char *open = NULL;	/* one that has not got any yet */

	*addrs = NULL;
	for (size_t i = 0; i < n; i++)
		if (is_given(&a[i], vmid)
		    && (!a[i].has_addr || !a[i].status || strcmp(a[i].status, "ok") != 0))
			return 0;
	for (size_t i = 0, end; i < n; i = end) {
		bool is_free = true;

		end = alternative_end(a, n, i);
		if (!is_given(&a[i], vmid) || a[i].mdev_type
		    || (done && strcmp(done, a[i].key) == 0))
			continue;
		if (open && strcmp(open, a[i].key) != 0)
			break;
		for (size_t k = i; k < end && is_free; k++)
			is_free = !has(&chosen, &a[k].addr)
				  && !is_reserved(r, n_r, vmid, &a[k].addr);
		open = is_free ? NULL : a[i].key;
		if (!is_free)
			continue;
		done = a[i].key;
		for (size_t k = i; k < end; k++)
			add(&chosen, &a[k].addr);
	}
	if (open) {
		free(chosen.addrs);
		return 0;
	}
	return hand_over(&chosen, addrs);
}

size_t guestgpus_held(const struct assignment *a, size_t n, uint32_t vmid,
		      struct pciaddr **addrs)
{
	struct list held = { 0 };

	for (size_t i = 0; i < n; i++)
		if (is_of(&a[i], vmid) && a[i].held && a[i].has_addr && !a[i].mdev_type)
			add(&held, &a[i].addr);
	return hand_over(&held, addrs);
}

static bool is_given_slot(const struct assignment *a, size_t n, uint32_t vmid,
			  const struct pciaddr *addr)
{
	for (size_t i = 0; i < n; i++)
		if (is_given(&a[i], vmid) && a[i].has_addr && !a[i].mdev_type
		    && pciaddr_same_slot(&a[i].addr, addr))
			return true;
	return false;
}

size_t guestgpus_lost(const struct assignment *a, size_t n, uint32_t vmid,
		      const struct snapshot *left, size_t n_left, struct pciaddr **addrs)
{
	struct list lost = { 0 };

	for (size_t i = 0; i < n_left; i++) {
		for (size_t k = 0; k < left[i].n; k++) {
			const struct snapshot_fn *fn = &left[i].fns[k];

			if (fn->whole && !fn->is_vf && fn->class >> 16 != CLASS_BRIDGE
			    && is_given_slot(a, n, vmid, &fn->addr)
			    && !snapshot_is_present(&fn->addr))
				add(&lost, &fn->addr);
		}
	}
	return hand_over(&lost, addrs);
}

size_t guestgpus_cards(const struct pcidev *devs, size_t n_devs, struct pciaddr **addrs,
		       size_t n)
{
	_cleanup_free_ struct pciaddr *all = *addrs;
	struct list cards = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct pcidev *gpu = pcidev_find(devs, n_devs, &all[i]);

		if (!gpu || gpu->class >> 16 != CLASS_DISPLAY || gpu->is_vf)
			continue;
		for (size_t k = 0; k < n_devs; k++)
			if (pciaddr_same_slot(&devs[k].addr, &gpu->addr)
			    && !devs[k].is_vf && !devs[k].is_bridge
			    && !pcidev_is_of_board(&devs[k], gpu))
				add(&cards, &devs[k].addr);
	}
	return hand_over(&cards, addrs);
}
