/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bare - make the writes that stdin names, "VALUE PATH" a line, one after
 * the other with nothing between them, and print "MS VALUE PATH" of each: what
 * write(2) takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WRITES = 256, MAX_LINE = 512 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static char lines[MAX_WRITES][MAX_LINE];
static double ms[MAX_WRITES];
static int error[MAX_WRITES];

int main(void)
{
	int n = 0;

	while (n < MAX_WRITES && fgets(lines[n], MAX_LINE, stdin)) {
		lines[n][strcspn(lines[n], "\n")] = '\0';
		n++;
	}
	for (int i = 0; i < n; i++) {
		char *value = lines[i];
		char *path = strrchr(value, ' ');
		double begin;
		int fd;

		if (!path)
			return 64;
		fd = open(path + 1, O_WRONLY | O_CLOEXEC);
		begin = now();
		if (fd < 0 || write(fd, value, (size_t)(path - value)) < 0)
			error[i] = errno;
		ms[i] = now() - begin;
		if (fd >= 0)
			close(fd);
	}
	for (int i = 0; i < n; i++) {
		if (error[i])
			fprintf(stderr, "%s: %s\n", lines[i], strerror(error[i]));
		printf("%.3f %s\n", ms[i], lines[i]);
	}
	return 0;
}
