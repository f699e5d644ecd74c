/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "gpu/gpunode.h"
#include "pve/hostmodel.h"

/* Processes that are neither QEMU's nor a container's: the host's own. */
static int load_users(struct hostmodel *m)
{
	struct gpunodes nodes = { 0 };
	size_t room = 0;
	int err = gpunodes_read(&nodes);

	if (err)
		return err;
	err = gpuproc_list(&nodes, &m->procs, &m->n_procs);
	gpunodes_done(&nodes);
	if (err)
		return err;
	for (size_t i = 0; i < m->n_procs; i++) {
		const struct gpuproc *p = &m->procs[i];
		const char *owner = p->owner ? p->owner : "-";
		const char *unit = strncmp(owner, "unit/", 5) == 0 ? owner + 5 : NULL;

		if (strncmp(owner, "qemu/", 5) == 0 || strncmp(owner, "lxc/", 4) == 0)
			continue;
		for (size_t k = 0; k < p->n_addrs; k++) {
			m->users = xgrow(m->users, m->n_users, &room, sizeof(*m->users));
			m->users[m->n_users++] = (struct contention_host_user){
				.addr = p->addrs[k],
				.pid = (int)p->pid,
				.comm = p->comm,
				.unit = unit,
			};
		}
	}
	return 0;
}

int hostmodel_load(struct hostmodel *m, const char **what)
{
	int err;

	*m = (struct hostmodel){ 0 };
	err = config_load(NULL, &m->config, &m->config_error);
	if (err && !m->config_error)
		m->config_error = xstrdup(strerror(-err));
	m->node = guest_local_node();
	*what = "the guests of this node";
	err = guest_list(NULL, &m->guests, &m->n_guests);
	if (err)
		return err;
	*what = "the guests' devices";
	err = assignments_load(&m->assignments, &m->n_assignments);
	m->has_bad_values = err == -EBADMSG;
	if (err && err != -EBADMSG)
		return err;
	*what = "the PCI functions of this host";
	err = pcidev_list(PCIDEV_IDENT | PCIDEV_BIND, &m->devs, &m->n_devs);
	if (err && err != -ENOENT)
		return err;
	*what = "what the guests' devices are like";
	err = contention_facts_load(&m->facts, m->assignments, m->n_assignments,
				    &m->config, NULL);
	if (err)
		return err;
	*what = "the processes that use a GPU";
	err = load_users(m);
	if (err)
		return err;
	m->input = contention_facts_input(&m->facts, m->assignments, m->n_assignments,
					  &m->config, m->node);
	/* Any guest may have its turn: all functions and all their users count. */
	m->input.devs = m->devs;
	m->input.n_devs = m->n_devs;
	m->input.host_users = m->users;
	m->input.n_host_users = m->n_users;
	return 0;
}

void hostmodel_done(struct hostmodel *m)
{
	free(m->users);
	gpuproc_free(m->procs, m->n_procs);
	contention_facts_done(&m->facts);
	pcidev_free(m->devs, m->n_devs);
	assignments_free(m->assignments, m->n_assignments);
	guest_list_free(m->guests, m->n_guests);
	free(m->node);
	free(m->config_error);
	config_done(&m->config);
	*m = (struct hostmodel){ 0 };
}

struct plan_guest *hostmodel_plan_guests(const struct hostmodel *m)
{
	struct plan_guest *guests = xcalloc(m->n_guests + 1, sizeof(*guests));

	for (size_t i = 0; i < m->n_guests; i++) {
		const struct guest *g = &m->guests[i];

		guests[i] = (struct plan_guest){
			.id = g->id,
			.running = g->running,
			.backup_starts = g->id.kind == GUEST_QEMU && g->has_disk
				&& !g->template,
		};
	}
	/* .id comes first, so that the comparison of ids fits. */
	if (m->n_guests)
		qsort(guests, m->n_guests, sizeof(*guests), guest_compare_vmid);
	return guests;
}

const struct guest *hostmodel_guest(const struct hostmodel *m, struct guest_id id)
{
	for (size_t i = 0; i < m->n_guests; i++)
		if (guest_compare(&m->guests[i].id, &id) == 0)
			return &m->guests[i];
	return NULL;
}
