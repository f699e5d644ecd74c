/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/gpunode.h"
#include "pve/assignment.h"
#include "pve/listing.h"
#include "pve/propstr.h"

enum { DEV_MAX = 256 };			/* dev0..dev255 */

static const char mount_key[] = "lxc.mount.entry";

struct run {
	struct listing l;
	void (*each)(const struct assignment *a, void *arg);
	void *arg;
	struct pveconf_pick pick;
	uint32_t *running;		/* containers, sorted */
	size_t n_running;
	struct gpunodes nodes;
	bool has_nodes;
	struct pciaddr *put; /* functions of the key at hand that have their record */
	size_t n_put, put_room;
	bool is_running;		/* the container at hand */
};

/* ---- devN: pve-container, LXC/Config.pm ---- */

static const char *check_path(const char *value)
{
	size_t n = strlen(value);

	if (strncmp(value, "/dev/", 5) != 0)
		return "does not start with /dev/";
	if (strstr(value, "/./") || strstr(value, "/../")
	    || (n >= 2 && strcmp(value + n - 2, "/.") == 0)
	    || (n >= 3 && strcmp(value + n - 3, "/..") == 0))
		return "is not a clean path";
	return NULL;
}

static const char *check_mode(const char *value)
{
	return value[0] == '0' && strlen(value) == 4 && strspn(value, "01234567") == 4
	       ? NULL : "is not 0 and three octal digits";
}

static const char *check_id(const char *value)
{
	return value[strspn(value, "0123456789")] == '\0' ? NULL : "is no number";
}

enum dev_key { PATH, MODE, UID, GID, DENY_WRITE };

static const struct propstr_key dev_keys[] = {
	[PATH] = { "path", check_path, true },
	[MODE] = { "mode", check_mode, false },
	[UID] = { "uid", check_id, false },
	[GID] = { "gid", check_id, false },
	[DENY_WRITE] = { "deny-write", propstr_check_bool, false },
};

static const struct propstr_schema dev_schema = { dev_keys, ARRAY_SIZE(dev_keys), PATH };

/* Which settings count: pveconf_pick()'s keep. */
static bool keep(const struct pveconf_item *item, void *arg)
{
	unsigned index;

	if (item->what == PVECONF_JUNK) {
		if (memmem(item->value, item->value_len, "/dev/", 5))
			listing_complain_junk(arg, item);
		return false;
	}
	/* raw keys have no pending form */
	if (item->what == PVECONF_RAW)
		return pveconf_key_is(item, mount_key) && item->part != PVECONF_PENDING;
	return pveconf_key_index(item, "dev", DEV_MAX - 1, &index);
}

/* ---- from paths to functions ---- */

static bool is_number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

/* A node that stands for a function, unlike control nodes and directories. */
static bool is_function_node(const char *path)
{
	if (strncmp(path, "/dev/nvidia", 11) == 0)
		return is_number(path + 11);
	if (strncmp(path, "/dev/dri/card", 13) == 0)
		return is_number(path + 13);
	if (strncmp(path, "/dev/dri/renderD", 16) == 0)
		return is_number(path + 16);
	return strncmp(path, "/dev/dri/by-path/", 17) == 0
	       || strcmp(path, "/dev/kfd") == 0;
}

static void put(struct run *run, const char *key, const struct pciaddr *addr,
		const char *status)
{
	bool held = run->is_running && addr && listing_is_effective(&run->l);
	struct assignment a = {
		.guest = { GUEST_LXC, run->l.vmid },
		.key = listing_lend(key),
		.has_addr = addr != NULL,
		.state = listing_state(&run->l, run->is_running),
		.node = listing_lend(run->l.node),
		.status = listing_lend(status),
		.held = held ? listing_lend("config") : NULL,
	};

	if (addr)
		a.addr = *addr;
	run->each(&a, run->arg);
}

static void add_node(struct run *run, const struct pciaddr *addr)
{
	for (size_t i = 0; i < run->n_put; i++)
		if (pciaddr_compare(&run->put[i], addr) == 0)
			return;
	run->put = xgrow(run->put, run->n_put, &run->put_room, sizeof(*run->put));
	run->put[run->n_put++] = *addr;
}

/* "//" and a '/' at the end say nothing. */
static void tidy(char *path)
{
	char *to = path;

	for (const char *p = path; *p; p++)
		if (*p != '/' || to == path || to[-1] != '/')
			*to++ = *p;
	if (to > path + 1 && to[-1] == '/')
		to--;
	*to = '\0';
}

static void read_nodes(struct run *run)
{
	int rc;

	if (run->has_nodes)
		return;
	run->has_nodes = true;
	rc = gpunodes_read(&run->nodes);
	if (rc < 0) {
		run->nodes = (struct gpunodes){ 0 };
		errno = -rc;
		say_errno("cannot read the GPU nodes");
		listing_fail(&run->l, rc);
	}
}

/* Collect the functions behind a node, or behind all nodes of a directory. */
static void add_path(struct run *run, const char *key, char *path)
{
	size_t before = run->n_put, len;
	bool found = false;

	tidy(path);
	len = strlen(path);
	if (!run->l.is_local) {
		/* what is behind it only that node can tell */
		if (is_function_node(path) || strcmp(path, "/dev/dri") == 0)
			put(run, key, NULL, NULL);
		return;
	}
	if (strncmp(path, "/dev", 4) != 0)
		return;
	read_nodes(run);
	for (size_t i = 0; i < run->nodes.n; i++) {
		const struct gpunode *node = &run->nodes.nodes[i];

		if (strncmp(node->path, path, len) != 0
		    || (node->path[len] != '\0' && node->path[len] != '/'))
			continue;
		found = true;
		add_node(run, &node->addr);
	}
	if (!found && run->n_put == before && is_function_node(path))
		put(run, key, NULL, "missing");
}

static void put_key(struct run *run, const char *key)
{
	if (run->n_put > 1)
		qsort(run->put, run->n_put, sizeof(*run->put), pciaddr_compare);
	for (size_t i = 0; i < run->n_put; i++)
		put(run, key, &run->put[i], "ok");
	run->n_put = 0;
}

static void do_dev(struct run *run, const struct pveconf_item *item, unsigned index)
{
	_cleanup_free_ char *value = listing_value(item), *why = NULL;
	const char *values[ARRAY_SIZE(dev_keys)];
	char key[sizeof("dev") + 10];

	snprintf(key, sizeof(key), "dev%u", index);
	if (!propstr_parse(&dev_schema, value, item->value_len, values, &why)) {
		listing_complain(&run->l, "%s: %s", key, why);
		return;
	}
	add_path(run, key, listing_lend(values[PATH]));
	put_key(run, key);
}

/* First word of an fstab(5) line, with its \ooo taken back; NUL bytes end it. */
static void do_mount(struct run *run, const struct pveconf_item *item)
{
	_cleanup_free_ char *value = listing_value(item);
	char *to = value;

	if (strlen(value) != item->value_len) {
		listing_complain(&run->l, "%s: NUL byte in the value", mount_key);
		return;
	}
	value[strcspn(value, " \t")] = '\0';
	for (const char *p = value; *p; to++) {
		if (p[0] == '\\' && strspn(p + 1, "01234567") >= 3) {
			*to = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3
				     | (p[3] - '0'));
			p += 4;
		} else {
			*to = *p++;
		}
	}
	*to = '\0';
	add_path(run, mount_key, value);
}

static int compare_items(const void *a, const void *b)
{
	const struct pveconf_item *x = a, *y = b;
	unsigned i = DEV_MAX, j = DEV_MAX;

	pveconf_key_index(x, "dev", DEV_MAX - 1, &i);
	pveconf_key_index(y, "dev", DEV_MAX - 1, &j);
	if (i != j)
		return i < j ? -1 : 1;
	return (x->line > y->line) - (x->line < y->line);
}

static void do_container(struct listing *l, void *arg)
{
	enum pveconf_choice choice;
	struct run *run = arg;

	run->is_running =
		l->is_local && guest_vmids_have(run->running, run->n_running, l->vmid);
	if (run->is_running)
		say_info("lxc/%u runs", l->vmid);
	choice = listing_choice(l, run->is_running);
	/* most configs have none */
	if (choice != PVECONF_OF_SNAPSHOT
	    && !memmem(l->text.data, l->text.len, "/dev", 4))
		return;
	listing_pick(l, &run->pick, choice, keep, l);
	if (run->pick.n > 1)
		qsort(run->pick.items, run->pick.n, sizeof(*run->pick.items),
		      compare_items);
	for (size_t i = 0; i < run->pick.n; i++) {
		const struct pveconf_item *item = &run->pick.items[i];
		unsigned index;

		if (item->what == PVECONF_RAW)
			do_mount(run, item);
		else if (pveconf_key_index(item, "dev", DEV_MAX - 1, &index))
			do_dev(run, item, index);
	}
	put_key(run, mount_key);
}

int assignments_lxc(const struct assignment_query *q,
		    void (*each)(const struct assignment *a, void *arg), void *arg)
{
	struct run run = {
		.l = { .kind = GUEST_LXC, .query = q, .one = do_container, .arg = &run },
		.each = each,
		.arg = arg,
	};
	bool wants_local;
	int rc = listing_open(&run.l, &wants_local);

	if (rc < 0)
		return rc;
	if (wants_local)
		rc = guest_running(GUEST_LXC, &run.running, &run.n_running);
	if (rc < 0) {
		errno = -rc;
		say_errno("%s/proc/net/unix", root_dir());
		listing_fail(&run.l, rc);
	}
	listing_run(&run.l);
	gpunodes_done(&run.nodes);
	free(run.running);
	free(run.pick.items);
	free(run.put);
	return listing_close(&run.l);
}
