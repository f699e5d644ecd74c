/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_TRUST_H
#define BASE_TRUST_H

/*
 * May root believe what is at path? Only when no one but root and ourselves can have
 * written it: the file, links followed, and the folder that it is in.
 * NULL, also for a file that is not there; else why not, with the way out (a constant).
 */
const char *trust_problem(const char *path);

#endif
