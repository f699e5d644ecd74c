/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "mdev-host.h"
#include "mdev-say.h"

enum { LOCK_WAIT = 30 };	/* s */

static volatile sig_atomic_t stopped;

int host_need_root(void)
{
	if (sysfs_dry_run || !root_is_host() || geteuid() == 0)
		return EX_OK;
	say("this needs root");
	return EX_NOPERM;
}

static void on_signal(int sig)
{
	stopped = sig;
}

void host_catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	const struct sigaction act = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &act, NULL);
}

bool host_is_stopped(void)
{
	return stopped != 0;
}

int host_lock(struct host *h)
{
	_cleanup_free_ char *dir = root_path("/run/pve-gpu-utils"), *path = NULL;
	static const struct timespec second = { .tv_sec = 1 };
	int rc;

	if (sysfs_dry_run)
		return EX_OK;
	rc = atomicfile_state_dir(dir);
	path = xasprintf("%s/vgpu.lock", dir);
	if (rc == 0) {
		h->writer.lock =
			open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		rc = h->writer.lock < 0 ? -errno : 0;
	}
	for (int i = 0; rc == 0 && flock(h->writer.lock, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK) {
			rc = -errno;
		} else if (i == LOCK_WAIT || host_is_stopped()) {
			say("%s: another mdev-mk or mdev-rm is at work: try again later",
			    path);
			return EX_TEMPFAIL;
		} else {
			nanosleep(&second, NULL);
		}
	}
	if (rc == 0)
		return EX_OK;
	errno = -rc;
	say_errno("%s", path);
	return EX_OSERR;
}

static void drop(struct host *h)
{
	vgpuuse_free(h->uses, h->n_uses);
	vgpus_done(&h->v);
	mdevdef_free(h->defs, h->n_defs);
	h->uses = NULL;
	h->defs = NULL;
	h->n_uses = h->n_defs = 0;
}

int host_read(struct host *h, unsigned what, bool with_uses)
{
	int rc;

	drop(h);
	rc = vgpus_read(&h->v, what);
	if (rc == 0)
		rc = mdevdef_list(&h->defs, &h->n_defs, say_bad_definition, NULL);
	h->looked = time(NULL);
	if (rc == 0 && with_uses)
		rc = vgpuuse_list(&h->v, &h->uses, &h->n_uses);
	if (rc < 0) {
		errno = -rc;
		say_errno("cannot read this host's vGPUs");
		return rc == -EACCES || rc == -EPERM ? EX_NOPERM : EX_OSERR;
	}
	/* What is made now is offered no more: who asks later knows it from here. */
	if ((what & VGPUS_TYPES) && !sysfs_dry_run)
		vgpus_remember(&h->v);
	return EX_OK;
}

const struct vgpuuse *host_use_now(struct host *h, size_t instance)
{
	struct vgpuuse *uses = NULL;
	time_t now = time(NULL);
	size_t n = 0;

	/* What was removed before may have taken minutes; a VM may have begun to start. */
	if (now != h->looked && vgpuuse_list(&h->v, &uses, &n) == 0) {
		vgpuuse_free(h->uses, h->n_uses);
		h->uses = uses;
		h->n_uses = n;
		h->looked = now;
	}
	return vgpuuse_of(h->uses, h->n_uses, instance);
}

void host_unlock(struct host *h)
{
	if (h->writer.lock < 0)
		return;
	/* A child that hangs in a write has it, too. */
	flock(h->writer.lock, LOCK_UN);
	close(h->writer.lock);
	h->writer.lock = -1;
}

void host_done(struct host *h)
{
	drop(h);
	timedwrite_done(&h->writer);
	host_unlock(h);
}

char *host_explain(const char *parent, const char *type, int err)
{
	const struct vgpu_vf *vf;
	struct vgpus v = { 0 };
	char *text = NULL;
	int at = -1;

	if (vgpus_read(&v, VGPUS_TYPES | VGPUS_ANY_SRIOV) == 0)
		at = vgpus_find_parent(&v, parent, &vf);
	if (at >= 0)
		text = vgpu_explain(&v, (size_t)at,
				    type ? vgpus_find_type(&v, (size_t)at, type) : -1,
				    err);
	vgpus_done(&v);
	return text ? text : xstrdup(strerror(-err));
}

int host_exit_code(int err, int other)
{
	switch (-err) {
	case EUSERS:
	case ENOSPC:
	case EBUSY:
	case EAGAIN:
	case EPERM:
	case ETIMEDOUT:
		return EX_TEMPFAIL;
	case EACCES:
		return EX_NOPERM;
	case EOPNOTSUPP:
		return EX_UNAVAILABLE;
	default:
		return other;
	}
}

char *host_instance_path(const struct vgpu_parent *p, const char *id)
{
	return root_path(p->backend == VGPU_MDEV ? "/sys/bus/mdev/devices/%s" :
			 "/sys/bus/pci/devices/%s", id);
}

int host_write_attrs(struct host *h, const struct vgpu_parent *p, const char *id,
		     const struct mdevdef *attrs, const char **failed)
{
	_cleanup_free_ char *folder = host_instance_path(p, id);

	for (size_t i = 0; i < attrs->n_attrs; i++) {
		_cleanup_free_ char *path =
			xasprintf("%s/%s", folder, attrs->attrs[i].name);
		int rc = timedwrite(&h->writer, path, attrs->attrs[i].value);

		if (rc < 0) {
			*failed = attrs->attrs[i].name;
			return rc;
		}
	}
	return 0;
}

const struct mdevdef *host_definition(const struct host *h, const struct vgpu *g)
{
	const struct vgpu_parent *p = &h->v.parents[g->parent];

	return mdevdef_find(h->defs, h->n_defs, p->name,
			    p->backend == VGPU_SRIOV ? p->name : g->id);
}

struct record_writer *host_records(const struct record_opts *opts)
{
	static const struct record_field fields[] = {
		{ "id", RECORD_STRING }, { "type", RECORD_STRING },
		{ "name", RECORD_STRING }, { "parent", RECORD_STRING },
		{ "group", RECORD_NUMBER }, { "start", RECORD_STRING },
		{ "backend", RECORD_STRING },
	};

	return record_stdout(fields, ARRAY_SIZE(fields), opts);
}

void host_put(struct record_writer *w, const struct host *h, const struct vgpu *g)
{
	const struct vgpu_parent *p = &h->v.parents[g->parent];
	const struct mdevdef *def = host_definition(h, g);
	_cleanup_free_ char *group = g->group >= 0 ? xasprintf("%d", g->group) : NULL;
	const char *const values[] = {
		g->id, g->type, g->name, p->name, group,
		!def ? NULL : def->is_auto ? "auto" : "manual",
		vgpu_backend_name(p->backend),
	};

	record_put(w, values);
}
