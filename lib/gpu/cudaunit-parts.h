/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the parts of cudaunit; private to them. */
#ifndef GPU_CUDAUNIT_PARTS_H
#define GPU_CUDAUNIT_PARTS_H

#include "gpu/cudaunit.h"

int64_t cudaunit_now(void);	/* ms */

/* Resident memory of the process behind /proc/PID; 0 when it has ended. */
uint64_t cudaunit_rss(int dir);

/* Start a member's worker; 0 or -errno. */
int cudaunit_start_worker(struct cudaunit *u, struct cudaunit_member *m);

/* Send one request to a member's worker (RESTORE: to the restorer) for cudaunit_wait(). */
void cudaunit_ask(struct cudaunit *u, struct cudaunit_member *m, enum cudaworker_op op);

/*
 * Wait for all replies that are due, each no longer than its limit; results are in
 * the members. tells: opts.tell is called for the stage.
 */
void cudaunit_wait(struct cudaunit *u, enum cudaworker_op op, bool tells);

/*
 * Is the restorer there and its cuInit done? Starts it if need be, waits.
 * 0, or -1 with u->error.
 */
int cudaunit_await_restorer(struct cudaunit *u);

/* Has stop_fd become readable? Sets u->stopped. */
bool cudaunit_is_stopped(struct cudaunit *u);

/* Ask for the states of all that *wants* picks, with workers that died started anew. */
void cudaunit_ask_states(struct cudaunit *u, bool (*wants)(const struct cudaunit_member *m));

#endif
