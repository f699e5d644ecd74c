/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The GPU of a process: what a CUDA program calls, and the thread that the driver
 * starts in it. Device memory is a memory file that is mapped only while a call is
 * under way, so that it is not the process's own, and /dev/nvidia0 (or $FAKE_CUDA_NODE)
 * is held open where there is one; after a checkpoint there is neither, only the copy
 * in ordinary memory. The addresses stay taken all the time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

struct fake_control fake_control;

struct allocation {
	char *memory;
	char *saved;
	size_t size;
	int file;
};

static struct allocation allocations[64];
static int node = -1;
static bool had_node;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved;
static int inside; /* calls under way */
static bool is_closed; /* no call may begin */

static void show(const struct allocation *it, bool is_shown)
{
	void *at = is_shown
			   ? mmap(it->memory, it->size, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, it->file, 0)
			   : mmap(it->memory, it->size, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
				  -1, 0);

	if (at == MAP_FAILED)
		abort();
}

static void show_all(bool is_shown)
{
	for (size_t i = 0; i < 64 && allocations[i].size; i++)
		show(&allocations[i], is_shown);
}

static void enter(void)
{
	pthread_mutex_lock(&gate);
	while (is_closed)
		pthread_cond_wait(&gate_moved, &gate);
	if (inside++ == 0)
		show_all(true);
	pthread_mutex_unlock(&gate);
}

static void leave(void)
{
	pthread_mutex_lock(&gate);
	if (--inside == 0)
		show_all(false);
	pthread_cond_broadcast(&gate_moved);
	pthread_mutex_unlock(&gate);
}

static int do_lock(uint32_t timeout)
{
	struct timespec until;
	int rc = 0;

	if (fake_control.state != RUNNING)
		return ILLEGAL_STATE;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout / 1000;
	until.tv_nsec += timeout % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_mutex_lock(&gate);
	is_closed = true;
	while (inside && rc != ETIMEDOUT)
		rc = timeout ? pthread_cond_timedwait(&gate_moved, &gate, &until)
			     : pthread_cond_wait(&gate_moved, &gate);
	if (inside) {
		is_closed = false;
		pthread_cond_broadcast(&gate_moved);
	} else {
		fake_control.state = LOCKED;
	}
	pthread_mutex_unlock(&gate);
	return fake_control.state == LOCKED ? SUCCESS : NOT_READY;
}

static int do_unlock(void)
{
	if (fake_control.state != LOCKED)
		return ILLEGAL_STATE;
	pthread_mutex_lock(&gate);
	is_closed = false;
	fake_control.state = RUNNING;
	pthread_cond_broadcast(&gate_moved);
	pthread_mutex_unlock(&gate);
	return SUCCESS;
}

static int do_checkpoint(uint32_t copy)
{
	size_t i;

	if (fake_control.state != LOCKED)
		return ILLEGAL_STATE;
	fake_sleep(copy);
	knob_wait("hold-copies");
	for (i = 0; i < 64 && allocations[i].size; i++) {
		struct allocation *it = &allocations[i];

		it->saved = malloc(it->size);
		if (!it->saved)
			return OUT_OF_MEMORY;
		if (pread(it->file, it->saved, it->size, 0) != (ssize_t)it->size)
			return OPERATING_SYSTEM;
		close(it->file);
	}
	if (node >= 0)
		close(node);
	node = -1;
	fake_control.state = CHECKPOINTED;
	return SUCCESS;
}

static bool open_node(void)
{
	const char *path = getenv("FAKE_CUDA_NODE");

	node = open(path ? path : "/dev/nvidia0", O_RDWR | O_CLOEXEC);
	return node >= 0;
}

static int do_restore(const struct fake_slot *slot)
{
	size_t i;

	if (fake_control.state != CHECKPOINTED)
		return ILLEGAL_STATE;
	if (fake_control.stuck)
		return OPERATING_SYSTEM;
	fake_sleep(slot->copy);
	knob_wait("hold-copies");
	if (slot->no_vram) {
		fake_control.stuck = 1;
		return OUT_OF_MEMORY;
	}
	if (had_node && !open_node())
		return OPERATING_SYSTEM;
	for (i = 0; i < 64 && allocations[i].size; i++) {
		struct allocation *it = &allocations[i];

		it->file = memfd_create("vram", MFD_CLOEXEC);
		if (slot->spoil && i == 0)
			it->saved[it->size / 2]++;
		if (it->file < 0 ||
		    pwrite(it->file, it->saved, it->size, 0) != (ssize_t)it->size)
			return OUT_OF_MEMORY;
		free(it->saved);
		it->saved = NULL;
	}
	if (slot->gpu != ~0U)
		fake_control.gpu = slot->gpu;
	fake_control.state = LOCKED;
	return SUCCESS;
}

static void *run_slot(void *arg)
{
	/* One after the other, as the driver does for one process. */
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	struct fake_slot *slot = arg;

	pthread_mutex_lock(&one);
	switch (slot->op) {
	case OP_LOCK:
		slot->result = (uint32_t)do_lock(slot->timeout);
		break;
	case OP_CHECKPOINT:
		slot->result = (uint32_t)do_checkpoint(slot->copy);
		break;
	case OP_RESTORE:
		slot->result = (uint32_t)do_restore(slot);
		break;
	default:
		slot->result = (uint32_t)do_unlock();
	}
	pthread_mutex_unlock(&one);
	__atomic_store_n(&slot->state, SLOT_DONE, __ATOMIC_SEQ_CST);
	return NULL;
}

static void start_thread(void *(*function)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, function, arg) != 0)
		abort();
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void *watch(void *arg)
{
	(void)arg;
	fake_control.tid = (uint32_t)gettid();
	memcpy(fake_control.magic, FAKE_MAGIC, sizeof(FAKE_MAGIC));
	for (;;) {
		for (size_t i = 0; i < FAKE_SLOTS; i++) {
			struct fake_slot *slot = &fake_control.slots[i];

			if (__atomic_load_n(&slot->state, __ATOMIC_SEQ_CST) != SLOT_ASKED)
				continue;
			slot->state = SLOT_BUSY;
			slot->result = SUCCESS;
			if (slot->op != OP_STATE && slot->op != OP_TID) {
				start_thread(run_slot, slot);
				continue;
			}
			slot->value = slot->op == OP_STATE ? fake_control.state
							   : fake_control.tid;
			__atomic_store_n(&slot->state, SLOT_DONE, __ATOMIC_SEQ_CST);
		}
		fake_sleep(1);
	}
	return NULL;
}

int cuCtxCreate_v2(void **context, unsigned flags, int device);
int cuCtxCreate_v2(void **context, unsigned flags, int device)
{
	pthread_condattr_t attr;

	(void)flags;
	if (fake_control.magic[0])
		return NOT_SUPPORTED;
	fake_control.gpu = (uint32_t)device;
	had_node = open_node();
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&gate_moved, &attr);
	start_thread(watch, NULL);
	while (!__atomic_load_n(&fake_control.magic[0], __ATOMIC_SEQ_CST))
		fake_sleep(1);
	*context = &fake_control;
	return SUCCESS;
}

int cuDeviceGetName(char *name, int size, int device);
int cuDeviceGetName(char *name, int size, int device)
{
	snprintf(name, (size_t)size, "Fake GPU %d", device);
	return SUCCESS;
}

int cuMemGetInfo_v2(size_t *left, size_t *total);
int cuMemGetInfo_v2(size_t *left, size_t *total)
{
	*total = (size_t)80 << 30;
	*left = (size_t)knob_number("vram-free", (long)*total);
	return SUCCESS;
}

int cuMemAlloc_v2(uint64_t *address, size_t size);
int cuMemAlloc_v2(uint64_t *address, size_t size)
{
	void *memory = mmap(NULL, size, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int file = memfd_create("vram", MFD_CLOEXEC);
	size_t i = 0;

	while (i < 64 && allocations[i].size)
		i++;
	if (i == 64 || memory == MAP_FAILED || file < 0 ||
	    ftruncate(file, (off_t)size) != 0 || !knob_take_vram((int64_t)size))
		return OUT_OF_MEMORY;
	enter();
	allocations[i] =
		(struct allocation){ .memory = memory, .size = size, .file = file };
	fake_control.bytes += size;
	*address = (uint64_t)(uintptr_t)memory;
	leave();
	return SUCCESS;
}

int cuMemsetD8_v2(uint64_t address, unsigned char value, size_t size);
int cuMemsetD8_v2(uint64_t address, unsigned char value, size_t size)
{
	enter();
	memset((void *)(uintptr_t)address, value, size);
	leave();
	return SUCCESS;
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size);
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size)
{
	enter();
	memcpy(to, (const void *)(uintptr_t)from, size);
	leave();
	return SUCCESS;
}

int cuCtxSynchronize(void);
int cuCtxSynchronize(void)
{
	enter();
	leave();
	return SUCCESS;
}

int cuModuleLoadData(void **module, const void *image);
int cuModuleLoadData(void **module, const void *image)
{
	*module = (void *)(uintptr_t)image;
	return strstr(image, ".version") ? SUCCESS : INVALID_VALUE;
}

/* The kernels of cudajob.c, which see their arguments as cuLaunchKernel has them. */
static void kernel_fill(void **args)
{
	uint64_t *words = *(uint64_t **)args[0];
	uint64_t n = *(uint64_t *)args[1], seed = *(uint64_t *)args[2];

	for (uint64_t i = 0; i < n; i++)
		words[i] = i * 0x9e3779b97f4a7c15 + seed;
}

static void kernel_verify(void **args)
{
	const uint64_t *words = *(uint64_t **)args[0];
	uint64_t n = *(uint64_t *)args[1], seed = *(uint64_t *)args[2];
	uint64_t *out = *(uint64_t **)args[3];

	for (uint64_t i = 0; i < n; i++) {
		out[0] += words[i] * (2 * i + 1);
		out[1] += words[i] != i * 0x9e3779b97f4a7c15 + seed;
	}
}

static void kernel_tick(void **args)
{
	++**(uint64_t **)args[0];
}

static const struct kernel {
	const char *name;
	void (*run)(void **args);
} kernels[] = { { "fill", kernel_fill },
		{ "verify", kernel_verify },
		{ "tick", kernel_tick } };

int cuModuleGetFunction(const struct kernel **kernel, void *module, const char *name);
int cuModuleGetFunction(const struct kernel **kernel, void *module, const char *name)
{
	(void)module;
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
		*kernel = &kernels[i];
		if (strcmp((*kernel)->name, name) == 0)
			return SUCCESS;
	}
	return NOT_FOUND;
}

int cuLaunchKernel(const struct kernel *kernel, unsigned gx, unsigned gy, unsigned gz,
		   unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream,
		   void **args, void **extra);
int cuLaunchKernel(const struct kernel *kernel, unsigned gx, unsigned gy, unsigned gz,
		   unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream,
		   void **args, void **extra)
{
	(void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared,
		(void)stream, (void)extra;
	enter();
	if (knob_number("hold-kernels", 0)) {
		knob_log("kernel", getpid(), "begin", -1);
		knob_wait("hold-kernels");
	}
	kernel->run(args);
	leave();
	return SUCCESS;
}
