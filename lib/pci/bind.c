/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/bind.h"
#include "pci/iommu.h"
#include "pci/pcifolder.h"

static char *driver_of(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "driver");

	return sysfs_link_name(path);
}

static char *override_of(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "driver_override");
	char text[SYSFS_MAX + 1];

	if (sysfs_read(path, text, sizeof(text)) <= 0 || strcmp(text, "(null)") == 0)
		return NULL;
	return xstrdup(text);
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool bind_is_vfio_driver(const char *driver)
{
	return driver && (strstr(driver, "vfio-pci") || strstr(driver, "vfio_pci"));
}

bool bind_driver_is_loaded(const char *driver)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/drivers/%s", driver);

	return access(path, F_OK) == 0;
}

/* How it is bound; what cannot be read is not taken for what is not there. */
static int read_record(const struct pciaddr *addr, struct bind_record *r)
{
	_cleanup_free_ char *override = pcifolder_attribute(addr, "driver_override");
	char text[SYSFS_MAX + 1];
	int rc;

	r->addr = *addr;
	r->driver = driver_of(addr);
	if (!r->driver && errno != ENOENT)
		return -errno;
	rc = sysfs_read(override, text, sizeof(text));
	if (rc < 0 && rc != -ENOENT)
		return rc;
	r->override = rc > 0 && strcmp(text, "(null)") != 0 ? xstrdup(text) : NULL;
	return 0;
}

int bind_record_group(const struct pciaddr *addr, struct bind_record **recs, size_t *n)
{
	_cleanup_free_ struct pciaddr *group = NULL;
	struct bind_record *list;
	size_t n_group = 0, used = 0;
	int number, rc;

	if (!pcifolder_has(addr, ""))
		return -ENOENT;
	errno = 0;
	number = iommu_group_of(addr);
	if (number < 0 && errno != 0 && errno != ENOENT)
		return -errno;
	if (number >= 0) {
		rc = iommu_group_read(number, &group, &n_group);
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	if (n_group == 0) {
		free(group);
		group = xcalloc(1, sizeof(*group));
		group[n_group++] = *addr;
	}
	list = xcalloc(n_group, sizeof(*list));
	for (size_t i = 0; i < n_group; i++) {
		if (pcifolder_has(&group[i], "pci_bus"))
			continue;
		rc = read_record(&group[i], &list[used]);
		if (rc < 0) {
			bind_records_free(list, used);
			return rc;
		}
		used++;
	}
	*recs = list;
	*n = used;
	return 0;
}

void bind_records_free(struct bind_record *recs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(recs[i].driver);
		free(recs[i].override);
	}
	free(recs);
}

/* Has the process one of the two files open? */
static bool has_open(const char *pid, const char *group, const char *device)
{
	_cleanup_free_ char *path = root_path("/proc/%s/fd", pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	char target[64];

	while (dir && (entry = readdir(dir))) {
		ssize_t len =
			readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (len < 0)
			continue;
		target[len] = '\0';
		if ((group && strcmp(target, group) == 0) ||
		    (device && strcmp(target, device) == 0))
			return true;
	}
	return false;
}

/* "/dev/vfio/devices/vfio3" of a function bound to VFIO; NULL before Linux 6.6. */
static char *vfio_device_node(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "vfio-dev");
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, "vfio", 4) == 0)
			return xasprintf("/dev/vfio/devices/%s", entry->d_name);
	return NULL;
}

pid_t bind_vfio_user(const struct pciaddr *addr)
{
	_cleanup_free_ char *proc = root_path("/proc"), *device = vfio_device_node(addr),
			    *node = NULL;
	_cleanup_closedir_ DIR *dir = opendir(proc);
	int group = iommu_group_of(addr);
	struct dirent *entry;

	if (group >= 0)
		node = xasprintf("/dev/vfio/%d", group);
	if (!node && !device)
		return 0;
	while (dir && (entry = readdir(dir)))
		if (isdigit((unsigned char)*entry->d_name) &&
		    has_open(entry->d_name, node, device))
			return (pid_t)atoi(entry->d_name);
	return 0;
}

static int set_override(const struct pciaddr *addr, const char *driver)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "driver_override");

	/* An empty line takes the override away; an empty write does nothing. */
	return sysfs_write(path, driver ? driver : "\n");
}

static int unbind(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "driver/unbind");
	char text[PCIADDR_STRLEN];
	int rc = sysfs_write(path, pciaddr_format(addr, text));

	/* Gone from its driver meanwhile: that is what was wanted. */
	return rc == -ENODEV || rc == -ENOENT ? 0 : rc;
}

static int probe(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/drivers_probe");
	char text[PCIADDR_STRLEN];

	return sysfs_write(path, pciaddr_format(addr, text));
}

int bind_function(const struct pciaddr *addr, const char *driver, const char *override)
{
	_cleanup_free_ char *now = driver_of(addr), *was = override_of(addr),
			    *result = NULL;
	int rc, rc_override;

	if (!pcifolder_has(addr, ""))
		return -ENOENT;
	if (same(now, driver))
		return same(was, override) ? 0 : set_override(addr, override);
	if (driver && !bind_driver_is_loaded(driver))
		return -ENODEV;
	if (bind_is_vfio_driver(now) && bind_vfio_user(addr))
		return -EBUSY;

	/* Override before unbind: no moment in which another driver may take it. */
	rc = set_override(addr, driver ? driver : override);
	if (rc < 0)
		return rc;
	if (now)
		rc = unbind(addr);
	if (rc == 0 && driver)
		rc = probe(addr);
	rc_override = 0;
	if (driver && !same(driver, override))
		rc_override = set_override(addr, override);
	if (sysfs_dry_run)
		return 0;

	/* The write's success is not the bind's: only the link tells. */
	result = driver_of(addr);
	if (!same(result, driver))
		return rc < 0 ? rc : -ENODEV;
	return rc_override;
}

/*
 * Make a driver forget an id that it was taught by new_id, as PVE does at a VM's
 * start (qemu-server, QemuServer/PCI.pm), or by its "ids" parameter: with the id
 * it takes the function at every probe. What it has bound stays bound.
 */
static void forget_id(const struct pciaddr *addr, const char *driver)
{
	_cleanup_free_ char *vendor_path = pcifolder_attribute(addr, "vendor");
	_cleanup_free_ char *device_path = pcifolder_attribute(addr, "device");
	_cleanup_free_ char *path = NULL;
	uint64_t vendor, device;
	char id[16];

	if (sysfs_read_u64(vendor_path, &vendor) < 0 || vendor > 0xffff ||
	    sysfs_read_u64(device_path, &device) < 0 || device > 0xffff)
		return;
	snprintf(id, sizeof(id), "%04x %04x", (unsigned)vendor, (unsigned)device);
	path = root_path("/sys/bus/pci/drivers/%s/remove_id", driver);
	sysfs_write(path, id);
}

int bind_host(const struct pciaddr *addr)
{
	_cleanup_free_ char *now = driver_of(addr), *was = override_of(addr),
			    *result = NULL;
	int rc = 0;

	if (!pcifolder_has(addr, ""))
		return -ENOENT;
	if (bind_is_vfio_driver(now) && bind_vfio_user(addr))
		return -EBUSY;
	if (was)
		rc = set_override(addr, NULL);
	if (rc < 0 || (now && !bind_is_vfio_driver(now)))
		return rc;
	if (now)
		rc = unbind(addr);
	if (rc < 0)
		return rc;
	rc = probe(addr);
	if (sysfs_dry_run)
		return 0;
	result = driver_of(addr);
	if (bind_is_vfio_driver(result)) {
		forget_id(addr, result);
		rc = unbind(addr);
		if (rc == 0)
			rc = probe(addr);
		free(result);
		result = driver_of(addr);
	}
	if (bind_is_vfio_driver(result))
		return -ENODEV;
	return result ? 0 : rc;
}

int bind_restore(const struct bind_record *recs, size_t n,
		 void (*say_fn)(const struct pciaddr *addr, int err, void *arg),
		 void *arg)
{
	int first = 0;

	for (size_t i = 0; i < n; i++) {
		const struct bind_record *r = &recs[i];
		_cleanup_free_ char *now = driver_of(&r->addr),
				    *override = override_of(&r->addr);
		int rc;

		if (same(now, r->driver) && same(override, r->override))
			continue;
		rc = bind_function(&r->addr, r->driver, r->override);
		if (rc == -ENODEV)
			bind_host(&r->addr);
		if (say_fn)
			say_fn(&r->addr, rc, arg);
		if (rc < 0 && rc != -ENOENT && first == 0)
			first = rc;
	}
	return first;
}
