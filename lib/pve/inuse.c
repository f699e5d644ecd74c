/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "gpu/gpuuser.h"
#include "pve/holder.h"
#include "pve/inuse.h"

struct users {
	struct inuse *list;	/* owned */
	size_t n, room;
};

static void add(struct users *u, const struct pciaddr *addr, pid_t pid, char *text)
{
	u->list = xgrow(u->list, u->n, &u->room, sizeof(*u->list));
	u->list[u->n++] = (struct inuse){ .addr = *addr, .pid = pid, .text = text };
}

static bool has(const struct users *u, const struct pciaddr *addr, pid_t pid)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->list[i].pid == pid && pciaddr_compare(&u->list[i].addr, addr) == 0)
			return true;
	return false;
}

static int add_processes(struct users *u, const struct pciaddr *addrs, size_t n)
{
	struct gpuuser *users;
	size_t n_users;
	int rc = gpuuser_list(addrs, n, &users, &n_users);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n_users; i++) {
		const struct gpuuser *p = &users[i];
		bool owned = p->owner && strcmp(p->owner, "-") != 0;

		if (has(u, &p->addr, p->pid))
			continue;
		add(u, &p->addr, p->pid,
		    xasprintf("%s use by process %d (%s)%s%s: %s",
			      p->is_certain ? "in" : "may be in", (int)p->pid, p->comm,
			      owned ? " of " : "", owned ? p->owner : "", p->what));
	}
	gpuuser_free(users, n_users);
	return 0;
}

/* The process name that /proc gives; "?" for one that is gone. */
static char *comm_of(pid_t pid)
{
	_cleanup_free_ char *path = root_path("/proc/%d/comm", (int)pid);
	char text[64];

	return xstrdup(sysfs_read(path, text, sizeof(text)) > 0 ? text : "?");
}

static int add_reservations(struct users *u, const struct pciaddr *addrs, size_t n,
			    uint32_t except)
{
	_cleanup_free_ struct reservation *r = NULL;
	size_t n_r;
	int rc = reservations_read(&r, &n_r);

	for (size_t i = 0; rc == 0 && i < n_r; i++) {
		_cleanup_free_ char *comm = NULL;
		bool asked = false;

		for (size_t k = 0; k < n; k++)
			asked |= pciaddr_compare(&addrs[k], &r[i].addr) == 0;
		if (!asked || r[i].vmid == except || !reservation_is_held(&r[i]) ||
		    (r[i].pid && has(u, &r[i].addr, r[i].pid)))
			continue;
		if (!r[i].pid) {
			add(u, &r[i].addr, 0,
			    xasprintf("reserved for VM %u, which starts now", r[i].vmid));
			continue;
		}
		comm = comm_of(r[i].pid);
		add(u, &r[i].addr, r[i].pid,
		    xasprintf("reserved for VM %u, process %d (%s)", r[i].vmid,
			      (int)r[i].pid, comm));
	}
	return rc;
}

int inuse_list(const struct pciaddr *addrs, size_t n, uint32_t except,
	       struct inuse **list, size_t *n_list)
{
	struct users u = { 0 };
	int rc = add_processes(&u, addrs, n);

	if (rc == 0)
		rc = add_reservations(&u, addrs, n, except);
	if (rc < 0) {
		inuse_free(u.list, u.n);
		return rc;
	}
	*list = u.list;
	*n_list = u.n;
	return 0;
}

void inuse_free(struct inuse *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].text);
	free(list);
}
