/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/vramrecord.h"

enum { FILE_MAX = 1024 * 1024 };

void vramrecord_add(struct vramrecord *r, const struct cuda_uuid *uuid, uint64_t bytes)
{
	for (size_t i = 0; i < r->n; i++) {
		if (memcmp(&r->gpus[i].uuid, uuid, sizeof(*uuid)) != 0)
			continue;
		r->gpus[i].bytes += bytes;
		return;
	}
	r->gpus = xreallocarray(r->gpus, r->n + 1, sizeof(*r->gpus));
	r->gpus[r->n].uuid = *uuid;
	r->gpus[r->n++].bytes = bytes;
}

void vramrecord_add_all(struct vramrecord *r, const struct vramrecord *other)
{
	for (size_t i = 0; i < other->n; i++)
		vramrecord_add(r, &other->gpus[i].uuid, other->gpus[i].bytes);
}

void vramrecord_done(struct vramrecord *r)
{
	free(r->gpus);
	*r = (struct vramrecord){ 0 };
}

int vramrecord_write(const char *path, const struct vramrecord *r)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return -errno;
	for (size_t i = 0; i < r->n; i++) {
		char uuid[CUDA_UUID_STRLEN];

		fprintf(f, "%s\t%" PRIu64 "\n", cuda_uuid_format(&r->gpus[i].uuid, uuid),
			r->gpus[i].bytes);
	}
	fprintf(f, "#end %zu\n", r->n);
	if (fclose(f) != 0)
		return -errno;
	return atomicfile_write(path, text, len, 0600);
}

/* "uuid<TAB>bytes" into *r; false for another text. */
static bool take_line(struct vramrecord *r, const char *line)
{
	const char *tab = strchr(line, '\t');
	struct cuda_uuid uuid;
	uint64_t bytes;
	char *end;

	if (!tab || cuda_uuid_parse(line, (size_t)(tab - line), &uuid) < 0)
		return false;
	if (strspn(tab + 1, "0123456789") == 0)
		return false;
	errno = 0;
	bytes = strtoull(tab + 1, &end, 10);
	if (errno || *end)
		return false;
	vramrecord_add(r, &uuid, bytes);
	return true;
}

int vramrecord_read(const char *path, struct vramrecord *r)
{
	_cleanup_free_ char *text = readfile_string(path, FILE_MAX);
	bool is_whole = false, is_good = true;
	size_t lines = 0, end;
	char *save = NULL;

	*r = (struct vramrecord){ 0 };
	if (!text)
		return -errno;
	for (char *line = strtok_r(text, "\n", &save); line && is_good;
	     line = strtok_r(NULL, "\n", &save)) {
		int used = 0;

		if (is_whole)		/* something behind the end */
			is_good = false;
		else if (sscanf(line, "#end %zu%n", &end, &used) == 1 && !line[used] &&
			 end == lines)
			is_whole = true;
		else
			is_good = take_line(r, line);
		lines++;
	}
	if (is_whole && is_good)
		return 0;
	vramrecord_done(r);
	return -EBADMSG;
}

char *vramrecord_path(pid_t pid, uint64_t start)
{
	return root_path("/run/pve-gpu-utils/cuda/%d-%" PRIu64, (int)pid, start);
}
