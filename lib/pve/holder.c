/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/mdev.h"
#include "pve/guest.h"
#include "pve/holder.h"

enum {
	CMDLINE_MAX = 4 << 20,
	RESERVATIONS_MAX = 16 << 20,
};

/* Value of "name=" in QEMU's "driver,name=value,..."; its length in *len, NULL without.
 */
static const char *option(const char *text, const char *name, size_t *len)
{
	size_t n = strlen(name);

	for (const char *p = strchr(text, ','); p; p = strchr(p, ',')) {
		p++;
		if (strncmp(p, name, n) == 0 && p[n] == '=') {
			p += n + 1;
			*len = strcspn(p, ",");
			return p;
		}
	}
	return NULL;
}

/* N of "hostpciN" or "hostpciN.J", -1 of anything else. */
static int parse_id(const char *id, size_t len)
{
	size_t digits;
	int n;

	if (!id || len < 8 || strncmp(id, "hostpci", 7) != 0)
		return -1;
	digits = strspn(id + 7, "0123456789");
	if (digits < 1 || digits > 2 || (digits < len - 7 && id[7 + digits] != '.'))
		return -1;
	n = atoi(id + 7);
	return n < 16 ? n : -1;
}

/*
 * What one -device word stands for; false for anything but a function or an mdev that is
 * there.
 */
static bool parse_device(const char *text, struct holding *h)
{
	struct mdev_instance inst;
	const char *value, *base;
	size_t len;

	*h = (struct holding){ .hostpci = -1 };
	if (strncmp(text, "vfio-pci,", 9) != 0
	    && strncmp(text, "vfio-pci-nohotplug,", 19) != 0)
		return false;
	value = option(text, "id", &len);
	h->hostpci = parse_id(value, value ? len : 0);

	value = option(text, "host", &len);
	if (!value)
		value = option(text, "sysfsdev", &len);
	if (!value)
		return false;

	_cleanup_free_ char *name = xstrndup(value, len);

	base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	if (pciaddr_parse(base, &h->addr))
		return true;
	if (strlen(base) != MDEV_UUID_LEN || mdev_instance_read(base, &inst) < 0)
		return false;
	h->addr = inst.parent;
	h->mdev_type = inst.type;
	memcpy(h->uuid, inst.uuid, sizeof(h->uuid));
	return true;
}

void holder_parse_cmdline(const char *text, size_t len, struct holding **h, size_t *n)
{
	const char *end = text + len, *word = text;
	struct holding *list = NULL;
	size_t used = 0, room = 0;

	while (word < end) {
		const char *next = word + strnlen(word, (size_t)(end - word)) + 1;

		if ((strcmp(word, "-device") == 0 || strcmp(word, "--device") == 0)
		    && next < end) {
			list = xgrow(list, used, &room, sizeof(*list));
			used += parse_device(next, &list[used]);
			next += strnlen(next, (size_t)(end - next)) + 1;
		}
		word = next;
	}
	*h = list;
	*n = used;
}

int holder_cmdline(pid_t pid, struct holding **h, size_t *n)
{
	_cleanup_free_ char *path = root_path("/proc/%d/cmdline", (int)pid);
	struct readfile buf = { 0 };
	int rc = readfile_at(AT_FDCWD, path, CMDLINE_MAX, &buf);

	/* the file of a process that is going away is empty */
	if (rc == 0 && buf.len == 0)
		rc = -ESRCH;
	if (rc == 0)
		holder_parse_cmdline(buf.data, buf.len, h, n);
	free(buf.data);
	return rc == -ENOENT ? -ESRCH : rc;
}

void holdings_free(struct holding *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(h[i].mdev_type);
	free(h);
}

static bool parse_number(const char *text, int64_t max, int64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return !errno && *end == '\0' && *value <= max;
}

/* "FULLPCIID VMID time:EPOCH" or "FULLPCIID VMID pid:PID", one blank between. */
static bool parse_reservation(char *line, struct reservation *r)
{
	char *vmid = strchr(line, ' '), *until = vmid ? strchr(vmid + 1, ' ') : NULL;
	int64_t number;

	if (!until)
		return false;
	*vmid++ = '\0';
	*until++ = '\0';
	*r = (struct reservation){ .until = -1 };
	if (!pciaddr_parse(line, &r->addr) || !guest_parse_vmid(vmid, &r->vmid))
		return false;
	if (strncmp(until, "time:", 5) == 0)
		return parse_number(until + 5, INT64_MAX, &r->until);
	if (strncmp(until, "pid:", 4) != 0
	    || !parse_number(until + 4, INT32_MAX, &number))
		return false;
	r->pid = (pid_t)number;
	return true;
}

static int compare_reservations(const void *a, const void *b)
{
	const struct reservation *x = a, *y = b;
	int order = pciaddr_compare(&x->addr, &y->addr);

	return order ? order : (x->vmid > y->vmid) - (x->vmid < y->vmid);
}

int reservations_read(struct reservation **r, size_t *n)
{
	_cleanup_free_ char *path = root_path("/run/qemu-server/pci-id-reservations");
	struct readfile buf = { 0 };
	struct reservation *list = NULL;
	size_t used = 0, room = 0;
	char *rest, *line;
	int rc = readfile_at(AT_FDCWD, path, RESERVATIONS_MAX, &buf);

	if (rc < 0 && rc != -ENOENT) {
		free(buf.data);
		return rc;
	}
	rest = rc == 0 ? buf.data : NULL;
	while ((line = strsep(&rest, "\n"))) {
		list = xgrow(list, used, &room, sizeof(*list));
		used += parse_reservation(line, &list[used]);
	}
	free(buf.data);
	if (used > 0)
		qsort(list, used, sizeof(*list), compare_reservations);
	*r = list;
	*n = used;
	return 0;
}

bool reservation_is_held(const struct reservation *r)
{
	pid_t pid;

	if (r->until >= 0)
		return r->until > (int64_t)time(NULL);
	return guest_is_running((struct guest_id){ GUEST_QEMU, r->vmid }, &pid, NULL)
	       && pid == r->pid;
}

static char *left_reservation(uint32_t vmid)
{
	_cleanup_free_ struct reservation *r = NULL;
	char addr[PCIADDR_STRLEN];
	size_t n = 0;

	if (reservations_read(&r, &n) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (r[i].vmid == vmid && reservation_is_held(&r[i]))
			return xasprintf("reservation of %s",
					 pciaddr_format(&r[i].addr, addr));
	return NULL;
}

static char *left_mdev(uint32_t vmid)
{
	for (unsigned i = 0; i < 16; i++) {
		_cleanup_free_ char *path = NULL;
		char uuid[MDEV_UUID_LEN + 1];

		mdev_pve_uuid(i, vmid, uuid);
		path = root_path("/sys/bus/mdev/devices/%s", uuid);
		if (access(path, F_OK) == 0)
			return xasprintf("mdev %s", uuid);
	}
	return NULL;
}

static char *left_vgpu(const struct pciaddr *vfs, size_t n_vfs)
{
	for (size_t i = 0; i < n_vfs; i++) {
		char addr[PCIADDR_STRLEN];
		_cleanup_free_ char *path = NULL;
		uint64_t type;

		pciaddr_format(&vfs[i], addr);
		path = root_path("/sys/bus/pci/devices/%s/nvidia/current_vgpu_type",
				 addr);
		if (sysfs_read_u64(path, &type) == 0 && type != 0)
			return xasprintf("vGPU type %llu of %s", (unsigned long long)type,
					 addr);
	}
	return NULL;
}

bool holder_is_released(uint32_t vmid, const struct pciaddr *vfs, size_t n_vfs,
			char **what)
{
	*what = left_reservation(vmid);
	if (!*what)
		*what = left_mdev(vmid);
	if (!*what)
		*what = left_vgpu(vfs, n_vfs);
	return !*what;
}
