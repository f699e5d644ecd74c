/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transaction's file: there while one is under way, or was when its process ended. */
#ifndef HOST_JOURNAL_H
#define HOST_JOURNAL_H

#include "host/transaction.h"

/* Write the journal, on disk when it returns. 0 or -errno. */
int journal_write(const struct transaction *t);

/* 0, -ENOENT without one, -EBADMSG for one that is not complete, or another -errno. */
int journal_read(struct transaction *t);

/* 0 (also when there was none) or -errno. */
int journal_remove(void);

/* Remove the temporary files that a killed run has left beside its files. */
void journal_clean_temporary(const struct transaction *t);

#endif
