/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vfio-setup prints while it changes files: steps on stdout, failures by say(). */
#ifndef HOST_SETUPREPORT_H
#define HOST_SETUPREPORT_H

#include "base/record.h"
#include "host/hostcheck.h"
#include "host/transaction.h"

extern const struct transaction_report setup_report;

/* Print the steps of a plan as they would be reported. */
void setupreport_plan(const struct transaction *t);

/* Say what went wrong with a path or a command: transaction_report.failed. */
void setupreport_failed(const char *subject, int err, bool back, void *arg);

/*
 * Print the lines of a check: as records of level, topic, what and how, or for
 * a person at a terminal, who asked for no form of records, with what and how one below
 * the other. EX_OK, or EX_USAGE for a wrong -o or -j, said.
 */
int setupreport_check(const struct hostcheck *hc, const struct record_opts *opts);

/* Exit code for -errno of what was asked or read. */
int setupreport_exit(int err);

/* The same for a step that failed: -errno, or the exit status (> 0) of a command. */
int setupreport_step_exit(int err);

#endif
