/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests told to start or to stop, through qm(1), pct(1) and systemctl(1):
 * several at once, each watched until the guest is really there or gone.
 */
#ifndef PVE_POWER_H
#define PVE_POWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/spawn.h"
#include "pci/pciaddr.h"
#include "pve/guest.h"

struct power_task {
	char *name;		/* owned; "qemu/101", "lxc/200", "unit/ollama.service" */
	struct guest_id id;	/* when is_guest */
	bool is_guest;
	bool stop;		/* else start */
	const char *argv[9];	/* the command; NULL-terminated */
	char *number, *seconds;	/* owned; words of argv */
	unsigned limit;		/* s that the command may take */
	unsigned settle;	/* s from its end until the guest is as it should be */
	struct pciaddr *addrs;	/* owned; stop of a VM: functions that it held before */
	size_t n_addrs;

	/* filled in by power_run() */
	int result;		/* 0; exit status of the command; -ETIMEDOUT it hung; -EAGAIN it
				   ended well, but the guest is not as it should be; or -errno */
	unsigned took;		/* s */
	char *said;		/* owned; last line that the command wrote, NULL for none */
	char *left;		/* owned; stop: what the guest has not let go of, NULL */

	struct spawn spawn;	/* power_run()'s own */
	char *unit;		/* owned; transient unit of the start, without ".service" */
	int64_t started, ended;	/* ms */
	int64_t asked;		/* ms; when systemd last told how a joined start is doing */
	bool joined;		/* watches a start that somebody else of us has under way */
	enum { POWER_TODO, POWER_RUNS, POWER_SETTLES, POWER_DONE, POWER_TOLD } stage;
};

/*
 * name: "unit/NAME" or a guest's; anything else gives false.
 * limit: s for the start. timeout: s that the guest gets to go down; force: the
 * hard way after that. ha: managed, so that the command is a mere request and
 * the resource manager acts later.
 */
bool power_start_init(struct power_task *t, const char *name, unsigned limit, bool ha);
bool power_stop_init(struct power_task *t, const char *name, unsigned timeout, bool force,
		     bool ha);
void power_done(struct power_task *t);

/* The command as one would type it ("qm start 101"); allocated. */
char *power_command(const struct power_task *t);

/*
 * Run the tasks, at most `parallel` at once, in their order. Starts run
 * detached (see spawn_start_detached()), stops as our children.
 * each: told of every task when it is done; may print.
 * Prints a progress line on stderr while it is a terminal and -q is not given.
 */
void power_run(struct power_task *tasks, size_t n, unsigned parallel,
	       void (*each)(struct power_task *t, void *arg), void *arg);

/*
 * HA acts on a request to stop whenever it comes to it, long after nobody waits for
 * that any more. Ask it to keep the guest running instead; says how that went.
 */
void power_ha_keep(const char *name, struct guest_id id);

/* qm and pct where they belong to the running host; they know nothing of another root. */
#define POWER_QM	"/usr/sbin/qm"
#define POWER_PCT	"/usr/sbin/pct"
#define POWER_SYSTEMCTL	"/usr/bin/systemctl"
#define POWER_HA	"/usr/sbin/ha-manager"

#endif
