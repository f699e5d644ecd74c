/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "gpu/cgroup.h"
#include "gpu/gpuproc.h"
#include "gpu/procfd.h"
#include "gpu/procmaps.h"

/* CUDA's driver library: its name on disk has the driver's version. */
#define CUDA_LIBRARY "libcuda.so"

static bool has_node(const struct gpuproc *p, const char *path)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (strcmp(p->nodes[i], path) == 0)
			return true;
	return false;
}

static void add_node(struct gpuproc *p, const char *path)
{
	p->nodes = xreallocarray(p->nodes, p->n_nodes + 1, sizeof(*p->nodes));
	p->nodes[p->n_nodes++] = xstrdup(path);
}

static int compare_row(const void *path, const void *node)
{
	return strcmp(path, ((const struct gpunode *)node)->path);
}

static bool is_row(const struct gpunodes *nodes, const char *path)
{
	return nodes->n && bsearch(path, nodes->nodes, nodes->n, sizeof(*nodes->nodes),
				   compare_row);
}

static void add_addrs(struct gpuproc *p, const struct gpunodes *nodes, const char *path)
{
	for (size_t i = 0; i < nodes->n; i++) {
		bool known = false;

		if (strcmp(nodes->nodes[i].path, path) != 0)
			continue;
		for (size_t k = 0; k < p->n_addrs; k++)
			known |=
				pciaddr_compare(&p->addrs[k], &nodes->nodes[i].addr) == 0;
		if (known)
			continue;
		p->addrs = xreallocarray(p->addrs, p->n_addrs + 1, sizeof(*p->addrs));
		p->addrs[p->n_addrs++] = nodes->nodes[i].addr;
	}
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void proc_done(struct gpuproc *p)
{
	free(p->owner);
	free(p->addrs);
	for (size_t i = 0; i < p->n_nodes; i++)
		free(p->nodes[i]);
	free(p->nodes);
	free(p->cuda);
}

struct search {
	const struct gpunodes *nodes;
	struct gpuproc *procs;	/* owned */
	size_t n, room;
};

static void see_file(const struct procfd *file, void *arg)
{
	struct search *s = arg;
	struct gpuproc *p = s->n ? &s->procs[s->n - 1] : NULL;
	dev_t number;

	if (!gpunode_is_gpu_path(file->target) && !is_row(s->nodes, file->target))
		return;
	if (!procfd_is_node(file, &number))
		return;
	if (!p || p->pid != file->pid) {
		s->procs = xgrow(s->procs, s->n, &s->room, sizeof(*s->procs));
		p = &s->procs[s->n++];
		*p = (struct gpuproc){ .pid = file->pid };
	}
	if (has_node(p, file->target))
		return;
	add_node(p, file->target);
	add_addrs(p, s->nodes, file->target);
}

/* Who it is; false when it has ended meanwhile. */
static bool complete(struct gpuproc *p)
{
	if (p->n_nodes)
		qsort(p->nodes, p->n_nodes, sizeof(*p->nodes), compare_text);
	if (p->n_addrs)
		qsort(p->addrs, p->n_addrs, sizeof(*p->addrs), pciaddr_compare);
	return cgroup_owner(p->pid, &p->owner) >= 0 && procfd_comm(p->pid, p->comm) >= 0;
}

static int compare_pid(const void *a, const void *b)
{
	const struct gpuproc *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

int gpuproc_list(const struct gpunodes *nodes, struct gpuproc **procs, size_t *n)
{
	struct search s = { .nodes = nodes };
	size_t kept = 0;
	int rc = procfd_walk(see_file, &s);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < s.n; i++) {
		if (complete(&s.procs[i]))
			s.procs[kept++] = s.procs[i];
		else
			proc_done(&s.procs[i]);
	}
	if (kept)
		qsort(s.procs, kept, sizeof(*s.procs), compare_pid);
	*procs = s.procs;
	*n = kept;
	return 0;
}

struct cuda_search {
	struct gpuproc *procs;	/* owned; n_known of them sorted, then new ones */
	size_t n_known, n, room;
};

static void see_process(pid_t pid, void *arg)
{
	struct cuda_search *s = arg;
	struct gpuproc *p = NULL, new = { .pid = pid };

	if (s->n_known)
		p = bsearch(&new, s->procs, s->n_known, sizeof(new), compare_pid);
	/* Gone meanwhile, or not ours to look at: nothing to say of it. */
	if (procmaps_library(pid, CUDA_LIBRARY, &new.cuda) < 0 || !new.cuda)
		return;
	if (p) {
		free(p->cuda);
		p->cuda = new.cuda;
		return;
	}
	if (!complete(&new)) {
		proc_done(&new);
		return;
	}
	s->procs = xgrow(s->procs, s->n, &s->room, sizeof(*s->procs));
	s->procs[s->n++] = new;
}

int gpuproc_add_cuda(struct gpuproc **procs, size_t *n)
{
	struct cuda_search s = { .procs = *procs, .n_known = *n, .n = *n, .room = *n };
	int rc = procfd_each_process(see_process, &s);

	if (s.n)
		qsort(s.procs, s.n, sizeof(*s.procs), compare_pid);
	*procs = s.procs;
	*n = s.n;
	return rc;
}

void gpuproc_free(struct gpuproc *procs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		proc_done(&procs[i]);
	free(procs);
}
