/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "pci/bind.h"
#include "pci/iommu.h"
#include "pve/assignment.h"
#include "pve/holder.h"
#include "pve/leftover.h"
#include "pve/power.h"

enum {
	LOOK_EVERY = 250,	/* ms */
	STATUS_LIMIT = 20,	/* s for qm status */
	STOP_LIMIT = 120,	/* s for qm stop: it asks QEMU for 60, then kills */
	UNLOCK_LIMIT = 30,	/* s */
	GONE_LIMIT = 60,	/* s from the end of a kvm to that of its devices */
	COME_UP_LIMIT = 10,	/* s */
	STATUS_AFTER = 2000,	/* ms before qm is asked what it is that still runs */
};

static void keep_text(const char *line, void *arg)
{
	snprintf(arg, 128, "%s", line);
}

static int run_qm(const char *path, const char *verb, uint32_t vmid, const char *option,
		  unsigned limit, char said[128])
{
	_cleanup_free_ char *number = xasprintf("%u", vmid);
	const char *argv[] = { path, verb, number, option, NULL };
	struct spawn_opts opts = { .timeout = limit, .line = keep_text, .arg = said };

	said[0] = '\0';
	return spawn_run(argv, &opts);
}

/* Is what runs there a kvm that was started for a backup and waits? 1, 0, or -errno. */
static int is_paused_kvm(struct guest_id id)
{
	char said[128];
	int rc;

	if (id.kind != GUEST_QEMU)
		return 0;
	rc = run_qm(POWER_QM, "status", id.vmid, NULL, STATUS_LIMIT, said);
	if (rc != 0)
		return rc < 0 ? rc : -EIO;
	return strcmp(said, "status: prelaunch") == 0;
}

static char *record_path(const char *guest)
{
	_cleanup_free_ char *dir = state_drivers_dir();
	char *path = xasprintf("%s/%s", dir, guest);

	*strrchr(path, '/') = '-';
	return path;
}

/* Functions that the guest's record names: those whose vGPU type has to be gone. */
static struct pciaddr *recorded(struct guest_id id, size_t *n)
{
	char name[GUEST_STRLEN];
	_cleanup_free_ char *path = record_path(guest_format(id, name));
	struct bind_record *recs = NULL;
	struct pciaddr *addrs;

	*n = 0;
	if (bind_records_read(path, &recs, n) < 0)
		*n = 0;
	addrs = xcalloc(*n + 1, sizeof(*addrs));
	for (size_t i = 0; i < *n; i++)
		addrs[i] = recs[i].addr;
	bind_records_free(recs, *n);
	return addrs;
}

int leftover_wait(struct guest_id id, unsigned seconds)
{
	int64_t begin = spawn_now(), now = begin;
	_cleanup_free_ struct pciaddr *addrs = NULL;
	bool asked = false;
	size_t n;

	addrs = recorded(id, &n);
	for (;; now = spawn_now()) {
		_cleanup_free_ char *left = NULL;
		bool runs = guest_is_running(id, NULL, NULL);

		if (!runs && (id.kind == GUEST_LXC
			      || holder_is_released(id.vmid, addrs, n, &left)))
			return 0;
		if (runs && !asked && now - begin > STATUS_AFTER) {
			asked = true;
			if (is_paused_kvm(id) == 0 && guest_is_running(id, NULL, NULL))
				return -EBUSY;
		}
		if (now - begin > (int64_t)seconds * 1000)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_EVERY * 1000000L }, NULL);
	}
}

static int fail(const char *name, const char *what, int rc, const char *said)
{
	if (rc < 0)
		say("%s: %s: %s", name, what, strerror(-rc));
	else
		say("%s: %s: exit code %d%s%s", name, what, rc, said[0] ? ": " : "", said);
	return rc < 0 ? rc : -EIO;
}

/* A HA guest is unlocked first, see clear_guest(). */
static void print_clear(const struct state_entry *e, const char *tool, bool ha)
{
	if (tool && ha)
		printf("%s unlock %u\n", tool, e->id.vmid);
	/* whether it is the paused one only qm can tell, and only of this host */
	if (guest_is_running(e->id, NULL, NULL) &&
	    (!root_is_host() || is_paused_kvm(e->id) > 0))
		printf("qm stop %u --skiplock\n", e->id.vmid);
	if (tool && !ha)
		printf("%s unlock %u\n", tool, e->id.vmid);
}

static int unlock(const struct state_entry *e, const char *tool)
{
	char said[128];
	int rc;

	say_warn("%s: taking back the lock that a broken-off backup left", e->name);
	rc = run_qm(tool, "unlock", e->id.vmid, NULL, UNLOCK_LIMIT, said);
	return rc == 0 ? 0 : fail(e->name, "unlock", rc, said);
}

/*
 * No guest runs in it, and SIGKILL it is: after SIGTERM qmeventd takes the end for one
 * that somebody else asked for and cleans up after.
 */
static int kill_paused(const struct state_entry *e)
{
	_cleanup_close_ int fd = -1;
	uint64_t start, now;
	pid_t pid, again;

	if (!guest_is_running(e->id, &pid, &start))
		return errno ? -errno : 0;
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		return errno == ESRCH ? 0 : -errno;
	if (is_paused_kvm(e->id) <= 0)
		return -EBUSY;
	if (!guest_is_running(e->id, &again, &now) || again != pid || now != start)
		return -EBUSY;
	say_warn("%s: HA does not end the paused kvm, killing it (%d)", e->name, (int)pid);
	return pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH ? -errno : 0;
}

static int end_paused(const struct state_entry *e, bool ha)
{
	char said[128];
	int rc;

	say_warn("%s: ending the paused kvm that a broken-off backup left", e->name);
	rc = run_qm(POWER_QM, "stop", e->id.vmid, "--skiplock", STOP_LIMIT, said);
	if (rc != 0)
		return fail(e->name, "qm stop --skiplock", rc, said);
	rc = leftover_wait(e->id, GONE_LIMIT);
	/* the agent of a node whose services are all stopped sleeps after some minutes */
	if (rc == -ETIMEDOUT && ha && guest_is_running(e->id, NULL, NULL)) {
		rc = kill_paused(e);
		if (rc == 0)
			rc = leftover_wait(e->id, GONE_LIMIT);
	}
	return rc < 0 ? fail(e->name, "its backup kvm does not go away", rc, "") : 0;
}

/* End the paused kvm, if there is one, and take the lock back. */
static int clear_guest(const struct state_entry *e, bool dry_run)
{
	const char *tool = e->id.kind == GUEST_QEMU ? POWER_QM : POWER_PCT;
	struct guest g;
	bool locked, paused, ha;
	int rc;

	rc = guest_find(e->name, &g);
	if (rc == -ENOENT)
		return guest_configs_are_mounted() ? 0 : rc;	/* restart_run() says so */
	if (rc < 0)
		return fail(e->name, "its config cannot be read", rc, "");
	locked = g.lock && strcmp(g.lock, "backup") == 0;
	/*
	 * vzdump unlocks, too, when QMP did not answer and it left its kvm where it was;
	 * what waits under another lock (a restore, say) or by its config is somebody's
	 */
	paused = state_is_backup(e) && !g.lock && !g.freeze
		 && guest_is_running(e->id, NULL, NULL);
	ha = g.ha;
	guest_done(&g);
	if (!locked && !paused)
		return 0;
	if (dry_run) {
		print_clear(e, locked ? strrchr(tool, '/') + 1 : NULL, ha);
		return 0;
	}
	/*
	 * killed in the middle of its start, the kvm may yet come up: its reservation
	 * tells
	 */
	if (!guest_is_running(e->id, NULL, NULL))
		leftover_wait(e->id, COME_UP_LIMIT);
	rc = is_paused_kvm(e->id);
	if (rc < 0 && guest_is_running(e->id, NULL, NULL))
		return fail(e->name, "qm status", rc, "");
	if (rc > 0) {
		/*
		 * qm stop of a HA guest is a request, without the --skiplock: its agent does
		 * not stop what has the lock. Killed in between, what is left is a paused kvm
		 * that vzdump has unlocked, see above.
		 */
		if (ha && locked) {
			rc = unlock(e, tool);
			if (rc < 0)
				return rc;
			locked = false;
		}
		rc = end_paused(e, ha);
		if (rc < 0)
			return rc;
	}
	return locked ? unlock(e, tool) : 0;
}

int leftover_clear(const struct state_file *journal, bool dry_run)
{
	int first = 0;

	for (size_t i = 0; i < journal->n; i++) {
		const struct state_entry *e = &journal->entries[i];
		int rc;

		if (!e->is_guest)
			continue;
		rc = clear_guest(e, dry_run);
		if (rc == 0 && !dry_run && state_is_backup(e))
			rc = state_journal_remove(e->name, e->reason);
		if (rc < 0 && first == 0)
			first = rc;
	}
	return first;
}

/* Is the function, or another one of its group, in a running VM's hands? */
static bool is_in_use(const struct pciaddr *addr, const struct assignment *a, size_t n)
{
	int group = iommu_group_of(addr);

	for (size_t i = 0; i < n; i++) {
		if (a[i].guest.kind != GUEST_QEMU || a[i].state != ASSIGNMENT_RUNNING
		    || !a[i].has_addr || !a[i].held)
			continue;
		if (pciaddr_compare(&a[i].addr, addr) == 0
		    || (group >= 0 && iommu_group_of(&a[i].addr) == group))
			return true;
	}
	return false;
}

static void tell_bound(const struct pciaddr *addr, int err, void *arg)
{
	char text[PCIADDR_STRLEN];

	(void)arg;
	if (err == 0)
		say_info("%s: back with its driver", pciaddr_format(addr, text));
	else
		say_warn("%s: not given back to its driver: %s", pciaddr_format(addr, text),
			 strerror(-err));
}

static int restore_record(const char *path)
{
	struct bind_record *recs = NULL, *mine;
	struct assignment *a = NULL;
	size_t n = 0, n_a = 0, n_mine = 0;
	int rc = bind_records_read(path, &recs, &n);

	if (rc < 0) {
		errno = -rc;
		say_errno("%s", path);
		if (rc == -EBADMSG)
			unlink(path);
		return rc;
	}
	rc = assignments_load(&a, &n_a);
	if (rc < 0 && rc != -EBADMSG) {
		bind_records_free(recs, n);
		return rc;
	}
	/* who holds a function now has it for himself, and is not torn away from it */
	mine = xcalloc(n + 1, sizeof(*mine));
	for (size_t i = 0; i < n; i++)
		if (!is_in_use(&recs[i].addr, a, n_a))
			mine[n_mine++] = recs[i];
	rc = bind_restore(mine, n_mine, tell_bound, NULL);
	if (rc == 0 || rc == -ENODEV)
		unlink(path);
	free(mine);
	assignments_free(a, n_a);
	bind_records_free(recs, n);
	return rc;
}

static bool has_backup_entry(const struct state_file *f, const char *file)
{
	for (size_t i = 0; f && i < f->n; i++) {
		const struct state_entry *e = &f->entries[i];
		const char *number = strrchr(e->name, '/') + 1;

		if (state_is_backup(e) && strncmp(file, "qemu-", 5) == 0
		    && strcmp(file + 5, number) == 0)
			return true;
	}
	return false;
}

int leftover_drivers(const struct config *cfg, const char *guest,
		     const struct state_file *journal)
{
	_cleanup_free_ char *dirname = state_drivers_dir();
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	int rc, first = 0;

	if (guest) {
		_cleanup_free_ char *path = record_path(guest);

		if (access(path, F_OK) < 0)
			return 0;
		return cfg->rebind ? restore_record(path) : unlink(path) < 0 ? -errno : 0;
	}
	dir = opendir(dirname);
	if (!dir && errno == ENOENT)
		return 0;
	if (!dir) {
		rc = -errno;
		say("cannot read %s: %m", dirname);
		return rc;
	}
	while ((d = readdir(dir))) {
		_cleanup_free_ char *path = NULL;

		if (d->d_name[0] == '.' || has_backup_entry(journal, d->d_name))
			continue;
		path = xasprintf("%s/%s", dirname, d->d_name);
		rc = cfg->rebind ? restore_record(path) : unlink(path) < 0 ? -errno : 0;
		if (rc < 0 && first == 0)
			first = rc;
	}
	return first;
}

void leftover_forget_drivers(void)
{
	_cleanup_free_ char *dirname = state_drivers_dir();
	_cleanup_closedir_ DIR *dir = opendir(dirname);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			unlinkat(dirfd(dir), d->d_name, 0);
}
