/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/assignment.h"
#include "pve/holder.h"
#include "pve/hostpci.h"
#include "pve/listing.h"
#include "pve/qemuproc.h"

enum {
	INDEX_RESERVED = HOSTPCI_MAX,	/* reserved, no telling for which hostpciN */
	INDEX_ARGS,			/* on the command line without an id of PVE's */
};

struct run {
	struct listing l;
	void (*each)(const struct assignment *a, void *arg);
	void *arg;
	struct hostpci_host host;
	struct pveconf_pick pick;
	struct hostpci_rows rows;
	uint32_t *candidates;		/* VMs with a pid file, sorted */
	size_t n_candidates;
	struct qemuproc proc;
	struct reservation *reservations;
	size_t n_reservations;
	bool has_reservations;
};

static void refuse(int index, const char *why, void *arg)
{
	listing_complain(arg, "hostpci%d: %s", index, why);
}

static void bad_mapping(unsigned long line, const char *why, void *arg)
{
	const struct listing *l = arg;

	if (!l->query->silent)
		say("%s/etc/pve/mapping/pci.cfg:%lu: %s", root_dir(), line, why);
	listing_fail(arg, -EBADMSG);
}

/* Which settings count: pveconf_pick()'s keep. */
static bool keep(const struct pveconf_item *item, void *arg)
{
	_cleanup_free_ char *value = NULL, *why = NULL;
	struct hostpci h;
	unsigned index;

	if (item->what == PVECONF_JUNK) {
		if (memmem(item->value, item->value_len, "hostpci", 7))
			listing_complain_junk(arg, item);
		return false;
	}
	if (pveconf_key_is(item, "machine") || pveconf_key_is(item, "vga"))
		return true;
	if (item->key_len < 7 || memcmp(item->key, "hostpci", 7) != 0)
		return false;
	if (!pveconf_key_index(item, "hostpci", HOSTPCI_MAX - 1, &index)) {
		listing_complain(arg, "%.*s: unknown setting",
				 item->key_len < 80 ? (int)item->key_len : 80, item->key);
		return false;
	}
	value = listing_value(item);
	if (hostpci_parse(value, item->value_len, &h, &why))
		return true;
	refuse((int)index, why, arg);
	return false;
}

/* "q35" in the type of "[type=]TYPE,..." */
static bool is_q35(const struct pveconf_item *item)
{
	const char *end = item->value + item->value_len;

	for (const char *p = item->value; p < end; ) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t len = (size_t)((comma ? comma : end) - p);

		if (!memchr(p, '=', len) || strncmp(p, "type=", 5) == 0)
			return memmem(p, len, "q35", 3) != NULL;
		p += len + 1;
	}
	return false;
}

/* Rows of what the chosen section gives. The texts in `copies` must outlive them. */
static void resolve(struct run *run, enum pveconf_choice choice,
		    char *copies[HOSTPCI_MAX])
{
	const struct hostpci *settings[HOSTPCI_MAX] = { NULL };
	struct hostpci parsed[HOSTPCI_MAX];
	struct hostpci_vm vm = { 0 };

	listing_pick(&run->l, &run->pick, choice, keep, &run->l);
	for (size_t i = 0; i < run->pick.n; i++) {
		const struct pveconf_item *item = &run->pick.items[i];
		_cleanup_free_ char *why = NULL;
		unsigned index;

		if (pveconf_key_is(item, "machine")) {
			vm.q35 = is_q35(item);
		} else if (pveconf_key_is(item, "vga")) {
			vm.vga_none = item->value_len == 4
				      && memcmp(item->value, "none", 4) == 0;
		} else if (pveconf_key_index(item, "hostpci", HOSTPCI_MAX - 1, &index)) {
			copies[index] = listing_value(item);
			if (hostpci_parse(copies[index], item->value_len, &parsed[index],
					  &why))
				settings[index] = &parsed[index];
		}
	}
	hostpci_resolve(&run->host, settings, &vm, &run->rows, refuse, &run->l);
}

static bool is_same_type(const char *a, const char *b)
{
	return !a || !b || strcmp(a, b) == 0;
}

/*
 * The row that is held: of the same setting if there is one; an mdev's row names its
 * type.
 */
static struct hostpci_row *find_row(struct run *run, int index,
				    const struct pciaddr *addr, const char *mdev_type)
{
	struct hostpci_row *found = NULL;

	for (size_t i = 0; i < run->rows.n; i++) {
		struct hostpci_row *row = &run->rows.list[i];

		if (!row->has_addr || row->is_slot || row->held
		    || pciaddr_compare(&row->addr, addr) != 0
		    || !is_same_type(row->mdev_type, mdev_type))
			continue;
		if (row->index == index)
			return row;
		if (!found)
			found = row;
	}
	return found;
}

static void hold(struct run *run, int index, const struct pciaddr *addr,
		 const char *mdev_type, const char *how)
{
	struct hostpci_row *row = find_row(run, index, addr, mdev_type);
	struct hostpci_rows *rows = &run->rows;

	if (row) {
		row->held = how;
		return;
	}
	rows->list = xgrow(rows->list, rows->n, &rows->room, sizeof(*rows->list));
	rows->list[rows->n++] = (struct hostpci_row){
		.index = index,
		.has_addr = true,
		.addr = *addr,
		.mdev_type = mdev_type,
		.status = hostpci_host_find(&run->host, addr) ? "ok" : "missing",
		.held = how,
	};
}

/* From PVE's reservations; false when it has none for this VM. */
static bool hold_reserved(struct run *run)
{
	int64_t now = (int64_t)time(NULL);
	bool any = false;
	int rc;

	if (!run->has_reservations) {
		run->has_reservations = true;
		rc = reservations_read(&run->reservations, &run->n_reservations);
		if (rc < 0)
			listing_fail(&run->l, rc);
	}
	for (size_t i = 0; i < run->n_reservations; i++) {
		const struct reservation *r = &run->reservations[i];

		if (r->vmid != run->l.vmid
		    || (r->until < 0 ? r->pid != run->proc.pid : r->until <= now))
			continue;
		hold(run, INDEX_RESERVED, &r->addr, NULL, "reservation");
		any = true;
	}
	return any;
}

/* Say of a running VM's rows which it holds, and add what its config does not name. */
static void hold_all(struct run *run, const struct holding *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hold(run, h[i].hostpci < 0 ? INDEX_ARGS : h[i].hostpci, &h[i].addr,
		     h[i].mdev_type, "cmdline");
	if (n > 0 || hold_reserved(run))
		return;
	for (size_t i = 0; i < run->rows.n; i++) {
		struct hostpci_row *row = &run->rows.list[i];

		if (row->has_addr && row->status && strcmp(row->status, "missing") != 0)
			row->held = "config";
	}
}

static int compare_rows(const void *a, const void *b)
{
	const struct hostpci_row *x = a, *y = b;

	if (x->index != y->index)
		return x->index - y->index;
	if (x->alt != y->alt)
		return x->alt - y->alt;
	return pciaddr_compare(&x->addr, &y->addr);
}

static void put_rows(struct run *run, enum assignment_state state)
{
	struct hostpci_rows *rows = &run->rows;

	if (rows->n > 1)
		qsort(rows->list, rows->n, sizeof(*rows->list), compare_rows);
	for (size_t i = 0; i < rows->n; i++) {
		const struct hostpci_row *row = &rows->list[i];
		char key[sizeof("hostpci") + 10];
		struct assignment a = {
			.guest = { GUEST_QEMU, run->l.vmid },
			.key = key,
			.alt = row->alt,
			.has_addr = row->has_addr,
			.addr = row->addr,
			.is_slot = row->is_slot,
			.mdev_type = listing_lend(row->mdev_type),
			.mapping = listing_lend(row->mapping),
			.state = state,
			.node = listing_lend(run->host.node),
			.status = listing_lend(row->status),
			.held = listing_lend(row->held),
		};

		if (row->index == INDEX_ARGS)
			strcpy(key, "args");
		else if (row->index == INDEX_RESERVED)
			strcpy(key, "hostpci");
		else
			snprintf(key, sizeof(key), "hostpci%d", row->index);
		run->each(&a, run->arg);
	}
	rows->n = 0;
}

static void do_vm(struct listing *l, void *arg)
{
	struct run *run = arg;
	bool is_running = l->is_local
			  && guest_vmids_have(run->candidates, run->n_candidates, l->vmid)
			  && qemuproc_read(l->vmid, &run->proc);
	enum pveconf_choice choice = listing_choice(l, is_running);
	char *copies[HOSTPCI_MAX] = { NULL };
	struct holding *holdings = NULL;
	size_t n_holdings = 0;

	if (is_running)
		say_info("qemu/%u runs, process %d", l->vmid, (int)run->proc.pid);
	run->host.node = l->node;
	run->host.is_local = l->is_local;
	/* most configs have none */
	if (choice == PVECONF_OF_SNAPSHOT
	    || memmem(l->text.data, l->text.len, "hostpci", 7))
		resolve(run, choice, copies);
	if (is_running && listing_is_effective(l)) {
		holder_parse_cmdline(run->proc.cmdline.data, run->proc.cmdline.len,
				     &holdings, &n_holdings);
		hold_all(run, holdings, n_holdings);
	}
	put_rows(run, listing_state(l, is_running));
	holdings_free(holdings, n_holdings);
	for (size_t i = 0; i < HOSTPCI_MAX; i++)
		free(copies[i]);
}

int assignments_qemu(const struct assignment_query *q,
		     void (*each)(const struct assignment *a, void *arg), void *arg)
{
	struct run run = {
		.l = { .kind = GUEST_QEMU, .query = q, .one = do_vm, .arg = &run },
		.each = each,
		.arg = arg,
		.host = { .bad_mapping = bad_mapping, .arg = &run.l },
	};
	bool wants_local;
	int rc = listing_open(&run.l, &wants_local);

	if (rc < 0)
		return rc;
	if (wants_local)
		rc = qemuproc_candidates(&run.candidates, &run.n_candidates);
	if (rc < 0) {
		errno = -rc;
		say_errno("%s/run/qemu-server", root_dir());
		listing_fail(&run.l, rc);
	}
	listing_run(&run.l);
	if (run.host.error < 0) {
		errno = -run.host.error;
		say_errno("%s%s", root_dir(), run.host.unread);
		listing_fail(&run.l, run.host.error);
	}
	hostpci_host_done(&run.host);
	qemuproc_done(&run.proc);
	free(run.pick.items);
	free(run.rows.list);
	free(run.candidates);
	free(run.reservations);
	return listing_close(&run.l);
}
