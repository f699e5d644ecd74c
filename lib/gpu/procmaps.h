/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process has mapped. */
#ifndef GPU_PROCMAPS_H
#define GPU_PROCMAPS_H

#include <sys/types.h>

/*
 * The file name of a shared library that a process has mapped, "libcuda.so.580.65.06".
 * A container has it at a place of its own, and an upgrade may have taken the file away:
 * only the last part of the path counts, without " (deleted)".
 *
 * name: without version, "libcuda.so". "libcuda.so", "libcuda.so.1" and the like match,
 * "libcudart.so.12" and "libcuda.sock" do not.
 * library: allocated; NULL when it is not mapped.
 * Returns 0, -ENOENT (the process has ended), -EACCES (not ours to look at) or another
 * -errno. Source: proc_pid_maps(5).
 */
int procmaps_library(pid_t pid, const char *name, char **library);

#endif
