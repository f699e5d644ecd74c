/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "gpu/procfd.h"
#include "mdev-ls-check.h"
#include "pve/assignment.h"

enum { RULES_MAX = 64 * 1024, SERVICE_TIMEOUT = 10 };	/* bytes; s */

static bool exists(const char *path)
{
	_cleanup_free_ char *full = root_path("%s", path);

	return access(full, F_OK) == 0;
}

static void see_manager(pid_t pid, void *arg)
{
	bool *runs = arg;
	char comm[16];

	*runs = *runs || (procfd_comm(pid, comm) == 0 && strcmp(comm, "nvidia-vgpu-mgr") == 0);
}

/* nvidia-vgpud ends when its work is done: only a failure of it means something. */
static bool has_failed(const char *unit)
{
	const char *const argv[] = {
		"/usr/bin/systemctl", "is-failed", "--quiet", unit, NULL
	};
	const struct spawn_opts opts = { .timeout = SERVICE_TIMEOUT };

	return root_is_host() && spawn_has_systemd() && spawn_run(argv, &opts) == 0;
}

void check_services(struct hostcheck *hc, const struct view *view)
{
	struct vgpumgr *mgrs = NULL;
	size_t n = 0;
	bool runs = false;

	procfd_each_process(see_manager, &runs);
	if (!runs && !exists("/usr/bin/nvidia-vgpu-mgr")) {
		check_tell(hc, HOSTCHECK_FAIL, "services",
			   xstrdup("it comes with NVIDIA's vGPU software for KVM; installing it is not done here"),
			   "NVIDIA's vGPU manager is not installed");
		return;
	}
	if (has_failed("nvidia-vgpud.service"))
		check_tell(hc, HOSTCHECK_FAIL, "services",
			   xstrdup("journalctl -u nvidia-vgpud; 'failed to send vGPU configuration info' is a card that it does not support"),
			   "nvidia-vgpud has failed");
	if (runs)
		check_tell(hc, HOSTCHECK_OK, "services", NULL, "nvidia-vgpu-mgr runs");
	else
		check_tell(hc, HOSTCHECK_FAIL, "services",
			   xstrdup("systemctl start nvidia-vgpu-mgr, or journalctl -u nvidia-vgpu-mgr"),
			   "nvidia-vgpu-mgr does not run");
	if (vgpuuse_stale_managers(&view->v, &mgrs, &n) == 0 && n)
		check_tell(hc, HOSTCHECK_WARN, "services",
			   xstrdup("mdev-ls --leftovers lists them; ending them is safe once their VM is gone"),
			   "%zu process%s of nvidia-vgpu-mgr without a vGPU", n,
			   n == 1 ? "" : "es");
	vgpumgr_free(mgrs, n);
}

struct given {			/* a vGPU that a VM has, or is to have */
	struct guest_id guest;
	char *key;		/* owned; hostpci0; "" for one that it has */
	const struct vgpu_type *type;	/* NULL: unknown */
};

struct givens {
	const struct vgpus *v;
	const struct view *view;
	struct given *g;	/* owned */
	size_t n, room;
};

static void add_given(struct givens *list, struct guest_id guest, const char *key,
		      const char *type_id)
{
	struct given *g;

	list->g = xgrow(list->g, list->n, &list->room, sizeof(*list->g));
	g = &list->g[list->n++];
	*g = (struct given){ .guest = guest, .key = xstrdup(key) };
	for (size_t i = 0; i < list->v->n_types && !g->type; i++)
		if (strcmp(list->v->types[i].id, type_id) == 0)
			g->type = &list->v->types[i];
}

/* Of the card that was asked for, or any? */
static bool is_asked_for(const struct view *view, const struct assignment *a)
{
	const struct vgpu_vf *vf;
	char addr[PCIADDR_STRLEN];
	int parent;

	if (!view->only)
		return true;
	parent = a->has_addr ? vgpus_find_parent(&view->v, pciaddr_format(&a->addr, addr),
						 &vf)
			     : -1;
	return parent >= 0 && parent == view->parent;
}

static void see_assignment(const struct assignment *a, void *arg)
{
	struct givens *list = arg;

	if (!a->mdev_type || !is_asked_for(list->view, a))
		return;
	for (size_t i = 0; i < list->n; i++)	/* another alternative of a mapping */
		if (guest_compare(&list->g[i].guest, &a->guest) == 0 &&
		    strcmp(list->g[i].key, a->key) == 0)
			return;
	add_given(list, a->guest, a->key, a->mdev_type);
}

/* Where there is no Proxmox VE, the VMs that run tell. */
static void see_running(struct givens *list, const struct view *view)
{
	for (size_t i = 0; i < view->v.n_instances; i++) {
		const struct vgpu *g = &view->v.instances[i];
		const struct vgpuuse *use = vgpuuse_of(view->uses, view->n_uses, i);
		/* A process stands for its VM. */
		struct guest_id id = { .vmid = use ? (uint32_t)use->pid : 0 };

		if (use && g->type && check_is_wanted(view, g->parent) &&
		    use->how != VGPUUSE_MAYBE)
			add_given(list, id, "", g->type);
	}
}

/* Check one guest, whose first row this is: true when it is well. */
static bool check_guest(struct hostcheck *hc, const struct givens *list, size_t first,
			const char *kind)
{
	const char *rule = NULL;
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		const struct given *g = &list->g[i];

		if (guest_compare(&g->guest, &list->g[first].guest) != 0)
			continue;
		if (i < first)
			return true;	/* seen already */
		n++;
		if (g->type && !rule)
			rule = vgpu_one_per_vm(g->type->name, g->type->max_instance);
	}
	if (n < 2 || !rule)
		return true;
	check_tell(hc, HOSTCHECK_WARN, "one-vm", xstrdup(rule), "%s %u has %zu vGPUs", kind,
		   list->g[first].guest.vmid, n);
	return false;
}

void check_one_per_vm(struct hostcheck *hc, const struct view *view)
{
	const struct assignment_query query = { .silent = true };
	struct givens list = { .v = &view->v, .view = view };
	bool is_pve = exists("/etc/pve/local") || exists("/etc/pve/nodes"), is_well = true;

	if (is_pve)
		/* What cannot be read is pve-hostpci-ls's to say. */
		assignments_qemu(&query, see_assignment, &list);
	else
		see_running(&list, view);
	for (size_t i = 0; i < list.n; i++)
		is_well &= check_guest(hc, &list, i, is_pve ? "VM" : "process");
	if (is_well)
		check_tell(hc, HOSTCHECK_OK, "one-vm", NULL,
			   "no VM has more vGPUs than its kind allows");
	for (size_t i = 0; i < list.n; i++)
		free(list.g[i].key);
	free(list.g);
}

/* mdevctl's own udev rule: is it there, and does it name a program that is not? */
static void look_at_mdevctl(bool *is_there, bool *is_broken)
{
	static const char *const rules[] = {
		"/etc/udev/rules.d/60-mdevctl.rules", "/usr/lib/udev/rules.d/60-mdevctl.rules",
		"/lib/udev/rules.d/60-mdevctl.rules",
	};

	*is_there = *is_broken = false;
	for (size_t i = 0; i < ARRAY_SIZE(rules) && !*is_there; i++) {
		_cleanup_free_ char *path = root_path("%s", rules[i]);
		_cleanup_free_ char *text = readfile_string(path, RULES_MAX);

		*is_there = text;
		*is_broken = text && strstr(text, "/usr/sbin/mdevctl") &&
			     !exists("/usr/sbin/mdevctl");
	}
}

void check_boot(struct hostcheck *hc, const struct view *view)
{
	static const char enable[] = "pve-gpu-hooks mdev enable starts them";
	const char *only =
		view->parent >= 0 ? view->v.parents[view->parent].name : view->only;
	size_t autos = 0, others = 0;
	bool is_there, is_broken;

	for (size_t i = 0; i < view->n_defs; i++) {
		const struct mdevdef *def = &view->defs[i];

		if (!def->is_auto || (only && strcmp(def->parent, only) != 0))
			continue;
		autos++;
		others += def->backend != VGPU_MDEV;
	}
	look_at_mdevctl(&is_there, &is_broken);
	if (!autos)
		check_tell(hc, HOSTCHECK_OK, "boot", NULL, "nothing is to start at boot");
	else if (mdevdef_is_started_at_boot())
		check_tell(hc, HOSTCHECK_OK, "boot", NULL, "%zu to start at boot", autos);
	else if (is_broken)
		check_tell(hc, HOSTCHECK_TODO, "boot", xstrdup(enable),
			   "%zu to start at boot, but mdevctl's udev rule runs /usr/sbin/mdevctl, "
			   "which is not there", autos);
	else if (!is_there || others)
		check_tell(hc, HOSTCHECK_TODO, "boot", xstrdup(enable),
			   "%zu to start at boot, and nothing does it",
			   is_there ? others : autos);
	else
		check_tell(hc, HOSTCHECK_OK, "boot", NULL, "%zu to start at boot, by mdevctl",
			   autos);
}
