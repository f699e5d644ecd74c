/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other packages' commands: start, watch, give up on. Nothing here prints. */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn_opts {
	unsigned timeout;	/* s until SIGTERM, 5 s later SIGKILL; 0 = no limit */
	bool pass;		/* output goes to our own stdout and stderr */
	/* else: told of each line; NULL: output is lost */
	void (*line)(const char *line, void *arg);
	void *arg;
	int keep;		/* a lock that the command is to keep open; 0 = none */
};

struct spawn {			/* one command under way; fields are the module's own */
	struct spawn_opts opts;
	pid_t pid;
	int pidfd;		/* -1 once it has ended */
	int out;		/* its output: a pipe, or the memory file; -1 */
	bool group;		/* leads a group of its own, which the signals go to */
	bool memory;		/* out is a memory file, read at the end */
	int64_t started;	/* ms, spawn_now() */
	int64_t deadline;	/* ms; INT64_MAX = none */
	unsigned signals;	/* how many it was sent for being late */
	int result;
	char *text;		/* owned; an unfinished line */
	size_t len, room;
};

/* Milliseconds of CLOCK_BOOTTIME: goes on during suspend, never back. */
int64_t spawn_now(void);

/*
 * Start a command as our child: stdin is /dev/null, every other descriptor of
 * ours is closed, signal dispositions are the default ones, PATH is set when it
 * was not.
 *
 * argv: NULL-terminated; argv[0] is an absolute path.
 * Returns 0, or -errno of whatever failed, exec included; *s is then spawn_done().
 */
int spawn_start(struct spawn *s, const char *const argv[], const struct spawn_opts *opts);

/*
 * The same, outside our process group, session and mount namespace, so that
 * neither a signal to our group nor our death ends it and nobody who waits for
 * our output waits for it: a transient unit (systemd-run --wait) where systemd
 * is the init and has its bus, else a setsid(2) child in the mount namespace of
 * process 1.
 *
 * unit: name of the transient unit, without ".service"; two of one name exclude each other.
 * opts->line is told the output at the end; under systemd that is systemd-run's
 * own, the command's goes to the journal. opts->pass is ignored.
 */
int spawn_start_detached(struct spawn *s, const char *unit, const char *const argv[],
			 const struct spawn_opts *opts);

/*
 * Wait up to ms milliseconds (-1 = no limit) until one of n commands ends; read output,
 * enforce time limits. Those that have ended already are passed over.
 * Returns how many are still under way.
 */
size_t spawn_serve(struct spawn *const s[], size_t n, int ms);

/*
 * -EINPROGRESS while under way; then the exit status, 128 + signal, or
 * -ETIMEDOUT when it ran past its limit.
 */
int spawn_result(const struct spawn *s);

/* Free what *s holds. A command still under way goes on, unwatched. */
void spawn_done(struct spawn *s);

/*
 * spawn_start() and spawn_serve() to the end: spawn_result(), or -errno when it did not
 * start.
 */
int spawn_run(const char *const argv[], const struct spawn_opts *opts);

/*
 * Leave a mount namespace that is not the one of process 1: vzdump gives its
 * hooks a private one, where mounts made by a start would stay. Best effort.
 */
void spawn_enter_init_mounts(void);

/* Is systemd this host's init? */
bool spawn_has_systemd(void);

#endif
