/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/xalloc.h"
#include "gpu/cuda.h"

static const struct {
	int result;
	const char *name, *text;
} results[] = {
	{ CUDA_OK, "CUDA_SUCCESS", "no error" },
	{ CUDA_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
	{ CUDA_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
	{ CUDA_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error" },
	{ CUDA_STUB_LIBRARY, "CUDA_ERROR_STUB_LIBRARY",
	  "libcuda.so.1 is the toolkit's stub, not the driver's library" },
	{ CUDA_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no GPU that CUDA can use" },
	{ CUDA_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context" },
	{ CUDA_OPERATING_SYSTEM, "CUDA_ERROR_OPERATING_SYSTEM",
	  "a system call failed in the driver, or the process is stuck" },
	{ CUDA_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE",
	  "the process is not in the state that this needs" },
	{ CUDA_NOT_READY, "CUDA_ERROR_NOT_READY",
	  "the time limit passed before its GPU work was done" },
	{ CUDA_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted" },
	{ CUDA_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED",
	  "the process uses something that cannot be checkpointed" },
	{ CUDA_DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
	  "libcuda.so.1 and the nvidia kernel module are of different versions" },
	{ CUDA_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error" },
};

static const char *const states[] = {
	[CUDA_RUNNING] = "running",
	[CUDA_LOCKED] = "locked",
	[CUDA_CHECKPOINTED] = "checkpointed",
	[CUDA_FAILED] = "failed",
	[CUDA_CHECKPOINTING] = "checkpointing",
	[CUDA_RESTORING] = "restoring",
};

const char *cuda_state_word(int state)
{
	return state >= 0 && (size_t)state < ARRAY_SIZE(states) ? states[state] : NULL;
}

const char *cuda_result_name(int result)
{
	for (size_t i = 0; i < ARRAY_SIZE(results); i++)
		if (results[i].result == result)
			return results[i].name;
	return NULL;
}

const char *cuda_result_text(int result)
{
	for (size_t i = 0; i < ARRAY_SIZE(results); i++)
		if (results[i].result == result)
			return results[i].text;
	return "unknown error";
}

/* A function of the library into the pointer at *fn; false when it has none of that name. */
static bool find(void *lib, const char *name, void *fn)
{
	void *sym = dlsym(lib, name);

	/* ISO C knows no conversion from an object to a function pointer. */
	memcpy(fn, &sym, sizeof(sym));
	return sym != NULL;
}

int cuda_open(struct cuda *cuda)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	bool has_calls;

	memset(cuda, 0, sizeof(*cuda));
	if (!lib)
		return -ENOENT;
	if (!find(lib, "cuInit", &cuda->init) ||
	    !find(lib, "cuDriverGetVersion", &cuda->get_version))
		return -ELIBBAD;
	/* The version can be asked for before cuInit. */
	if (cuda->get_version(&cuda->version) != CUDA_OK)
		return -EPROTO;
	find(lib, "cuDeviceGetCount", &cuda->device_count);
	find(lib, "cuDeviceGet", &cuda->device_get);
	if (!find(lib, "cuDeviceGetUuid_v2", &cuda->device_uuid))
		find(lib, "cuDeviceGetUuid", &cuda->device_uuid);
	has_calls = find(lib, "cuCheckpointProcessGetState", &cuda->get_state);
	has_calls &= find(lib, "cuCheckpointProcessGetRestoreThreadId",
			  &cuda->get_restore_tid);
	has_calls &= find(lib, "cuCheckpointProcessLock", &cuda->lock);
	has_calls &= find(lib, "cuCheckpointProcessCheckpoint", &cuda->checkpoint);
	has_calls &= find(lib, "cuCheckpointProcessRestore", &cuda->restore);
	has_calls &= find(lib, "cuCheckpointProcessUnlock", &cuda->unlock);
	return has_calls && cuda->version >= CUDA_VERSION_CHECKPOINT ? 0 : -ENOSYS;
}

int cuda_uuid_parse(const char *text, size_t len, struct cuda_uuid *uuid)
{
	struct cuda_uuid u = { 0 };
	size_t digits = 0;
	bool has_dashes;

	if (len >= 4 && memcmp(text, "GPU-", 4) == 0) {
		text += 4;
		len -= 4;
	}
	has_dashes = len == 36;
	if (!has_dashes && len != 32)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int value;

		if (has_dashes && (i == 8 || i == 13 || i == 18 || i == 23)) {
			if (text[i] != '-')
				return -EINVAL;
			continue;
		}
		value = text_hex_digit(text[i]);
		if (value < 0)
			return -EINVAL;
		u.bytes[digits / 2] |= (unsigned char)(digits % 2 ? value : value << 4);
		digits++;
	}
	*uuid = u;
	return 0;
}

const char *cuda_uuid_format(const struct cuda_uuid *uuid, char text[CUDA_UUID_STRLEN])
{
	char *out = text + sprintf(text, "GPU-");

	for (size_t i = 0; i < sizeof(uuid->bytes); i++)
		out += sprintf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
			       uuid->bytes[i]);
	return text;
}

static bool is_named_twice(const struct cuda_gpu_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (memcmp(&pairs[i].old_uuid, &pairs[k].old_uuid,
				   sizeof(struct cuda_uuid)) == 0 ||
			    memcmp(&pairs[i].new_uuid, &pairs[k].new_uuid,
				   sizeof(struct cuda_uuid)) == 0)
				return true;
	return false;
}

int cuda_gpu_map_parse(const char *text, struct cuda_gpu_pair **pairs, size_t *n)
{
	_cleanup_free_ struct cuda_gpu_pair *list = NULL;
	size_t len = 0, room = 0;

	for (;;) {
		size_t end = strcspn(text, ","), equal = strcspn(text, "=");
		struct cuda_gpu_pair pair;

		if (equal >= end || cuda_uuid_parse(text, equal, &pair.old_uuid) < 0 ||
		    cuda_uuid_parse(text + equal + 1, end - equal - 1, &pair.new_uuid) < 0)
			return -EINVAL;
		list = xgrow(list, len, &room, sizeof(*list));
		list[len++] = pair;
		if (!text[end])
			break;
		text += end + 1;
	}
	if (is_named_twice(list, len))
		return -EEXIST;
	*pairs = TAKE_PTR(list);
	*n = len;
	return 0;
}
