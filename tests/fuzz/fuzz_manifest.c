/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-setup's memory of what it did. */
#include "fuzz.h"
#include "host/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_string(data, size), *once, *twice;
	struct manifest m;

	if (manifest_parse(text, &m) == 0) {
		once = manifest_format(&m);
		manifest_done(&m);
		FUZZ_MUST(manifest_parse(once, &m) == 0);
		twice = manifest_format(&m);
		FUZZ_MUST(strcmp(once, twice) == 0);
		free(once);
		free(twice);
	}
	manifest_done(&m);
	free(text);
	return 0;
}
