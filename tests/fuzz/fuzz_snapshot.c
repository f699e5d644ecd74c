/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pci-rescan's memory of functions that it took off the bus. */
#include "fuzz.h"
#include "pci/snapshot.h"

static int fd = -1;

static char *content(const char *path)
{
	char *text = xcalloc(1, 1 << 20);
	FILE *in = xcheck(fopen(path, "r"));

	FUZZ_MUST(fread(text, 1, (1 << 20) - 1, in) < (1 << 20) - 1);
	fclose(in);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snapshot *list, *again;
	size_t n, m, bad;
	char *once, *twice, *path;

	fuzz_file(&fd, SNAPSHOT_FOLDER "/0000:01:00.0", data, size);
	FUZZ_MUST(snapshot_load_all(&list, &n, &bad) == 0);
	FUZZ_MUST(n + bad == 1);
	if (n == 1) {
		for (size_t i = 0; i < list->n; i++)
			FUZZ_MUST(!list->fns[i].driver || !strchr(list->fns[i].driver, '/'));
		path = list->path;
		FUZZ_MUST(snapshot_save(list) == 0);
		/* It was replaced. */
		close(fd);
		fd = -1;
		once = content(path);
		FUZZ_MUST(snapshot_load_all(&again, &m, &bad) == 0 && m == 1);
		FUZZ_MUST(snapshot_save(again) == 0);
		twice = content(path);
		FUZZ_MUST(strcmp(once, twice) == 0);
		free(once);
		free(twice);
		snapshot_free_all(again, m);
	}
	snapshot_free_all(list, n);
	return 0;
}
