/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/vgpu-parts.h"

int vgpu_uuid(char uuid[MDEV_UUID_LEN + 1])
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return errno ? -errno : -EIO;
	b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));	/* RFC 9562: version 4 */
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	snprintf(uuid, MDEV_UUID_LEN + 1,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
		 b[12], b[13], b[14], b[15]);
	return 0;
}

bool vgpu_uuid_parse(const char *text, char uuid[MDEV_UUID_LEN + 1])
{
	if (strlen(text) != MDEV_UUID_LEN)
		return false;
	for (int i = 0; i < MDEV_UUID_LEN; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	for (int i = 0; i <= MDEV_UUID_LEN; i++)
		uuid[i] = (char)tolower((unsigned char)text[i]);
	return true;
}

struct wanted {
	int id;
	bool found;
};

static void see_wanted(int id, const char *name, void *arg)
{
	struct wanted *w = arg;

	(void)name;
	w->found = w->found || id == w->id;
}

static int current_type(const char *vf)
{
	_cleanup_free_ char *folder = root_path("/sys/bus/pci/devices/%s", vf);

	return vgpu_number(folder, "nvidia/current_vgpu_type");
}

static int set_type(struct timedwriter *w, const char *vf, int type)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/devices/%s/nvidia/current_vgpu_type",
					      vf);
	char text[16];
	int rc;

	snprintf(text, sizeof(text), "%d", type);
	rc = timedwrite(w, path, text);
	if (rc < 0 || sysfs_dry_run)
		return rc;
	/* The driver may take the write and leave what was there. */
	return current_type(vf) == type ? 0 : type ? -EIO : -EBUSY;
}

/* Make it on this VF, if the VF's own list has the type at this moment. */
static int create_on(struct timedwriter *w, const char *vf, int type)
{
	struct wanted wanted = { .id = type };
	int current = current_type(vf), rc;

	if (current == type)
		return 0;
	if (current != 0)
		return current < 0 ? -ENODEV : -EEXIST;
	rc = vgpu_creatable(vf, see_wanted, &wanted);
	if (rc == 0 && !wanted.found)
		rc = -EUSERS;
	return rc < 0 ? rc : set_type(w, vf, type);
}

static int create_nvidia(struct timedwriter *w, const struct vgpu_parent *p, int type,
			 const struct vgpu_vf *vf, char **id)
{
	int first = -EUSERS;

	if (vf) {
		int rc = create_on(w, vf->name, type);

		if (rc == 0)
			*id = xstrdup(vf->name);
		return rc;
	}
	for (size_t i = 0; i < p->n_vfs; i++) {
		int rc;

		if (current_type(p->vfs[i].name) != 0)
			continue;
		rc = create_on(w, p->vfs[i].name, type);
		if (rc == 0) {
			*id = xstrdup(p->vfs[i].name);
			return 0;
		}
		if (rc != -EINVAL && rc != -EBUSY && rc != -EUSERS && rc != -EEXIST)
			return rc;
		if (first == -EUSERS)
			first = rc;
	}
	return first;
}

static int create_mdev(struct timedwriter *w, const struct vgpu_parent *p,
		       const char *type, const char *uuid, char **id)
{
	_cleanup_free_ char *path = xasprintf("%s/mdev_supported_types/%s/create", p->path,
					      type);
	char lower[MDEV_UUID_LEN + 1];
	int rc;

	if (!uuid || !vgpu_uuid_parse(uuid, lower))
		return -EINVAL;
	rc = timedwrite(w, path, lower);
	if (rc == 0)
		*id = xstrdup(lower);
	return rc;
}

int vgpu_create(struct timedwriter *w, const struct vgpus *v, size_t type,
		const char *uuid, const struct vgpu_vf *vf, char **id)
{
	const struct vgpu_type *t = &v->types[type];
	const struct vgpu_parent *p = &v->parents[t->parent];

	switch (p->backend) {
	case VGPU_MDEV:
		return create_mdev(w, p, t->id, uuid, id);
	case VGPU_NVIDIA:
		return create_nvidia(w, p, atoi(t->id + strlen("nvidia-")), vf, id);
	case VGPU_SRIOV:
		break;
	}
	return -EOPNOTSUPP;
}

static int release_once(struct timedwriter *w, enum vgpu_backend backend,
			const struct vgpu *g)
{
	_cleanup_free_ char *path = NULL;
	int rc;

	if (backend == VGPU_NVIDIA)
		return current_type(g->id) == 0 ? 0 : set_type(w, g->id, 0);
	path = xasprintf("%s/remove", g->path);
	if (access(path, F_OK) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	rc = timedwrite(w, path, "1");
	return rc == -ENODEV || rc == -ENOENT ? 0 : rc;	/* somebody else's was first */
}

int vgpu_release(struct timedwriter *w, const struct vgpus *v, size_t instance,
		 unsigned wait)
{
	const struct vgpu *g = &v->instances[instance];
	enum vgpu_backend backend = v->parents[g->parent].backend;

	if (backend == VGPU_SRIOV)
		return -EOPNOTSUPP;
	for (;;) {
		static const struct timespec second = { .tv_sec = 1 };
		int rc = release_once(w, backend, g);
		bool may_pass = rc == -EAGAIN || (backend == VGPU_NVIDIA &&
						  (rc == -EPERM || rc == -EBUSY));

		if (!may_pass || wait-- == 0)
			return rc;
		nanosleep(&second, NULL);
	}
}

/* The switch keeps its value: 1 from the kernel on, unless somebody cleared it. */
static int set_numvfs(struct timedwriter *w, const char *folder, unsigned count,
		      bool autoprobe)
{
	_cleanup_free_ char *numvfs = xasprintf("%s/sriov_numvfs", folder);
	_cleanup_free_ char *probe = xasprintf("%s/sriov_drivers_autoprobe", folder);
	bool turn = count && !autoprobe &&
		    vgpu_number(folder, "sriov_drivers_autoprobe") == 1;
	char text[16];
	int rc = turn ? timedwrite(w, probe, "0") : 0, back;

	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text), "%u", count);
	rc = timedwrite(w, numvfs, text);
	back = turn ? timedwrite(w, probe, "1") : 0;
	return rc < 0 ? rc : back;
}

int vgpu_set_vfs(struct timedwriter *w, const struct vgpus *v, size_t parent,
		 unsigned count, bool autoprobe)
{
	const struct vgpu_parent *p = &v->parents[parent];
	int now = vgpu_number(p->path, "sriov_numvfs"), rc;

	if (p->backend != VGPU_SRIOV)
		return -EOPNOTSUPP;
	if (now < 0)
		return -ENOENT;
	if ((unsigned)now == count)
		return 0;
	if (now && count)
		return -EBUSY;
	if (p->totalvfs >= 0 && count > (unsigned)p->totalvfs)
		return -ERANGE;
	rc = set_numvfs(w, p->path, count, autoprobe);
	if (rc < 0 || sysfs_dry_run)
		return rc;
	return vgpu_number(p->path, "sriov_numvfs") == (int)count ? 0 : -EIO;
}

static char *explain_none_left(const struct vgpus *v, size_t parent, int type)
{
	const struct vgpu_type *t = type >= 0 ? &v->types[type] : NULL;
	_cleanup_free_ char *holds = vgpu_holds(v, parent);

	return xasprintf("%s has none left%s%s", v->parents[parent].name,
			 t && t->reason ? ": " : holds ? "; it has " : "",
			 t && t->reason ? t->reason : holds ? holds : "");
}

/* What the driver says no to, in the words of what the user can see. */
static char *explain_refused(const struct vgpus *v, size_t parent, int type, int err)
{
	const struct vgpu_parent *p = &v->parents[parent];
	const struct vgpu_type *t = type >= 0 ? &v->types[type] : NULL;
	_cleanup_free_ char *holds = vgpu_holds(v, parent);
	const char *log = p->driver && strcmp(p->driver, "nvidia") == 0 ?
			  "dmesg and 'journalctl -u nvidia-vgpu-mgr' tell more" :
			  "dmesg may tell more";

	if (err == -EIO && p->backend == VGPU_NVIDIA)
		return xasprintf("the driver of %s could not make it; the order is: MIG on, "
				 "VFs on, GPU instances, then vGPUs; %s", p->name, log);
	if (t && t->available >= 0)
		return xasprintf("the driver of %s refused, with %d left to make%s%s; %s",
				 p->name, t->available, holds ? " beside " : "",
				 holds ? holds : "", log);
	return xasprintf("the driver of %s refused%s%s; %s", p->name,
			 holds ? " beside " : "", holds ? holds : "", log);
}

static char *explain(const struct vgpus *v, size_t parent, int type, int err)
{
	const struct vgpu_parent *p = &v->parents[parent];

	switch (-err) {
	case EEXIST:
		return xstrdup(p->backend == VGPU_NVIDIA ?
			       "the VF has a vGPU of another type: release it first" :
			       "this UUID is in use on this host");
	case EUSERS:
	case ENOSPC:
		return explain_none_left(v, parent, type);
	case EINVAL:
	case EIO:
		return explain_refused(v, parent, type, err);
	case EPERM:
	case EAGAIN:
		return xstrdup("its user still holds it, or is letting go of it just now");
	case EBUSY:
		if (p->backend != VGPU_SRIOV)
			return xstrdup("its user still holds it, or is letting go of it just now");
		return xasprintf("%s has %d VFs: their number changes only through 0",
				 p->name, vgpu_number(p->path, "sriov_numvfs"));
	case ETIMEDOUT:
		return xstrdup("the kernel is still at it, so somebody has the device open; it may yet happen");
	case ENODEV:
		return xasprintf("%s, or its driver, is going away", p->name);
	case ENOENT:
		return xasprintf("%s: its driver has no such attribute",
				 p->backend == VGPU_SRIOV ? "no SR-IOV by sysfs" : p->name);
	case ERANGE:
		return xasprintf("%s can have %d VFs at most", p->name, p->totalvfs);
	case EOPNOTSUPP:
		return xstrdup("VFs of plain SR-IOV are made and removed all at once");
	case EACCES:
		return xstrdup("this needs root");
	default:
		return NULL;
	}
}

char *vgpu_explain(const struct vgpus *v, size_t parent, int type, int err)
{
	_cleanup_free_ char *why = explain(v, parent, type, err);

	return why ? xasprintf("%s: %s", strerror(-err), why) : xstrdup(strerror(-err));
}
