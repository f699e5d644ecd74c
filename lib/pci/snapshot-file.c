/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of snapshots. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/record.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pci/snapshot.h"

enum {
	FILE_MAX = 1024 * 1024,
	BAR_TEXT = 3 * 17 + 1,
};

enum field {
	F_ADDR, F_FLAGS, F_IDS, F_CLASS, F_HEADER, F_BARS, F_DRIVER, F_GROUP, F_ATTRS
};
enum { F_COUNT = F_ATTRS + SNAPSHOT_ATTRS };

static const struct record_field fields[F_COUNT] = {
	[F_ADDR] = { "addr", RECORD_STRING },
	[F_FLAGS] = { "flags", RECORD_STRING },
	[F_IDS] = { "ids", RECORD_STRING },
	[F_CLASS] = { "class", RECORD_STRING },
	[F_HEADER] = { "header", RECORD_STRING },
	[F_BARS] = { "bars", RECORD_STRING },
	[F_DRIVER] = { "driver", RECORD_STRING },
	[F_GROUP] = { "iommu_group", RECORD_STRING },
	[F_ATTRS + SNAPSHOT_OVERRIDE] = { "driver_override", RECORD_STRING },
	[F_ATTRS + SNAPSHOT_RESET_METHOD] = { "reset_method", RECORD_STRING },
	[F_ATTRS + SNAPSHOT_NUMA_NODE] = { "numa_node", RECORD_STRING },
	[F_ATTRS + SNAPSHOT_MSI_BUS] = { "msi_bus", RECORD_STRING },
	[F_ATTRS + SNAPSHOT_D3COLD] = { "d3cold_allowed", RECORD_STRING },
	[F_ATTRS + SNAPSHOT_NUMVFS] = { "sriov_numvfs", RECORD_STRING },
	[F_ATTRS + SNAPSHOT_CONTROL] = { "control", RECORD_STRING },
};

static void put_fn(struct record_writer *w, const struct snapshot_fn *fn)
{
	char addr[PCIADDR_STRLEN], ids[20], class[8], header[4], group[12];
	char bars[SNAPSHOT_BARS * BAR_TEXT + 1] = "";
	char *attrs[SNAPSHOT_ATTRS];
	const char *values[F_COUNT];
	size_t len = 0;

	snprintf(ids, sizeof(ids), "%04x:%04x:%04x:%04x", fn->vendor, fn->device,
		 fn->subvendor, fn->subdevice);
	snprintf(class, sizeof(class), "%06x", fn->class & 0xffffff);
	snprintf(header, sizeof(header), "%02x", fn->header);
	snprintf(group, sizeof(group), "%d", fn->iommu_group);
	for (size_t i = 0; i < SNAPSHOT_BARS; i++)
		len += (size_t)snprintf(bars + len, sizeof(bars) - len,
					"%s%" PRIx64 "-%" PRIx64 "-%" PRIx64,
					i ? "," : "", fn->bars[i].start, fn->bars[i].end,
					fn->bars[i].flags);
	values[F_ADDR] = pciaddr_format(&fn->addr, addr);
	values[F_FLAGS] = fn->is_vf ? "vf" : fn->whole ? "whole" : "above";
	values[F_IDS] = ids;
	values[F_CLASS] = class;
	values[F_HEADER] = header;
	values[F_BARS] = bars;
	values[F_DRIVER] = fn->driver;
	values[F_GROUP] = group;
	/* "=" tells an attribute that is empty from one that is not there. */
	for (int i = 0; i < SNAPSHOT_ATTRS; i++) {
		attrs[i] = fn->attrs[i] ? xasprintf("=%s", fn->attrs[i]) : NULL;
		values[F_ATTRS + i] = attrs[i];
	}
	record_put(w, values);
	for (int i = 0; i < SNAPSHOT_ATTRS; i++)
		free(attrs[i]);
}

/* The name of its file: the first function that a remove takes. */
static const struct pciaddr *name_of(const struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->fns[i].whole)
			return &s->fns[i].addr;
	return NULL;
}

int snapshot_save(struct snapshot *s)
{
	static const struct record_opts opts = { .raw = true, .header = true };
	const struct pciaddr *name = name_of(s);
	_cleanup_free_ char *text = NULL, *bad = NULL;
	struct record_writer *w;
	char addr[PCIADDR_STRLEN];
	FILE *out;
	size_t len;
	int rc;

	if (!name)
		return -EINVAL;
	rc = snapshot_make_folder();
	if (rc < 0)
		return rc;
	out = xcheck(open_memstream(&text, &len));
	fprintf(out, "autoprobe\t%s\n", s->autoprobe ? s->autoprobe : "-");
	w = record_writer_new(out, fields, ARRAY_SIZE(fields), &opts, &bad);
	for (size_t i = 0; i < s->n; i++)
		put_fn(w, &s->fns[i]);
	record_writer_free(w);
	fprintf(out, "#end %zu\n", s->n);
	if (fclose(out) != 0)
		return -ENOMEM;
	if (!s->path)
		s->path = root_path(SNAPSHOT_FOLDER "/%s", pciaddr_format(name, addr));
	return atomicfile_write(s->path, text, len, 0600);
}

int snapshot_forget(struct snapshot *s)
{
	int rc;

	if (!s->path)
		return 0;
	rc = atomicfile_unlink(s->path);
	free(TAKE_PTR(s->path));
	return rc == -ENOENT ? 0 : rc;
}

/* What stands in a path must be one name. */
static bool is_name(const char *name)
{
	return !name || (*name && *name != '.' && !strchr(name, '/'));
}

static bool parse_bars(const char *text, struct snapshot_bar *bars)
{
	for (size_t i = 0; i < SNAPSHOT_BARS; i++) {
		int used = 0;

		if (!text ||
		    sscanf(text, "%" SCNx64 "-%" SCNx64 "-%" SCNx64 "%n", &bars[i].start,
			   &bars[i].end, &bars[i].flags, &used) != 3)
			return false;
		text += used;
		if (*text != (i + 1 < SNAPSHOT_BARS ? ',' : '\0'))
			return false;
		text++;
	}
	return true;
}

static bool parse_fn(struct record_reader *in, struct snapshot_fn *fn)
{
	unsigned ids[4], class, header;
	const char *flags;
	char **v = in->values;

	if (in->n < F_COUNT || !v[F_ADDR] || !pciaddr_parse(v[F_ADDR], &fn->addr) ||
	    !v[F_FLAGS] || !v[F_IDS] || !v[F_CLASS] || !v[F_HEADER] || !v[F_GROUP])
		return false;
	flags = v[F_FLAGS];
	fn->is_vf = strcmp(flags, "vf") == 0;
	fn->whole = fn->is_vf || strcmp(flags, "whole") == 0;
	if (sscanf(v[F_IDS], "%4x:%4x:%4x:%4x", ids, ids + 1, ids + 2, ids + 3) != 4 ||
	    sscanf(v[F_CLASS], "%6x", &class) != 1 ||
	    sscanf(v[F_HEADER], "%2x", &header) != 1 ||
	    sscanf(v[F_GROUP], "%9d", &fn->iommu_group) != 1 ||
	    !parse_bars(v[F_BARS], fn->bars) || !is_name(v[F_DRIVER]))
		return false;
	fn->vendor = (uint16_t)ids[0];
	fn->device = (uint16_t)ids[1];
	fn->subvendor = (uint16_t)ids[2];
	fn->subdevice = (uint16_t)ids[3];
	fn->class = class;
	fn->header = (uint8_t)header;
	fn->driver = v[F_DRIVER] ? xstrdup(v[F_DRIVER]) : NULL;
	for (int i = 0; i < SNAPSHOT_ATTRS; i++) {
		const char *value = v[F_ATTRS + i];

		if (value && *value != '=')
			return false;
		fn->attrs[i] = value ? xstrdup(value + 1) : NULL;
	}
	return true;
}

static bool has_end(const char *text, size_t n)
{
	_cleanup_free_ char *end = xasprintf("\n#end %zu\n", n);
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static int compare_fns(const void *a, const void *b)
{
	const struct snapshot_fn *x = a, *y = b;

	return pciaddr_compare(&x->addr, &y->addr);
}

static int parse(char *text, struct snapshot *s)
{
	struct record_reader in = { 0 };
	size_t room = 0;
	int rc;

	if (!*text)
		return -EBADMSG;
	in.in = xcheck(fmemopen(text, strlen(text), "r"));
	rc = record_get(&in);
	if (rc > 0 && in.n >= 2 && in.values[0] && strcmp(in.values[0], "autoprobe") == 0)
		s->autoprobe = in.values[1] ? xstrdup(in.values[1]) : NULL;
	else
		rc = -EBADMSG;
	while (rc > 0) {
		rc = record_get(&in);
		if (rc <= 0)
			break;
		s->fns = xgrow(s->fns, s->n, &room, sizeof(*s->fns));
		s->fns[s->n] = (struct snapshot_fn){ 0 };
		if (!parse_fn(&in, &s->fns[s->n++]))
			rc = -EBADMSG;
	}
	fclose(in.in);
	record_reader_done(&in);
	if (rc == 0 && (!has_end(text, s->n) || !name_of(s)))
		rc = -EBADMSG;
	if (rc == 0)
		qsort(s->fns, s->n, sizeof(*s->fns), compare_fns);
	return rc;
}

static int load(const char *path, struct snapshot *s)
{
	_cleanup_free_ char *text = readfile_string(path, FILE_MAX);
	int rc;

	*s = (struct snapshot){ 0 };
	if (!text)
		return -errno;
	rc = parse(text, s);
	if (rc < 0) {
		snapshot_done(s);
		return rc;
	}
	s->path = xstrdup(path);
	return 0;
}

int snapshot_load_all(struct snapshot **list, size_t *n, size_t *bad)
{
	_cleanup_free_ char *folder = root_path(SNAPSHOT_FOLDER);
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;
	size_t room = 0;

	*list = NULL;
	*n = *bad = 0;
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL;
		struct pciaddr addr;

		/* Our temporary files begin with a dot. */
		if (!pciaddr_parse(entry->d_name, &addr))
			continue;
		path = xasprintf("%s/%s", folder, entry->d_name);
		*list = xgrow(*list, *n, &room, sizeof(**list));
		if (load(path, &(*list)[*n]) == 0)
			(*n)++;
		else
			(*bad)++;
	}
	return 0;
}

void snapshot_free_all(struct snapshot *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		snapshot_done(&list[i]);
	free(list);
}
