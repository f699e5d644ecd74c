/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process has mapped: the names of its files are its own choice. */
#include "fuzz.h"
#include "gpu/procmaps.h"

static int fd = -1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *library = NULL;
	int rc;

	fuzz_file(&fd, "/proc/4711/maps", data, size);
	rc = procmaps_library(4711, "libcuda.so", &library);
	FUZZ_MUST(rc == 0 || !library);
	FUZZ_MUST(!library || (strncmp(library, "libcuda.so", 10) == 0 && !strchr(library, '/') &&
			       !strchr(library, '\n')));
	free(library);
	return 0;
}
