/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pve/guest.h"
#include "pve/guestdir.h"
#include "pve/guestfacts.h"
#include "pve/qemuproc.h"

enum { UNIX_SOCKETS_MAX = 64 << 20 };

bool guest_parse_vmid_n(const char *text, size_t len, uint32_t *vmid)
{
	uint32_t value = 0;

	if (len < 3 || len > 9 || text[0] == '0')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	*vmid = value;
	return true;
}

bool guest_parse_vmid(const char *text, uint32_t *vmid)
{
	return guest_parse_vmid_n(text, strlen(text), vmid);
}

bool guest_parse(const char *text, struct guest_id *id)
{
	enum guest_kind kind = GUEST_QEMU;
	uint32_t vmid;

	if (strncmp(text, "qemu/", 5) == 0)
		text += 5;
	else if (strncmp(text, "lxc/", 4) == 0) {
		kind = GUEST_LXC;
		text += 4;
	} else
		return false;
	if (!guest_parse_vmid(text, &vmid))
		return false;
	*id = (struct guest_id){ kind, vmid };
	return true;
}

const char *guest_format(struct guest_id id, char buf[GUEST_STRLEN])
{
	snprintf(buf, GUEST_STRLEN, "%s/%u", id.kind == GUEST_QEMU ? "qemu" : "lxc",
		 id.vmid % 1000000000u);
	return buf;
}

int guest_compare(const void *a, const void *b)
{
	const struct guest_id *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return (x->vmid > y->vmid) - (x->vmid < y->vmid);
}

int guest_compare_vmid(const void *a, const void *b)
{
	const struct guest_id *x = a, *y = b;

	if (x->vmid != y->vmid)
		return x->vmid < y->vmid ? -1 : 1;
	return (x->kind > y->kind) - (x->kind < y->kind);
}

static int compare_guests(const void *a, const void *b)
{
	return guest_compare(&((const struct guest *)a)->id,
			     &((const struct guest *)b)->id);
}

int guest_compare_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

bool guest_vmids_have(const uint32_t *vmids, size_t n, uint32_t vmid)
{
	return n > 0 && bsearch(&vmid, vmids, n, sizeof(*vmids), guest_compare_number);
}

char *guest_local_node(void)
{
	_cleanup_free_ char *path = root_path("/etc/pve/local");
	char *name = sysfs_link_name(path);
	char host[HOST_NAME_MAX + 1] = "";

	if (name && *name)
		return name;
	free(name);
	gethostname(host, sizeof(host) - 1);
	return xstrndup(host, strcspn(host, "."));
}

bool guest_configs_are_mounted(void)
{
	_cleanup_free_ char *path = root_path("/etc/pve/local");
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/* ---- who runs ---- */

/* Sorted VMIDs of the containers whose command socket is in /proc/net/unix. */
static int running_containers(uint32_t **vmids, size_t *n)
{
	static const char word[] = "@/var/lib/lxc/";
	_cleanup_free_ char *path = root_path("/proc/net/unix");
	_cleanup_free_ char *text = readfile_string(path, UNIX_SOCKETS_MAX);
	_cleanup_free_ uint32_t *list = NULL;
	size_t used = 0, room = 0, kept = 0;

	if (!text && errno != ENOENT)
		return -errno;
	for (const char *p = text ? strstr(text, word) : NULL; p; p = strstr(p, word)) {
		uint32_t vmid;
		size_t len;

		p += sizeof(word) - 1;
		len = strspn(p, "0123456789");
		if (strncmp(p + len, "/command", 8) != 0
		    || (p[len + 8] != '\n' && p[len + 8] != '\0')
		    || !guest_parse_vmid_n(p, len, &vmid))
			continue;
		list = xgrow(list, used, &room, sizeof(*list));
		list[used++] = vmid;
	}
	if (used > 0)
		qsort(list, used, sizeof(*list), guest_compare_number);
	for (size_t i = 0; i < used; i++)
		if (kept == 0 || list[kept - 1] != list[i])
			list[kept++] = list[i];
	*vmids = TAKE_PTR(list);
	*n = kept;
	return 0;
}

int guest_running(enum guest_kind kind, uint32_t **vmids, size_t *n)
{
	struct qemuproc proc = { 0 };
	uint32_t *list;
	size_t used, kept = 0;
	int rc;

	if (kind == GUEST_LXC)
		return running_containers(vmids, n);
	rc = qemuproc_candidates(&list, &used);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < used; i++)
		if (qemuproc_read(list[i], &proc))
			list[kept++] = list[i];
	qemuproc_done(&proc);
	*vmids = list;
	*n = kept;
	return 0;
}

bool guest_is_running(struct guest_id id, pid_t *pid, uint64_t *start_time)
{
	struct qemuproc proc = { 0 };
	bool runs = false;

	if (id.kind == GUEST_QEMU) {
		runs = qemuproc_read(id.vmid, &proc);
	} else {
		_cleanup_free_ uint32_t *vmids = NULL;
		size_t n = 0;
		int rc = running_containers(&vmids, &n);

		if (rc == 0)
			runs = guest_vmids_have(vmids, n, id.vmid);
		errno = -rc;
	}
	if (pid)
		*pid = runs ? proc.pid : 0;
	if (start_time)
		*start_time = runs ? proc.start_time : 0;
	qemuproc_done(&proc);
	return runs;
}

/* ---- lists ---- */

struct guests {
	struct guest *list;
	size_t n, room;
	struct guestfacts_ha ha;
	bool local;		/* this node: who runs can be told */
};

static int add_kind(struct guests *all, const char *node, enum guest_kind kind,
		    const uint32_t *only)
{
	_cleanup_free_ uint32_t *running = NULL;
	struct readfile buf = { 0 };
	struct guestdir dir;
	size_t n_running = 0;
	int rc = guestdir_open(&dir, kind, node, only, only != NULL);

	if (rc < 0)
		return rc;
	if (all->local && kind == GUEST_QEMU)
		rc = qemuproc_candidates(&running, &n_running);
	else if (all->local)
		rc = running_containers(&running, &n_running);
	for (size_t i = 0; rc == 0 && i < dir.n; i++) {
		struct guest g = { .id = { kind, dir.entries[i].vmid },
				   .order = -1, .up = -1, .down = -1 };
		char name[GUEST_STRLEN];
		int err = guestdir_read(&dir, &dir.entries[i], &buf);

		/* gone since the directory was listed, or never there */
		if (err == -ENOENT)
			continue;
		if (err < 0)
			say_warn("%s: %s", guest_format(g.id, name),
				 guestdir_strerror(err));
		else
			guestfacts_read(&g, buf.data, buf.len);
		g.node = xstrdup(node);
		g.ha = guestfacts_is_ha(&all->ha, g.id);
		if (guest_vmids_have(running, n_running, g.id.vmid))
			g.running = kind == GUEST_LXC
				    || guest_is_running(g.id, &g.pid, &g.start_time);
		all->list = xgrow(all->list, all->n, &all->room, sizeof(g));
		all->list[all->n++] = g;
	}
	free(buf.data);
	guestdir_close(&dir);
	return rc;
}

int guest_list(const char *node, struct guest **guests, size_t *n)
{
	_cleanup_free_ char *local = guest_local_node();
	struct guests all = { 0 };
	int rc;

	if (!node)
		node = local;
	all.local = strcmp(node, local) == 0;
	guestfacts_ha_read(&all.ha);
	rc = add_kind(&all, node, GUEST_QEMU, NULL);
	if (rc == 0)
		rc = add_kind(&all, node, GUEST_LXC, NULL);
	free(all.ha.ids);
	if (rc < 0) {
		guest_list_free(all.list, all.n);
		return rc;
	}
	if (all.n > 0)
		qsort(all.list, all.n, sizeof(*all.list), compare_guests);
	*guests = all.list;
	*n = all.n;
	return 0;
}

int guest_find(const char *operand, struct guest *guest)
{
	_cleanup_free_ char *node = guest_local_node();
	struct guests all = { .local = true };
	struct guest_id id;
	bool any_kind = guest_parse_vmid(operand, &id.vmid);
	int rc = 0;

	if (!any_kind && !guest_parse(operand, &id))
		return -EINVAL;
	guestfacts_ha_read(&all.ha);
	if (any_kind || id.kind == GUEST_QEMU)
		rc = add_kind(&all, node, GUEST_QEMU, &id.vmid);
	if (rc == 0 && all.n == 0 && (any_kind || id.kind == GUEST_LXC))
		rc = add_kind(&all, node, GUEST_LXC, &id.vmid);
	free(all.ha.ids);
	if (rc == 0 && all.n == 0)
		rc = -ENOENT;
	if (rc == 0)
		*guest = all.list[0];
	free(all.list);
	return rc;
}

void guest_done(struct guest *guest)
{
	free(guest->node);
	free(guest->name);
	free(guest->lock);
	free(guest->hookscript);
	*guest = (struct guest){ 0 };
}

void guest_list_free(struct guest *guests, size_t n)
{
	for (size_t i = 0; i < n; i++)
		guest_done(&guests[i]);
	free(guests);
}
