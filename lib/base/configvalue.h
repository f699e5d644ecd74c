/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds of values in the configuration. All return false for a text that is none. */
#ifndef BASE_CONFIGVALUE_H
#define BASE_CONFIGVALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Next word of a list (blanks or commas between) as a fresh string; NULL at its end. */
char *configvalue_next_word(const char **list);

/* Decimal digits alone, at most nine. */
bool configvalue_number(const char *text, unsigned min, unsigned max, unsigned *value);
/* *value is the index in names. */
bool configvalue_choice(const char *text, const char *const names[], size_t n,
			int *value);
bool configvalue_bool(const char *text, bool *value);

/*
 * Add the VMIDs of a list ("100, qemu/101") to a sorted array; nothing is added when
 * one is bad.
 */
bool configvalue_add_vmids(const char *list, uint32_t **vmids, size_t *n);

/* systemd.unit(5): the bytes that make a unit's name; and does it name its type? */
bool configvalue_is_unit(const char *name);
bool configvalue_has_unit_suffix(const char *name);

/* [DOMAIN:]BB:DD[.F] by its looks; who uses the address parses it. */
bool configvalue_is_addr(const char *text);

#endif
