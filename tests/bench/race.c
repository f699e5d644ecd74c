/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * race RUNS COMMAND... -- COMMAND... - run two commands in turn and print one
 * line: the median over the turns of the first's time through the second's (a
 * load that comes and goes slows both of a turn), the greatest resident set of
 * each in KiB. Their output goes to a pipe that is read and thrown away.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS_MAX = 1000 };

struct side {
	char **argv;
	long rss;		/* KiB */
};

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	exit(71);
}

static void drain(int fd)
{
	static char buf[1 << 16];
	ssize_t n;

	do
		n = read(fd, buf, sizeof(buf));
	while (n > 0);
}

/* Returns the time in us. */
static double run(struct side *side)
{
	struct timespec start, end;
	struct rusage usage;
	int fds[2], status;
	pid_t pid;

	if (pipe(fds) < 0)
		die("pipe");
	clock_gettime(CLOCK_MONOTONIC, &start);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execvp(side->argv[0], side->argv);
		die(side->argv[0]);
	}
	close(fds[1]);
	drain(fds[0]);
	close(fds[0]);
	if (wait4(pid, &status, 0, &usage) < 0)
		die("wait4");
	clock_gettime(CLOCK_MONOTONIC, &end);
	/* 1 is an answer, as of gpu-conflicts and grep */
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
		fprintf(stderr, "race: %s failed (status 0x%x)\n", side->argv[0], (unsigned)status);
		exit(70);
	}
	if (usage.ru_maxrss > side->rss)
		side->rss = usage.ru_maxrss;
	return (double)(end.tv_sec - start.tv_sec) * 1e6
	       + (double)(end.tv_nsec - start.tv_nsec) / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char *argv[])
{
	static double ratios[RUNS_MAX];
	static struct side sides[2];
	int runs = argc > 1 ? atoi(argv[1]) : 0, split = 2;

	while (split < argc && strcmp(argv[split], "--") != 0)
		split++;
	if (runs < 1 || runs > RUNS_MAX || split == 2 || split + 1 >= argc) {
		fputs("Usage: race RUNS COMMAND... -- COMMAND...\n", stderr);
		return 64;
	}
	argv[split] = NULL;
	sides[0].argv = argv + 2;
	sides[1].argv = argv + split + 1;
	for (int i = 0; i < runs; i++) {
		double first = run(&sides[0]);

		ratios[i] = first / run(&sides[1]);
	}
	qsort(ratios, (size_t)runs, sizeof(*ratios), compare);
	printf("%.6f %ld %ld\n", ratios[runs / 2], sides[0].rss, sides[1].rss);
	return 0;
}
