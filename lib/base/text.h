/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of others, such as names and file contents, for people to read. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Length of the well-formed UTF-8 sequence at s (RFC 3629, table 3-7); 0 for none. */
size_t text_utf8_length(const unsigned char *s);

/*
 * Length of the character at s when a terminal shows it and obeys nothing: not bytes
 * < 0x20, 0x7f, U+0080 to U+009F, or what is no UTF-8. 0 for these.
 */
size_t text_plain_length(const unsigned char *s);

/*
 * Write text with all that is not plain as \xHH.
 */
void text_put_shown(FILE *out, const char *text);

/* The same of what is formatted, as a line of its own: with LF at its end. */
void text_put_line(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Write text as a JSON string; bytes that are no UTF-8 become U+FFFD. */
void text_put_json(FILE *out, const char *text);

/* The first len bytes of text as one word of a shell, in single quotes; allocated. */
char *text_shell_word(const char *text, size_t len);

/* Value of a hexadecimal digit of either case, in any locale; -1 for anything else. */
int text_hex_digit(char c);

#endif
