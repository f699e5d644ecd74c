/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole files: what is to be written, and what is there. */
#ifndef HOST_HOSTFILE_H
#define HOST_HOSTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* First words of the first line of every file of our own. */
#define HOSTFILE_MARK "# written by vfio-setup"

struct hostfile {
	char *path;		/* owned; absolute, below the root */
	char *data;		/* owned; NUL-terminated; NULL for "no such file" */
	size_t len;
	mode_t mode;		/* permission bits; 0 for no such file */
};

struct hostfiles {
	struct hostfile *f;	/* owned */
	size_t n, room;
};

/* Add a copy of text as the content of path, which must not be in the list yet. */
void hostfiles_add(struct hostfiles *l, const char *path, const char *text, mode_t mode);
struct hostfile *hostfiles_find(const struct hostfiles *l, const char *path);
void hostfiles_done(struct hostfiles *l);
void hostfile_done(struct hostfile *f);

/*
 * Read what is at path (below the root) now; f is filled in, data NULL when
 * there is nothing.
 * Returns 0, -ELOOP for a symbolic link, -EINVAL for what is no regular file
 * or holds a NUL byte, -EFBIG above 1 MiB, or another -errno.
 */
int hostfile_read(const char *path, struct hostfile *f);

/*
 * Put f at its path (below the root) as a whole, or remove it when it has no
 * data; the folder is synced. 0 (also when it was gone already) or -errno.
 */
int hostfile_put(const struct hostfile *f);

/* A copy of f, owned by the caller. */
struct hostfile hostfile_copy(const struct hostfile *f);

/* Same existence, bytes and mode? The path is not compared. */
bool hostfile_equal(const struct hostfile *a, const struct hostfile *b);

/* Does it begin with HOSTFILE_MARK, perhaps after a "#!" line? */
bool hostfile_is_marked(const struct hostfile *f);

#endif
