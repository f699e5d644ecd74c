/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU process of a running VM. */
#ifndef PVE_QEMUPROC_H
#define PVE_QEMUPROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/readfile.h"

struct qemuproc {
	pid_t pid;
	uint64_t start_time;		/* clock ticks since boot */
	struct readfile cmdline;	/* owned; words end with NUL */
};

/*
 * Does the VM run? PVE's own test: digits in VMID.pid, /proc/PID/cmdline begins
 * with kvm or qemu-* and has that very pid file, /proc/PID/stat is no zombie.
 * When false, errno is 0, or says why it cannot be told.
 * p: reused from VM to VM; start with { 0 }, qemuproc_done() at the end. Holds
 * what was found when true.
 * Source: qemu-server, QemuServer/Helpers.pm vm_running_locally.
 */
bool qemuproc_read(uint32_t vmid, struct qemuproc *p);
void qemuproc_done(struct qemuproc *p);

/*
 * The VMIDs that have a pid file, sorted, whether they run or not. 0 or -errno; no such
 * directory is none.
 */
int qemuproc_candidates(uint32_t **vmids, size_t *n);

#endif
