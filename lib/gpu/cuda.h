/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CUDA driver's checkpoint calls, as libcuda.so.1 exports them. The ABI is
 * declared here because Debian main has no cuda.h.
 * Source: CUDA Driver API, "CUDA Checkpointing", 12.8 to 13.4.
 */
#ifndef GPU_CUDA_H
#define GPU_CUDA_H

#include <stddef.h>
#include <stdint.h>

/* CUresult, a 32-bit enum: those that these calls are known to return. */
enum cuda_result {
	CUDA_OK = 0,
	CUDA_INVALID_VALUE = 1,		/* also: the process has no CUDA; a bad GPU map */
	CUDA_OUT_OF_MEMORY = 2,
	CUDA_NOT_INITIALIZED = 3,	/* no cuInit; also: the process has no context */
	CUDA_STUB_LIBRARY = 34,
	CUDA_NO_DEVICE = 100,
	CUDA_INVALID_CONTEXT = 201,
	CUDA_OPERATING_SYSTEM = 304,
	CUDA_ILLEGAL_STATE = 401,
	CUDA_NOT_READY = 600,		/* lock: time is up, the process still runs */
	CUDA_NOT_PERMITTED = 800,
	CUDA_NOT_SUPPORTED = 801,
	CUDA_DRIVER_MISMATCH = 803,
	CUDA_UNKNOWN = 999,
};

/* CUprocessState; newer drivers may have more. */
enum cuda_state {
	CUDA_RUNNING = 0,
	CUDA_LOCKED = 1,
	CUDA_CHECKPOINTED = 2,
	CUDA_FAILED = 3,		/* for good */
	CUDA_CHECKPOINTING = 4,		/* 13.4 */
	CUDA_RESTORING = 5,		/* 13.4 */
};

enum {
	CUDA_VERSION_CHECKPOINT = 12080,	/* r570 */
	CUDA_VERSION_GPU_MAP = 13000,		/* r580 */
	CUDA_UUID_STRLEN = 41,			/* "GPU-" + 36 + NUL */
};

struct cuda_uuid {			/* CUuuid: bytes in the order they are printed in */
	unsigned char bytes[16];
};

struct cuda_gpu_pair {			/* CUcheckpointGpuPair */
	struct cuda_uuid old_uuid;
	struct cuda_uuid new_uuid;
};

/*
 * Every argument block is 64 bytes in every version. What a version does not
 * know is "reserved" there and must be zero.
 */
struct cuda_lock_args {			/* CUcheckpointLockArgs */
	uint32_t timeout_ms;		/* 0 = none */
	uint32_t reserved0;
	uint64_t reserved1[7];
};

struct cuda_checkpoint_args {		/* CUcheckpointCheckpointArgs */
	uint64_t reserved[8];
};

struct cuda_restore_args {		/* CUcheckpointRestoreArgs */
	struct cuda_gpu_pair *gpu_pairs;	/* reserved before 13.0 */
	uint32_t gpu_pairs_count;
	char reserved[52];
};

struct cuda_unlock_args {		/* CUcheckpointUnlockArgs */
	uint64_t reserved[8];
};

_Static_assert(sizeof(struct cuda_gpu_pair) == 32, "CUcheckpointGpuPair");
_Static_assert(sizeof(struct cuda_lock_args) == 64, "CUcheckpointLockArgs");
_Static_assert(sizeof(struct cuda_checkpoint_args) == 64, "CUcheckpointCheckpointArgs");
_Static_assert(sizeof(struct cuda_restore_args) == 64, "CUcheckpointRestoreArgs");
_Static_assert(offsetof(struct cuda_restore_args, gpu_pairs_count) == 8, "gpuPairsCount");
_Static_assert(sizeof(struct cuda_unlock_args) == 64, "CUcheckpointUnlockArgs");

/* The library's functions. Those after get_version may be NULL in an old library. */
struct cuda {
	int version;			/* cuDriverGetVersion: 12080 is 12.8 */
	int (*init)(unsigned flags);
	int (*get_version)(int *version);
	int (*get_state)(int pid, int *state);
	int (*get_restore_tid)(int pid, int *tid);
	int (*lock)(int pid, struct cuda_lock_args *args);
	int (*checkpoint)(int pid, struct cuda_checkpoint_args *args);
	int (*restore)(int pid, struct cuda_restore_args *args);
	int (*unlock)(int pid, struct cuda_unlock_args *args);
	int (*device_count)(int *n);			/* these three need init */
	int (*device_get)(int *device, int ordinal);
	int (*device_uuid)(struct cuda_uuid *uuid, int device);
};

/*
 * Load libcuda.so.1. In the process that makes the calls only: what the library
 * sets up does not survive a fork(2), and a call may hang or crash. It stays
 * loaded; a thread's calls are its own.
 *
 * Returns 0; -ENOENT when there is no such library; -ELIBBAD when it is not the
 * driver's (a function is missing that all have); -EPROTO when it does not say
 * its version; -ENOSYS when it is older than 12.8 or lacks a checkpoint call:
 * version is then set.
 */
int cuda_open(struct cuda *cuda);

/* "running", "locked", "checkpointed", "failed", ...; NULL for a number that is not known. */
const char *cuda_state_word(int state);

/* "CUDA_ERROR_ILLEGAL_STATE"; NULL for a number that is not known. */
const char *cuda_result_name(int result);

/* What a result means for these calls, in a few words; never NULL. */
const char *cuda_result_text(int result);

/*
 * A GPU's UUID as nvidia-smi prints it ("GPU-" and 36 characters); "GPU-" and
 * the dashes may be left out, digits be of either case. 0 or -EINVAL.
 */
int cuda_uuid_parse(const char *text, size_t len, struct cuda_uuid *uuid);
const char *cuda_uuid_format(const struct cuda_uuid *uuid, char text[CUDA_UUID_STRLEN]);

/*
 * "OLD=NEW,...": pairs of UUIDs. pairs: allocated.
 * 0, -EINVAL for what is no such list, -EEXIST when one is named twice on a side.
 */
int cuda_gpu_map_parse(const char *text, struct cuda_gpu_pair **pairs, size_t *n);

#endif
