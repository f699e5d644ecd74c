/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Write back what a remove has taken, for this run or for one that was killed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/ladder-steps.h"
#include "pci/reset.h"

enum { HEAL_TIMEOUT = 5000 };	/* ms; the ladder itself waits longer */

/* What the kernel gives a new device object; NULL: what the old one had, as a rule. */
static const char *const fresh[SNAPSHOT_ATTRS] = {
	[SNAPSHOT_OVERRIDE] = "",
	[SNAPSHOT_MSI_BUS] = "1",
	[SNAPSHOT_D3COLD] = "1",
	[SNAPSHOT_NUMVFS] = "0",
};

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

/* The value as it is, or in a dry run as it would be by now. */
static char *attr_now(const struct snapshot_fn *fn, enum snapshot_attr attr)
{
	const char *was = fn->attrs[attr];

	if (!sysfs_dry_run)
		return snapshot_attr_read(&fn->addr, attr);
	/* The driver, bound again, sets power/control as it did before. */
	if (fn->is_renewed && attr == SNAPSHOT_CONTROL)
		return was && !fn->driver ? xstrdup("on") : copy(was);
	if (fn->is_renewed)
		return was && fresh[attr] ? xstrdup(fresh[attr]) : copy(was);
	if (was && attr == SNAPSHOT_CONTROL)
		return xstrdup("on");
	if (was && attr == SNAPSHOT_D3COLD)
		return xstrdup("0");
	return copy(was);
}

static char *driver_now(const struct snapshot_fn *fn)
{
	_cleanup_free_ char *path = NULL;
	char addr[PCIADDR_STRLEN];

	if (sysfs_dry_run)
		return fn->is_renewed ? NULL : copy(fn->driver);
	path = root_path("/sys/bus/pci/devices/%s/driver",
			 pciaddr_format(&fn->addr, addr));
	return sysfs_link_name(path);
}

/* Keep the first complaint. */
static void complain(char **what, const struct snapshot_fn *fn, char *text)
{
	char addr[PCIADDR_STRLEN];

	if (!*what)
		*what = xasprintf("%s %s", pciaddr_format(&fn->addr, addr), text);
	free(text);
}

/* Could the value be the doing of a run that was killed? */
static bool may_be_ours(const struct snapshot_fn *fn, enum snapshot_attr attr,
			const char *now)
{
	switch (attr) {
	case SNAPSHOT_OVERRIDE:	return !*now || same(now, fn->driver);
	case SNAPSHOT_D3COLD:	return fn->whole || same(now, "0");
	case SNAPSHOT_CONTROL:	return fn->whole || same(now, "on");
	case SNAPSHOT_NUMVFS:	return same(now, "0");
	default:		return true;
	}
}

static void put_attr(struct ladder *l, const struct snapshot_fn *fn,
		     enum snapshot_attr attr, bool is_heal, char **what)
{
	const char *was = fn->attrs[attr], *name = snapshot_attr_name(attr);
	_cleanup_free_ char *now = was ? attr_now(fn, attr) : NULL, *then = NULL;
	int rc;

	if (!was || same(now, was) || (is_heal && now && !may_be_ours(fn, attr, now)))
		return;
	/* -1 cannot be written. */
	if (attr == SNAPSHOT_NUMA_NODE && same(was, "-1"))
		return;
	if (l->is_hung)
		rc = -ETIMEDOUT;
	else if (attr == SNAPSHOT_RESET_METHOD)
		rc = reset_list_restore(&l->writer, &fn->addr, was);
	else
		rc = ladder_write_attr(l, &fn->addr, name, was);
	/* A stale list cannot be written back: what the kernel took of it is right. */
	if (sysfs_dry_run || (attr == SNAPSHOT_RESET_METHOD && rc == 0))
		return;
	then = snapshot_attr_read(&fn->addr, attr);
	if (!same(then, was))
		complain(what, fn, xasprintf("%s is \"%s\", was \"%s\"%s%s", name,
					     then ? then : "", was, rc < 0 ? ": " : "",
					     rc < 0 ? strerror(-rc) : ""));
}

static int write_driver(struct ladder *l, const char *driver, const char *file,
			const struct pciaddr *addr)
{
	_cleanup_free_ char *path = NULL;
	char text[PCIADDR_STRLEN];

	if (l->is_hung)
		return -ETIMEDOUT;
	path = driver ? root_path("/sys/bus/pci/drivers/%s/%s", driver, file)
		      : root_path("/sys/bus/pci/%s", file);
	return ladder_write(l, path, pciaddr_format(addr, text));
}

/* For a driver that does not know the function's id: by an override, taken back after. */
static int probe_by_override(struct ladder *l, const struct snapshot_fn *fn)
{
	const char *was = fn->attrs[SNAPSHOT_OVERRIDE];
	int rc = 0, rc_back;

	if (!same(was, fn->driver))
		rc = ladder_write_attr(l, &fn->addr, "driver_override", fn->driver);
	if (rc == 0)
		rc = write_driver(l, NULL, "drivers_probe", &fn->addr);
	if (same(was, fn->driver))
		return rc;
	rc_back = ladder_write_attr(l, &fn->addr, "driver_override", was ? was : "");
	return rc < 0 ? rc : rc_back;
}

/*
 * Bind by the driver's own "bind": a probe by the kernel's order may give the
 * function to another driver that knows the id, as new_id of vfio-pci made it.
 */
static void put_driver(struct ladder *l, const struct snapshot_fn *fn, bool is_heal,
		       char **what)
{
	_cleanup_free_ char *now = driver_now(fn), *then = NULL;
	int rc = 0;

	/* What took the function after a run was killed was given it by somebody. */
	if (same(now, fn->driver) || (is_heal && now))
		return;
	/* A rescan may attach one whatever autoprobe says (pci_bus_add_device()). */
	if (now)
		write_driver(l, now, "unbind", &fn->addr);
	if (fn->driver) {
		rc = write_driver(l, fn->driver, "bind", &fn->addr);
		if (rc == -ENODEV || rc == -EINVAL)
			rc = probe_by_override(l, fn);
	}
	if (sysfs_dry_run)
		return;
	then = driver_now(fn);
	if (same(then, fn->driver))
		return;
	if (!fn->driver)
		complain(what, fn, xasprintf("is bound to %s, was not bound", then));
	else if (rc == -ENOENT)
		complain(what, fn,
			 xasprintf("driver %s is not loaded any more", fn->driver));
	else
		complain(what, fn,
			 xasprintf("driver %s did not take it again%s%s", fn->driver,
				   rc < 0 ? ": " : "", rc < 0 ? strerror(-rc) : ""));
}

/* Another device may have been put in its place meanwhile. */
static bool is_another_device(const struct snapshot_fn *fn)
{
	struct snapshot_fn now = { .addr = fn->addr };
	bool other = snapshot_fn_read(&now) == 0 &&
		     (now.vendor != fn->vendor || now.device != fn->device);

	snapshot_fn_done(&now);
	return other;
}

static void put_fn(struct ladder *l, const struct snapshot_fn *fn, bool is_heal,
		   char **what)
{
	if (fn->whole) {
		for (int i = 0; i < SNAPSHOT_NUMVFS; i++)
			put_attr(l, fn, (enum snapshot_attr)i, is_heal, what);
		put_driver(l, fn, is_heal, what);
		put_attr(l, fn, SNAPSHOT_NUMVFS, is_heal, what);
	} else {
		put_attr(l, fn, SNAPSHOT_D3COLD, is_heal, what);
	}
	put_attr(l, fn, SNAPSHOT_CONTROL, is_heal, what);
}

size_t ladder_put_back(struct ladder *l, struct snapshot *snap, bool is_heal, char **what)
{
	size_t gone = 0;
	int rc;

	*what = NULL;
	/*
	 * A write that hangs may hold the device's lock: reading it would hang us, too.
	 */
	for (size_t i = 0; i < snap->n && !l->is_hung; i++) {
		const struct snapshot_fn *fn = &snap->fns[i];

		if (!sysfs_dry_run && !snapshot_is_present(&fn->addr))
			gone += fn->whole;
		else if (!sysfs_dry_run && fn->whole && is_another_device(fn))
			complain(what, fn, xstrdup("is another device now"));
		else
			put_fn(l, fn, is_heal, what);
	}
	/* Last: a driver that udev loads meanwhile finds nothing that is free. */
	rc = ladder_set_autoprobe(l, snap->autoprobe);
	if (rc < 0 && !*what)
		*what = xasprintf("drivers_autoprobe: %s", strerror(-rc));
	return gone;
}

static size_t count_missing(const struct snapshot *snap)
{
	size_t n = 0;

	for (size_t i = 0; i < snap->n; i++)
		n += snap->fns[i].whole && !snapshot_is_present(&snap->fns[i].addr);
	return n;
}

/* Functions come back by the buses that are there, then by those that came with them. */
static void find_missing(struct ladder *l, struct snapshot *snap)
{
	size_t before = 0, missing = count_missing(snap);
	char *what;

	if (!missing)
		return;
	ladder_set_autoprobe(l, "0");
	while (missing && missing != before && !l->is_hung) {
		before = missing;
		for (size_t i = 0; i < snap->n; i++)
			if (snap->fns[i].whole &&
			    !snapshot_is_present(&snap->fns[i].addr))
				ladder_rescan_bus(l, &snap->fns[i].addr);
		missing = count_missing(snap);
	}
	ladder_wait(l, snap, l->timeout < HEAL_TIMEOUT ? l->timeout : HEAL_TIMEOUT,
		    &what);
	free(what);
}

/* The first function that has a driver which it had not. */
static char *find_taken(const struct snapshot *snap)
{
	for (size_t i = 0; i < snap->n; i++) {
		const struct snapshot_fn *fn = &snap->fns[i];
		_cleanup_free_ char *now = fn->whole ? driver_now(fn) : NULL;
		char addr[PCIADDR_STRLEN];

		if (now && !same(now, fn->driver))
			return xasprintf("%s was taken by driver %s since",
					 pciaddr_format(&fn->addr, addr), now);
	}
	return NULL;
}

static int heal(struct ladder *l, struct snapshot *snap, char **what)
{
	size_t gone;

	find_missing(l, snap);
	gone = ladder_put_back(l, snap, true, what);
	if (l->is_hung)
		return -ETIMEDOUT;
	if (!gone) {
		char *taken = find_taken(snap);

		if (!taken)
			return *what ? -EIO : snapshot_forget(snap);
		free(*what);
		*what = taken;
		return -EEXIST;
	}
	free(*what);
	*what = xasprintf("%zu functions are still gone", gone);
	return -ENODEV;
}

int ladder_heal(struct ladder *l, struct snapshot *snap, bool autoprobe_only, char **what)
{
	struct ladder_card about = { 0 };
	struct ladder_step step;
	int rc;

	*what = NULL;
	if (autoprobe_only)
		return ladder_set_autoprobe(l, snap->autoprobe);
	for (size_t i = 0; i < snap->n && !about.named; i++)
		if (snap->fns[i].whole)
			about.named = &snap->fns[i].addr;
	step = ladder_step_begin(l, "heal");
	rc = heal(l, snap, what);
	if (l->writer.n > step.first_write || *what)
		ladder_step_end(l, &about, &step, !*what,
				xstrdup(*what ? *what : "put back what was left"));
	return rc;
}
