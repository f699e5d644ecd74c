/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz targets share. A target is one file, fuzz_NAME.c, with
 * LLVMFuzzerTestOneInput(); a claim that does not hold ends it with a trap, which
 * libFuzzer reports with the input. Nothing here is linked into a program.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Must hold, whatever the input. */
#define FUZZ_MUST(claim) \
	do { \
		if (!(claim)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #claim); \
			abort(); \
		} \
	} while (0)

/* Fuzzed text as a string of its own, so that reading past its end is seen. */
static inline char *fuzz_string(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);

	FUZZ_MUST(s);
	if (size)
		memcpy(s, data, size);
	s[size] = '\0';
	return s;
}

/* Cut the input's next part, up to "%%" LF: a string of its own; "" after the last. */
static inline char *fuzz_part(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size ? memmem(*data, *size, "%%\n", 3) : NULL;
	size_t len = end ? (size_t)(end - *data) : *size;
	char *part = fuzz_string(*data, len);

	len += end ? 3 : 0;
	*data += len;
	*size -= len;
	return part;
}

static char fuzz_root_dir[256];

static inline int fuzz_rm(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void fuzz_root_rm(void)
{
	nftw(fuzz_root_dir, fuzz_rm, 16, FTW_DEPTH | FTW_PHYS);
}

/* A folder in memory that stands for "/", made by the first call. */
static inline void fuzz_root(void)
{
	const char *tmp = getenv("TMPDIR");

	if (*fuzz_root_dir)
		return;
	snprintf(fuzz_root_dir, sizeof(fuzz_root_dir), "%s/root.XXXXXX", tmp ? tmp : "/dev/shm");
	FUZZ_MUST(mkdtemp(fuzz_root_dir));
	atexit(fuzz_root_rm);
	root_set(fuzz_root_dir);
}

/* Complete path below the root, its folders made. */
static inline char *fuzz_path(const char *path)
{
	char *full;

	fuzz_root();
	full = root_path("%s", path);
	for (char *slash = strchr(full + strlen(fuzz_root_dir) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		FUZZ_MUST(mkdir(full, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	return full;
}

/* One file that gets new content for each input: *fd starts as -1 and stays open. */
static inline void fuzz_file(int *fd, const char *path, const void *data, size_t size)
{
	if (*fd < 0) {
		char *full = fuzz_path(path);

		*fd = open(full, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		FUZZ_MUST(*fd >= 0);
		free(full);
	}
	FUZZ_MUST(ftruncate(*fd, 0) == 0);
	FUZZ_MUST(pwrite(*fd, data, size, 0) == (ssize_t)size);
}

static inline void fuzz_link(const char *path, const char *target)
{
	char *full = fuzz_path(path);

	FUZZ_MUST(symlink(target, full) == 0 || errno == EEXIST);
	free(full);
}

/* Equal, or both NULL? */
static inline bool fuzz_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

#endif
