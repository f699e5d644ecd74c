/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A libnvidia-ml.so.1 that knows the processes of the libcuda beside it, 80 GiB a GPU.
 * Free is what the file vram-free says, or what the processes leave.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

enum { NVML_SUCCESS = 0, NVML_NOT_FOUND = 6, NVML_INSUFFICIENT_SIZE = 7 };

static const unsigned long long total_bytes = 80ULL << 30;
static int (*open_target)(int pid, off_t *at, struct fake_control *control);
static void (*uuid_of)(uint32_t gpu, char uuid[16]);
static long (*number)(const char *name, long otherwise);

static void find(void *lib, const char *name, void *function)
{
	void *symbol = dlsym(lib, name);

	memcpy(function, &symbol, sizeof(symbol));
}

int nvmlInit_v2(void);
int nvmlInit_v2(void)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return NVML_NOT_FOUND;
	find(lib, "fake_open_target", &open_target);
	find(lib, "fake_uuid", &uuid_of);
	find(lib, "knob_number", &number);
	return open_target && uuid_of && number ? NVML_SUCCESS : NVML_NOT_FOUND;
}

int nvmlShutdown(void);
int nvmlShutdown(void)
{
	return NVML_SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetCount_v2(unsigned *count)
{
	*count = (unsigned)number("gpus", 1);
	return NVML_SUCCESS;
}

/* A handle is the index, plus one. */
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
	*device = (void *)(uintptr_t)(index + 1);
	return NVML_SUCCESS;
}

static uint32_t index_of(void *device)
{
	return (uint32_t)(uintptr_t)device - 1;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned len);
int nvmlDeviceGetUUID(void *device, char *text, unsigned len)
{
	char uuid[16], *out = text;

	if (len < 41)
		return NVML_INSUFFICIENT_SIZE;
	uuid_of(index_of(device), uuid);
	out += sprintf(out, "GPU-");
	for (int i = 0; i < 16; i++)
		out += sprintf(out,
			       i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
			       (unsigned char)uuid[i]);
	return NVML_SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, void *list);
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, void *list)
{
	struct {
		unsigned pid;
		unsigned long long used;
		unsigned gpu_instance, compute_instance;
	} *out = list;
	unsigned room = *n, found = 0;
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		struct fake_control control;
		int pid = atoi(entry->d_name), fd;
		off_t at;

		fd = pid > 0 ? open_target(pid, &at, &control) : -1;
		if (fd < 0)
			continue;
		close(fd);
		if (control.gpu != index_of(device) || control.state == CHECKPOINTED)
			continue;
		if (found < room) {
			memset(&out[found], 0, sizeof(*out));
			out[found].pid = (unsigned)pid;
			out[found].used = (unsigned long long)number("vram-used",
								     (long)control.bytes);
		}
		found++;
	}
	if (proc)
		closedir(proc);
	*n = found;
	return found > room ? NVML_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long memory[3]);
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long memory[3])
{
	(void)device;
	memory[0] = total_bytes;
	memory[1] = (unsigned long long)number("vram-free", (long)total_bytes);
	memory[2] = memory[1] < total_bytes ? total_bytes - memory[1] : 0;
	return NVML_SUCCESS;
}
