/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose process is it: owner by the components of its cgroup path. */
#ifndef GPU_CGROUP_H
#define GPU_CGROUP_H

#include <sys/types.h>

/*
 * Owner of a process: "qemu/100", "lxc/200", "docker/0123456789ab", "podman/…",
 * "pod/…", "unit/ollama.service", or "-" when the cgroup says nothing.
 * Source: facts of systemd.slice(5), PVE qemu.slice and lxc, docker, podman and kubelet layouts.
 * owner: allocated. Returns 0, -ENOENT (process gone) or another -errno.
 */
int cgroup_owner(pid_t pid, char **owner);

/* The same from the text of /proc/PID/cgroup. */
char *cgroup_owner_of_text(const char *text);

#endif
