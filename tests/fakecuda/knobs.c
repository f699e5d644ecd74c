/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

static const char *knob_path(char *path, size_t size, const char *name)
{
	const char *dir = getenv("FAKE_CUDA_DIR");

	snprintf(path, size, "%s/%s", dir && *dir ? dir : "/run/fake-cuda", name);
	return path;
}

static FILE *knob_open(const char *name)
{
	char path[512];

	return fopen(knob_path(path, sizeof(path), name), "re");
}

long knob_number(const char *name, long otherwise)
{
	FILE *file = knob_open(name);
	long number = otherwise;

	if (!file)
		return otherwise;
	flock(fileno(file), LOCK_SH); /* knob_take_vram() empties it for a moment */
	if (fscanf(file, "%ld", &number) != 1)
		number = otherwise;
	fclose(file);
	return number;
}

bool knob_take_vram(int64_t bytes)
{
	char path[512], text[32] = "";
	int fd = open(knob_path(path, sizeof(path), "vram-free"), O_RDWR | O_CLOEXEC);
	long long left;
	bool enough = true;

	if (fd < 0)
		return true;
	flock(fd, LOCK_EX);
	if (pread(fd, text, sizeof(text) - 1, 0) > 0) {
		left = atoll(text) - bytes;
		enough = left >= 0;
		snprintf(text, sizeof(text), "%lld\n", left);
		if (enough &&
		    (ftruncate(fd, 0) != 0 || pwrite(fd, text, strlen(text), 0) < 0))
			enough = false;
	}
	close(fd);
	return enough;
}

void knob_log(const char *op, int pid, const char *what, int result)
{
	char path[512], line[160];
	struct timespec now;
	int fd = open(knob_path(path, sizeof(path), "log"),
		      O_WRONLY | O_APPEND | O_CLOEXEC);
	int len;

	if (fd < 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	len = snprintf(line, sizeof(line), "%lld %d %s %d %s",
		       (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000,
		       (int)getpid(), op, pid, what);
	len += snprintf(line + len, sizeof(line) - len, result < 0 ? "\n" : " %d\n",
			result);
	if (write(fd, line, len) != len)
		abort();
	close(fd);
}

void fake_sleep(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

void fake_hang(void)
{
	char path[512];

	/* Not beyond the test that wants it. */
	while (access(knob_path(path, sizeof(path), ""), F_OK) == 0)
		fake_sleep(200);
	_exit(1);
}

void knob_wait(const char *name)
{
	char path[512];

	knob_path(path, sizeof(path), name);
	while (access(path, F_OK) == 0)
		fake_sleep(5);
}

/* The first who makes the file is the one. */
static bool fault_is_left(const char *line)
{
	char name[64], path[512];
	unsigned hash = 5381;
	int fd;

	for (; *line && *line != '\n'; line++)
		hash = hash * 33 + (unsigned char)*line;
	snprintf(name, sizeof(name), "used.%08x", hash);
	fd = open(knob_path(path, sizeof(path), name),
		  O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int knob_fault(const char *op, int pid, int *late)
{
	FILE *file = knob_open("faults");
	char line[128], of[16], who[16], what[32], once[8];
	int rc = 0;

	*late = 0;
	if (!file)
		return 0;
	while (!rc && fgets(line, sizeof(line), file)) {
		int words = sscanf(line, "%15s %15s %31s %7s", of, who, what, once);

		if (words < 3 || strcmp(of, op) != 0 ||
		    (strcmp(who, "*") != 0 && atoi(who) != pid))
			continue;
		if (words == 4 && !fault_is_left(line))
			continue;
		if (strcmp(what, "hang") == 0)
			fake_hang();
		else if (strcmp(what, "crash") == 0)
			raise(SIGSEGV);
		else if (strcmp(what, "kill") == 0)
			kill(pid, SIGKILL);
		else if (strncmp(what, "sleep-", 6) == 0)
			fake_sleep(atol(what + 6));
		else if (strcmp(what, "held") == 0)
			knob_wait("hold");
		else if (strcmp(what, "late-hang") == 0)
			*late = -1;
		else if (strncmp(what, "late-", 5) == 0)
			*late = atoi(what + 5);
		else
			rc = atoi(what);
	}
	fclose(file);
	return rc;
}

/* GPU-00000000-1111-2222-3333-4444444444NN */
void fake_uuid(uint32_t gpu, char uuid[16])
{
	static const unsigned char bytes[15] = { 0,    0,    0,	   0,	 0x11,
						 0x11, 0x22, 0x22, 0x33, 0x33,
						 0x44, 0x44, 0x44, 0x44, 0x44 };

	memcpy(uuid, bytes, sizeof(bytes));
	uuid[15] = (char)gpu;
}
