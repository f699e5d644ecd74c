/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resource mappings. */
#include "fuzz.h"
#include "pve/mapping.h"

static void bad(unsigned long line, const char *why, void *arg)
{
	(void)arg;
	FUZZ_MUST(line > 0 && *why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pcidev dev = { .vendor = 0x10de, .device = 0x2204, .subvendor = 0x1458,
				    .subdevice = 0x4043, .iommu_group = 14 };
	char *text = fuzz_string(data, size);
	struct mappings m;

	mappings_parse(&m, text, size, bad, NULL);
	for (size_t i = 0; i < m.n; i++) {
		const struct mapping *at = mappings_find(&m, m.list[i].id);

		/* Of one ID the last counts. */
		FUZZ_MUST(at >= &m.list[i] && strcmp(at->id, m.list[i].id) == 0);
		for (size_t j = 0; j < m.list[i].n; j++) {
			const struct mapping_map *map = &m.list[i].maps[j];

			FUZZ_MUST(map->node && map->path && map->id);
			mapping_mismatch(&m.list[i], map, &dev, true, true);
			mapping_mismatch(&m.list[i], map, &dev, false, false);
		}
	}
	mappings_done(&m);
	FUZZ_MUST(m.n == 0 && !m.list);
	free(text);
	return 0;
}
