/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files of all processes. */
#ifndef GPU_PROCFD_H
#define GPU_PROCFD_H

#include <stdbool.h>
#include <sys/types.h>

struct procfd {			/* one open file; valid during the call */
	pid_t pid;
	int dir;		/* /proc/PID/fd */
	const char *name;	/* the descriptor's entry there: "7" */
	const char *target;	/* "/dev/dri/card0", "anon_inode:[vfio-device]" */
};

/*
 * Look through /proc/PID/fd of every process: those of one process come one after
 * the other. " (deleted)" is cut from a target; one of 256 bytes or more is
 * cut short. What we may not see, and what ends meanwhile, is left out.
 * 0 or -errno.
 */
int procfd_walk(void (*see)(const struct procfd *file, void *arg), void *arg);

/*
 * May the file be a device's node? On the host only a character device: in a root or mount
 * namespace of one's own anybody can open a plain file of a node's name. A file server is
 * not asked: it need never answer. Other roots, made of text, have no devices: any may be.
 * number: of the device; 0 on another root.
 */
bool procfd_is_node(const struct procfd *file, dev_t *number);

/* Every process but this one. 0 or -errno. */
int procfd_each_process(void (*see)(pid_t pid, void *arg), void *arg);

/* Name of a process (comm). 0, -ENOENT when it has ended, or another -errno. */
int procfd_comm(pid_t pid, char comm[16]);

#endif
