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
#include "gpu/ctnodes-find.h"

/* Source: Documentation/admin-guide/devices.txt */
enum { MAJOR_DRM = 226 };
enum { VENDOR_INTEL = 0x8086 };
enum { DEVICES_MAX = 64 * 1024 };

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

/* ---- the list ---- */

bool ctnode_is_there(const char *path)
{
	_cleanup_free_ char *host = root_path("%s", path);

	return access(host, F_OK) == 0;
}

void ctnodes_add(struct ctnodes_find *f, struct ctnode node)
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
	node.is_there = ctnode_is_there(node.path);
	out->nodes = xgrow(out->nodes, out->n, &f->room, sizeof(*out->nodes));
	out->nodes[out->n++] = node;
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
static const char *node_number(const struct ctnodes_find *f, const struct pciaddr *addr,
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

static bool has_node(const struct ctnodes_find *f, const struct pciaddr *addr,
		     const char *path)
{
	for (size_t i = 0; i < f->host.n; i++)
		if (strcmp(f->host.nodes[i].path, path) == 0
		    && pciaddr_compare(&f->host.nodes[i].addr, addr) == 0)
			return true;
	return false;
}

/* kind: "card" or "renderD"; link: udev's word for it. by_path: take its link if any. */
static bool add_drm(struct ctnodes_find *f, const struct pciaddr *addr, const char *kind,
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
	ctnodes_add(f, node);
	return true;
}

static void add_kfd(struct ctnodes_find *f)
{
	struct ctnode node = { .group = CTNODE_RENDER };
	int major = ctnodes_major("kfd");

	node.path = xstrdup("/dev/kfd");
	node.has_number = read_number("kfd", "kfd", &node) || major >= 0;
	if (node.has_number && node.major == 0)
		node.major = (unsigned)major;
	ctnodes_add(f, node);
}

/* 0, -ENOENT or -EINVAL, with why. */
static int add_gpu(struct ctnodes_find *f, const struct pciaddr *addr,
		   const char *instance)
{
	const char *minor = node_number(f, addr, "/dev/nvidia");
	char text[PCIADDR_STRLEN];
	bool any;

	pciaddr_format(addr, text);
	if (minor) {
		ctnodes_add_nvidia(f, minor, (unsigned)strtoul(minor, NULL, 10));
		f->nvidia = true;
		return ctnodes_add_mig(f, minor, instance);
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

static bool is_picked(const struct ctnodes_find *f, const struct pciaddr *addr)
{
	for (size_t i = 0; i < f->n_gpus; i++)
		if (pciaddr_compare(&f->gpus[i], addr) == 0)
			return true;
	return false;
}

static void pick(struct ctnodes_find *f, const struct pciaddr *addr)
{
	if (is_picked(f, addr))
		return;
	f->gpus = xgrow(f->gpus, f->n_gpus, &f->gpus_room, sizeof(*f->gpus));
	f->gpus[f->n_gpus++] = *addr;
}

static int find_all(struct ctnodes_find *f)
{
	int rc = 0;

	for (size_t i = 0; i < f->host.n; i++) {
		const struct gpunode *node = &f->host.nodes[i];

		if (after(node->path, "/dev/nvidia")
		    || strcmp(node->path, "/dev/kfd") == 0
		    || (after(node->path, "/dev/dri/card") && is_intel(&node->addr)))
			pick(f, &node->addr);
	}
	for (size_t i = 0; rc == 0 && i < f->n_gpus; i++)
		rc = add_gpu(f, &f->gpus[i], NULL);
	if (f->n_gpus == 0) {
		f->why = xstrdup("no GPU of this host has device nodes of NVIDIA's, "
				 "AMD's or Intel's driver");
		return -ENOENT;
	}
	return rc;
}

/* The NVIDIA GPU of this number, by address; false: fewer there are. */
static bool nvidia_by_index(const struct ctnodes_find *f, unsigned long index,
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

static int find_one(struct ctnodes_find *f, char *word)
{
	char *instance = strchr(word, '/');
	struct pciaddr addr;

	if (instance)
		*instance++ = '\0';
	if (!*word || strcmp(word, "all") == 0 || strcmp(word, "none") == 0) {
		f->why = *word ? xasprintf("%s stands alone, in no list", word) :
			 xstrdup("a GPU without a name: all, none, or a list of NVIDIA "
				 "GPUs' numbers and PCI addresses");
		return -EINVAL;
	}
	if (is_number(word) && strlen(word) < 4) {
		if (!nvidia_by_index(f, strtoul(word, NULL, 10), &addr)) {
			f->why = xasprintf("no NVIDIA GPU %s: gpu-ls lists the GPUs, "
					   "others are named by address", word);
			return -ENOENT;
		}
	} else if (!pciaddr_parse(word, &addr) && !pciaddr_parse_slot(word, &addr)) {
		f->why = xasprintf("%s: not all, none, an NVIDIA GPU's number or a PCI "
				   "address", word);
		return -EINVAL;
	}
	pick(f, &addr);
	return add_gpu(f, &addr, instance);
}

static int find_list(struct ctnodes_find *f, const char *wish)
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
	struct ctnodes_find f = { .out = &found };
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
		ctnodes_add_standard(&f);
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
		c->nodes[i].is_there = ctnode_is_there(c->nodes[i].path);
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
