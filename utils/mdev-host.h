/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What mdev-mk and mdev-rm share. They print: what goes wrong is said here. */
#ifndef MDEV_HOST_H
#define MDEV_HOST_H

#include <time.h>

#include "base/record.h"
#include "pci/mdevdef.h"
#include "pci/vgpu.h"
#include "pve/vgpuuse.h"

struct host {
	struct vgpus v;
	struct mdevdef *defs;	/* owned */
	size_t n_defs;
	struct vgpuuse *uses;	/* owned */
	size_t n_uses;
	time_t looked;		/* for the uses */
	struct timedwriter writer;	/* start with { .limit = ms, .lock = -1 } */
};

/* Root? An exit code, said. A dry run, and another root, need none. */
int host_need_root(void);

/*
 * One at a time: two could take the same VF. Waits for half a minute.
 * EX_OK or an exit code, said. Nothing in a dry run.
 */
int host_lock(struct host *h);
void host_unlock(struct host *h);

/*
 * Read vGPUs, definitions and (with_uses) users; again when they were read before.
 * what: as for vgpus_read(). EX_OK or an exit code, said.
 */
int host_read(struct host *h, unsigned what, bool with_uses);

/*
 * The first user that an instance has, by a look that began within this second; when
 * that fails, by the last one. NULL: nobody uses it. Good until the next call.
 */
const struct vgpuuse *host_use_now(struct host *h, size_t instance);
void host_done(struct host *h);	/* and unlock */

/*
 * What an error of vgpu_create(), vgpu_release() or vgpu_set_vfs() means, by how the host
 * is at this moment; allocated. type: id, or NULL.
 */
char *host_explain(const char *parent, const char *type, int err);

/* The exit code for -errno of these three; other: that for any other error. */
int host_exit_code(int err, int other);

/* The folder of an instance, complete, allocated. */
char *host_instance_path(const struct vgpu_parent *p, const char *id);

/* Write attributes of a fresh instance, in order. -errno with *failed set: which one. */
int host_write_attrs(struct host *h, const struct vgpu_parent *p, const char *id,
		     const struct mdevdef *attrs, const char **failed);

/* The definition of an instance, or of the VFs that it is one of; NULL without. */
const struct mdevdef *host_definition(const struct host *h, const struct vgpu *g);

/*
 * The records of both programs: a writer (NULL: wrong options, said), an instance.
 * NAME is that of the type.
 */
struct record_writer *host_records(const struct record_opts *opts);
void host_put(struct record_writer *w, const struct host *h, const struct vgpu *g);

/* SIGINT, SIGTERM and SIGHUP end a loop in order: set up; was there one? */
void host_catch_signals(void);
bool host_is_stopped(void);

#endif
