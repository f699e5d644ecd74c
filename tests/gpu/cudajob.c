/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cudajob [-m MIB] [-t MS] [-g INDEX] FILE - a CUDA program that needs no toolkit: it
 * loads libcuda.so.1, gives the driver its kernels as PTX text, fills MIB of GPU memory
 * with words that tell their place, and then counts in GPU memory, a step each MS.
 *
 * FILE       the count, rewritten at each step
 * FILE.sum   after a SIGUSR1, by rename: "ok COUNT BYTES SUM", when each word is what it
 *            was and the checksum that of the start, else "BAD COUNT WORDS"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char ptx_body[] =
	/* word i = i * 0x9e3779b97f4a7c15 + seed */
	".address_size 64\n"
	".visible .entry fill(.param .u64 words, .param .u64 n, .param .u64 seed)\n"
	"{\n"
	"	.reg .pred %end;\n"
	"	.reg .b32 %size, %block, %thread, %blocks;\n"
	"	.reg .b64 %base, %n, %seed, %i, %step, %lane, %at, %value;\n"
	"	ld.param.u64 %base, [words];\n"
	"	ld.param.u64 %n, [n];\n"
	"	ld.param.u64 %seed, [seed];\n"
	"	cvta.to.global.u64 %base, %base;\n"
	"	mov.u32 %size, %ntid.x;\n"
	"	mov.u32 %block, %ctaid.x;\n"
	"	mov.u32 %thread, %tid.x;\n"
	"	mov.u32 %blocks, %nctaid.x;\n"
	"	mul.wide.u32 %i, %block, %size;\n"
	"	cvt.u64.u32 %lane, %thread;\n"
	"	add.s64 %i, %i, %lane;\n"
	"	mul.wide.u32 %step, %blocks, %size;\n"
	"next:\n"
	"	setp.ge.u64 %end, %i, %n;\n"
	"	@%end bra done;\n"
	"	mul.lo.s64 %value, %i, -7046029254386353131;\n"
	"	add.s64 %value, %value, %seed;\n"
	"	shl.b64 %at, %i, 3;\n"
	"	add.s64 %at, %at, %base;\n"
	"	st.global.u64 [%at], %value;\n"
	"	add.s64 %i, %i, %step;\n"
	"	bra next;\n"
	"done:\n"
	"	ret;\n"
	"}\n"
	/* out[0] += word i * (2 i + 1); out[1] += is it another word? */
	".visible .entry verify(.param .u64 words, .param .u64 n, .param .u64 seed, "
	".param .u64 out)\n"
	"{\n"
	"	.reg .pred %end, %wrong;\n"
	"	.reg .b32 %size, %block, %thread, %blocks;\n"
	"	.reg .b64 %base, %n, %seed, %out, %i, %step, %lane, %at, %word, %value, "
	"%odd, %sum, %bad, %one;\n"
	"	ld.param.u64 %base, [words];\n"
	"	ld.param.u64 %n, [n];\n"
	"	ld.param.u64 %seed, [seed];\n"
	"	ld.param.u64 %out, [out];\n"
	"	cvta.to.global.u64 %base, %base;\n"
	"	cvta.to.global.u64 %out, %out;\n"
	"	mov.u32 %size, %ntid.x;\n"
	"	mov.u32 %block, %ctaid.x;\n"
	"	mov.u32 %thread, %tid.x;\n"
	"	mov.u32 %blocks, %nctaid.x;\n"
	"	mul.wide.u32 %i, %block, %size;\n"
	"	cvt.u64.u32 %lane, %thread;\n"
	"	add.s64 %i, %i, %lane;\n"
	"	mul.wide.u32 %step, %blocks, %size;\n"
	"	mov.u64 %sum, 0;\n"
	"	mov.u64 %bad, 0;\n"
	"next:\n"
	"	setp.ge.u64 %end, %i, %n;\n"
	"	@%end bra done;\n"
	"	shl.b64 %at, %i, 3;\n"
	"	add.s64 %at, %at, %base;\n"
	"	ld.global.u64 %word, [%at];\n"
	"	mul.lo.s64 %value, %i, -7046029254386353131;\n"
	"	add.s64 %value, %value, %seed;\n"
	"	setp.ne.s64 %wrong, %word, %value;\n"
	"	selp.u64 %one, 1, 0, %wrong;\n"
	"	add.s64 %bad, %bad, %one;\n"
	"	shl.b64 %odd, %i, 1;\n"
	"	or.b64 %odd, %odd, 1;\n"
	"	mul.lo.s64 %word, %word, %odd;\n"
	"	add.s64 %sum, %sum, %word;\n"
	"	add.s64 %i, %i, %step;\n"
	"	bra next;\n"
	"done:\n"
	"	atom.global.add.u64 %at, [%out], %sum;\n"
	"	atom.global.add.u64 %at, [%out+8], %bad;\n"
	"	ret;\n"
	"}\n"
	".visible .entry tick(.param .u64 count)\n"
	"{\n"
	"	.reg .b64 %at, %n;\n"
	"	ld.param.u64 %at, [count];\n"
	"	cvta.to.global.u64 %at, %at;\n"
	"	ld.global.u64 %n, [%at];\n"
	"	add.s64 %n, %n, 1;\n"
	"	st.global.u64 [%at], %n;\n"
	"	ret;\n"
	"}\n";

/* The first that the driver takes: it drops old targets, and old cards need them. */
static const char *const ptx_heads[] = {
	".version 6.4\n.target sm_52\n",
	".version 6.4\n.target sm_75\n",
};

static int (*init)(unsigned);
static int (*device_get)(int *, int);
static int (*device_name)(char *, int, int);
static int (*context_create)(void **, unsigned, int);
static int (*mem_alloc)(uint64_t *, size_t);
static int (*mem_set)(uint64_t, unsigned char, size_t);
static int (*copy_back)(void *, uint64_t, size_t);
static int (*synchronize)(void);
static int (*module_load)(void **, const void *);
static int (*module_function)(void **, void *, const char *);
static int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
		     unsigned, void *, void **, void **);

static const struct {
	void *function;
	const char *name;
} symbols[] = {
	{ &init, "cuInit" },
	{ &device_get, "cuDeviceGet" },
	{ &device_name, "cuDeviceGetName" },
	{ &context_create, "cuCtxCreate_v2" },
	{ &mem_alloc, "cuMemAlloc_v2" },
	{ &mem_set, "cuMemsetD8_v2" },
	{ &copy_back, "cuMemcpyDtoH_v2" },
	{ &synchronize, "cuCtxSynchronize" },
	{ &module_load, "cuModuleLoadData" },
	{ &module_function, "cuModuleGetFunction" },
	{ &launch, "cuLaunchKernel" },
};

static void die(const char *what, int code)
{
	fprintf(stderr, "cudajob: %s: %d\n", what, code);
	exit(1);
}

static void must(int rc, const char *what)
{
	if (rc != 0)
		die(what, rc);
}

static void load_driver(void)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!lib) {
		fprintf(stderr, "cudajob: %s\n", dlerror());
		exit(77);
	}
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = dlsym(lib, symbols[i].name);

		if (!symbol)
			die(symbols[i].name, 0);
		memcpy(symbols[i].function, &symbol, sizeof(symbol));
	}
}

static void *load_kernels(void)
{
	char text[sizeof(ptx_body) + 64];
	void *module;
	int rc = 1;

	for (size_t i = 0; rc && i < sizeof(ptx_heads) / sizeof(ptx_heads[0]); i++) {
		snprintf(text, sizeof(text), "%s%s", ptx_heads[i], ptx_body);
		rc = module_load(&module, text);
	}
	must(rc, "cuModuleLoadData");
	return module;
}

static volatile sig_atomic_t is_asked;

static void on_signal(int signal)
{
	(void)signal;
	is_asked = 1;
}

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	/* Counts only grow: a shorter line never follows a longer one. */
	if (fd < 0 || pwrite(fd, text, strlen(text), 0) < 0)
		die(file, errno);
	close(fd);
}

static uint64_t sum_at_start, words, memory, out, count_at;
static void *kernel_fill, *kernel_verify, *kernel_tick;

static void run(void *kernel, unsigned blocks, unsigned threads, void **args)
{
	must(launch(kernel, blocks, 1, 1, threads, 1, 1, 0, NULL, args, NULL),
	     "cuLaunchKernel");
	must(synchronize(), "cuCtxSynchronize");
}

static const uint64_t seed = 0x5eed;

static void verify(uint64_t found[2])
{
	void *args[] = { &memory, &words, (void *)&seed, &out };

	must(mem_set(out, 0, 16), "cuMemsetD8");
	run(kernel_verify, 4096, 256, args);
	must(copy_back(found, out, 16), "cuMemcpyDtoH");
}

static void answer(const char *file, uint64_t count)
{
	char path[4096], part[4096], text[160];
	uint64_t found[2];

	verify(found);
	if (found[1] == 0 && found[0] == sum_at_start)
		snprintf(text, sizeof(text), "ok %llu %llu %016llx\n",
			 (unsigned long long)count, (unsigned long long)(words * 8),
			 (unsigned long long)found[0]);
	else
		snprintf(text, sizeof(text), "BAD %llu %llu\n", (unsigned long long)count,
			 (unsigned long long)found[1]);
	snprintf(path, sizeof(path), "%s.sum", file);
	snprintf(part, sizeof(part), "%s.sum.new", file);
	unlink(part);
	put(part, text);
	if (rename(part, path) != 0)
		die(path, errno);
}

static void make_job(unsigned long mib, int index)
{
	void *fill_args[] = { &memory, &words, (void *)&seed };
	uint64_t found[2];
	void *context, *module;
	char name[128];
	int device;

	must(init(0), "cuInit");
	must(device_get(&device, index), "cuDeviceGet");
	must(device_name(name, sizeof(name), device), "cuDeviceGetName");
	must(context_create(&context, 0, device), "cuCtxCreate");
	module = load_kernels();
	must(module_function(&kernel_fill, module, "fill"), "fill");
	must(module_function(&kernel_verify, module, "verify"), "verify");
	must(module_function(&kernel_tick, module, "tick"), "tick");
	words = (uint64_t)mib << 17;
	must(mem_alloc(&memory, words * 8), "cuMemAlloc");
	must(mem_alloc(&out, 4096), "cuMemAlloc");
	must(mem_alloc(&count_at, 4096), "cuMemAlloc");
	must(mem_set(count_at, 0, 8), "cuMemsetD8");
	run(kernel_fill, 4096, 256, fill_args);
	verify(found);
	if (found[1])
		die("words that are wrong at the start", (int)found[1]);
	sum_at_start = found[0];
	printf("%s\n", name);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	unsigned long mib = 1, ms = 20;
	int opt, index = 0;

	while ((opt = getopt(argc, argv, "m:t:g:")) != -1) {
		if (opt == 'm')
			mib = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			ms = strtoul(optarg, NULL, 10);
		else if (opt == 'g')
			index = atoi(optarg);
		else
			return 64;
	}
	if (optind + 1 != argc || !mib)
		return 64;
	sigaction(SIGUSR1, &action, NULL);
	load_driver();
	make_job(mib, index);
	for (;;) {
		struct timespec pause = { (time_t)(ms / 1000),
					  (long)(ms % 1000) * 1000000 };
		void *args[] = { &count_at };
		uint64_t count;
		char text[32];

		run(kernel_tick, 1, 1, args);
		must(copy_back(&count, count_at, sizeof(count)), "cuMemcpyDtoH");
		snprintf(text, sizeof(text), "%llu\n", (unsigned long long)count);
		put(argv[optind], text);
		if (is_asked) {
			is_asked = 0;
			answer(argv[optind], count);
		}
		nanosleep(&pause, NULL);
	}
}
