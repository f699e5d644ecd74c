/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the ctnodes modules: a search under way. Nobody else includes it. */
#ifndef GPU_CTNODES_FIND_H
#define GPU_CTNODES_FIND_H

#include "gpu/ctnodes.h"
#include "gpu/gpunode.h"

struct ctnodes_find {
	struct gpunodes host;
	struct pciaddr *gpus;	/* owned; picked so far */
	size_t n_gpus, gpus_room;
	bool nvidia;		/* the standard nodes are needed */
	size_t room;		/* of out->nodes */
	struct ctnodes *out;
	char *why;		/* owned */
};

/* Is there anything at this path (without the root)? */
bool ctnode_is_there(const char *path);

/* Add a node, whose strings are taken over, once; name NULL: as path. */
void ctnodes_add(struct ctnodes_find *f, struct ctnode node);

/* /dev/nvidiaNAME, one of the driver's static ones. */
void ctnodes_add_nvidia(struct ctnodes_find *f, const char *name, unsigned minor);
/* What every user of NVIDIA's driver needs. */
void ctnodes_add_standard(struct ctnodes_find *f);
/*
 * The capability nodes of MIG instances of /dev/nvidiaMINOR.
 * instance: "gi3" or "gi3/ci0"; NULL: all that there are, perhaps none.
 * 0, -EINVAL or -ENOENT, with why.
 */
int ctnodes_add_mig(struct ctnodes_find *f, const char *minor, const char *instance);

#endif
