/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In order: driver, services, SR-IOV, types, instances, groups, one to a VM, boot. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/gpudev.h"
#include "host/setupreport.h"
#include "mdev-ls-check.h"

void check_tell(struct hostcheck *hc, enum hostcheck_level level, const char *topic,
		char *how, const char *fmt, ...)
{
	va_list args;
	char *what;

	va_start(args, fmt);
	what = xvasprintf(fmt, args);
	va_end(args);
	hostcheck_add(hc, level, topic, what, how);
}

bool check_is_wanted(const struct view *view, size_t parent)
{
	return view->only ? view->parent >= 0 && (size_t)view->parent == parent : true;
}

static bool is_nvidia(const char *driver)
{
	return driver && strcmp(driver, "nvidia") == 0;
}

/* Why a card has no vGPUs at all, by the driver that it has. */
static void check_card(struct hostcheck *hc, enum hostcheck_level level,
		       const struct pcidev *dev, const char *addr)
{
	const char *driver = dev->driver;

	if (!driver)
		check_tell(hc, level, "driver",
			   xstrdup("its driver makes the vGPUs: see dmesg"),
			   "%s has no driver", addr);
	else if (strcmp(driver, "vfio-pci") == 0)
		check_tell(hc, level, "driver",
			   xasprintf("vfio-bind --to host %s gives it back", addr),
			   "%s is given away as a whole (vfio-pci)", addr);
	else if (strcmp(driver, "nouveau") == 0)
		check_tell(
			hc, level, "driver",
			xstrdup("NVIDIA's vGPU manager is needed; it is not installed by this suite"),
			"%s: nouveau makes no vGPUs", addr);
	else if (is_nvidia(driver))
		check_tell(
			hc, level, "driver",
			xstrdup("it takes NVIDIA's vGPU manager, which is not the plain driver, and a "
				"card that it knows; others need unlocking, which is not done here"),
			"%s: driver nvidia offers neither mdev types nor SR-IOV", addr);
	else if (strcmp(driver, "i915") == 0)
		check_tell(
			hc, level, "driver",
			xstrdup("5th to 10th generation: i915.enable_gvt=1 and the module kvmgt; "
				"later ones: a driver with SR-IOV"),
			"%s: driver i915 offers neither mdev types nor SR-IOV", addr);
	else
		check_tell(hc, level, "driver", NULL,
			   "%s: driver %s offers neither mdev types nor SR-IOV", addr,
			   driver);
}

static bool offers_vgpus(const struct vgpus *v, const struct pcidev *dev)
{
	for (size_t i = 0; i < v->n_parents; i++) {
		const struct vgpu_parent *p = &v->parents[i];

		if (p->is_pci &&
		    (pciaddr_compare(&p->addr, &dev->addr) == 0 ||
		     (p->is_vf && pciaddr_compare(&p->physfn, &dev->addr) == 0)))
			return true;
	}
	return false;
}

static int check_drivers(struct hostcheck *hc, const struct view *view)
{
	struct pcidev *devs = NULL;
	size_t n = 0, shown = 0;
	int rc = pcidev_list(PCIDEV_IDENT | PCIDEV_BIND, &devs, &n);

	for (size_t i = 0; i < view->v.n_parents; i++) {
		const struct vgpu_parent *p = &view->v.parents[i];

		if (!check_is_wanted(view, i))
			continue;
		shown++;
		check_tell(hc, HOSTCHECK_OK, "driver", NULL, "%s: %s, back-end %s",
			   p->name, p->driver ? p->driver : "built in",
			   vgpu_backend_name(p->backend));
	}
	for (size_t i = 0; i < n; i++) {
		char text[PCIADDR_STRLEN];
		const char *addr = pciaddr_format(&devs[i].addr, text);
		bool is_only = view->only && strcmp(addr, view->only) == 0;

		if (view->only ? !is_only : !gpudev_is_gpu(&devs[i]) || devs[i].is_vf)
			continue;
		if (is_only && view->parent >= 0)
			continue;
		if (offers_vgpus(&view->v, &devs[i]))
			continue;
		shown++;
		check_card(hc,
			   is_only || !view->v.n_parents ? HOSTCHECK_FAIL
							 : HOSTCHECK_WARN,
			   &devs[i], addr);
	}
	pcidev_free(devs, n);
	if (!shown && view->only)
		check_tell(hc, HOSTCHECK_FAIL, "driver", NULL, "there is no %s",
			   view->only);
	else if (!shown)
		check_tell(hc, HOSTCHECK_FAIL, "driver", NULL, "this host has no GPU");
	return rc == -ENOENT ? 0 : rc;
}

static bool has_nvidia(const struct view *view)
{
	for (size_t i = 0; i < view->v.n_parents; i++)
		if (check_is_wanted(view, i) && is_nvidia(view->v.parents[i].driver))
			return true;
	return false;
}

static void check_sriov(struct hostcheck *hc, const struct vgpu_parent *p)
{
	size_t ready = 0;

	for (size_t i = 0; i < p->n_vfs; i++)
		ready += p->vfs[i].is_ready;
	if (p->backend == VGPU_MDEV) {
		if (p->is_vf)
			check_tell(hc, HOSTCHECK_OK, "sriov", NULL,
				   "%s is a virtual function", p->name);
		else
			check_tell(hc, HOSTCHECK_OK, "sriov", NULL, "%s: not needed",
				   p->name);
	} else if (p->backend == VGPU_NVIDIA && p->n_vfs == 0) {
		check_tell(hc, HOSTCHECK_TODO, "sriov",
			   xasprintf("/usr/lib/nvidia/sriov-manage -e %s", p->name),
			   "%s: no VFs yet", p->name);
	} else if (p->backend == VGPU_NVIDIA && ready < p->n_vfs) {
		check_tell(
			hc, HOSTCHECK_FAIL, "sriov",
			xstrdup("the VFs stay with the driver nvidia: do not bind them to vfio-pci"),
			"%s: %zu of %zu VFs show no vGPU types", p->name,
			p->n_vfs - ready, p->n_vfs);
	} else if (p->backend == VGPU_SRIOV && p->n_vfs == 0) {
		check_tell(hc, HOSTCHECK_TODO, "sriov",
			   xasprintf("mdev-mk -p %s -t vf -c N", p->name),
			   "%s: no VFs yet, %d can be made", p->name, p->totalvfs);
	} else {
		check_tell(hc, HOSTCHECK_OK, "sriov", NULL, "%s: %zu VFs", p->name,
			   p->n_vfs);
	}
}

static void check_types(struct hostcheck *hc, const struct vgpus *v, size_t parent)
{
	const struct vgpu_parent *p = &v->parents[parent];
	_cleanup_free_ char *holds = vgpu_holds(v, parent);
	size_t n = 0, left = 0;

	for (size_t i = 0; i < v->n_types; i++)
		if (v->types[i].parent == parent) {
			n++;
			left += v->types[i].available != 0;
		}
	if (left)
		check_tell(hc, HOSTCHECK_OK, "types", NULL,
			   "%s: %zu of %zu types can be made now", p->name, left, n);
	else if (holds)
		check_tell(hc, HOSTCHECK_OK, "types", NULL,
			   "%s: nothing is left beside %s", p->name, holds);
	else if (p->backend == VGPU_NVIDIA && p->n_vfs == 0)
		check_tell(hc, HOSTCHECK_TODO, "types", xstrdup("the VFs have them"),
			   "%s: no types without VFs", p->name);
	else
		check_tell(
			hc, HOSTCHECK_FAIL, "types",
			is_nvidia(p->driver)
				? xstrdup("with MIG on, GPU instances come first; else see 'journalctl -u nvidia-vgpud'")
				: NULL,
			"%s: no type can be made, and nothing is in use", p->name);
}

static void check_instances(struct hostcheck *hc, const struct view *view)
{
	size_t n = 0, left = 0;

	for (size_t i = 0; i < view->v.n_instances; i++)
		if (check_is_wanted(view, view->v.instances[i].parent)) {
			n++;
			left += view_is_leftover(view, i);
		}
	if (left)
		check_tell(
			hc, HOSTCHECK_WARN, "instances",
			xstrdup("mdev-ls --leftovers lists them, mdev-rm --leftovers removes them"),
			"%zu, %zu of them used by nobody", n, left);
	else
		check_tell(hc, HOSTCHECK_OK, "instances", NULL, "%zu", n);
}

static bool shares_group(const struct vgpus *v, size_t instance)
{
	for (size_t i = 0; i < v->n_instances; i++)
		if (i != instance &&
		    v->instances[i].group == v->instances[instance].group)
			return true;
	return false;
}

static bool check_group(struct hostcheck *hc, const struct vgpus *v, size_t i)
{
	const struct vgpu *g = &v->instances[i];
	bool is_vf = v->parents[g->parent].backend == VGPU_NVIDIA;

	if (is_vf && !is_nvidia(g->driver))
		check_tell(hc, HOSTCHECK_FAIL, "groups",
			   xstrdup("its driver is nvidia, also when a VM has it"),
			   "%s is bound to %s", g->id,
			   g->driver ? g->driver : "no driver");
	else if (g->group < 0)
		check_tell(
			hc, HOSTCHECK_FAIL, "groups",
			xstrdup(v->parents[g->parent].backend == VGPU_MDEV
					? "a VFIO driver must be bound to it: see dmesg"
					: "vfio-setup check says why"),
			"%s has no IOMMU group", g->id);
	else if (shares_group(v, i))
		check_tell(hc, HOSTCHECK_WARN, "groups",
			   xstrdup("what is in one group goes to one VM"),
			   "%s shares IOMMU group %d", g->id, g->group);
	else
		return true;
	return false;
}

static void check_groups(struct hostcheck *hc, const struct view *view)
{
	size_t n = 0, good = 0;

	for (size_t i = 0; i < view->v.n_instances; i++)
		if (check_is_wanted(view, view->v.instances[i].parent)) {
			n++;
			good += check_group(hc, &view->v, i);
		}
	if (good == n)
		check_tell(hc, HOSTCHECK_OK, "groups", NULL,
			   n ? "each has its own" : "nothing is made yet");
}

int view_check(const struct view *view)
{
	struct hostcheck hc = { 0 };
	int status, rc = check_drivers(&hc, view);

	if (rc < 0) {
		errno = -rc;
		say_errno("cannot list PCI functions");
		hostcheck_done(&hc);
		return EX_OSERR;
	}
	if (has_nvidia(view))
		check_services(&hc, view);
	for (size_t i = 0; i < view->v.n_parents; i++)
		if (check_is_wanted(view, i))
			check_sriov(&hc, &view->v.parents[i]);
	for (size_t i = 0; i < view->v.n_parents; i++)
		if (check_is_wanted(view, i))
			check_types(&hc, &view->v, i);
	check_instances(&hc, view);
	check_groups(&hc, view);
	check_one_per_vm(&hc, view);
	check_boot(&hc, view);
	status = setupreport_check(&hc, &view->record);
	if (status == EX_OK)
		status = hostcheck_exit(&hc);
	hostcheck_done(&hc);
	return status;
}
