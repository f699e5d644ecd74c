/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/ctnodes.h"
#include "gpu/gpunode.h"

/* Source: Documentation/admin-guide/devices.txt */
enum { MAJOR_NVIDIA = 195, MINOR_NVIDIACTL = 255, MAJOR_DRM = 226 };
enum { VENDOR_INTEL = 0x8086 };
enum { DEVICES_MAX = 64 * 1024, CAPABILITY_MAX = 4096 };

#define CAPS	"/proc/driver/nvidia/capabilities"

struct find {
	struct gpunodes host;
	struct pciaddr *gpus;	/* owned; picked so far */
	size_t n_gpus, gpus_room;
	bool nvidia;		/* the standard nodes are needed */
	size_t room;		/* of out->nodes */
	struct ctnodes *out;
	char *why;		/* owned */
};

/* ---- what the kernel says ---- */

int ctnodes_major(const char *driver)
{
	_cleanup_free_ char *path = root_path("/proc/devices"),
			    *text = readfile_string(path, DEVICES_MAX);
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n"))) {
		char name[64];
		int major;

		if (strncmp(line, "Block", 5) == 0)
			break;
		if (sscanf(line, " %d %63s", &major, name) == 2
		    && strcmp(name, driver) == 0)
			return major;
	}
	return -1;
}

/* "DeviceFileMinor: 30" of a capability; -1 without. */
static int capability_minor(const char *path)
{
	_cleanup_free_ char *text = readfile_string(path, CAPABILITY_MAX);
	const char *p = text ? strstr(text, "DeviceFileMinor:") : NULL;
	int minor;

	return p && sscanf(p, "DeviceFileMinor: %d", &minor) == 1 ? minor : -1;
}

/* "MAJOR:MINOR" of a device in sysfs. */
static bool read_number(const char *class, const char *name, struct ctnode *node)
{
	_cleanup_free_ char *path = root_path("/sys/class/%s/%s/dev", class, name);
	char text[32];

	return sysfs_read(path, text, sizeof(text)) > 0
	       && sscanf(text, "%u:%u", &node->major, &node->minor) == 2;
}

static bool is_intel(const struct pciaddr *addr)
{
	char text[PCIADDR_STRLEN];
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s/vendor",
					      pciaddr_format(addr, text));
	uint64_t vendor;

	return sysfs_read_u64(path, &vendor) == 0 && vendor == VENDOR_INTEL;
}

static bool is_there(const char *path)
{
	_cleanup_free_ char *host = root_path("%s", path);

	return access(host, F_OK) == 0;
}

/* ---- the list ---- */

static void add(struct find *f, struct ctnode node)
{
	struct ctnodes *out = f->out;

	for (size_t i = 0; i < out->n; i++) {
		if (strcmp(out->nodes[i].path, node.path) == 0) {
			free(node.path);
			free(node.name);
			return;
		}
	}
	if (!node.name)
		node.name = xstrdup(node.path);
	node.is_there = is_there(node.path);
	out->nodes = xgrow(out->nodes, out->n, &f->room, sizeof(*out->nodes));
	out->nodes[out->n++] = node;
}

static void add_nvidia(struct find *f, const char *name, unsigned minor)
{
	add(f, (struct ctnode){
		.path = xasprintf("/dev/nvidia%s", name),
		.has_number = true, .major = MAJOR_NVIDIA, .minor = minor,
	});
}

static void add_uvm(struct find *f, const char *name, unsigned minor)
{
	int major = ctnodes_major("nvidia-uvm");

	add(f, (struct ctnode){
		.path = xasprintf("/dev/nvidia-%s", name), .made_on_use = true,
		.has_number = major >= 0, .major = (unsigned)major, .minor = minor,
	});
}

static void add_standard(struct find *f)
{
	add_nvidia(f, "ctl", MINOR_NVIDIACTL);
	add_uvm(f, "uvm", 0);
	add_uvm(f, "uvm-tools", 1);
	/* drivers from before MIG have none */
	if (ctnodes_major("nvidia-caps") >= 0 || is_there("/dev/nvidia-caps"))
		add(f, (struct ctnode){ .path = xstrdup("/dev/nvidia-caps"),
					.is_dir = true, .made_on_use = true });
}

static void add_capability(struct find *f, const char *folder)
{
	_cleanup_free_ char *path = xasprintf("%s/access", folder);
	int minor = capability_minor(path), major = ctnodes_major("nvidia-caps");

	if (minor < 0)
		return;
	add(f, (struct ctnode){
		.path = xasprintf("/dev/nvidia-caps/nvidia-cap%d", minor),
		.made_on_use = true,
		.has_number = major >= 0, .major = (unsigned)major,
		.minor = (unsigned)minor,
	});
}

/* "gi3", "ci0" */
static bool is_instance(const char *name, const char *kind)
{
	return strncmp(name, kind, 2) == 0 && name[2]
	       && name[2 + strspn(name + 2, "0123456789")] == '\0';
}

/* The capabilities of one GPU instance, of one or all of its compute instances. */
static void add_instance(struct find *f, const char *folder, const char *ci)
{
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;

	add_capability(f, folder);
	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *sub = xasprintf("%s/%s", folder, entry->d_name);

		if (is_instance(entry->d_name, "ci")
		    && (!ci || strcmp(ci, entry->d_name) == 0))
			add_capability(f, sub);
	}
}

/* instance: "gi3" or "gi3/ci0"; NULL: all that there are, perhaps none. */
static int add_mig(struct find *f, const char *minor, const char *instance)
{
	_cleanup_free_ char *folder = root_path(CAPS "/gpu%s/mig", minor),
			    *gi = NULL, *path = NULL;
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char *ci;

	if (instance) {
		gi = xstrdup(instance);
		ci = strchr(gi, '/');
		path = xasprintf("%s/%s", folder, instance);
		if (ci)
			*ci++ = '\0';
		if (!is_instance(gi, "gi") || (ci && !is_instance(ci, "ci"))) {
			f->why = xasprintf("%s: not a MIG instance (giN or giN/ciN)", instance);
			return -EINVAL;
		}
		if (access(path, F_OK) < 0) {
			f->why = xasprintf("/dev/nvidia%s has no MIG instance %s", minor,
					   instance);
			return -ENOENT;
		}
		free(path);
		path = xasprintf("%s/%s", folder, gi);
		add_instance(f, path, ci);
		return 0;
	}
	dir = opendir(folder);
	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *sub = xasprintf("%s/%s", folder, entry->d_name);

		if (is_instance(entry->d_name, "gi"))
			add_instance(f, sub, NULL);
	}
	return 0;
}

/* ---- GPUs ---- */

static bool is_number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

/* The number behind the prefix; NULL: another node. */
static const char *after(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && is_number(path + n) ? path + n : NULL;
}

/* The GPU's node whose path is the prefix and a number; returns the number. */
static const char *node_number(const struct find *f, const struct pciaddr *addr,
			       const char *prefix)
{
	for (size_t i = 0; i < f->host.n; i++) {
		const struct gpunode *node = &f->host.nodes[i];
		const char *number = after(node->path, prefix);

		if (number && pciaddr_compare(&node->addr, addr) == 0)
			return number;
	}
	return NULL;
}

static bool has_node(const struct find *f, const struct pciaddr *addr, const char *path)
{
	for (size_t i = 0; i < f->host.n; i++)
		if (strcmp(f->host.nodes[i].path, path) == 0
		    && pciaddr_compare(&f->host.nodes[i].addr, addr) == 0)
			return true;
	return false;
}

/* kind: "card" or "renderD"; link: udev's word for it. by_path: take its link if any. */
static bool add_drm(struct find *f, const struct pciaddr *addr, const char *kind,
		    const char *link, bool by_path)
{
	_cleanup_free_ char *prefix = xasprintf("/dev/dri/%s", kind), *path = NULL,
			    *name = NULL;
	const char *number = node_number(f, addr, prefix);
	char text[PCIADDR_STRLEN];
	struct ctnode node = {
		.group = strcmp(kind, "card") == 0 ? CTNODE_VIDEO : CTNODE_RENDER,
	};

	if (!number)
		return false;
	name = xasprintf("%s%s", kind, number);
	if (!read_number("drm", name, &node)) {
		node.major = MAJOR_DRM;
		node.minor = (unsigned)strtoul(number, NULL, 10);
	}
	node.has_number = true;
	path = xasprintf("/dev/dri/by-path/pci-%s-%s", pciaddr_format(addr, text), link);
	node.name = xasprintf("/dev/dri/%s", name);
	node.path = by_path && has_node(f, addr, path) ? TAKE_PTR(path)
						       : xstrdup(node.name);
	add(f, node);
	return true;
}

static void add_kfd(struct find *f)
{
	struct ctnode node = { .group = CTNODE_RENDER };
	int major = ctnodes_major("kfd");

	node.path = xstrdup("/dev/kfd");
	node.has_number = read_number("kfd", "kfd", &node) || major >= 0;
	if (node.has_number && node.major == 0)
		node.major = (unsigned)major;
	add(f, node);
}

/* 0, -ENOENT or -EINVAL, with why. */
static int add_gpu(struct find *f, const struct pciaddr *addr, const char *instance)
{
	const char *minor = node_number(f, addr, "/dev/nvidia");
	char text[PCIADDR_STRLEN];
	bool any;

	pciaddr_format(addr, text);
	if (minor) {
		add_nvidia(f, minor, (unsigned)strtoul(minor, NULL, 10));
		f->nvidia = true;
		return add_mig(f, minor, instance);
	}
	if (instance) {
		f->why = xasprintf("%s is no NVIDIA GPU: it has no %s", text, instance);
		return -ENOENT;
	}
	if (has_node(f, addr, "/dev/kfd")) {
		add_kfd(f);
		add_drm(f, addr, "renderD", "render", false);
		return 0;
	}
	any = add_drm(f, addr, "card", "card", true);
	if (!add_drm(f, addr, "renderD", "render", true) && !any) {
		f->why = xasprintf("%s has no device nodes: no host driver has it", text);
		return -ENOENT;
	}
	return 0;
}

static bool is_picked(const struct find *f, const struct pciaddr *addr)
{
	for (size_t i = 0; i < f->n_gpus; i++)
		if (pciaddr_compare(&f->gpus[i], addr) == 0)
			return true;
	return false;
}

static void pick(struct find *f, const struct pciaddr *addr)
{
	if (is_picked(f, addr))
		return;
	f->gpus = xgrow(f->gpus, f->n_gpus, &f->gpus_room, sizeof(*f->gpus));
	f->gpus[f->n_gpus++] = *addr;
}

static int find_all(struct find *f)
{
	int rc = 0;

	for (size_t i = 0; i < f->host.n; i++) {
		const struct gpunode *node = &f->host.nodes[i];

		if (after(node->path, "/dev/nvidia") || strcmp(node->path, "/dev/kfd") == 0
		    || (after(node->path, "/dev/dri/card") && is_intel(&node->addr)))
			pick(f, &node->addr);
	}
	for (size_t i = 0; rc == 0 && i < f->n_gpus; i++)
		rc = add_gpu(f, &f->gpus[i], NULL);
	if (f->n_gpus == 0) {
		f->why = xstrdup("no GPU of this host has device nodes of NVIDIA's, AMD's or "
				 "Intel's driver");
		return -ENOENT;
	}
	return rc;
}

/* The NVIDIA GPU of this number, by address; false: fewer there are. */
static bool nvidia_by_index(const struct find *f, unsigned long index,
			    struct pciaddr *addr)
{
	for (size_t i = 0; i < f->host.n; i++) {
		unsigned long before = 0;

		if (!after(f->host.nodes[i].path, "/dev/nvidia"))
			continue;
		for (size_t k = 0; k < f->host.n; k++)
			before += after(f->host.nodes[k].path, "/dev/nvidia")
				  && pciaddr_compare(&f->host.nodes[k].addr,
						     &f->host.nodes[i].addr) < 0;
		if (before == index) {
			*addr = f->host.nodes[i].addr;
			return true;
		}
	}
	return false;
}

static int find_one(struct find *f, char *word)
{
	char *instance = strchr(word, '/');
	struct pciaddr addr;

	if (instance)
		*instance++ = '\0';
	if (is_number(word) && strlen(word) < 4) {
		if (!nvidia_by_index(f, strtoul(word, NULL, 10), &addr)) {
			f->why = xasprintf("no NVIDIA GPU %s: gpu-ls lists the GPUs, others "
					   "are named by address", word);
			return -ENOENT;
		}
	} else if (!pciaddr_parse(word, &addr) && !pciaddr_parse_slot(word, &addr)) {
		f->why = xasprintf("%s: not all, none, an NVIDIA GPU's number or a PCI address",
				   word);
		return -EINVAL;
	}
	pick(f, &addr);
	return add_gpu(f, &addr, instance);
}

static int find_list(struct find *f, const char *wish)
{
	_cleanup_free_ char *copy = xstrdup(wish);
	char *word, *rest = copy;
	int rc = 0;

	while (rc == 0 && (word = strsep(&rest, ","))) {
		word += strspn(word, " \t");
		word[strcspn(word, " \t")] = '\0';
		rc = find_one(f, word);
	}
	return rc;
}

static int compare_path(const void *a, const void *b)
{
	return strcmp(((const struct ctnode *)a)->path, ((const struct ctnode *)b)->path);
}

int ctnodes_find(const char *wish, struct ctnodes *out, char **why)
{
	struct ctnodes found = { 0 };
	struct find f = { .out = &found };
	int rc = gpunodes_read(&f.host);

	if (rc < 0)
		return rc;
	if (strcmp(wish, "none") == 0)
		f.nvidia = true;
	else if (strcmp(wish, "all") == 0)
		rc = find_all(&f);
	else
		rc = find_list(&f, wish);
	if (rc == 0 && f.nvidia)
		add_standard(&f);
	found.n_gpus = f.n_gpus;
	gpunodes_done(&f.host);
	free(f.gpus);
	if (rc < 0) {
		*why = f.why;
		ctnodes_done(&found);
		return rc;
	}
	if (found.n)
		qsort(found.nodes, found.n, sizeof(*found.nodes), compare_path);
	*out = found;
	return 0;
}

void ctnodes_look(struct ctnodes *c)
{
	for (size_t i = 0; i < c->n; i++)
		c->nodes[i].is_there = is_there(c->nodes[i].path);
}

void ctnodes_done(struct ctnodes *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->nodes[i].path);
		free(c->nodes[i].name);
	}
	free(c->nodes);
	*c = (struct ctnodes){ 0 };
}
