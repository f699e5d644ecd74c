/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/iommu.h"
#include "pci/pcifolder.h"
#include "pci/snapshot.h"

enum {
	CONFIG_HEAD = 64,	/* the standard header */
	CONFIG_HEADER_TYPE = 0x0e,
	CONFIG_BAR0 = 0x10,
	HEADER_TYPE_MASK = 0x7f,
	HEADER_NORMAL = 0,
	BAR_ROM = 6,
	BARS_NORMAL = 6,
};

/* Source: include/linux/ioport.h, IORESOURCE_IO, _MEM, _MEM_64, _UNSET. */
#define FLAG_IO		0x00000100u
#define FLAG_MEM	0x00000200u
#define FLAG_MEM_64	0x00100000u
#define FLAG_UNSET	0x20000000u

static const char *const attr_names[SNAPSHOT_ATTRS] = {
	[SNAPSHOT_OVERRIDE] = "driver_override",
	[SNAPSHOT_RESET_METHOD] = "reset_method",
	[SNAPSHOT_NUMA_NODE] = "numa_node",
	[SNAPSHOT_MSI_BUS] = "msi_bus",
	[SNAPSHOT_D3COLD] = "d3cold_allowed",
	[SNAPSHOT_NUMVFS] = "sriov_numvfs",
	[SNAPSHOT_CONTROL] = "power/control",
};

const char *snapshot_attr_name(enum snapshot_attr attr)
{
	return attr_names[attr];
}

bool snapshot_is_present(const struct pciaddr *addr)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "");

	return access(path, F_OK) == 0;
}

char *snapshot_attr_read(const struct pciaddr *addr, enum snapshot_attr attr)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, attr_names[attr]);
	char text[SYSFS_MAX + 1];

	if (sysfs_read(path, text, sizeof(text)) < 0)
		return NULL;
	if (attr == SNAPSHOT_OVERRIDE && strcmp(text, "(null)") == 0)
		*text = '\0';
	return xstrdup(text);
}

static unsigned number_of(const struct pciaddr *addr, const char *name)
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, name);
	uint64_t value;

	return sysfs_read_u64(path, &value) == 0 ? (unsigned)value : 0;
}

static int read_bars(const struct pciaddr *addr, struct snapshot_bar bars[SNAPSHOT_BARS])
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "resource");
	char text[SYSFS_MAX + 1], *line = text, *rest;
	int rc = sysfs_read(path, text, sizeof(text));

	memset(bars, 0, SNAPSHOT_BARS * sizeof(*bars));
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < SNAPSHOT_BARS && *line; i++) {
		struct snapshot_bar *b = &bars[i];

		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &b->start, &b->end,
			   &b->flags) != 3)
			return -EBADMSG;
		rest = strchr(line, '\n');
		line = rest ? rest + 1 : line + strlen(line);
	}
	return 0;
}

/* The first bytes of config space, from the device itself; 0 or -errno. */
static int read_config(const struct pciaddr *addr, uint8_t head[CONFIG_HEAD])
{
	_cleanup_free_ char *path = pcifolder_attribute(addr, "config");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, head, CONFIG_HEAD);
	if (n < 0)
		return -errno;
	return n == CONFIG_HEAD ? 0 : -EIO;
}

static uint16_t word_at(const uint8_t *head, size_t at)
{
	return (uint16_t)(head[at] | head[at + 1] << 8);
}

static uint32_t long_at(const uint8_t *head, size_t at)
{
	return word_at(head, at) | (uint32_t)word_at(head, at + 2) << 16;
}

int snapshot_fn_read(struct snapshot_fn *fn)
{
	_cleanup_free_ char *driver = pcifolder_attribute(&fn->addr, "driver");
	_cleanup_free_ char *link = pcifolder_attribute(&fn->addr, "physfn");
	_cleanup_free_ char *physfn = sysfs_link_name(link);
	uint8_t head[CONFIG_HEAD];
	int rc;

	if (!snapshot_is_present(&fn->addr))
		return -ENOENT;
	rc = read_bars(&fn->addr, fn->bars);
	if (rc < 0)
		return snapshot_is_present(&fn->addr) ? rc : -ENOENT;
	fn->is_vf = physfn != NULL;
	fn->vendor = (uint16_t)number_of(&fn->addr, "vendor");
	fn->device = (uint16_t)number_of(&fn->addr, "device");
	fn->subvendor = (uint16_t)number_of(&fn->addr, "subsystem_vendor");
	fn->subdevice = (uint16_t)number_of(&fn->addr, "subsystem_device");
	fn->class = number_of(&fn->addr, "class");
	if (read_config(&fn->addr, head) == 0 && word_at(head, 0) != 0xffff)
		fn->header = head[CONFIG_HEADER_TYPE];
	else
		fn->header = 0xff;
	fn->driver = sysfs_link_name(driver);
	for (int i = 0; i < SNAPSHOT_ATTRS; i++)
		fn->attrs[i] = snapshot_attr_read(&fn->addr, (enum snapshot_attr)i);
	fn->iommu_group = iommu_group_of(&fn->addr);
	return 0;
}

void snapshot_fn_done(struct snapshot_fn *fn)
{
	free(fn->driver);
	for (int i = 0; i < SNAPSHOT_ATTRS; i++)
		free(fn->attrs[i]);
	*fn = (struct snapshot_fn){ .addr = fn->addr };
}

static int compare_fns(const void *a, const void *b)
{
	const struct snapshot_fn *x = a, *y = b;

	return pciaddr_compare(&x->addr, &y->addr);
}

int snapshot_read(struct snapshot *s, const struct pciaddr *whole, size_t n_whole,
		  const struct pciaddr *above, size_t n_above)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/drivers_autoprobe");
	char text[16];
	int rc;

	*s = (struct snapshot){ .fns = xcalloc(n_whole + n_above + 1, sizeof(*s->fns)) };
	if (sysfs_read(path, text, sizeof(text)) >= 0)
		s->autoprobe = xstrdup(text);
	for (size_t i = 0; i < n_whole + n_above; i++) {
		struct snapshot_fn *fn = &s->fns[s->n];

		*fn = (struct snapshot_fn){
			.addr = i < n_whole ? whole[i] : above[i - n_whole],
			.whole = i < n_whole,
		};
		rc = snapshot_fn_read(fn);
		if (rc == -ENOENT)
			continue;
		if (rc < 0) {
			snapshot_done(s);
			return rc;
		}
		s->n++;
	}
	if (s->n)
		qsort(s->fns, s->n, sizeof(*s->fns), compare_fns);
	return 0;
}

void snapshot_done(struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++)
		snapshot_fn_done(&s->fns[i]);
	free(s->fns);
	free(s->autoprobe);
	free(s->path);
	*s = (struct snapshot){ 0 };
}

struct snapshot_fn *snapshot_find(const struct snapshot *s, const struct pciaddr *addr)
{
	struct snapshot_fn key = { .addr = *addr };

	return s->n ? bsearch(&key, s->fns, s->n, sizeof(key), compare_fns) : NULL;
}

static uint64_t size_of(const struct snapshot_bar *b)
{
	return b->flags && b->end >= b->start && b->end ? b->end - b->start + 1 : 0;
}

/* "256 MiB"; buf holds it. */
static const char *show_size(uint64_t size, char buf[32])
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (size >= 1024 && size % 1024 == 0 && unit + 1 < ARRAY_SIZE(units)) {
		size /= 1024;
		unit++;
	}
	snprintf(buf, 32, "%" PRIu64 " %s", size, units[unit]);
	return buf;
}

/* A register that had an address and reads 0 lost it in a reset. Bridges have two. */
static bool lost_address(const struct snapshot_bar *b, const uint8_t *head, size_t i)
{
	uint32_t low, high = 0;

	if (i >= BARS_NORMAL || !b->start || b->flags & FLAG_UNSET ||
	    (head[CONFIG_HEADER_TYPE] & HEADER_TYPE_MASK) != HEADER_NORMAL)
		return false;
	low = long_at(head, CONFIG_BAR0 + 4 * i) & (b->flags & FLAG_IO ? ~3u : ~15u);
	if (b->flags & FLAG_MEM_64 && i + 1 < BARS_NORMAL)
		high = long_at(head, CONFIG_BAR0 + 4 * (i + 1));
	return low == 0 && high == 0;
}

static char *compare_bars(const struct snapshot_fn *was, const struct snapshot_bar *now,
			  const uint8_t *head)
{
	char had[32], has[32];

	for (size_t i = 0; i < SNAPSHOT_BARS; i++) {
		const struct snapshot_bar *b = &was->bars[i];
		_cleanup_free_ char *name = i == BAR_ROM ? xstrdup("expansion ROM")
							 : xasprintf("BAR %zu", i);

		if (size_of(b) != size_of(&now[i]))
			return xasprintf("%s has %s, had %s", name,
					 show_size(size_of(&now[i]), has),
					 show_size(size_of(b), had));
		/* A guest needs no address for the ROM: QEMU reads it, or a file. */
		if (i == BAR_ROM || !size_of(b) || b->flags & FLAG_UNSET)
			continue;
		if (now[i].flags & FLAG_UNSET || (b->start && !now[i].start))
			return xasprintf("%s has no address any more", name);
		if ((b->flags ^ now[i].flags) & (FLAG_IO | FLAG_MEM))
			return xasprintf("%s is of another kind", name);
		if (!was->is_vf && lost_address(&now[i], head, i))
			return xasprintf("%s: the register lost its address", name);
	}
	return NULL;
}

static char *compare_ids(const struct snapshot_fn *was, const uint8_t *head)
{
	uint16_t vendor = word_at(head, 0), device = word_at(head, 2);
	uint32_t class = long_at(head, 8) >> 8;

	/* The ids of a VF stand at its PF; its own registers read ffff. */
	if (was->is_vf)
		return NULL;
	if (vendor != was->vendor || device != was->device)
		return xasprintf("is %04x:%04x, was %04x:%04x", vendor, device,
				 was->vendor, was->device);
	/* Fixed-up classes differ from the register (quirks): the base class does not. */
	if (class >> 16 != was->class >> 16)
		return xasprintf("class is %06x, was %06x", class, was->class);
	if (was->header != 0xff && head[CONFIG_HEADER_TYPE] != was->header)
		return xasprintf("header type is %02x, was %02x",
				 head[CONFIG_HEADER_TYPE], was->header);
	return NULL;
}

enum snapshot_health snapshot_check(const struct snapshot_fn *was, char **what)
{
	struct snapshot_bar now[SNAPSHOT_BARS];
	uint8_t head[CONFIG_HEAD];
	int rc;

	*what = NULL;
	if (!snapshot_is_present(&was->addr)) {
		*what = xstrdup("is not on the bus");
		return SNAPSHOT_GONE;
	}
	rc = read_config(&was->addr, head);
	if (rc == 0 && !was->is_vf && word_at(head, 0) == 0xffff) {
		*what = xstrdup("config space reads ffff");
		return SNAPSHOT_DEAD;
	}
	if (rc < 0) {
		*what = xasprintf("config space: %s", strerror(-rc));
		return snapshot_is_present(&was->addr) ? SNAPSHOT_DEAD : SNAPSHOT_GONE;
	}
	*what = compare_ids(was, head);
	if (!*what) {
		rc = read_bars(&was->addr, now);
		*what = rc < 0 ? xasprintf("resource: %s", strerror(-rc))
			       : compare_bars(was, now, head);
	}
	return *what ? SNAPSHOT_CHANGED : SNAPSHOT_HEALTHY;
}

char *snapshot_groups_changed(const struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct snapshot_fn *a = &s->fns[i];
		int now = a->whole ? iommu_group_of(&a->addr) : -1;

		for (size_t k = i + 1; now >= 0 && k < s->n; k++) {
			const struct snapshot_fn *b = &s->fns[k];
			int other = b->whole ? iommu_group_of(&b->addr) : -1;
			bool shared = a->iommu_group == b->iommu_group;
			char text[2][PCIADDR_STRLEN];

			if (other < 0 || a->iommu_group < 0 || (now == other) == shared)
				continue;
			return xasprintf("%s and %s %s one IOMMU group",
					 pciaddr_format(&a->addr, text[0]),
					 pciaddr_format(&b->addr, text[1]),
					 shared ? "are no longer in" : "are now in");
		}
	}
	return NULL;
}
