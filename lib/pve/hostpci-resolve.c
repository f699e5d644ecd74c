/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "pve/hostpci.h"

struct element {
	struct pciaddr addr;
	bool is_slot;
	bool is_sysfs_name;	/* sysfs spells the domain so: else it cannot match */
};

static bool parse_element(const char *text, size_t len, struct element *e)
{
	_cleanup_free_ char *copy = xstrndup(text, len);
	size_t domain = strspn(copy, "0123456789abcdef");

	e->is_slot = pciaddr_parse_slot(copy, &e->addr);
	e->is_sysfs_name = domain <= 4 || copy[0] != '0';
	return e->is_slot || pciaddr_parse(copy, &e->addr);
}

static void add_row(struct hostpci_rows *rows, const struct hostpci_row *row)
{
	rows->list = xgrow(rows->list, rows->n, &rows->room, sizeof(*row));
	rows->list[rows->n++] = *row;
}

/* One element of the list, as a prefix of sysfs names. */
static void add_element(struct hostpci_host *host, const struct element *e,
			struct hostpci_row row, struct hostpci_rows *rows)
{
	size_t before = rows->n;

	row.has_addr = true;
	row.addr = e->addr;
	if (host->is_local && e->is_sysfs_name && strcmp(row.status, "missing") != 0) {
		for (uint8_t f = 0; f < 8; f++) {
			row.addr.func = f;
			if ((e->is_slot || f == e->addr.func)
			    && hostpci_host_find(host, &row.addr))
				add_row(rows, &row);
		}
		if (rows->n > before)
			return;
	}
	row.addr = e->addr;
	row.is_slot = e->is_slot;
	row.status = host->is_local ? "missing" : NULL;
	add_row(rows, &row);
}

static const char *path_status(struct hostpci_host *host, const struct mapping *m,
			       const struct mapping_map *map, const struct element *e,
			       bool is_first)
{
	static const char *const statuses[] = {
		"mismatch:id",
		"mismatch:iommugroup",
		"mismatch:mdev",
		"mismatch:subsystem-id",
	};
	/* of a slot PVE looks at function 0 */
	const struct pcidev *dev = hostpci_host_find(host, &e->addr);
	unsigned known = dev && e->is_sysfs_name ? hostpci_host_fill(host, dev) : 0;
	const char *field;

	if (!known)
		return "missing";
	field = mapping_mismatch(m, map, dev, known & HOSTPCI_HAS_SUBSYSTEM, is_first);
	for (size_t i = 0; field && i < ARRAY_SIZE(statuses); i++)
		if (strcmp(statuses[i] + strlen("mismatch:"), field) == 0)
			return statuses[i];
	return "ok";
}

/* All elements of a ';' list, with what m and map (NULL for host=) expect of them. */
static bool add_list(struct hostpci_host *host, const char *list, const struct mapping *m,
		     const struct mapping_map *map, struct hostpci_row row,
		     struct hostpci_rows *rows, char **why)
{
	bool is_first = true;

	for (const char *p = list; ; p++) {
		size_t len = strcspn(p, ";");
		struct element e;

		if (!parse_element(p, len, &e)) {
			*why = xasprintf("'%.*s' can be no PCI function",
					 len < 80 ? (int)len : 80, p);
			return false;
		}
		row.status = "ok";
		if (m && host->is_local)
			row.status = path_status(host, m, map, &e, is_first);
		add_element(host, &e, row, rows);
		is_first = false;
		p += len;
		if (!*p)
			return true;
	}
}

/* All alternatives; *n_alts of them. */
static bool add_setting(struct hostpci_host *host, const struct hostpci *h,
			struct hostpci_row row, struct hostpci_rows *rows, int *n_alts,
			char **why)
{
	const struct mapping *m;

	*n_alts = 1;
	if (h->host && h->mapping) {
		*why = xstrdup("cannot set both 'host' and 'mapping'");
		return false;
	}
	if (h->host)
		return add_list(host, h->host, NULL, NULL, row, rows, why);
	if (!h->mapping) {
		*why = xstrdup("either 'host' or 'mapping' must be set");
		return false;
	}
	m = hostpci_host_mapping(host, h->mapping);
	*n_alts = 0;
	for (size_t i = 0; m && i < m->n; i++) {
		if (strcmp(m->maps[i].node, host->node) != 0)
			continue;
		row.alt = (*n_alts)++;
		if (!add_list(host, m->maps[i].path, m, &m->maps[i], row, rows, why))
			return false;
	}
	if (*n_alts == 0) {
		row.status = host->is_local ? "no-mapping" : NULL;
		add_row(rows, &row);
	}
	return true;
}

static int compare_rows(const void *a, const void *b)
{
	const struct hostpci_row *x = a, *y = b;

	return x->alt != y->alt ? x->alt - y->alt : pciaddr_compare(&x->addr, &y->addr);
}

static bool is_there(const struct hostpci_row *row)
{
	return row->has_addr && row->status && strcmp(row->status, "missing") != 0;
}

/* Does an alternative among these sorted rows have more than one function? */
static bool is_multifunction(const struct hostpci_row *rows, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (is_there(&rows[i]) && is_there(&rows[i - 1])
		    && rows[i].alt == rows[i - 1].alt
		    && pciaddr_compare(&rows[i].addr, &rows[i - 1].addr) != 0)
			return true;
	return false;
}

static const char *legacy_igd_fault(const struct hostpci *h, const struct hostpci_vm *vm,
				    const struct hostpci_row *rows, size_t n, int n_alts,
				    bool has_another)
{
	if (has_another)
		return "only one device can be assigned in legacy-igd mode";
	if (!vm->vga_none)
		return "legacy-igd needs vga: none";
	if (h->no_rombar)
		return "legacy-igd needs rombar";
	if (h->x_vga)
		return "legacy-igd does not go with x-vga";
	if (h->mdev)
		return "legacy-igd does not go with mdev";
	if (vm->q35)
		return "legacy-igd does not go with machine q35";
	if (is_multifunction(rows, n))
		return "legacy-igd does not go with several functions";
	if (n_alts > 1)
		return "legacy-igd does not go with several alternatives";
	if (n > 0 && is_there(&rows[0])
	    && (rows[0].addr.slot != 2 || rows[0].addr.func != 0))
		return "legacy-igd works for 00:02.0 only";
	return NULL;
}

/*
 * A function that an earlier row of the VM, from the one fixed alternative of its
 * setting, has.
 */
static const struct hostpci_row *find_double(const struct hostpci_rows *rows,
					     size_t start,
					     const bool may_double[HOSTPCI_MAX])
{
	for (size_t i = start; i < rows->n; i++) {
		const struct hostpci_row *row = &rows->list[i];

		if (!is_there(row))
			continue;
		for (size_t j = 0; j < i; j++)
			if (is_there(&rows->list[j]) && !may_double[rows->list[j].index]
			    && pciaddr_compare(&rows->list[j].addr, &row->addr) == 0)
				return row;
	}
	return NULL;
}

/* mdevs share their parent, vGPUs of the newer kind do not. */
static bool is_shared(struct hostpci_host *host, const struct hostpci *h,
		      const struct hostpci_row *row)
{
	const struct pcidev *dev;

	if (!h->mdev || strncmp(h->mdev, "nvidia-", 7) != 0
	    || !h->mdev[7] || h->mdev[7 + strspn(h->mdev + 7, "0123456789")])
		return h->mdev != NULL;
	dev = row->has_addr ? hostpci_host_find(host, &row->addr) : NULL;
	return !dev || !(hostpci_host_fill(host, dev) & HOSTPCI_IS_VGPU);
}

static void drop_doubles(struct hostpci_rows *rows, size_t start)
{
	size_t kept = start;

	for (size_t i = start; i < rows->n; i++)
		if (kept == start
		    || compare_rows(&rows->list[kept - 1], &rows->list[i]) != 0)
			rows->list[kept++] = rows->list[i];
	rows->n = kept;
}

void hostpci_resolve(struct hostpci_host *host,
		     const struct hostpci *const settings[HOSTPCI_MAX],
		     const struct hostpci_vm *vm, struct hostpci_rows *rows,
		     void (*refuse)(int index, const char *why, void *arg), void *arg)
{
	bool may_double[HOSTPCI_MAX] = { false };
	bool has_legacy = false;

	for (int i = 0; i < HOSTPCI_MAX; i++) {
		const struct hostpci *h = settings[i];
		_cleanup_free_ char *why = NULL;
		const char *fault = NULL;
		size_t start = rows->n;
		int n_alts = 0;

		if (!h)
			continue;
		add_setting(host, h,
			    (struct hostpci_row){ .index = i,
						  .mdev_type = h->mdev,
						  .mapping = h->mapping,
						  .status = "ok" },
			    rows, &n_alts, &why);
		if (rows->n > start)
			qsort(rows->list + start, rows->n - start, sizeof(*rows->list),
			      compare_rows);
		if (!why && h->mdev
		    && is_multifunction(rows->list + start, rows->n - start))
			fault = "cannot use a mediated device with several functions";
		else if (!why && h->pcie && !vm->q35)
			fault = "pcie=1 needs machine q35";
		else if (!why && h->legacy_igd)
			fault = legacy_igd_fault(h, vm, rows->list + start,
						 rows->n - start, n_alts, has_legacy);
		has_legacy |= h->legacy_igd;
		may_double[i] =
			n_alts > 1
			|| (rows->n > start && is_shared(host, h, &rows->list[start]));
		if (!why && !fault && !may_double[i]) {
			const struct hostpci_row *twice = find_double(rows, start,
								      may_double);
			char addr[PCIADDR_STRLEN];

			if (twice)
				why = xasprintf("%s is assigned more than once",
						pciaddr_format(&twice->addr, addr));
		}
		if (why || fault) {
			rows->n = start;
			add_row(rows, &(struct hostpci_row){ .index = i,
							     .mdev_type = h->mdev,
							     .mapping = h->mapping,
							     .status = "refused" });
			refuse(i, why ? why : fault, arg);
			continue;
		}
		drop_doubles(rows, start);
	}
}
