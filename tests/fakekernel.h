/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel behind the attributes of a test root: see fakewrite.h. */
#ifndef FAKEKERNEL_H
#define FAKEKERNEL_H

#include "fakewrite.h"

#include <sys/mman.h>

struct fake {
	char log[8192];		/* "reset_method=flr reset=1 " */
	int writes;
	int hang_at;		/* the write that hangs, from 1; 0: none */
	char works[64];		/* methods that a probe finds, in the kernel's order */
	int reset_errno;	/* of a write to reset, reset_subordinate; or 0 */
};

static struct fake *fake;	/* shared with children */

static inline bool fake_works(const char *name)
{
	char text[80], want[64];

	snprintf(text, sizeof(text), " %s ", fake->works);
	snprintf(want, sizeof(want), " %s ", name);
	return strstr(text, want);
}

/* What reset_method_store() does (drivers/pci/pci.c). */
static inline int fake_method(int fd, const char *value)
{
	char words[128], list[128] = "", *save = NULL;

	snprintf(words, sizeof(words), "%s", value);
	if (strcmp(value, "default") == 0)
		snprintf(words, sizeof(words), "%s", fake->works);
	for (char *name = strtok_r(words, " ", &save); name;
	     name = strtok_r(NULL, " ", &save)) {
		if (!fake_works(name))
			return EINVAL;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			 *list ? " " : "", name);
	}
	strcat(list, "\n");
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(pwrite(fd, list, strlen(list), 0), (ssize_t)strlen(list));
	return 0;
}

static inline int fake_store(int fd, const char *path, const char *value)
{
	const char *name = strrchr(path, '/') + 1;
	size_t len = strlen(fake->log);

	snprintf(fake->log + len, sizeof(fake->log) - len, "%s=%s ", name, value);
	fake->writes++;
	if (fake->writes == fake->hang_at)
		for (;;)
			pause();
	if (strcmp(name, "reset_method") == 0)
		return fake_method(fd, value);
	if (strncmp(name, "reset", 5) == 0)
		return fake->reset_errno;
	return 0;
}

static inline void fake_setup(void)
{
	testroot_setup();
	fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(fake, MAP_FAILED);
	fakewrite = fake_store;
}

#endif
