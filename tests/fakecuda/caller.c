/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that one process makes on another: cuCheckpointProcess*. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fake.h"

struct error_text {
	int code;
	const char *name, *text;
};

static const struct error_text errors[] = {
	{ 0, "CUDA_SUCCESS", "no error" },
	{ 1, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
	{ 2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
	{ 3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error" },
	{ 34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library" },
	{ 100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected" },
	{ 201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context" },
	{ 304, "CUDA_ERROR_OPERATING_SYSTEM",
	  "OS call failed or operation not supported on this OS" },
	{ 401, "CUDA_ERROR_ILLEGAL_STATE",
	  "the operation cannot be performed in the present state" },
	{ 500, "CUDA_ERROR_NOT_FOUND", "named symbol not found" },
	{ 600, "CUDA_ERROR_NOT_READY", "device not ready" },
	{ 800, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted" },
	{ 801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported" },
	{ 803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
	  "system has unsupported display driver / cuda driver combination" },
	{ 999, "CUDA_ERROR_UNKNOWN", "unknown error" },
};

static const struct error_text *find_error(int code)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].code == code)
			return &errors[i];
	return NULL;
}

int cuGetErrorName(int code, const char **name);
int cuGetErrorName(int code, const char **name)
{
	const struct error_text *error = find_error(code);

	*name = error ? error->name : NULL;
	return error ? SUCCESS : INVALID_VALUE;
}

int cuGetErrorString(int code, const char **text);
int cuGetErrorString(int code, const char **text)
{
	const struct error_text *error = find_error(code);

	*text = error ? error->text : NULL;
	return error ? SUCCESS : INVALID_VALUE;
}

int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
	*version = (int)knob_number("version", 13000);
	return SUCCESS;
}

static bool is_initialized;

int cuInit(unsigned flags);
int cuInit(unsigned flags)
{
	int late, rc;

	if (flags)
		return INVALID_VALUE;
	knob_log("init", 0, "begin", -1);
	rc = knob_fault("init", 0, &late);
	fake_sleep(knob_number("init-ms", 0));
	if (!rc && knob_number("gpus", 1) == 0)
		rc = NO_DEVICE;
	is_initialized = rc == 0;
	knob_log("init", 0, "end", rc);
	return rc;
}

int cuDeviceGetCount(int *count);
int cuDeviceGetCount(int *count)
{
	*count = (int)knob_number("gpus", 1);
	return is_initialized ? SUCCESS : NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int ordinal);
int cuDeviceGet(int *device, int ordinal)
{
	if (!is_initialized)
		return NOT_INITIALIZED;
	if (ordinal < 0 || ordinal >= knob_number("gpus", 1))
		return INVALID_VALUE;
	*device = ordinal;
	return SUCCESS;
}

int cuDeviceGetUuid_v2(char uuid[16], int device);
int cuDeviceGetUuid_v2(char uuid[16], int device)
{
	if (!is_initialized)
		return NOT_INITIALIZED;
	fake_uuid((uint32_t)device, uuid);
	return SUCCESS;
}

/* Where the target's control block is, or 0: it maps no libcuda.so. */
static off_t find_control(int pid)
{
	char path[64], line[512];
	unsigned long start;
	Dl_info self;
	FILE *file;
	off_t at = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	if (!file || !dladdr(&fake_control, &self))
		return 0;
	while (!at && fgets(line, sizeof(line), file))
		if (strstr(line, "/libcuda.so.1") && sscanf(line, "%lx-", &start) == 1)
			at = (off_t)(start +
				     ((char *)&fake_control - (char *)self.dli_fbase));
	fclose(file);
	return at;
}

int fake_open_target(int pid, off_t *at, struct fake_control *control)
{
	char path[64];
	int fd;

	*at = pid > 0 ? find_control(pid) : 0;
	if (!*at)
		return -INVALID_VALUE;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -OPERATING_SYSTEM;
	if (pread(fd, control, sizeof(*control), *at) != sizeof(*control) ||
	    strcmp(control->magic, FAKE_MAGIC) != 0) {
		close(fd);
		return -NOT_INITIALIZED;
	}
	return fd;
}

#ifndef FAKE_WITHOUT_CHECKPOINT

static off_t slot_at(off_t control, unsigned i)
{
	return control + (off_t)offsetof(struct fake_control, slots) +
	       (off_t)(i * sizeof(struct fake_slot));
}

/* Ask the thread in the target, wait for its answer. */
static int ask(int fd, off_t at, struct fake_slot *slot)
{
	unsigned i = (unsigned)gettid() % FAKE_SLOTS;
	uint32_t word = SLOT_TAKEN;

	flock(fd, LOCK_EX); /* one at a time takes a slot */
	for (unsigned tries = 0; word != SLOT_FREE && tries < FAKE_SLOTS; tries++) {
		i = (i + 1) % FAKE_SLOTS;
		if (pread(fd, &word, sizeof(word), slot_at(at, i)) != sizeof(word))
			return OPERATING_SYSTEM;
	}
	slot->state = SLOT_TAKEN;
	if (pwrite(fd, slot, sizeof(*slot), slot_at(at, i)) != sizeof(*slot))
		return OPERATING_SYSTEM;
	flock(fd, LOCK_UN);
	word = SLOT_ASKED;
	if (pwrite(fd, &word, sizeof(word), slot_at(at, i)) != sizeof(word))
		return OPERATING_SYSTEM;
	do {
		fake_sleep(1);
		if (pread(fd, slot, sizeof(*slot), slot_at(at, i)) != sizeof(*slot))
			return OPERATING_SYSTEM;
	} while (slot->state != SLOT_DONE);
	word = SLOT_FREE;
	if (pwrite(fd, &word, sizeof(word), slot_at(at, i)) != sizeof(word))
		return OPERATING_SYSTEM;
	return (int)slot->result;
}

static int serve(const char *name, int pid, struct fake_slot *slot)
{
	struct fake_control control;
	off_t at;
	int late, rc, fd = -1;

	knob_log(name, pid, "begin", -1);
	rc = knob_fault(name, pid, &late);
	if (!rc) {
		fd = fake_open_target(pid, &at, &control);
		rc = fd < 0 ? -fd : 0;
	}
	if (!rc && slot->op == OP_RESTORE && control.state == CHECKPOINTED &&
	    !control.stuck)
		slot->no_vram = !knob_take_vram((int64_t)control.bytes);
	if (!rc)
		rc = ask(fd, at, slot);
	if (!rc && slot->op == OP_CHECKPOINT)
		knob_take_vram(-(int64_t)control.bytes);
	if (fd >= 0)
		close(fd);
	if (late < 0)
		fake_hang();
	if (late)
		rc = late;
	knob_log(name, pid, "end", rc);
	return rc;
}

static bool is_zero(const void *args, size_t from, size_t to)
{
	for (size_t i = from; args && i < to; i++)
		if (((const char *)args)[i])
			return false;
	return true;
}

int cuCheckpointProcessGetState(int pid, int *state);
int cuCheckpointProcessGetState(int pid, int *state)
{
	struct fake_slot slot = { .op = OP_STATE };
	int rc = serve("state", pid, &slot);

	if (!rc)
		*state = (int)slot.value;
	return rc;
}

/* The thread's number as this process sees it. */
static int outer_tid(int pid, uint32_t inner)
{
	char path[300], line[256];
	struct dirent *entry;
	int tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !tid && (entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid,
			 entry->d_name);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file)) {
			char *last = strrchr(line, '\t');

			if (strncmp(line, "NSpid:", 6) == 0 && last &&
			    (uint32_t)atoi(last) == inner)
				tid = atoi(entry->d_name);
		}
		if (file)
			fclose(file);
	}
	if (dir)
		closedir(dir);
	return tid;
}

int cuCheckpointProcessGetRestoreThreadId(int pid, int *tid);
int cuCheckpointProcessGetRestoreThreadId(int pid, int *tid)
{
	struct fake_slot slot = { .op = OP_TID };
	int rc = serve("tid", pid, &slot);

	if (!rc)
		*tid = outer_tid(pid, slot.value);
	return rc;
}

int cuCheckpointProcessLock(int pid, void *args);
int cuCheckpointProcessLock(int pid, void *args)
{
	struct fake_slot slot = { .op = OP_LOCK };

	if (!is_zero(args, 4, 64))
		return INVALID_VALUE;
	if (args)
		memcpy(&slot.timeout, args, sizeof(slot.timeout));
	return serve("lock", pid, &slot);
}

int cuCheckpointProcessCheckpoint(int pid, void *args);
int cuCheckpointProcessCheckpoint(int pid, void *args)
{
	struct fake_slot slot = { .op = OP_CHECKPOINT,
				  .copy = (uint32_t)knob_number("copy-ms", 0) };

	if (!is_zero(args, 0, 64))
		return INVALID_VALUE;
	return serve("checkpoint", pid, &slot);
}

/*
 * The pairs, from 13.0 on: each GPU there is once as the old one and once as the
 * new one. *to: where the target's goes.
 */
static int read_pairs(int pid, const void *args, uint32_t *to)
{
	long gpus = knob_number("gpus", 1);
	struct fake_control control;
	const char *pairs;
	uint32_t count, from_seen = 0, to_seen = 0;
	off_t at;
	int fd;

	memcpy(&pairs, args, sizeof(pairs));
	memcpy(&count, (const char *)args + 8, sizeof(count));
	if (!pairs && !count)
		return SUCCESS;
	if (!pairs || count != gpus)
		return INVALID_VALUE;
	fd = fake_open_target(pid, &at, &control);
	if (fd < 0)
		return -fd;
	close(fd);
	for (uint32_t i = 0; i < count; i++, pairs += 32) {
		char uuid[16];

		for (uint32_t gpu = 0; gpu < gpus; gpu++) {
			fake_uuid(gpu, uuid);
			if (memcmp(uuid, pairs, 16) == 0)
				from_seen |= 1U << gpu;
			if (memcmp(uuid, pairs + 16, 16) == 0)
				to_seen |= 1U << gpu;
		}
		fake_uuid(control.gpu, uuid);
		if (memcmp(uuid, pairs, 16) == 0)
			*to = (uint32_t)(unsigned char)pairs[31];
	}
	return from_seen == to_seen && from_seen == (1U << gpus) - 1 ? SUCCESS
								     : INVALID_VALUE;
}

int cuCheckpointProcessRestore(int pid, void *args);
int cuCheckpointProcessRestore(int pid, void *args)
{
	struct fake_slot slot = {
		.op = OP_RESTORE,
		.gpu = ~0U,
		.copy = (uint32_t)knob_number("copy-ms", 0),
		.spoil = (uint32_t)knob_number("spoil", 0),
	};
	bool has_pairs = knob_number("version", 13000) >= 13000;
	int rc;

	if (!is_initialized && !knob_number("persistence", 0))
		return NOT_INITIALIZED;
	if (!is_zero(args, has_pairs ? 12 : 0, 64))
		return INVALID_VALUE;
	rc = args && has_pairs ? read_pairs(pid, args, &slot.gpu) : SUCCESS;
	return rc ? rc : serve("restore", pid, &slot);
}

int cuCheckpointProcessUnlock(int pid, void *args);
int cuCheckpointProcessUnlock(int pid, void *args)
{
	struct fake_slot slot = { .op = OP_UNLOCK };

	if (!is_zero(args, 0, 64))
		return INVALID_VALUE;
	return serve("unlock", pid, &slot);
}

#endif
