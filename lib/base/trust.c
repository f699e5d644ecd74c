/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/trust.h"

static bool is_ours(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

const char *trust_problem(const char *path)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	struct stat st;
	char *slash;

	if (!real || stat(real, &st) < 0)
		return NULL;
	if (!is_ours(&st))
		return "is not root's: not trusted (chown root)";
	/* A device such as /dev/null, for an empty file, is for all to write. */
	if ((st.st_mode & 022) && S_ISREG(st.st_mode))
		return "others may write to it: not trusted (chmod go-w)";
	slash = strrchr(real, '/');
	slash[slash == real] = '\0';
	if (stat(real, &st) < 0)
		return NULL;
	if (!is_ours(&st))
		return "is in a folder that is not root's: not trusted (chown root)";
	/* In a folder such as /tmp nobody can replace the files of others. */
	if ((st.st_mode & 022) && !(st.st_mode & S_ISVTX))
		return "is in a folder that others may write to: not trusted (chmod go-w)";
	return NULL;
}
