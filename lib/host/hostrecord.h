/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form of vfio-setup's own state files: records of TAB-separated fields,
 * as everywhere in the suite, the first field their kind; the last line is
 * "#end COUNT", so that a file that was cut is not believed.
 */
#ifndef HOST_HOSTRECORD_H
#define HOST_HOSTRECORD_H

#include <stddef.h>
#include <stdio.h>

#include "host/hostfile.h"

struct hostrecord_writer {
	FILE *out;
	char *text;		/* of out */
	size_t size, n;
};

void hostrecord_start(struct hostrecord_writer *w);

/* Put one record: its kind and n more fields, "" for none. */
void hostrecord_put_list(struct hostrecord_writer *w, const char *kind,
			 const char *const fields[], size_t n);

/* The same with the fields as they come: hostrecord_put(w, "file", path, mode, data). */
#define hostrecord_put(w, kind, ...) \
	hostrecord_put_list(w, kind, (const char *const[]){ __VA_ARGS__ }, \
			    sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* The text with its last line, allocated. */
char *hostrecord_end(struct hostrecord_writer *w);

/* Take one record: 0, or -EBADMSG for one that does not belong there. */
typedef int hostrecord_handler(void *arg, char *const fields[], size_t n);

/* Hand every record to take. 0, or -EBADMSG for a bad record or no end. */
int hostrecord_read(const char *text, hostrecord_handler *take, void *arg);

/* A file as two fields: mode ("644", "" for no file) and ":BYTES"; allocated. */
char *hostrecord_mode(const struct hostfile *f);
char *hostrecord_data(const struct hostfile *f);

/* The way back, into f->mode, data and len: false for what is none. */
bool hostrecord_take_file(const char *mode, const char *data, struct hostfile *f);

#endif
