/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_MSG_H
#define BASE_MSG_H

#include <stdbool.h>
#include <stdio.h>

/*
 * What goes to stderr: -1 errors only (-q), 0 also warnings, 1 and up also say_info()
 * (-v).
 */
extern int msg_level;

/*
 * Print "PROG: message" to stderr. say() is for errors and always prints,
 * say_errno() appends ": strerror(errno)", say_warn() is silenced by -q,
 * say_info() needs -v. When stderr is the journal each line carries its
 * sd-daemon(3) priority. Control bytes in the text are printed as \xHH.
 */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Say "Try 'PROG --help'." to stderr and return EX_USAGE. */
int msg_usage_error(void);

/* Print "PROG (pve-gpu-utils) VERSION" to stdout. */
void msg_version(void);

/* Flush and close stdout: false, and said, when the output did not reach its reader. */
bool close_stdout(void);

#endif
