/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /etc/pve-gpu-utils/pve-gpu-utils.conf: pve-gpu-utils.conf(5). */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_restart { CONFIG_RESTART_EARLY, CONFIG_RESTART_LAST, CONFIG_RESTART_JOB_END };
enum config_boot { CONFIG_BOOT_YES, CONFIG_BOOT_ONBOOT, CONFIG_BOOT_NO };

struct config_card {		/* [rescan] card = ADDR RUNG */
	char *addr;		/* owned, as written */
	char *rung;		/* own, subordinate, slot or card */
};

struct config_group {		/* [gpu-groups] group = ADDR VMID... */
	char *addr;		/* owned, as written */
	uint32_t *vmids;	/* owned, sorted */
	size_t n;
};

struct config {
	/* [backup] */
	unsigned stop_timeout;		/* s, 1..86400; 180 */
	bool force_stop;		/* no */
	enum config_restart restart;	/* early */
	unsigned lookahead;		/* guests, 0..1000; 2 */
	unsigned max_wait;		/* minutes, 1..10080; 15 */
	uint32_t *never_stop;		/* owned, VMIDs, sorted */
	size_t n_never_stop;
	bool rebind;			/* host-driver = rebind; false for leave */
	char **host_services;		/* owned, systemd unit names, ".service" added when no suffix */
	size_t n_host_services;
	bool ha_stop;			/* ha = stop; false for refuse */
	enum config_boot boot_restart;	/* yes */
	/* [rescan] */
	unsigned rescan_timeout;	/* s; 30 */
	bool on_failure_abort;		/* on-failure = abort; false for start */
	bool post_stop_host;		/* post-stop = host; false for keep */
	struct config_card *cards;	/* owned */
	size_t n_cards;
	/* [gpu-groups] */
	struct config_group *groups;	/* owned */
	size_t n_groups;
};

/*
 * Fill in the defaults, then what the file says. A missing file is no error.
 * path: complete, or NULL for root_path("/etc/pve-gpu-utils/pve-gpu-utils.conf").
 * Returns 0, or -EINVAL or another -errno with *error = "PATH:LINE: what is
 * wrong" (allocated); cfg then holds the defaults alone.
 */
int config_load(const char *path, struct config *cfg, char **error);
void config_done(struct config *cfg);
const char *config_restart_name(enum config_restart r);

#endif
