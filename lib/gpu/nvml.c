/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "gpu/nvml.h"

enum {
	NVML_OK = 0,
	NVML_INSUFFICIENT_SIZE = 7,
	UUID_MAX = 96,
	PROCESSES_MAX = 65536,	/* more on one GPU: not to be believed */
};

struct nvml_memory {		/* nvmlMemory_t */
	unsigned long long total, free, used;
};

struct nvml_process {		/* nvmlProcessInfo_v2_t, which _v3 fills */
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
};

_Static_assert(sizeof(struct nvml_process) == 24, "nvmlProcessInfo_t");

struct library {
	int (*init)(void);
	int (*shutdown)(void);
	int (*device_count)(unsigned *n);
	int (*device)(unsigned index, void **device);
	int (*uuid)(void *device, char *text, unsigned len);
	int (*memory)(void *device, struct nvml_memory *memory);
	int (*processes)(void *device, unsigned *n, struct nvml_process *list);
};

/* What the child writes: one for the answer as a whole, then GPUs, each before its uses. */
struct message {
	enum { MESSAGE_RESULT, MESSAGE_GPU, MESSAGE_USE, MESSAGE_END } type;
	int err;
	struct nvml_gpu gpu;
	struct nvml_use use;
};

static bool find(void *lib, const char *name, void *fn)
{
	void *sym = dlsym(lib, name);

	memcpy(fn, &sym, sizeof(sym));
	return sym != NULL;
}

static int open_library(struct library *l)
{
	void *lib = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!lib)
		return -ENOENT;
	if (!find(lib, "nvmlInit_v2", &l->init) ||
	    !find(lib, "nvmlShutdown", &l->shutdown) ||
	    !find(lib, "nvmlDeviceGetCount_v2", &l->device_count) ||
	    !find(lib, "nvmlDeviceGetHandleByIndex_v2", &l->device) ||
	    !find(lib, "nvmlDeviceGetUUID", &l->uuid) ||
	    !find(lib, "nvmlDeviceGetMemoryInfo", &l->memory) ||
	    !find(lib, "nvmlDeviceGetComputeRunningProcesses_v3", &l->processes))
		return -ENOTSUP;
	return l->init() == NVML_OK ? 0 : -ENOTSUP;
}

static void put(int fd, const struct message *m)
{
	if (write(fd, m, sizeof(*m)) != (ssize_t)sizeof(*m))
		_exit(1);
}

static void put_uses(const struct library *l, int fd, void *device, size_t gpu)
{
	struct nvml_process *list = NULL;
	unsigned n = 0, room = 16;
	int rc;

	do {
		list = xreallocarray(list, room, sizeof(*list));
		n = room;
		rc = l->processes(device, &n, list);
		room = n + 16;	/* some may start meanwhile */
	} while (rc == NVML_INSUFFICIENT_SIZE && n < PROCESSES_MAX);
	for (unsigned i = 0; rc == NVML_OK && i < n; i++) {
		struct message m = { .type = MESSAGE_USE };

		m.use.pid = (pid_t)list[i].pid;
		m.use.gpu = gpu;
		m.use.bytes = list[i].used;
		put(fd, &m);
	}
	free(list);
}

static void answer(int fd)
{
	struct message m = { .type = MESSAGE_RESULT };
	struct library l = { 0 };
	unsigned n = 0;

	m.err = open_library(&l);
	if (m.err == 0 && l.device_count(&n) != NVML_OK)
		m.err = -ENOTSUP;
	put(fd, &m);
	for (unsigned i = 0; i < n; i++) {
		struct nvml_memory memory;
		char uuid[UUID_MAX] = "";
		void *device;

		m = (struct message){ .type = MESSAGE_GPU };
		/* A GPU that has fallen off the bus is as good as none. */
		if (l.device(i, &device) != NVML_OK ||
		    l.uuid(device, uuid, sizeof(uuid)) != NVML_OK ||
		    cuda_uuid_parse(uuid, strlen(uuid), &m.gpu.uuid) < 0 ||
		    l.memory(device, &memory) != NVML_OK)
			continue;
		m.gpu.total = memory.total;
		m.gpu.free = memory.free;
		put(fd, &m);
		put_uses(&l, fd, device, i);
	}
	m = (struct message){ .type = MESSAGE_END };
	put(fd, &m);
	if (m.err == 0 && n)
		l.shutdown();
}

int nvml_start(struct nvml_question *q)
{
	int fds[2], null;

	*q = (struct nvml_question){ .fd = -1 };
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	q->child = fork();
	if (q->child < 0) {
		null = -errno;
		close(fds[0]);
		close(fds[1]);
		q->child = 0;
		return null;
	}
	if (q->child == 0) {
		/* Should it hang, nobody must wait for our output because of it. */
		int fd = fcntl(fds[1], F_DUPFD, 3);

		null = open("/dev/null", O_RDWR);
		for (int i = 0; i < 3 && null >= 0; i++)
			dup2(null, i);
		for (int i = 3; i < fd; i++)
			close(i);
		close_range((unsigned)fd + 1, ~0U, 0);
		signal(SIGPIPE, SIG_DFL);
		answer(fd);
		_exit(0);
	}
	close(fds[1]);
	q->fd = fds[0];
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One whole message; 0 or -errno. */
static int get(int fd, int64_t deadline, struct message *m)
{
	size_t have = 0;

	while (have < sizeof(*m)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - now_ms();
		ssize_t len;
		int rc;

		if (left <= 0)
			return -ETIMEDOUT;
		rc = poll(&p, 1, left > 60000 ? 60000 : (int)left);
		if (rc < 0 && errno != EINTR)
			return -errno;
		if (rc <= 0)
			continue;
		len = read(fd, (char *)m + have, sizeof(*m) - have);
		if (len == 0)
			return -ENOTSUP;
		if (len < 0 && errno != EINTR)
			return -errno;
		have += len > 0 ? (size_t)len : 0;
	}
	return 0;
}

static int read_answer(int fd, int64_t deadline, struct nvml *nvml)
{
	size_t room_gpus = 0, room_uses = 0;
	struct message m;
	int rc = get(fd, deadline, &m);

	if (rc == 0 && m.err < 0)
		rc = m.err;
	while (rc == 0) {
		rc = get(fd, deadline, &m);
		if (rc < 0 || m.type == MESSAGE_END)
			break;
		if (m.type == MESSAGE_GPU) {
			nvml->gpus = xgrow(nvml->gpus, nvml->n_gpus, &room_gpus,
					   sizeof(*nvml->gpus));
			nvml->gpus[nvml->n_gpus++] = m.gpu;
		} else {
			nvml->uses = xgrow(nvml->uses, nvml->n_uses, &room_uses,
					   sizeof(*nvml->uses));
			m.use.gpu = nvml->n_gpus - 1;
			nvml->uses[nvml->n_uses++] = m.use;
		}
	}
	return rc;
}

int nvml_finish(struct nvml_question *q, int timeout_ms, struct nvml *nvml)
{
	int rc;

	*nvml = (struct nvml){ 0 };
	if (q->fd < 0)
		return -ENOTSUP;
	rc = read_answer(q->fd, timeout_ms ? now_ms() + timeout_ms : INT64_MAX, nvml);
	close(q->fd);
	/* It changes nothing, so it may be ended at any time. */
	if (rc < 0)
		kill(q->child, SIGKILL);
	/* Nor is its tidying up worth waiting for; who hangs in the kernel cannot be. */
	waitpid(q->child, NULL, WNOHANG);
	q->fd = -1;
	if (rc < 0)
		nvml_done(nvml);
	return rc;
}

void nvml_done(struct nvml *nvml)
{
	free(nvml->gpus);
	free(nvml->uses);
	*nvml = (struct nvml){ 0 };
}

uint64_t nvml_bytes_of(const struct nvml *nvml, pid_t pid)
{
	uint64_t sum = 0;
	bool is_known = false;

	for (size_t i = 0; i < nvml->n_uses; i++) {
		if (nvml->uses[i].pid != pid)
			continue;
		if (nvml->uses[i].bytes == UINT64_MAX)
			return UINT64_MAX;
		sum += nvml->uses[i].bytes;
		is_known = true;
	}
	return is_known ? sum : UINT64_MAX;
}
