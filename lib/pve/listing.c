/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/listing.h"

static const char *kind_name(const struct listing *l)
{
	return l->kind == GUEST_QEMU ? "VM" : "container";
}

void listing_fail(struct listing *l, int rc)
{
	if (l->rc == 0)
		l->rc = rc;
}

void listing_complain(struct listing *l, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	char name[GUEST_STRLEN];
	va_list ap;

	listing_fail(l, -EBADMSG);
	if (l->query->silent)
		return;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	say("%s: %s", guest_format((struct guest_id){ l->kind, l->vmid }, name), text);
}

void listing_complain_junk(struct listing *l, const struct pveconf_item *item)
{
	listing_complain(l, "line %lu is no setting, ignored: '%.*s'", item->line,
			 item->value_len < 80 ? (int)item->value_len : 80, item->value);
}

bool listing_is_effective(const struct listing *l)
{
	return !l->query->section || strcmp(l->query->section, "effective") == 0;
}

enum pveconf_choice listing_choice(const struct listing *l, bool is_running)
{
	/* of another node's guest nobody here knows whether it runs */
	if (listing_is_effective(l))
		return l->is_local && !is_running ? PVECONF_NEXT_START : PVECONF_CURRENT;
	if (strcmp(l->query->section, "current") == 0)
		return PVECONF_CURRENT;
	if (strcmp(l->query->section, "pending") == 0)
		return PVECONF_PENDING_ONLY;
	return PVECONF_OF_SNAPSHOT;
}

void listing_pick(struct listing *l, struct pveconf_pick *pick,
		  enum pveconf_choice choice,
		  bool (*keep)(const struct pveconf_item *item, void *arg), void *arg)
{
	char name[GUEST_STRLEN];

	pveconf_pick(pick, l->kind == GUEST_QEMU ? PVECONF_QEMU : PVECONF_LXC,
		     l->text.data, l->text.len, choice, l->query->section, keep, arg);
	if (choice != PVECONF_OF_SNAPSHOT || pick->found || !l->query->vmids)
		return;
	say("%s: no snapshot '%s'",
	    guest_format((struct guest_id){ l->kind, l->vmid }, name), l->query->section);
	listing_fail(l, -ENOENT);
}

enum assignment_state listing_state(const struct listing *l, bool is_running)
{
	if (!l->is_local)
		return ASSIGNMENT_ELSEWHERE;
	return is_running ? ASSIGNMENT_RUNNING : ASSIGNMENT_STOPPED;
}

char *listing_value(const struct pveconf_item *item)
{
	char *copy = xreallocarray(NULL, item->value_len + 1, 1);

	memcpy(copy, item->value, item->value_len);
	copy[item->value_len] = '\0';
	return copy;
}

char *listing_lend(const char *text)
{
	return (char *)(uintptr_t)text;
}

int listing_open(struct listing *l, bool *wants_local)
{
	const struct assignment_query *q = l->query;
	const char *node;
	int rc;

	l->local = guest_local_node();
	node = q->all_nodes ? NULL : q->node ? q->node : l->local;
	rc = guestdir_open(&l->dir, l->kind, node, q->vmids, q->n_vmids);
	*wants_local = !node || strcmp(node, l->local) == 0;
	if (rc == 0)
		return 0;
	errno = -rc;
	if (rc == -ENOENT && !l->query->node)
		say("%s/etc/pve/nodes%s%s is not there: is this a node of Proxmox VE?",
		    root_dir(), node ? "/" : "", node ? node : "");
	else if (rc == -ENOENT)
		say("%s: no such node in %s/etc/pve/nodes", node, root_dir());
	else
		say_errno("%s/etc/pve/nodes%s%s", root_dir(), node ? "/" : "",
			  node ? node : "");
	free(l->local);
	return rc;
}

static bool is_file_fault(int rc)
{
	return rc == -EISDIR || rc == -EINVAL || rc == -EFBIG || rc == -ENOLINK
	       || rc == -ELOOP;
}

/* With all nodes a guest that was asked for may be in none of the folders. */
static void say_unfound(struct listing *l)
{
	const struct assignment_query *q = l->query;
	char name[GUEST_STRLEN];
	size_t at = 0;

	for (size_t i = 0; q->all_nodes && q->vmids && i < q->n_vmids; i++) {
		while (at < l->dir.n && l->dir.entries[at].vmid < q->vmids[i])
			at++;
		if (at < l->dir.n && l->dir.entries[at].vmid == q->vmids[i])
			continue;
		say("%s: no such %s on any node",
		    guest_format((struct guest_id){ l->kind, q->vmids[i] }, name),
		    kind_name(l));
		listing_fail(l, -ENOENT);
	}
}

void listing_run(struct listing *l)
{
	for (size_t i = 0; i < l->dir.n; i++) {
		const struct guestdir_entry *e = &l->dir.entries[i];
		char name[GUEST_STRLEN];
		int rc = guestdir_read(&l->dir, e, &l->text);

		l->vmid = e->vmid;
		l->node = l->dir.nodes[e->node].name;
		l->is_local = strcmp(l->node, l->local) == 0;
		if (rc == 0) {
			l->one(l, l->arg);
			continue;
		}
		/* gone since the folder was listed */
		if (rc == -ENOENT && !l->query->vmids)
			continue;
		guest_format((struct guest_id){ l->kind, e->vmid }, name);
		if (rc == -ENOENT)
			say("%s: no such %s on node %s", name, kind_name(l), l->node);
		else
			say("%s: %s", name, guestdir_strerror(rc));
		listing_fail(l, is_file_fault(rc) ? -EBADMSG : rc);
	}
	say_unfound(l);
}

int listing_close(struct listing *l)
{
	guestdir_close(&l->dir);
	free(l->text.data);
	free(l->local);
	return l->rc;
}
