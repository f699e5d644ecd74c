/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small INI file, read through libinih without its surprises. */
#ifndef BASE_INIFILE_H
#define BASE_INIFILE_H

#include <stddef.h>

/* Take one "key = value": NULL, or what is wrong with it (allocated). */
typedef char *inifile_handler(void *arg, const char *section, const char *key,
			      const char *value);

/*
 * Read an INI file up to the first mistake. Lines are 198 bytes at most, may be
 * indented, and begin a comment with '#' or ';'; " ;" begins one inside a line.
 * A NUL byte, a line that is too long, an unknown section and a line that is
 * none of these are mistakes.
 *
 * A file that is not there is an empty one; a dangling link is a mistake, and so is a
 * file that others may write to (trust_problem()).
 * Returns 0, or -EINVAL or another -errno with *error = "PATH[:LINE]: what is
 * wrong" (allocated).
 */
int inifile_read(const char *path, const char *const sections[], size_t n_sections,
		 inifile_handler *handler, void *arg, char **error);

#endif
