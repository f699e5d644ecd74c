/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files of all processes. */
#ifndef GPU_PROCFD_H
#define GPU_PROCFD_H

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

/* Every process but this one. 0 or -errno. */
int procfd_each_process(void (*see)(pid_t pid, void *arg), void *arg);

/* Name of a process (comm). 0, -ENOENT when it has ended, or another -errno. */
int procfd_comm(pid_t pid, char comm[16]);

#endif
