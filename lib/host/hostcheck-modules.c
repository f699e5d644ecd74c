/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/hostcheck-parts.h"

static bool is_loaded(const char *module)
{
	_cleanup_free_ char *path = root_path("/sys/module/%s", module);

	return access(path, F_OK) == 0;
}

static void check_module(struct hostcheck *hc, const struct hostcheck_input *in,
			 const struct hostcheck_facts *facts, const char *module)
{
	if (facts->kmod && kmodconf_is_builtin(facts->kmod, module))
		hostcheck_tell(hc, HOSTCHECK_OK, "modules", NULL,
			       "%s: built into the kernel", module);
	else if (is_loaded(module))
		hostcheck_tell(hc, HOSTCHECK_OK, "modules", NULL, "%s: loaded", module);
	else if (!facts->kmod)
		hostcheck_tell(hc, HOSTCHECK_WARN, "modules",
			       "no modules of the running kernel in /lib/modules",
			       "%s: cannot tell", module);
	else if (!kmodconf_exists(facts->kmod, module))
		hostcheck_tell(hc, HOSTCHECK_FAIL, "modules",
			       "a kernel with VFIO is needed", "%s: not in kernel %s",
			       module, facts->release);
	else if (in->cards->n)
		hostcheck_tell(hc, HOSTCHECK_TODO, "modules", hostcheck_next(in),
			       "%s: not loaded", module);
	else
		hostcheck_tell(hc, HOSTCHECK_OK, "modules", NULL, "%s: there, not loaded",
			       module);
}

/* Source: Linux 6.2, "vfio: Fold vfio_virqfd.ko into vfio.ko". */
static void check_virqfd(struct hostcheck *hc, const struct hostcheck_facts *facts)
{
	struct kmodconf_line *lines;
	size_t n;

	if (!facts->release || !kernel_is_at_least(facts->release, 6, 2))
		return;
	lines = kmodconf_load_lines(&n);
	for (size_t i = 0; i < n; i++)
		if (kmodconf_same_name(lines[i].text, "vfio_virqfd"))
			hostcheck_tell(hc, HOSTCHECK_WARN, "modules",
				       "each boot reports a failure; take the line out",
				       "%s:%lu: vfio_virqfd is no module since Linux 6.2",
				       lines[i].path, lines[i].line);
	kmodconf_lines_free(lines, n);
}

static bool is_older(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec < b->st_mtim.tv_sec ||
	       (a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
		a->st_mtim.tv_nsec < b->st_mtim.tv_nsec);
}

/*
 * The kernel's initramfs below /boot, allocated, without the root; NULL when there is
 * none.
 */
static char *initramfs_of(const char *release, struct stat *st)
{
	char *paths[] = {
		xasprintf("/boot/initrd.img-%s", release),
		xasprintf("/boot/initramfs-%s.img", release),
	};
	char *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_free_ char *path = root_path("%s", paths[i]);

		if (!found && stat(path, st) == 0)
			found = TAKE_PTR(paths[i]);
		free(paths[i]);
	}
	return found;
}

/* The first file of ours that is newer than the initramfs, or NULL. */
static const char *newer_file(const struct hostfiles *files, const struct stat *initramfs)
{
	for (size_t i = 0; i < files->n; i++) {
		_cleanup_free_ char *path = root_path("%s", files->f[i].path);
		struct stat st;

		if (artifacts_is_in_initramfs(files->f[i].path) && stat(path, &st) == 0 &&
		    is_older(initramfs, &st))
			return files->f[i].path;
	}
	return NULL;
}

static void check_initramfs(struct hostcheck *hc, const struct hostcheck_input *in,
			    const struct hostcheck_facts *facts)
{
	_cleanup_free_ char *path = NULL;
	const char *newer;
	struct stat st;

	if (!facts->release || !in->cards->n || !in->applied)
		return;
	path = initramfs_of(facts->release, &st);
	if (!path)
		return;
	newer = newer_file(&in->plan->files, &st);
	if (newer)
		hostcheck_tell(hc, HOSTCHECK_TODO, "initramfs",
			       artifacts_initramfs() == INITRAMFS_DRACUT ?
			       "dracut --regenerate-all --force" :
			       "update-initramfs -u -k all",
			       "%s is older than %s", path, newer);
	else
		hostcheck_tell(hc, HOSTCHECK_OK, "initramfs", NULL,
			       "%s is newer than what was applied", path);
}

void hostcheck_modules(struct hostcheck *hc, const struct hostcheck_input *in,
		       const struct hostcheck_facts *facts)
{
	static const char *const modules[] = { "vfio", "vfio_iommu_type1", "vfio_pci" };

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		check_module(hc, in, facts, modules[i]);
	check_virqfd(hc, facts);
	check_initramfs(hc, in, facts);
}
