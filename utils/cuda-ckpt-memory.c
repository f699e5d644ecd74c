/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt: is there room for what is moved? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "cuda-ckpt.h"
#include "gpu/cgroupfs.h"
#include "gpu/nvml.h"
#include "gpu/vramrecord.h"

enum { NVML_WAIT = 10000 };	/* ms that NVIDIA's management library is given */

struct ckpt_memory *ckpt_memory_start(void)
{
	struct ckpt_memory *mem = xcalloc(1, sizeof(*mem));

	mem->question.fd = -1;
	/* Should it fail, so does the wait for its answer. */
	nvml_start(&mem->question);
	return mem;
}

void ckpt_memory_done(struct ckpt_memory *mem)
{
	if (!mem)
		return;
	nvml_done(&mem->nvml);
	free(mem->former);
	if (mem->question.fd >= 0)
		close(mem->question.fd);
	free(mem);
}

/* Bytes of memory that the kernel would give out; UINT64_MAX when it does not say. */
static uint64_t host_available(void)
{
	_cleanup_free_ char *path = root_path("/proc/meminfo");
	_cleanup_free_ char *text = readfile_string(path, (size_t)64 * 1024);
	const char *line = text ? strstr(text, "MemAvailable:") : NULL;

	return line ? strtoull(line + 13, NULL, 10) * 1024 : UINT64_MAX;
}

/* EX_OK, or EX_TEMPFAIL when the room is too small for what is to go there. */
static int compare(const char *where, uint64_t room, uint64_t need, const char *fix,
		   bool force)
{
	char have[32], want[32];

	if (need <= room)
		return EX_OK;
	if (force) {
		say_warn("%s: %s of %s that are needed; tried all the same", where,
			 ckpt_gib(room, have), ckpt_gib(need, want));
		return EX_OK;
	}
	say("%s: %s of %s that are needed; %s, or --force", where, ckpt_gib(room, have),
	    ckpt_gib(need, want), fix);
	return EX_TEMPFAIL;
}

struct group_need {
	char *group;		/* owned */
	uint64_t room, need;
};

struct group_needs {
	struct group_need *list;	/* owned */
	size_t n;
};

static void add_need(struct group_needs *needs, const struct cgroupfs_limit *limit,
		     uint64_t bytes)
{
	for (size_t i = 0; i < needs->n; i++) {
		if (strcmp(needs->list[i].group, limit->group) != 0)
			continue;
		needs->list[i].need += bytes;
		return;
	}
	needs->list = xreallocarray(needs->list, needs->n + 1, sizeof(*needs->list));
	needs->list[needs->n++] = (struct group_need){
		.group = xstrdup(limit->group),
		.room = limit->room,
		.need = bytes,
	};
}

static int check_groups(const struct cudaunit *u, bool force)
{
	struct group_needs needs = { 0 };
	int code = EX_OK;

	for (size_t i = 0; i < u->n; i++) {
		const struct cudaunit_member *m = &u->members[i];
		struct cgroupfs_limit *limits;
		size_t n;

		if (!ckpt_will_lose(m) || m->vram == UINT64_MAX ||
		    cgroupfs_limits(m->pid, &limits, &n) < 0)
			continue;
		for (size_t k = 0; k < n; k++)
			add_need(&needs, &limits[k], m->vram);
		cgroupfs_limits_free(limits, n);
	}
	for (size_t i = 0; i < needs.n; i++) {
		_cleanup_free_ char *where =
			xasprintf("memory limit of %s", needs.list[i].group);
		int one = compare(where, needs.list[i].room, needs.list[i].need,
				  "raise the limit", force);

		if (code == EX_OK)
			code = one;
		free(needs.list[i].group);
	}
	free(needs.list);
	return code;
}

/* What is on the GPUs becomes memory of the processes: the host's, and their groups'. */
static int check_host(const struct ckpt_opts *o, const struct cudaunit *u)
{
	bool is_unknown = false;
	uint64_t need = 0;
	int code;

	for (size_t i = 0; i < u->n; i++) {
		if (!ckpt_will_lose(&u->members[i]))
			continue;
		if (u->members[i].vram == UINT64_MAX)
			is_unknown = true;
		else
			need += u->members[i].vram;
	}
	if (is_unknown)
		say_warn("how much GPU memory is in use is not known (by libnvidia-ml.so.1): the host's memory is not compared");
	code = compare("available host memory", host_available(), need, "free some first",
		       o->force);
	return code == EX_OK ? check_groups(u, o->force) : code;
}

/* What all that are to be restored need. 0, or an exit code, said. */
static int read_needs(const struct ckpt_opts *o, const struct ckpt_procs *procs,
		      struct cudaunit *u, struct vramrecord *needs)
{
	int rc;

	for (size_t i = 0; i < u->n; i++) {
		struct cudaunit_member *m = &u->members[i];
		_cleanup_free_ char *path =
			vramrecord_path(m->pid, ckpt_start_of(procs, m->pid));
		struct vramrecord one;

		if (m->state != CUDA_CHECKPOINTED || vramrecord_read(path, &one) < 0)
			continue;
		m->vram = 0;
		for (size_t k = 0; k < one.n; k++)
			m->vram += one.gpus[k].bytes;
		if (!o->record)
			vramrecord_add_all(needs, &one);
		vramrecord_done(&one);
	}
	if (!o->record)
		return EX_OK;
	rc = vramrecord_read(o->record, needs);
	if (rc == -EBADMSG) {
		say("%s: not a complete record of cuda-ckpt suspend --record", o->record);
		return EX_DATAERR;
	}
	if (rc < 0) {
		errno = -rc;
		say_errno("%s", o->record);
		return rc == -ENOENT ? EX_NOINPUT : EX_OSERR;
	}
	return EX_OK;
}

static const struct cuda_uuid *mapped(const struct ckpt_opts *o, const struct cuda_uuid *uuid)
{
	for (size_t i = 0; i < o->n_pairs; i++)
		if (memcmp(&o->pairs[i].old_uuid, uuid, sizeof(*uuid)) == 0)
			return &o->pairs[i].new_uuid;
	return uuid;
}

static const struct nvml_gpu *find_gpu(const struct ckpt_memory *mem,
				       const struct cuda_uuid *uuid)
{
	for (size_t i = 0; i < mem->nvml.n_gpus; i++)
		if (memcmp(&mem->nvml.gpus[i].uuid, uuid, sizeof(*uuid)) == 0)
			return &mem->nvml.gpus[i];
	return NULL;
}

static int check_map(const struct ckpt_memory *mem, const struct ckpt_opts *o)
{
	char text[CUDA_UUID_STRLEN];

	for (size_t i = 0; i < o->n_pairs && mem->is_known; i++) {
		if (find_gpu(mem, &o->pairs[i].new_uuid))
			continue;
		say("--gpu-map: %s: no such GPU here",
		    cuda_uuid_format(&o->pairs[i].new_uuid, text));
		return EX_UNAVAILABLE;
	}
	return EX_OK;
}

/* One that failed to be restored for lack of GPU memory may be stuck for ever. */
static int check_gpus(const struct ckpt_memory *mem, const struct ckpt_opts *o,
		      const struct vramrecord *needs)
{
	int code = EX_OK;

	for (size_t i = 0; i < needs->n; i++) {
		const struct cuda_uuid *uuid = mapped(o, &needs->gpus[i].uuid);
		const struct nvml_gpu *gpu = find_gpu(mem, uuid);
		char text[CUDA_UUID_STRLEN];
		_cleanup_free_ char *where = NULL;
		int one;

		cuda_uuid_format(uuid, text);
		if (!gpu) {
			say("%s: no such GPU here: map it to another with --gpu-map", text);
			return EX_UNAVAILABLE;
		}
		where = xasprintf("free memory of %s", text);
		one = compare(where, gpu->free, needs->gpus[i].bytes,
			      "stop who uses it (gpu-procs)", o->force);
		if (code == EX_OK)
			code = one;
	}
	return code;
}

static void read_nvml(struct ckpt_memory *mem)
{
	if (mem->is_known || mem->question.fd < 0)
		return;
	mem->is_known = nvml_finish(&mem->question, NVML_WAIT, &mem->nvml) == 0;
}

int ckpt_memory_check(struct ckpt_memory *mem, const struct ckpt_opts *o,
		      const struct ckpt_procs *procs, struct cudaunit *u, unsigned stages)
{
	struct vramrecord needs = { 0 };
	int code = EX_OK;

	read_nvml(mem);
	for (size_t i = 0; i < u->n && mem->is_known; i++)
		u->members[i].vram = nvml_bytes_of(&mem->nvml, u->members[i].pid);
	if (stages & 1U << CUDAUNIT_CHECKPOINT)
		code = check_host(o, u);
	if (code == EX_OK && stages & 1U << CUDAUNIT_RESTORE) {
		code = check_map(mem, o);
		if (code == EX_OK)
			code = read_needs(o, procs, u, &needs);
		if (code == EX_OK && !needs.n)
			say_info("how much GPU memory is needed is not known (see --record)");
		else if (code == EX_OK && !mem->is_known)
			say_warn("how much GPU memory is free is not known (by libnvidia-ml.so.1)");
		else if (code == EX_OK)
			code = check_gpus(mem, o, &needs);
		vramrecord_done(&needs);
	}
	return code;
}
