/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/ctnodes-find.h"

#define CAPS	"/proc/driver/nvidia/capabilities"

/* Source: Documentation/admin-guide/devices.txt */
enum { MAJOR_NVIDIA = 195, MINOR_NVIDIACTL = 255, CAPABILITY_MAX = 4096 };

void ctnodes_add_nvidia(struct ctnodes_find *f, const char *name, unsigned minor)
{
	ctnodes_add(f, (struct ctnode){
		.path = xasprintf("/dev/nvidia%s", name),
		.has_number = true, .major = MAJOR_NVIDIA, .minor = minor,
	});
}

static void add_uvm(struct ctnodes_find *f, const char *name, unsigned minor)
{
	int major = ctnodes_major("nvidia-uvm");

	ctnodes_add(f, (struct ctnode){
		.path = xasprintf("/dev/nvidia-%s", name), .made_on_use = true,
		.has_number = major >= 0, .major = (unsigned)major, .minor = minor,
	});
}

void ctnodes_add_standard(struct ctnodes_find *f)
{
	ctnodes_add_nvidia(f, "ctl", MINOR_NVIDIACTL);
	add_uvm(f, "uvm", 0);
	add_uvm(f, "uvm-tools", 1);
	/* drivers from before MIG have none */
	if (ctnodes_major("nvidia-caps") >= 0 || ctnode_is_there("/dev/nvidia-caps"))
		ctnodes_add(f, (struct ctnode){ .path = xstrdup("/dev/nvidia-caps"),
					.is_dir = true, .made_on_use = true });
}

/* "DeviceFileMinor: 30" of a capability; -1 without. */
static int capability_minor(const char *path)
{
	_cleanup_free_ char *text = readfile_string(path, CAPABILITY_MAX);
	const char *p = text ? strstr(text, "DeviceFileMinor:") : NULL;
	int minor;

	return p && sscanf(p, "DeviceFileMinor: %d", &minor) == 1 ? minor : -1;
}

static void add_capability(struct ctnodes_find *f, const char *folder)
{
	_cleanup_free_ char *path = xasprintf("%s/access", folder);
	int minor = capability_minor(path), major = ctnodes_major("nvidia-caps");

	if (minor < 0)
		return;
	ctnodes_add(f, (struct ctnode){
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
static void add_instance(struct ctnodes_find *f, const char *folder, const char *ci)
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

int ctnodes_add_mig(struct ctnodes_find *f, const char *minor, const char *instance)
{
	_cleanup_free_ char *folder = root_path(CAPS "/gpu%s/mig", minor), *gi = NULL,
			    *path = NULL;
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
			f->why = xasprintf("'%s': not a MIG instance (giN or giN/ciN)",
					   instance);
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
