/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/bind.h"
#include "pci/pcifolder.h"
#include "pci/reset.h"

/* In the kernel's default order (drivers/pci/pci.c). */
static const char *const method_names[] = {
	"device_specific", "acpi", "flr", "af_flr", "pm", "bus", "cxl_bus",
};

static int write_attribute(struct timedwriter *w, const struct pciaddr *addr,
			   const char *name, const char *value)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, name);

	return timedwrite(w, path, value);
}

static char *driver_of(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "driver");

	return sysfs_link_name(path);
}

bool reset_is_safe_driver(const char *driver)
{
	return !driver || bind_is_vfio_driver(driver) || strcmp(driver, "pci-stub") == 0 ||
	       strcmp(driver, "pcieport") == 0;
}

/*
 * The list as it is now, allocated; NULL and *rc: -ENOENT, -EOPNOTSUPP or another -errno.
 */
static char *read_list(const struct pciaddr *addr, int *rc)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "reset_method");
	char text[SYSFS_MAX + 1];
	int len = sysfs_read(path, text, sizeof(text));

	*rc = len < 0 ? len : 0;
	if (len == -ENOENT && pcifolder_has(addr, ""))
		*rc = -EOPNOTSUPP;
	return len < 0 ? NULL : xstrdup(text);
}

/* Is the method one of the blank-separated names? */
static bool has_name(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; *p; p += strcspn(p, " ")) {
		p += strspn(p, " ");
		if (strncmp(p, name, len) == 0 && (!p[len] || p[len] == ' '))
			return true;
	}
	return false;
}

/* A write of nothing would not reach the kernel: an empty line disables all methods. */
static int write_list(struct timedwriter *w, const struct pciaddr *addr, const char *list)
{
	return write_attribute(w, addr, "reset_method", *list ? list : "\n");
}

/* The names of list that are in other, too, in the order of list. */
static char *common_part(const char *list, const char *other)
{
	_cleanup_free_ char *words = xstrdup(list);
	char *kept = xstrdup(""), *save = NULL;

	for (char *name = strtok_r(words, " ", &save); name;
	     name = strtok_r(NULL, " ", &save)) {
		char *longer;

		if (!has_name(other, name))
			continue;
		longer = xasprintf("%s%s%s", kept, *kept ? " " : "", name);
		free(kept);
		kept = longer;
	}
	return kept;
}

int reset_list_restore(struct timedwriter *w, const struct pciaddr *addr,
		       const char *list)
{
	_cleanup_free_ char *now = NULL, *works = NULL, *part = NULL;
	int rc;

	if (!list)
		return 0;
	now = read_list(addr, &rc);
	if (!now)
		return rc;
	if (strcmp(now, list) == 0)
		return 0;
	rc = write_list(w, addr, list);
	if (rc != -EINVAL)
		return rc;
	/* `default` leaves just the methods that work now. */
	rc = write_list(w, addr, "default");
	if (rc < 0)
		return rc;
	works = read_list(addr, &rc);
	if (!works)
		return rc;
	part = common_part(list, works);
	return *part && strcmp(part, works) != 0 ? write_list(w, addr, part) : 0;
}

int reset_probe(struct timedwriter *w, const struct pciaddr *addr,
		struct reset_method **methods, size_t *n)
{
	struct reset_method *found;
	int rc, failed = 0;
	_cleanup_free_ char *list = read_list(addr, &rc);

	if (!list)
		return rc;
	found = xcalloc(ARRAY_SIZE(method_names), sizeof(*found));
	for (size_t i = 0; i < ARRAY_SIZE(method_names); i++) {
		struct reset_method *m = &found[i];

		m->name = method_names[i];
		m->is_listed = has_name(list, m->name);
		m->err = write_list(w, addr, m->name);
		if (sysfs_dry_run && !m->is_listed)
			m->err = -EINVAL;
		/* The kernel is still at it: whatever comes next would wait behind it. */
		if (m->err == -ETIMEDOUT) {
			free(found);
			return -ETIMEDOUT;
		}
		/* No process for the write, which says nothing of the method. */
		if (m->err == -EAGAIN || m->err == -ENOMEM)
			failed = m->err;
	}
	/* In a dry run the file says still what it said. */
	rc = sysfs_dry_run ? write_list(w, addr, list)
			   : reset_list_restore(w, addr, list);
	if (rc == 0)
		rc = failed;
	if (rc < 0) {
		free(found);
		return rc;
	}
	*methods = found;
	*n = ARRAY_SIZE(method_names);
	return 0;
}

/* Write 1 to reset, as the list in reset_method says now. */
static int reset_by_list(struct timedwriter *w, const struct pciaddr *addr)
{
	int rc;
	_cleanup_free_ char *list = read_list(addr, &rc);

	/*
	 * After `default` the list is the truth: with nothing in it the write would fail.
	 */
	if (!sysfs_dry_run && list && !*list)
		return -ENOTTY;
	return write_attribute(w, addr, "reset", "1");
}

int reset_function(struct timedwriter *w, const struct pciaddr *addr, const char *method)
{
	_cleanup_free_ char *driver = driver_of(addr), *list = NULL;
	int rc, back;

	if (!pcifolder_has(addr, ""))
		return -ENOENT;
	if (!reset_is_safe_driver(driver))
		return -EBUSY;
	if (!pcifolder_has(addr, "reset"))
		return -EOPNOTSUPP;
	list = read_list(addr, &rc);
	if (rc == -EOPNOTSUPP && !method)	/* before Linux 5.15 */
		return write_attribute(w, addr, "reset", "1");
	if (!list)
		return rc;
	rc = write_list(w, addr, method ? method : "default");
	if (rc == -ETIMEDOUT)
		return rc;
	if (rc == 0)
		rc = reset_by_list(w, addr);
	if (rc == -ETIMEDOUT)
		return rc;
	back = sysfs_dry_run ? write_list(w, addr, list) :
			       reset_list_restore(w, addr, list);
	return rc < 0 ? rc : back;
}

bool reset_has_subordinate(const struct pciaddr *bridge)
{
	return pcifolder_has(bridge, "reset_subordinate");
}

/*
 * The first function in a bridge's folder, or deeper, whose driver is not safe: -EBUSY.
 */
static int find_unsafe(const char *folder, struct pciaddr *who)
{
	_cleanup_free_ struct pciaddr *addrs = NULL;
	size_t n = 0;
	int rc = pcifolder_read(folder, &addrs, &n);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		_cleanup_free_ char *below = NULL, *link = NULL, *driver = NULL;
		char text[PCIADDR_STRLEN];

		below = xasprintf("%s/%s", folder, pciaddr_format(&addrs[i], text));
		link = xasprintf("%s/driver", below);
		driver = sysfs_link_name(link);
		if (!reset_is_safe_driver(driver)) {
			if (who)
				*who = addrs[i];
			return -EBUSY;
		}
		rc = find_unsafe(below, who);
	}
	return rc;
}

int reset_subordinate(struct timedwriter *w, const struct pciaddr *bridge,
		      struct pciaddr *who)
{
	_cleanup_free_ char *folder = pcifolder_attribute(bridge, "");
	int rc = find_unsafe(folder, who);

	if (rc < 0)
		return rc;
	if (!reset_has_subordinate(bridge))
		return -EOPNOTSUPP;
	return write_attribute(w, bridge, "reset_subordinate", "1");
}
