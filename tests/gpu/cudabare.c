/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cudabare lock|checkpoint|restore|unlock|suspend|resume|state|wait PID... - the driver's
 * bare calls, process by process after one cuInit: what cuda-ckpt's time is measured
 * against. suspend is lock and checkpoint, resume is restore and unlock; wait: after
 * cuInit, for ever. Exit 1: a call failed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *lib;

static int call(const char *name, int pid, void *args)
{
	int (*function)(int, void *);
	void *symbol = dlsym(lib, name);
	int rc;

	if (!symbol) {
		fprintf(stderr, "cudabare: the driver has no %s\n", name);
		exit(77);
	}
	memcpy(&function, &symbol, sizeof(symbol));
	rc = function(pid, args);
	if (rc != 0) {
		fprintf(stderr, "cudabare: %s of %d: %d\n", name, pid, rc);
		exit(1);
	}
	return rc;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	int (*init)(unsigned);
	void *symbol;

	lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	symbol = lib ? dlsym(lib, "cuInit") : NULL;
	if (!symbol)
		return 77;
	memcpy(&init, &symbol, sizeof(symbol));
	if (init(0) != 0)
		return 1;
	while (strcmp(verb, "wait") == 0)
		pause();
	for (int i = 2; i < argc; i++) {
		uint64_t args[8] = { 0 };
		int pid = atoi(argv[i]), state = -1;

		if (strcmp(verb, "state") == 0) {
			call("cuCheckpointProcessGetState", pid, &state);
			printf("%d\n", state);
		}
		if (strcmp(verb, "lock") == 0 || strcmp(verb, "suspend") == 0)
			call("cuCheckpointProcessLock", pid, args);
		if (strcmp(verb, "checkpoint") == 0 || strcmp(verb, "suspend") == 0)
			call("cuCheckpointProcessCheckpoint", pid, args);
		if (strcmp(verb, "restore") == 0 || strcmp(verb, "resume") == 0)
			call("cuCheckpointProcessRestore", pid, args);
		if (strcmp(verb, "unlock") == 0 || strcmp(verb, "resume") == 0)
			call("cuCheckpointProcessUnlock", pid, args);
	}
	return 0;
}
