/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose process is it: owner by the components of its cgroup path. */
#ifndef GPU_CGROUP_H
#define GPU_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Owner of a process: "qemu/100", "lxc/200", "docker/0123456789ab", "podman/…",
 * "containerd/ID", "pod/UID", "unit/ollama.service", or "-" when the cgroup says nothing.
 * A guest wins over a container in it, the innermost container over its unit.
 * Source: qemu-server, QemuServer/CGroup.pm; pve-container, LXC.pm; systemd.slice(5);
 * the layouts that docker, podman and kubelet make.
 * owner: allocated. Returns 0, -ENOENT (process gone) or another -errno.
 */
int cgroup_owner(pid_t pid, char **owner);

/* The same from the text of /proc/PID/cgroup. */
char *cgroup_owner_of_text(const char *text);

/*
 * Is the process in this container? id: a whole id or name, or the first 12 or
 * more digits of a hexadecimal one. Compared with whole path components.
 */
bool cgroup_is_in_container(pid_t pid, const char *id);
bool cgroup_text_has_container(const char *text, const char *id);

#endif
