/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/cgroup.h"
#include "gpu/cgroupfs.h"
#include "gpu/cudaselect.h"
#include "gpu/procfd.h"

struct process {
	pid_t pid, ppid;
	bool is_in;
};

struct walk {
	const struct cudaselect *sel;
	struct process *list;	/* owned */
	size_t n, room;
};

/* Field 4 of /proc/PID/stat, counted behind the name, which may hold anything. */
static pid_t parent_of(pid_t pid)
{
	_cleanup_free_ char *file = root_path("/proc/%d/stat", (int)pid);
	_cleanup_free_ char *text = readfile_string(file, (size_t)64 * 1024);
	const char *s = text ? strrchr(text, ')') : NULL;

	for (int i = 2; s && i < 4; i++)
		s = strchr(s + 1, ' ');
	return s ? (pid_t)strtol(s, NULL, 10) : 0;
}

static bool is_of_guest(pid_t pid, const char *guest)
{
	_cleanup_free_ char *owner = NULL;

	return cgroup_owner(pid, &owner) == 0 && strcmp(owner, guest) == 0;
}

static void see(pid_t pid, void *arg)
{
	struct walk *w = arg;
	const struct cudaselect *sel = w->sel;
	struct process *p;

	w->list = xgrow(w->list, w->n, &w->room, sizeof(*w->list));
	p = &w->list[w->n++];
	*p = (struct process){ .pid = pid, .ppid = sel->tree ? parent_of(pid) : 0 };
	p->is_in = (sel->cgroup && cgroupfs_is_below(pid, sel->cgroup)) ||
		   (sel->container && cgroup_is_in_container(pid, sel->container)) ||
		   (sel->guest && is_of_guest(pid, sel->guest));
	for (size_t i = 0; i < sel->n_pids && !p->is_in; i++)
		p->is_in = sel->pids[i] == pid;
}

static int compare_processes(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static int compare_pids(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static struct process *find(const struct walk *w, pid_t pid)
{
	const struct process key = { .pid = pid };

	return bsearch(&key, w->list, w->n, sizeof(*w->list), compare_processes);
}

/* Children of what is in, until there is none left; a child may have a lower number. */
static void add_descendants(struct walk *w)
{
	bool is_more = true;

	while (is_more) {
		is_more = false;
		for (size_t i = 0; i < w->n; i++) {
			struct process *parent;

			if (w->list[i].is_in)
				continue;
			parent = find(w, w->list[i].ppid);
			if (parent && parent->is_in)
				is_more = w->list[i].is_in = true;
		}
	}
}

int cudaselect_list(const struct cudaselect *sel, pid_t **pids, size_t *n)
{
	struct walk w = { .sel = sel };
	bool walks = sel->tree || sel->cgroup || sel->container || sel->guest;
	size_t room = 0, len = 0, kept = 0;
	pid_t *list = NULL;
	int rc = walks ? procfd_each_process(see, &w) : 0;

	if (rc < 0) {
		free(w.list);
		return rc;
	}
	if (w.n)
		qsort(w.list, w.n, sizeof(*w.list), compare_processes);
	if (sel->tree)
		add_descendants(&w);
	for (size_t i = 0; i < sel->n_pids; i++) {
		list = xgrow(list, len, &room, sizeof(*list));
		list[len++] = sel->pids[i];
	}
	for (size_t i = 0; i < w.n; i++) {
		if (!w.list[i].is_in)
			continue;
		list = xgrow(list, len, &room, sizeof(*list));
		list[len++] = w.list[i].pid;
	}
	free(w.list);
	if (len)
		qsort(list, len, sizeof(*list), compare_pids);
	for (size_t i = 0; i < len; i++)
		if (kept == 0 || list[i] != list[kept - 1])
			list[kept++] = list[i];
	*pids = list;
	*n = kept;
	return 0;
}
