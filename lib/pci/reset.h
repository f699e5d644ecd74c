/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resets of PCI functions that leave them on the bus. */
#ifndef PCI_RESET_H
#define PCI_RESET_H

#include <stdbool.h>
#include <stddef.h>

#include "pci/pciaddr.h"
#include "pci/timedwrite.h"

/*
 * May a function with this driver be reset under it? NULL, VFIO drivers,
 * pci-stub and pcieport: yes. Any other driver would go on with a device that
 * has lost its state; whether it has callbacks for that cannot be seen in sysfs.
 */
bool reset_is_safe_driver(const char *driver);

struct reset_method {
	const char *name;	/* static; the kernel's: "flr", "bus" */
	bool is_listed;		/* in reset_method before the probe */
	int err;		/* 0 works; -EINVAL refused; else could not ask */
};

/*
 * Ask the kernel which methods really work, without a reset: writes each
 * name it knows alone to reset_method, then the list as it was. A listed name that is
 * refused now is stale: such a list cannot be put back, the rest of it is.
 * When killed half-way the list is one name: the caller's snapshot has the old one.
 *
 * methods: allocated, n long, in the kernel's default order; the caller frees.
 * 0, -ENOENT (no such function), -EOPNOTSUPP (no reset_method: the
 * kernel found no method when it met the function, or is older than 5.15), or the
 * -errno of putting the list back. In a dry run err is 0 for those listed, else -EINVAL.
 * Source: Documentation/ABI/testing/sysfs-bus-pci, reset_method.
 */
int reset_probe(struct timedwriter *w, const struct pciaddr *addr,
		struct reset_method **methods, size_t *n);

/*
 * Make reset_method say list ("flr bus"; "" disables all; NULL is nothing to do).
 * Nothing is written when it says so already. Names that the kernel refuses now
 * are left out; when all are, the kernel's own default is set.
 * 0, -EOPNOTSUPP (no reset_method) or another -errno.
 */
int reset_list_restore(struct timedwriter *w, const struct pciaddr *addr,
		       const char *list);

/*
 * Reset one function: the kernel's methods in its order, all probed again
 * (method NULL), or only the method named. The list is put back afterwards, as by
 * reset_list_restore(). Functions of the same slot are the caller's to mind.
 *
 * 0; -EBUSY, nothing written: a driver is bound that is not safe, see above;
 * -ENOTTY: no method works (any more); -EINVAL: the kernel refuses this method;
 * -EOPNOTSUPP: the function has no reset; -ENOENT (no such function), -ETIMEDOUT or
 * another -errno.
 */
int reset_function(struct timedwriter *w, const struct pciaddr *addr, const char *method);

/* Has the bridge a reset_subordinate? (Linux 6.13, Debian's newer 6.1 and 6.12.) */
bool reset_has_subordinate(const struct pciaddr *bridge);

/*
 * Reset everything below a bridge by its secondary bus. The kernel saves and
 * restores config space of what is below.
 *
 * 0; -EBUSY, nothing written: something below has a driver that is not safe (*who is that
 * function; may be NULL); -EOPNOTSUPP: no reset_subordinate; -ENOTTY: something
 * below forbids it; -EAGAIN: the kernel could not lock it; -ETIMEDOUT or another -errno.
 * Source: Documentation/ABI/testing/sysfs-bus-pci, reset_subordinate.
 */
int reset_subordinate(struct timedwriter *w, const struct pciaddr *bridge,
		      struct pciaddr *who);

#endif
