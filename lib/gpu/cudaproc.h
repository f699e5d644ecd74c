/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be said of a process before the CUDA driver is asked about it. */
#ifndef GPU_CUDAPROC_H
#define GPU_CUDAPROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cudaproc {
	pid_t pid;
	pid_t tgid;		/* another than pid: a thread of that process */
	pid_t ppid;
	pid_t tracer;		/* 0 = none */
	uid_t uid, euid;
	uint64_t start;		/* clock ticks since boot: with pid, which process it is */
	char comm[16];
	char state;		/* of proc_pid_stat(5): R S D T t Z X I */
	bool in_job;		/* CUDA_CHECKPOINT_JOB_FILE is in its environment */
	char *library;		/* owned; "libcuda.so.580.65.06"; NULL: none mapped */
	char *thaw;		/* owned; what thaws its frozen cgroup; NULL: not frozen */
};

/* Why its CUDA state cannot be worked on, the first that is true. */
enum cudaproc_fault {
	CUDAPROC_FIT,
	CUDAPROC_THREAD,	/* a thread's id: the driver would take it for the process */
	CUDAPROC_ZOMBIE,
	CUDAPROC_FOREIGN,	/* another user's, and we are not root */
	CUDAPROC_NO_CUDA,	/* libcuda is not mapped */
	CUDAPROC_FROZEN,	/* the driver's calls hang, as for the next two */
	CUDAPROC_STOPPED,	/* SIGSTOP */
	CUDAPROC_TRACED,	/* stopped by its tracer */
};

/*
 * Look at a process: free with cudaproc_done().
 * Returns 0, -ENOENT (no such process) or another -errno. What another user's
 * process does not show is left empty.
 * Source: proc_pid_status(5), proc_pid_stat(5), proc_pid_maps(5), proc_pid_environ(5).
 */
int cudaproc_read(pid_t pid, struct cudaproc *p);
void cudaproc_done(struct cudaproc *p);

/* Only its start; 0 when there is no such process. */
uint64_t cudaproc_start(pid_t pid);

enum cudaproc_fault cudaproc_fault(const struct cudaproc *p);

/* May the driver be used on it at all, by who owns it? */
bool cudaproc_is_ours(const struct cudaproc *p);

/*
 * A process id in decimal digits: 1 and up. Returns 0, -EINVAL for what is no
 * number of that kind, -ERANGE for one that is too large.
 */
int cudaproc_parse_pid(const char *text, pid_t *pid);

#endif
