/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/assignment.h"
#include "pve/guestcheck.h"

struct looked {
	guestcheck_line *line;
	void *arg;
	size_t n, bad;
};

static void look(const struct assignment *a, void *arg)
{
	struct looked *l = arg;
	char guest[GUEST_STRLEN], addr[PCIADDR_STRLEN] = "";
	const char *mapping = a->mapping ? a->mapping : "";

	if (!a->status || a->state == ASSIGNMENT_ELSEWHERE)
		return;
	l->n++;
	if (strcmp(a->status, "ok") == 0)
		return;
	l->bad++;
	guest_format(a->guest, guest);
	if (a->has_addr)
		assignment_addr(a, addr);
	if (strcmp(a->status, "missing") == 0)
		l->line(false, xasprintf("%s %s: %s is not there", guest, a->key, addr),
			xstrdup("the guest does not start; cards move when others come or go: qm set"),
			l->arg);
	else if (strncmp(a->status, "mismatch:", 9) == 0)
		l->line(false,
			xasprintf("%s %s: mapping %s: the %s of %s is another", guest,
				  a->key, mapping, a->status + 9, addr),
			xstrdup("the guest does not start; set the mapping anew in the datacenter's resource mappings"),
			l->arg);
	else if (strcmp(a->status, "no-mapping") == 0)
		l->line(false,
			xasprintf("%s %s: no mapping %s for this node", guest, a->key,
				  mapping),
			xstrdup("the guest does not start here"), l->arg);
	else
		l->line(false, xasprintf("%s %s: refused by Proxmox VE", guest, a->key),
			xstrdup("the guest does not start; pve-hostpci-ls says why"),
			l->arg);
}

int guestcheck_run(guestcheck_line *line, void *arg)
{
	const struct assignment_query q = { .silent = true };
	_cleanup_free_ char *nodes = root_path("/etc/pve/nodes");
	struct looked l = { line, arg, 0, 0 };
	int rc;

	if (access(nodes, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = assignments_qemu(&q, look, &l);
	if (l.n && !l.bad)
		line(true,
		     xasprintf("%zu functions in the VMs' settings, all there", l.n),
		     NULL, arg);
	/* What PVE drops from a config has been told by its own programs. */
	return rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
}
