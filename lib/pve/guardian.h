/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who sees to it that the guests of a broken-off backup job come back. */
#ifndef PVE_GUARDIAN_H
#define PVE_GUARDIAN_H

#include <stdbool.h>
#include <sys/types.h>

#include "pve/restart.h"

/*
 * Take the lock of the hook's phases, of vzdump itself (/run/vzdump.lock).
 * wait: s to try for. A descriptor (close it to unlock), -EAGAIN or another -errno.
 */
int guardian_lock_hook(unsigned wait);
int guardian_lock_vzdump(unsigned wait);

/*
 * Put right what a dead job left, then start its guests. The caller holds both
 * locks, or is the next job itself. A journal of another boot starts what
 * boot-restart allows; one of a job that is alive is left alone.
 * boot: we are run at boot.
 * 0, -EAGAIN when something is left to be tried again, or another -errno; said.
 */
int guardian_recover(const struct restart_opts *opts, bool boot,
		     struct restart_result *result);

/*
 * Watch the vzdump worker until it is gone, meanwhile starting guests that have
 * been down for longer than max-wait. Then, when vzdump's lock is free, recover;
 * guests that are still on their way down are started when they are down.
 * Ends when the journal is empty, another job has taken it over, or max-wait has
 * passed since the worker's end. Runs no program of this package, which may be
 * upgraded or removed meanwhile.
 */
int guardian_run(pid_t worker, const struct restart_opts *opts);

#endif
