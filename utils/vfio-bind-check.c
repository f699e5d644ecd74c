/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What speaks against taking functions from their drivers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/xalloc.h"
#include "gpu/gpuuser.h"
#include "vfio-bind.h"

/* Would --to change how this function is bound? */
static bool changes(const struct bind_record *r, const char *to)
{
	if (!to)
		return true;
	if (strcmp(to, "host") == 0)
		return r->override || !r->driver || bind_is_vfio_driver(r->driver);
	return !r->driver || strcmp(r->driver, to) != 0;
}

int check_vital(const struct functions *f, const struct opts *o)
{
	int code = EX_OK;

	for (size_t i = 0; i < f->n; i++) {
		_cleanup_free_ char *what = NULL;
		char text[PCIADDR_STRLEN];

		if (!changes(&f->recs[i], o->to) ||
		    !bind_is_host_vital(&f->recs[i].addr, &what))
			continue;
		pciaddr_format(&f->recs[i].addr, text);
		if (o->force) {
			say_warn("%s: %s; taken all the same", text, what);
			continue;
		}
		say("%s: %s: the host itself needs this member of the IOMMU group; --force takes it all the same",
		    text, what);
		code = EX_UNAVAILABLE;
	}
	return code;
}

static void say_user(const struct gpuuser *u, bool force)
{
	bool owned = u->owner && strcmp(u->owner, "-") != 0;
	_cleanup_free_ char *text = NULL;
	char addr[PCIADDR_STRLEN];

	text = xasprintf("%s: in use by process %d (%s)%s%s: %s",
			 pciaddr_format(&u->addr, addr), (int)u->pid, u->comm,
			 owned ? " of " : "", owned ? u->owner : "", u->what);
	if (force)
		say_warn("%s; taken all the same", text);
	else
		say("%s", text);
}

/* Was an earlier file of this process at this function said? */
static bool is_said(const struct gpuuser *users, size_t at)
{
	for (size_t i = at; i > 0 && users[i - 1].pid == users[at].pid; i--)
		if (pciaddr_compare(&users[i - 1].addr, &users[at].addr) == 0)
			return true;
	return false;
}

/*
 * A host driver that is taken from its device may wait for those who have a node of it
 * open, sound cards among them, for ever. A VFIO driver's users are the binding's own
 * matter.
 */
int check_users(const struct functions *f, const struct opts *o)
{
	_cleanup_free_ struct pciaddr *addrs = xcalloc(f->n, sizeof(*addrs));
	struct gpuuser *users = NULL;
	size_t n = 0, n_users = 0;
	int rc;

	for (size_t i = 0; i < f->n; i++)
		if (f->recs[i].driver && !bind_is_vfio_driver(f->recs[i].driver) &&
		    changes(&f->recs[i], o->to))
			addrs[n++] = f->recs[i].addr;
	rc = n ? gpuuser_list(addrs, n, &users, &n_users) : 0;
	if (rc < 0 && rc != -ENOENT) {
		errno = -rc;
		say_errno("cannot see who has the functions open");
		return o->force ? EX_OK : EX_OSERR;
	}
	for (size_t i = 0; i < n_users; i++)
		if (!is_said(users, i))
			say_user(&users[i], o->force);
	gpuuser_free(users, n_users);
	return n_users && !o->force ? EX_TEMPFAIL : EX_OK;
}
