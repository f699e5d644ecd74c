/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel command line as text: words are separated by white space, except
 * inside double quotes; what follows a "--" is for init.
 * Source: Documentation/admin-guide/kernel-parameters.rst.
 */
#ifndef HOST_CMDLINE_H
#define HOST_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "host/strlist.h"

/*
 * May word be put on a command line, through GRUB's shell as well as as it is?
 * NULL, or why not (a constant). Refused are blanks, control characters, bytes
 * that are not ASCII, quotes, '$', '`', '\' and what else GRUB or a shell
 * gives a meaning, a '#' or "--" at the beginning, and root, initrd and
 * BOOT_IMAGE, with a value or without, which are not ours to set.
 */
const char *cmdline_word_error(const char *word);

/* The words up to "--", added to *words; text may be NULL. */
void cmdline_split(const char *text, struct strlist *words);

/* Is word one of them, as a whole? */
bool cmdline_has(const char *text, const char *word);

/*
 * Value of the last "key=VALUE" before "--", allocated ("" for "key"); NULL without one.
 */
char *cmdline_value(const char *text, const char *key);

/*
 * Add to the one line of a file such as /etc/kernel/cmdline the words that it
 * has not; every other byte stays, white space at the end included.
 *
 * added: the words that were put in are added to it; may be NULL.
 * Returns the new text, allocated, or NULL with errno: EBADMSG for more than
 * one line that is not empty or for a quote without an end.
 */
char *cmdline_add(const char *text, const struct strlist *words, struct strlist *added);

/*
 * Take each of words out once (its last place), with the white space before
 * it; one that is not there is passed over. NULL and errno as cmdline_add().
 */
char *cmdline_remove(const char *text, const struct strlist *words);

/* Had before a "root=" that after lacks? Such a line must never be written. */
bool cmdline_loses_root(const char *before, const char *after);

/*
 * The running kernel's command line as one that could be configured: without
 * BOOT_IMAGE= and initrd=, which the boot loader puts in, one line with LF. Allocated.
 */
char *cmdline_from_running(const char *proc_cmdline);

#endif
