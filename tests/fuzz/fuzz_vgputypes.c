/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of vGPU types, their names and descriptions. */
#include "fuzz.h"
#include "pci/mdev.h"
#include "pci/vgpu-parts.h"

#define VF "0000:82:00.4"

static int list_fd = -1, current_fd = -1;

static void see(int id, const char *name, void *arg)
{
	size_t *n = arg;

	FUZZ_MUST(id > 0 && name && !strchr(name, '\n'));
	(*n)++;
}

/* List, current type, a name to look for; "%%" between. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *list = fuzz_part(&data, &size), *current = fuzz_part(&data, &size);
	char *wanted = fuzz_part(&data, &size);
	struct mdev_type *types = NULL;
	struct pciaddr addr;
	size_t n = 0, seen = 0;
	int framebuffer, max_instance;
	bool is_mig;

	FUZZ_MUST(pciaddr_parse(VF, &addr));
	fuzz_file(&list_fd, "/sys/bus/pci/devices/" VF "/nvidia/creatable_vgpu_types", list,
		  strlen(list));
	fuzz_file(&current_fd, "/sys/bus/pci/devices/" VF "/nvidia/current_vgpu_type", current,
		  strlen(current));
	vgpu_creatable(VF, see, &seen);
	if (mdev_types_read(&addr, 1, &types, &n) == 0) {
		for (size_t i = 0; i < n; i++) {
			struct vgpu_type type = { .id = types[i].type, .name = types[i].name };
			struct vgpus v = { .types = &type, .n_types = 1,
					   .parents = &(struct vgpu_parent){ .backend = VGPU_NVIDIA },
					   .n_parents = 1 };

			FUZZ_MUST(strncmp(types[i].type, "nvidia-", 7) == 0);
			FUZZ_MUST(types[i].framebuffer >= -1);
			FUZZ_MUST(vgpu_type_matches(&v, &type, type.id));
			FUZZ_MUST(!type.name || !*type.name ||
				  vgpu_type_matches(&v, &type, type.name));
			vgpu_type_matches(&v, &type, wanted);
			vgpu_series(types[i].name);
			vgpu_one_per_vm(types[i].name, types[i].max_instance);
		}
		mdev_types_free(types, n);
	}
	mdev_sizes(wanted, list, &framebuffer, &max_instance, &is_mig);
	FUZZ_MUST(framebuffer >= -1 && max_instance >= -1);
	free(list);
	free(current);
	free(wanted);
	return 0;
}
