/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scope-bound release: the declaration names the release, no goto needed. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The handlers keep errno, so that "return -errno" after a scope is right. */
static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	int err = errno;

	if (*fd >= 0)
		close(*fd);
	errno = err;
}

static inline void fclosep(FILE **f)
{
	int err = errno;

	if (*f)
		fclose(*f);
	errno = err;
}

static inline void closedirp(DIR **d)
{
	int err = errno;

	if (*d)
		closedir(*d);
	errno = err;
}

#define _cleanup_(fn)		__attribute__((cleanup(fn)))
#define _cleanup_free_		_cleanup_(freep)
#define _cleanup_close_		_cleanup_(closep)
#define _cleanup_fclose_	_cleanup_(fclosep)
#define _cleanup_closedir_	_cleanup_(closedirp)

/* Move a pointer out of a scope that would free it. */
#define TAKE_PTR(p) \
	({ __typeof__(p) taken_ = (p); (p) = NULL; taken_; })

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

#endif
