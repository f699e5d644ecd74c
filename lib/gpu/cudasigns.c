/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/cudasigns.h"

enum {
	ENVIRON_MAX = 4 * 1024 * 1024,
	STATUS_MAX = 64 * 1024,
	TARGET_MAX = 256,
};

static const struct {
	const char *prefix;	/* of a file that is open or mapped */
	unsigned bit;
} file_signs[] = {
	{ "/dev/shm/cuda.shm.", CUDASIGNS_IPC },
	{ "/dev/shm/nccl-", CUDASIGNS_IPC },
	{ "/dev/nvidia-caps-imex-channels/", CUDASIGNS_FABRIC },
	{ "/dev/nvidia-caps/nvidia-cap", CUDASIGNS_MIG },
	{ "/dev/gdrdrv", CUDASIGNS_RDMA },
	{ "/dev/infiniband/", CUDASIGNS_RDMA },
};

static const struct {
	const char *name;	/* of a library that is mapped */
	unsigned bit;
} library_signs[] = {
	{ "libnvidia-ml.so", CUDASIGNS_NVML },
	{ "libcupti.so", CUDASIGNS_PROFILER },
};

static const struct {
	const char *text;	/* beginning of a variable of the environment */
	unsigned bit;
} variable_signs[] = {
	{ "CUDA_CHECKPOINT_JOB_FILE=", CUDASIGNS_JOB },
	{ "CUDA_MPS_PIPE_DIRECTORY=", CUDASIGNS_MPS },
	{ "CUDA_VISIBLE_DEVICES=MIG-", CUDASIGNS_MIG },
};

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static void add_node(struct cudasigns *s, const char *path)
{
	for (size_t i = 0; i < s->n_nodes; i++)
		if (strcmp(s->nodes[i], path) == 0)
			return;
	s->nodes = xreallocarray(s->nodes, s->n_nodes + 1, sizeof(*s->nodes));
	s->nodes[s->n_nodes++] = xstrdup(path);
}

static void see_file(struct cudasigns *s, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(file_signs); i++)
		if (starts_with(path, file_signs[i].prefix))
			s->bits |= file_signs[i].bit;
	if (starts_with(path, "/dev/nvidia") || starts_with(path, "/dev/gdrdrv"))
		add_node(s, path);
}

static void cut_deleted(char *path)
{
	size_t len = strlen(path);

	if (len > 10 && strcmp(path + len - 10, " (deleted)") == 0)
		path[len - 10] = '\0';
}

static int read_files(struct cudasigns *s)
{
	_cleanup_free_ char *path = root_path("/proc/%d/fd", (int)s->pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		char target[TARGET_MAX];
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target,
					 sizeof(target) - 1);

		if (len < 0)
			continue;
		target[len] = '\0';
		cut_deleted(target);
		see_file(s, target);
	}
	return 0;
}

static void see_mapping(struct cudasigns *s, char *line)
{
	const char *perms = strchr(line, ' '), *file;
	char *path = strchr(line, '/');

	if (!perms || !path)
		return;
	path[strcspn(path, "\n")] = '\0';
	cut_deleted(path);
	see_file(s, path);
	/* Reserved addresses are no memory yet. */
	if (starts_with(path, "/dev/nvidia-uvm") && perms[2] == 'w')
		s->bits |= CUDASIGNS_UVM;
	file = strrchr(path, '/') + 1;
	for (size_t i = 0; i < ARRAY_SIZE(library_signs); i++)
		if (starts_with(file, library_signs[i].name))
			s->bits |= library_signs[i].bit;
}

static int read_mappings(struct cudasigns *s)
{
	_cleanup_free_ char *path = root_path("/proc/%d/maps", (int)s->pid), *line = NULL;
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	size_t room = 0;

	if (!f)
		return -errno;
	while (getline(&line, &room, f) > 0)
		see_mapping(s, line);
	return ferror(f) ? -errno : 0;
}

static void read_environment(struct cudasigns *s)
{
	_cleanup_free_ char *path = root_path("/proc/%d/environ", (int)s->pid);
	struct readfile buf = { 0 };

	if (readfile_at(AT_FDCWD, path, ENVIRON_MAX, &buf) == 0)
		for (char *v = buf.data; v < buf.data + buf.len; v += strlen(v) + 1)
			for (size_t i = 0; i < ARRAY_SIZE(variable_signs); i++)
				if (starts_with(v, variable_signs[i].text))
					s->bits |= variable_signs[i].bit;
	free(buf.data);
}

static void read_tracer(struct cudasigns *s)
{
	_cleanup_free_ char *path = root_path("/proc/%d/status", (int)s->pid);
	_cleanup_free_ char *text = readfile_string(path, STATUS_MAX);
	const char *tracer = text ? strstr(text, "\nTracerPid:") : NULL;

	if (tracer && strtol(tracer + 11, NULL, 10) > 0)
		s->bits |= CUDASIGNS_PROFILER;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int cudasigns_read(pid_t pid, struct cudasigns *s)
{
	int rc;

	*s = (struct cudasigns){ .pid = pid };
	rc = read_files(s);
	if (rc == 0)
		rc = read_mappings(s);
	if (rc < 0) {
		cudasigns_done(s);
		return rc == -ESRCH ? -ENOENT : rc;
	}
	read_environment(s);
	read_tracer(s);
	if (s->n_nodes)
		qsort(s->nodes, s->n_nodes, sizeof(*s->nodes), compare_names);
	return 0;
}

void cudasigns_done(struct cudasigns *s)
{
	for (size_t i = 0; i < s->n_nodes; i++)
		free(s->nodes[i]);
	free(s->nodes);
	s->nodes = NULL;
	s->n_nodes = 0;
}
