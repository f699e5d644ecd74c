/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt: which processes, and can they be worked on? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "cuda-ckpt.h"
#include "gpu/cgroupfs.h"

void ckpt_procs_done(struct ckpt_procs *procs)
{
	for (size_t i = 0; i < procs->n; i++)
		cudaproc_done(&procs->list[i]);
	free(procs->list);
	*procs = (struct ckpt_procs){ 0 };
}

const char *ckpt_name(const struct ckpt_procs *procs, pid_t pid)
{
	static char name[64];

	snprintf(name, sizeof(name), "process %d", (int)pid);
	for (size_t i = 0; procs && i < procs->n; i++)
		if (procs->list[i].pid == pid)
			snprintf(name, sizeof(name), "process %d (%s)", (int)pid,
				 procs->list[i].comm);
	return name;
}

bool ckpt_is_named(const struct ckpt_opts *o, pid_t pid)
{
	for (size_t i = 0; i < o->sel.n_pids; i++)
		if (o->sel.pids[i] == pid)
			return true;
	return false;
}

/* Is a process that was only found, not named, none of ours to look at? */
static bool is_left_out(const struct ckpt_opts *o, const struct cudaproc *p,
			enum cudaproc_fault fault)
{
	/* With --tree the processes named are where to begin; they may be shells. */
	if (ckpt_is_named(o, p->pid) && !(o->sel.tree && fault == CUDAPROC_NO_CUDA))
		return false;
	return fault == CUDAPROC_NO_CUDA || fault == CUDAPROC_ZOMBIE ||
	       fault == CUDAPROC_THREAD;
}

/* EX_OK, or an exit code, said, but for what is counted. */
static int add_process(const struct ckpt_opts *o, struct ckpt_procs *procs, pid_t pid,
		       size_t *n_foreign)
{
	struct cudaproc p;
	enum cudaproc_fault fault;
	int rc = cudaproc_read(pid, &p), code;

	if (rc == -ENOENT && !ckpt_is_named(o, pid))
		return EX_OK;
	if (rc == -ENOENT) {
		say("process %d: no such process", (int)pid);
		return EX_NOINPUT;
	}
	if (rc < 0) {
		errno = -rc;
		say_errno("process %d", (int)pid);
		return EX_OSERR;
	}
	fault = cudaproc_fault(&p);
	/* check is to say what is in the way, not to stop there. */
	if (o->verb == VERB_CHECK && fault > CUDAPROC_NO_CUDA)
		fault = CUDAPROC_FIT;
	if (fault == CUDAPROC_FIT) {
		procs->list = xreallocarray(procs->list, procs->n + 1, sizeof(p));
		procs->list[procs->n++] = p;
		procs->in_job |= p.in_job;
		return EX_OK;
	}
	if (fault == CUDAPROC_FOREIGN && !ckpt_is_named(o, pid)) {
		/* A selection may have hundreds. */
		(*n_foreign)++;
		cudaproc_done(&p);
		return EX_NOPERM;
	}
	code = is_left_out(o, &p, fault) ? EX_OK : ckpt_say_fault(&p, fault);
	cudaproc_done(&p);
	return code;
}

/*
 * Has the container, group or guest a process? EX_OK, also when none was asked for, or
 * EX_NOINPUT, said.
 */
static int check_empty(const struct ckpt_opts *o)
{
	struct cudaselect alone = o->sel;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;

	/* Without those named, which may be all of it. */
	alone.n_pids = 0;
	alone.tree = false;
	if ((!alone.container && !alone.guest && !alone.cgroup) ||
	    cudaselect_list(&alone, &pids, &n) < 0 || n)
		return EX_OK;
	if (o->sel.container)
		say("container %s: no such container, or it does not run", o->sel.container);
	else if (o->sel.guest)
		say("%s: no such guest, or it does not run", o->sel.guest);
	else if (o->sel.cgroup && !cgroupfs_exists(o->sel.cgroup))
		say("%s: no such control group", o->sel.cgroup);
	else
		return EX_OK;
	return EX_NOINPUT;
}

int ckpt_find(const struct ckpt_opts *o, struct ckpt_procs *procs)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0, n_foreign = 0;
	int rc = cudaselect_list(&o->sel, &pids, &n), code = EX_OK;

	*procs = (struct ckpt_procs){ 0 };
	if (rc < 0) {
		errno = -rc;
		say_errno("/proc");
		return EX_OSERR;
	}
	if (n <= o->sel.n_pids)
		code = check_empty(o);
	for (size_t i = 0; i < n; i++) {
		int one = add_process(o, procs, pids[i], &n_foreign);

		if (code == EX_OK)
			code = one;
	}
	if (n_foreign)
		say("processes of other users in the selection: %zu; root is needed", n_foreign);
	if (code != EX_OK)
		return code;
	if (procs->n == 0) {
		say_info("no process of the selection uses CUDA");
		return 1;
	}
	return EX_OK;
}
