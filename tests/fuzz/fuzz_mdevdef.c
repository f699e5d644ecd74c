/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions of vGPUs, mdevctl's JSON. */
#include "fuzz.h"
#include "pci/mdevdef.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mdevdef a = { 0 }, b = { 0 };
	char *text = fuzz_string(data, size), *written;
	const char *why = NULL;

	a.backend = b.backend = size & 1 ? VGPU_SRIOV : VGPU_MDEV;
	if (mdevdef_parse(text, size, &a, &why) < 0) {
		FUZZ_MUST(why && *why);
		free(text);
		return 0;
	}
	FUZZ_MUST(!why && a.type && *a.type);
	written = mdevdef_text(&a);
	FUZZ_MUST(mdevdef_parse(written, strlen(written), &b, &why) == 0);
	FUZZ_MUST(strcmp(a.type, b.type) == 0 && a.is_auto == b.is_auto);
	FUZZ_MUST(a.backend == VGPU_MDEV || a.count == b.count);
	FUZZ_MUST(a.n_attrs == b.n_attrs);
	for (size_t i = 0; i < a.n_attrs; i++)
		FUZZ_MUST(fuzz_same(a.attrs[i].name, b.attrs[i].name) &&
			  fuzz_same(a.attrs[i].value, b.attrs[i].value));
	free(written);
	free(text);
	mdevdef_done(&a);
	mdevdef_done(&b);
	return 0;
}
