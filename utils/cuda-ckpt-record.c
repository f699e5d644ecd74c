/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt: what a suspended process needs again, written down */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/root.h"
#include "cuda-ckpt.h"
#include "gpu/vramrecord.h"

enum { RECORD_MAX = 1024 * 1024 };	/* bytes of a file of --record */

uint64_t ckpt_start_of(const struct ckpt_procs *procs, pid_t pid)
{
	for (size_t i = 0; i < procs->n; i++)
		if (procs->list[i].pid == pid)
			return procs->list[i].start;
	return 0;
}

bool ckpt_will_lose(const struct cudaunit_member *m)
{
	return m->state == CUDA_RUNNING || m->state == CUDA_LOCKED;
}

/* Records of processes that have ended are of no use: each dump leaves one. */
static void prune(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		_cleanup_free_ char *proc = NULL;
		size_t digits = strspn(entry->d_name, "0123456789");

		if (digits == 0 || entry->d_name[digits] != '-')
			continue;
		proc = root_path("/proc/%.*s", (int)digits, entry->d_name);
		if (access(proc, F_OK) < 0 && errno == ENOENT)
			unlinkat(dirfd(d), entry->d_name, 0);
	}
}

static void write_one(const struct ckpt_procs *procs, const struct cudaunit_member *m,
		      const struct vramrecord *r)
{
	_cleanup_free_ char *path = vramrecord_path(m->pid, ckpt_start_of(procs, m->pid));
	int rc = vramrecord_write(path, r);

	if (rc < 0) {
		errno = -rc;
		say_warn("%s: %s: free GPU memory will not be checked at resume", path,
			 strerror(errno));
	}
}

/* What a process has on GPUs, or, suspended already, needs again. */
static void add_uses(const struct ckpt_memory *mem, const struct ckpt_procs *procs,
		     const struct cudaunit_member *m, struct vramrecord *r)
{
	_cleanup_free_ char *path = vramrecord_path(m->pid, ckpt_start_of(procs, m->pid));

	if (m->state == CUDA_CHECKPOINTED) {
		/* A record that is not there leaves it empty. */
		vramrecord_read(path, r);
		return;
	}
	for (size_t i = 0; i < mem->nvml.n_uses; i++) {
		const struct nvml_use *use = &mem->nvml.uses[i];

		if (use->pid == m->pid && use->bytes != UINT64_MAX)
			vramrecord_add(r, &mem->nvml.gpus[use->gpu].uuid, use->bytes);
	}
}

int ckpt_memory_record(struct ckpt_memory *mem, const struct ckpt_opts *o,
		       const struct ckpt_procs *procs, const struct cudaunit *u)
{
	_cleanup_free_ char *top = root_path("/run/pve-gpu-utils");
	_cleanup_free_ char *dir = root_path("/run/pve-gpu-utils/cuda");
	struct vramrecord all = { 0 };
	bool keeps = geteuid() == 0 && mem->is_known;
	int rc = 0;

	if (keeps && (atomicfile_state_dir(top) < 0 || atomicfile_state_dir(dir) < 0))
		keeps = false;
	if (keeps)
		prune(dir);
	for (size_t i = 0; i < u->n; i++) {
		struct vramrecord one = { 0 };

		add_uses(mem, procs, &u->members[i], &one);
		vramrecord_add_all(&all, &one);
		if (keeps && one.n && ckpt_will_lose(&u->members[i]))
			write_one(procs, &u->members[i], &one);
		vramrecord_done(&one);
	}
	if (o->record) {
		mem->former = readfile_string(o->record, RECORD_MAX);
		rc = vramrecord_write(o->record, &all);
	}
	vramrecord_done(&all);
	if (rc == 0)
		return EX_OK;
	say("%s: %s", o->record, atomicfile_error(rc));
	return EX_CANTCREAT;
}

void ckpt_memory_unrecord(const struct ckpt_memory *mem, const struct ckpt_opts *o)
{
	int rc = 0;

	if (mem->former)
		rc = atomicfile_write(o->record, mem->former, strlen(mem->former), 0600);
	else
		unlink(o->record);
	if (rc == 0)
		return;
	errno = -rc;
	say_errno("%s: cannot be put back", o->record);
}

void ckpt_memory_forget(const struct ckpt_procs *procs, const struct cudaunit *u)
{
	for (size_t i = 0; i < u->n; i++) {
		const struct cudaunit_member *m = &u->members[i];
		_cleanup_free_ char *path = NULL;

		if (m->hung || (m->state != CUDA_RUNNING && m->state != CUDA_LOCKED))
			continue;
		path = vramrecord_path(m->pid, ckpt_start_of(procs, m->pid));
		unlink(path);
	}
}
