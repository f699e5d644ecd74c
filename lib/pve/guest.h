/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests of this node: names, the config's main facts, who runs. */
#ifndef PVE_GUEST_H
#define PVE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum guest_kind {
	GUEST_QEMU,
	GUEST_LXC,
};

struct guest_id {
	enum guest_kind kind;
	uint32_t vmid;		/* 100..999999999 */
};

#define GUEST_STRLEN	sizeof("qemu/999999999")

/* "qemu/100" or "lxc/200"; the whole string must match. false leaves *id alone. */
bool guest_parse(const char *text, struct guest_id *id);
/* A VMID alone: three to nine digits, the first not 0; the first len bytes of text. */
bool guest_parse_vmid(const char *text, uint32_t *vmid);
bool guest_parse_vmid_n(const char *text, size_t len, uint32_t *vmid);
const char *guest_format(struct guest_id id, char buf[GUEST_STRLEN]);
/*
 * For qsort(3): by kind, then VMID. guest_compare_vmid: VMID, then kind, as vzdump goes.
 */
int guest_compare(const void *a, const void *b);
int guest_compare_vmid(const void *a, const void *b);

/* Plain VMIDs: order, and membership in a sorted list. */
int guest_compare_number(const void *a, const void *b);
bool guest_vmids_have(const uint32_t *vmids, size_t n, uint32_t vmid);

/*
 * Name of this node, allocated: the last part of the link /etc/pve/local, else
 * the host name up to its first dot.
 */
char *guest_local_node(void);

/* Is pmxcfs there? Without it every guest looks as if it had been deleted. */
bool guest_configs_are_mounted(void);

/* What else than devices the suite wants to know of a guest; from the main section. */
struct guest {
	struct guest_id id;
	char *node;		/* owned */
	char *name;		/* owned; name: or hostname:, NULL without */
	char *lock;		/* owned; lock:, NULL without */
	char *hookscript;	/* owned; hookscript:, NULL without */
	bool template;
	bool has_disk;		/* VM: one that vzdump would include (no CD-ROM, no backup=0) */
	bool onboot;
	bool freeze;		/* VM: its config has it wait for "qm resume" after a start */
	bool ha;		/* in /etc/pve/ha/resources.cfg, state not ignored */
	int order;		/* startup: order=, -1 without */
	int up, down;		/* startup: up=, down= in s, -1 without */
	bool running;
	pid_t pid;		/* VM: QEMU's; 0 when not running, and for containers */
	uint64_t start_time;	/* of pid, in clock ticks since boot: tells a reused one */
};

/*
 * All guests of a node (NULL: this one), sorted by guest_compare().
 * running and pid are told for this node only.
 * Returns 0, -ENOENT when /etc/pve is not mounted, or another -errno.
 * A config that cannot be read is said (say_warn) and its guest listed with the
 * facts at their defaults.
 */
int guest_list(const char *node, struct guest **guests, size_t *n);
void guest_list_free(struct guest *guests, size_t n);

/*
 * One guest of this node by operand ("100", "qemu/100").
 * 0, -ENOENT, -EINVAL (no such form), or another -errno.
 */
int guest_find(const char *operand, struct guest *guest);
void guest_done(struct guest *guest);

/*
 * Does it run now? Without forking anything: a VM by its pid file and
 * /proc/PID as PVE itself tests it (qemu-server, QemuServer/Helpers.pm
 * vm_running_locally), a container by its command socket in /proc/net/unix.
 * pid and start_time may be NULL. When false, errno is 0, or says why it cannot be told.
 */
bool guest_is_running(struct guest_id id, pid_t *pid, uint64_t *start_time);

/*
 * The VMIDs that run now, sorted: one look at /run/qemu-server or at
 * /proc/net/unix. 0 or -errno.
 */
int guest_running(enum guest_kind kind, uint32_t **vmids, size_t *n);

#endif
