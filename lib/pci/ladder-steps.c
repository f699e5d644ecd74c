/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What rungs are made of: writes, rescans, waiting. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "pci/ladder-steps.h"
#include "pci/pcifolder.h"

enum {
	POLL_MIN = 2, POLL_MAX = 50,		/* ms */
	RESCAN_AFTER = 1000 * 1000,		/* us */
};

int64_t ladder_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int ladder_write(struct ladder *l, const char *path, const char *value)
{
	const struct timedwrite *last;
	int rc;

	rc = timedwrite(&l->writer, path, value);
	last = timedwrite_last(&l->writer);
	if (last && last->left)
		l->is_hung = true;
	return rc;
}

int ladder_write_attr(struct ladder *l, const struct pciaddr *addr, const char *name,
		      const char *value)
{
	_cleanup_free_ char *path = NULL;

	/* The kernel may hold the lock of this device for ever. */
	if (l->is_hung)
		return -ETIMEDOUT;
	path = pcifolder_attribute(addr, name);
	/* An empty line empties an attribute; an empty write does nothing. */
	return ladder_write(l, path, *value ? value : "\n");
}

char *ladder_error(int rc)
{
	return xstrdup(rc == -ETIMEDOUT ? "the kernel did not finish it in time"
					: strerror(-rc));
}

int ladder_set_autoprobe(struct ladder *l, const char *value)
{
	_cleanup_free_ char *path = root_path("/sys/bus/pci/drivers_autoprobe");
	char text[16];

	if (sysfs_dry_run) {
		if (!value || l->is_autoprobe_off == (strcmp(value, "0") == 0))
			return 0;
		l->is_autoprobe_off = !l->is_autoprobe_off;
	} else if (!value || sysfs_read(path, text, sizeof(text)) < 0
		   || strcmp(text, value) == 0) {
		return 0;
	}
	return ladder_write(l, path, value);
}

int ladder_rescan_bus(struct ladder *l, const struct pciaddr *addr)
{
	_cleanup_free_ char *path = NULL;

	if (l->is_hung)
		return -ETIMEDOUT;
	path = root_path("/sys/class/pci_bus/%04x:%02x/rescan", addr->domain, addr->bus);
	if (access(path, F_OK) < 0 && !sysfs_dry_run)
		return -errno;
	return ladder_write(l, path, "1");
}

static bool same_bus(const struct pciaddr *a, const struct pciaddr *b)
{
	return a->domain == b->domain && a->bus == b->bus;
}

/* Rescan each bus once on which a function is missing; deeper ones come with it. */
static void look_again(struct ladder *l, const struct snapshot *snap)
{
	const struct pciaddr *last = NULL;

	for (size_t i = 0; i < snap->n; i++) {
		const struct snapshot_fn *fn = &snap->fns[i];

		if (!fn->whole || (last && same_bus(last, &fn->addr)) ||
		    snapshot_is_present(&fn->addr))
			continue;
		ladder_rescan_bus(l, &fn->addr);
		last = &fn->addr;
	}
}

/* The worst of all functions, and what is wrong with the first of that kind. */
static enum snapshot_health check_all(const struct snapshot *snap, char **what)
{
	enum snapshot_health worst = SNAPSHOT_HEALTHY;

	*what = NULL;
	for (size_t i = 0; i < snap->n; i++) {
		_cleanup_free_ char *text = NULL;
		enum snapshot_health health;
		char addr[PCIADDR_STRLEN];

		if (!snap->fns[i].whole)
			continue;
		health = snapshot_check(&snap->fns[i], &text);
		if (health <= worst)
			continue;
		worst = health;
		free(*what);
		*what = xasprintf("%s %s", pciaddr_format(&snap->fns[i].addr, addr),
				  text);
	}
	return worst;
}

enum snapshot_health ladder_wait(struct ladder *l, struct snapshot *snap, int64_t timeout,
				 char **what)
{
	int64_t start = ladder_now(), next = RESCAN_AFTER;
	enum snapshot_health health;
	int pause = POLL_MIN;

	*what = NULL;
	/*
	 * Reading a device whose lock is held by a write that hangs would hang us, too.
	 */
	if (l->is_hung)
		return SNAPSHOT_GONE;
	for (;;) {
		int64_t waited = ladder_now() - start;

		health = check_all(snap, what);
		if (health < SNAPSHOT_DEAD || waited >= timeout * 1000 || sysfs_dry_run ||
		    (l->stop && *l->stop))
			return health;
		if (waited >= next) {
			look_again(l, snap);
			if (l->is_hung)
				return health;
			next *= 2;
		}
		free(TAKE_PTR(*what));
		poll(NULL, 0, pause);
		pause = pause * 2 > POLL_MAX ? POLL_MAX : pause * 2;
	}
}

struct ladder_step ladder_step_begin(const struct ladder *l, const char *name)
{
	if (l->begin)
		l->begin(name, l->arg);
	return (struct ladder_step){ .name = name, .first_write = l->writer.n,
				     .us = ladder_now() };
}

void ladder_step_end(struct ladder *l, const struct ladder_card *card,
		     struct ladder_step *step, bool is_good, char *text)
{
	step->us = ladder_now() - step->us;
	step->n_writes = l->writer.n - step->first_write;
	step->is_good = is_good;
	step->text = text;
	if (l->step)
		l->step(l, card, step, l->arg);
	free(TAKE_PTR(step->text));
}
