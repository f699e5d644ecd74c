/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FAKECUDA_FAKE_H
#define FAKECUDA_FAKE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A libcuda.so.1 without a GPU. As with the real one the state of a process is in
 * that process: a thread of the target (device.c) serves what a caller (caller.c)
 * asks by way of /proc/PID/mem, so that a frozen target makes every call hang, a
 * killed caller leaves its operation going on, and CRIU carries the state along.
 *
 * Both read a folder, $FAKE_CUDA_DIR or else /run/fake-cuda (knobs.c):
 *   version   what cuDriverGetVersion says: 13000 unless the file says otherwise
 *   gpus      number of GPUs: 1
 *   copy-ms   a copy in either direction takes this long: 0
 *   init-ms   so does cuInit: 0
 *   persistence  1: restore works without cuInit
 *   vram-free bytes free on the GPU; kept up to date by checkpoint and restore
 *   hold-copies  as long as it is there, no copy in either direction comes to its end
 *   hold-kernels  nor does a kernel, if 1 is in it: "MS PID kernel PID begin" in the log
 *   spoil     1: a restore brings back one byte wrong
 *   vram-used what nvml/libnvidia-ml.so.1 says each process uses, instead of the truth
 *   faults    lines "OP PID WHAT [once]": OP init, state, tid, lock, checkpoint,
 *             restore or unlock; PID a number or *; once: not a second time. WHAT:
 *               CODE      the error that is answered
 *               hang      no answer, as long as the folder is there
 *               crash     SIGSEGV in the caller
 *               kill      SIGKILL to the target
 *               sleep-MS  the operation takes place later
 *               held      it takes place when the file hold is gone
 *               late-CODE, late-hang  it takes place, and then this is what comes back
 *   log       grows: "MS CALLER OP PID begin" and "MS CALLER OP PID end RESULT"
 */

enum {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	NO_DEVICE = 100,
	INVALID_CONTEXT = 201,
	OPERATING_SYSTEM = 304,
	ILLEGAL_STATE = 401,
	NOT_FOUND = 500,
	NOT_READY = 600,
	NOT_SUPPORTED = 801,
};

enum { RUNNING, LOCKED, CHECKPOINTED, FAILED };
enum fake_op { OP_STATE, OP_TID, OP_LOCK, OP_CHECKPOINT, OP_RESTORE, OP_UNLOCK };
enum { SLOT_FREE, SLOT_TAKEN, SLOT_ASKED, SLOT_BUSY, SLOT_DONE };

#define FAKE_MAGIC "fake-cuda-state"
#define FAKE_SLOTS 16

/* A request; the caller writes it, state last. */
struct fake_slot {
	uint32_t state;
	uint32_t op;
	uint32_t timeout; /* ms, of a lock; 0 none */
	uint32_t copy; /* ms that the copy takes */
	uint32_t gpu; /* restore: index of the GPU to go to, ~0 the one that it had */
	uint32_t no_vram; /* restore: the GPU has too little left */
	uint32_t spoil; /* restore: a byte comes back wrong */
	uint32_t result;
	uint32_t value; /* of state and tid: the answer */
};

/* The target's; the same offset in every process that maps the same build. */
struct fake_control {
	char magic[16];
	uint32_t state;
	uint32_t gpu; /* index of the one in use */
	uint32_t stuck; /* a restore failed: nothing helps any more */
	uint32_t tid; /* of the serving thread, in the target's namespace */
	uint64_t bytes; /* of device memory, in use or saved */
	struct fake_slot slots[FAKE_SLOTS];
};

extern struct fake_control fake_control;

/*
 * A target's memory opened for reading and writing, where its control block is in
 * it, and what that holds. A descriptor, or -RESULT.
 */
int fake_open_target(int pid, off_t *at, struct fake_control *control);

long knob_number(const char *name, long otherwise);
/* Add to the bytes that are free. Returns false, and takes nothing, where too few are. */
bool knob_take_vram(int64_t bytes);
void knob_log(const char *op, int pid, const char *what, int result);
/*
 * What the file "faults" says of this call; sleeps, hangs and kills itself.
 * late: the fault to come after the operation; its result, 0 none, -1 hang.
 * Returns the error to answer now, or 0.
 */
int knob_fault(const char *op, int pid, int *late);
/* As long as the file is there. */
void knob_wait(const char *name);
void fake_sleep(long ms);
void fake_hang(void);
void fake_uuid(uint32_t gpu, char uuid[16]);

#endif
