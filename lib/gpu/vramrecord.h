/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory of which GPU a suspended process (or unit) had, and so needs again:
 * the driver does not say it of a process that has none any more. A file with one
 * record "uuid<TAB>bytes" per GPU and a last line "#end N".
 */
#ifndef GPU_VRAMRECORD_H
#define GPU_VRAMRECORD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gpu/cuda.h"

struct vramrecord {
	struct {
		struct cuda_uuid uuid;
		uint64_t bytes;
	} *gpus;		/* owned; each GPU once */
	size_t n;
};

/* Add to what one GPU has to have. */
void vramrecord_add(struct vramrecord *r, const struct cuda_uuid *uuid, uint64_t bytes);
void vramrecord_add_all(struct vramrecord *r, const struct vramrecord *other);
void vramrecord_done(struct vramrecord *r);

/* 0 or -errno. Replaced as a whole, mode 0600. */
int vramrecord_write(const char *path, const struct vramrecord *r);

/* 0, -ENOENT, -EBADMSG for a file that is not whole, or another -errno. */
int vramrecord_read(const char *path, struct vramrecord *r);

/*
 * The file of one process of this boot, below /run/pve-gpu-utils/cuda; allocated.
 * start: as in struct cudaproc, so that another process of that id has none.
 */
char *vramrecord_path(pid_t pid, uint64_t start);

#endif
