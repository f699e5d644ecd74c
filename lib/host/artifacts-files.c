/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/artifacts-files.h"
#include "host/hostfile.h"
#include "host/kmodconf.h"

static const char mark[] = HOSTFILE_MARK "; \"vfio-setup undo\" takes this file away\n";

/* A text under way: finish() closes it. */
struct text {
	char *data;
	size_t len;
	FILE *out;
};

static FILE *begin(struct text *text)
{
	text->out = open_memstream(&text->data, &text->len);
	return xcheck(text->out);
}

/* The text, allocated; NULL instead of an empty one. */
static char *finish(struct text *text)
{
	if (fclose(text->out) != 0)
		xcheck(NULL);
	if (text->len)
		return text->data;
	free(text->data);
	return NULL;
}

enum artifacts_initramfs artifacts_initramfs(void)
{
	static const struct {
		const char *path;
		enum artifacts_initramfs kind;
	} signs[] = {
		{ "/usr/share/initramfs-tools/hook-functions", INITRAMFS_TOOLS },
		{ "/usr/lib/dracut/dracut-functions.sh", INITRAMFS_DRACUT },
		{ "/usr/bin/dracut", INITRAMFS_DRACUT },
		{ "/usr/sbin/dracut", INITRAMFS_DRACUT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		_cleanup_free_ char *path = root_path("%s", signs[i].path);

		if (access(path, F_OK) == 0)
			return signs[i].kind;
	}
	return INITRAMFS_NONE;
}

char *artifacts_ids(const struct cards *cards)
{
	struct text text;
	FILE *out = begin(&text);
	const char *gap = "";

	for (size_t i = 0; i < cards->n; i++) {
		const struct card_fn *fn = &cards->fns[i];
		bool repeated = false;

		if (fn->how == CARD_BY_SLOT)
			continue;
		for (size_t k = 0; k < i; k++) {
			const struct card_fn *before = &cards->fns[k];

			repeated = repeated || (before->how == fn->how &&
				   before->dev->vendor == fn->dev->vendor &&
				   before->dev->device == fn->dev->device &&
				   (fn->how == CARD_BY_ID ||
				    (before->dev->subvendor == fn->dev->subvendor &&
				     before->dev->subdevice == fn->dev->subdevice)));
		}
		if (repeated)
			continue;
		fprintf(out, "%s%04x:%04x", gap, fn->dev->vendor, fn->dev->device);
		if (fn->how == CARD_BY_SUBSYSTEM)
			fprintf(out, ":%04x:%04x", fn->dev->subvendor, fn->dev->subdevice);
		gap = ",";
	}
	return finish(&text);
}

static bool is_asked(const struct setup_request *request, const char *module)
{
	for (size_t i = 0; i < request->blacklist.n; i++)
		if (kmodconf_same_name(request->blacklist.s[i], module))
			return true;
	return false;
}

/*
 * Options count where vfio-pci is a module; where it is built in, the command
 * line has them. A blacklist is for drivers of a display that nothing else
 * needs: it is the second lock, for a start of vfio-pci that fails.
 */
static char *modprobe_text(const struct setup_request *request,
			   const struct cards *cards, const struct claims *claims)
{
	_cleanup_free_ char *ids = artifacts_ids(cards);
	struct text text;
	FILE *out;

	if (!cards->n && !request->blacklist.n)
		return NULL;
	out = begin(&text);
	fputs(mark, out);
	if (ids)
		fprintf(out, "options vfio-pci ids=%s\n", ids);
	for (size_t i = 0; i < claims->n; i++)
		fprintf(out, "softdep %s pre: vfio-pci\n", claims->mods[i].name);
	for (size_t i = 0; i < claims->n; i++)
		if (claims->mods[i].for_display && !claims->mods[i].needed &&
		    !is_asked(request, claims->mods[i].name))
			fprintf(out, "blacklist %s\n", claims->mods[i].name);
	for (size_t i = 0; i < request->blacklist.n; i++)
		fprintf(out, "blacklist %s\n", request->blacklist.s[i]);
	return finish(&text);
}

/* vfio_virqfd, which others list too, is no module any more since Linux 6.2. */
static char *modules_load_text(const struct cards *cards)
{
	if (!cards->n)
		return NULL;
	return xasprintf("%svfio\nvfio_iommu_type1\nvfio_pci\n", mark);
}

/*
 * The override is written while the rules are gone through, drivers are loaded
 * after all of them: the driver of the other, equal card finds this one taken.
 * A vfio-pci that is there already is offered the function by drivers_probe, one
 * that comes later looks for it itself. All four ids must be right, or nothing is
 * done: another card in the slot stays with the host.
 * Source: udev(7); Documentation/ABI/testing/sysfs-bus-pci, driver_override.
 */
static char *udev_text(const struct cards *cards)
{
	bool any = false;
	struct text text;
	FILE *out = begin(&text);

	for (size_t i = 0; i < cards->n; i++) {
		const struct pcidev *dev = cards->fns[i].dev;
		char name[PCIADDR_STRLEN];

		if (cards->fns[i].how != CARD_BY_SLOT)
			continue;
		if (!any)
			fputs(mark, out);
		any = true;
		fprintf(out, "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"%s\", \\\n"
			"  ATTR{vendor}==\"0x%04x\", ATTR{device}==\"0x%04x\", \\\n"
			"  ATTR{subsystem_vendor}==\"0x%04x\", "
			"ATTR{subsystem_device}==\"0x%04x\", \\\n"
			"  ATTR{driver_override}=\"vfio-pci\", "
			"ATTR{[subsystem/pci]drivers_probe}=\"$kernel\", \\\n"
			"  RUN{builtin}+=\"kmod load vfio-pci\"\n",
			pciaddr_format(&dev->addr, name), dev->vendor, dev->device,
			dev->subvendor, dev->subdevice);
	}
	return finish(&text);
}

/* Is anything to be done before the root file system is there? */
static bool is_early(const struct setup_request *request, const struct cards *cards)
{
	for (size_t i = 0; i < cards->n; i++)
		if (request->early || cards->fns[i].how == CARD_BY_SLOT)
			return true;
	return false;
}

/*
 * initramfs-tools takes along modprobe.d and, through udev's own hook, rules of
 * /etc/udev/rules.d that have no namesake in /lib; the copy here does not lean on that.
 */
static char *initramfs_hook_text(void)
{
	return xasprintf("#!/bin/sh\n%s"
			 "set -e\n"
			 "case ${1-} in\n"
			 "prereqs) echo udev; exit 0 ;;\n"
			 "esac\n"
			 ". /usr/share/initramfs-tools/hook-functions\n"
			 "manual_add_modules vfio_iommu_type1\n"
			 "force_load vfio_pci\n"
			 "rules=" ARTIFACT_UDEV "\n"
			 "if [ -e \"$rules\" ]; then\n"
			 "	mkdir -p \"$DESTDIR/etc/udev/rules.d\"\n"
			 "	cp -p \"$rules\" \"$DESTDIR/etc/udev/rules.d/\"\n"
			 "fi\n", mark);
}

static char *dracut_text(bool has_rules)
{
	return xasprintf("%sforce_drivers+=\" vfio vfio_iommu_type1 vfio_pci \"\n"
			 "install_items+=\" " ARTIFACT_MODPROBE "%s \"\n", mark,
			 has_rules ? " " ARTIFACT_UDEV : "");
}

/* Takes the text; NULL: not wanted. */
static void add_file(struct hostfiles *files, const char *path, char *text, mode_t mode)
{
	if (text)
		hostfiles_add(files, path, text, mode);
	free(text);
}

void artifacts_files(const struct setup_request *request, const struct cards *cards,
		     const struct claims *claims, struct hostfiles *files)
{
	char *rules = udev_text(cards);
	bool has_rules = rules != NULL;

	add_file(files, ARTIFACT_MODPROBE, modprobe_text(request, cards, claims), 0644);
	add_file(files, ARTIFACT_MODULES_LOAD, modules_load_text(cards), 0644);
	add_file(files, ARTIFACT_UDEV, rules, 0644);
	if (!is_early(request, cards))
		return;
	switch (artifacts_initramfs()) {
	case INITRAMFS_TOOLS:
		add_file(files, ARTIFACT_INITRAMFS_HOOK, initramfs_hook_text(), 0755);
		break;
	case INITRAMFS_DRACUT:
		add_file(files, ARTIFACT_DRACUT, dracut_text(has_rules), 0644);
		break;
	case INITRAMFS_NONE:
		break;
	}
}
