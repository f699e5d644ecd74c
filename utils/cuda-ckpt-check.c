/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt check: can this be checkpointed, and then dumped by CRIU? */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/sysfs.h"
#include "base/trust.h"
#include "base/xalloc.h"
#include "cuda-ckpt.h"
#include "gpu/cudasigns.h"
#include "gpu/procfd.h"

static const struct record_field fields[] = {
	{ "pid", RECORD_NUMBER }, { "item", RECORD_STRING }, { "status", RECORD_STRING },
	{ "detail", RECORD_STRING },
};

struct report {
	struct record_writer *w;
	bool fails;
};

static const char ok[] = "ok", warn[] = "warn", failed[] = "fail", unknown[] = "unknown";

static void __attribute__((format(printf, 5, 6)))
put(struct report *r, pid_t pid, const char *item, const char *status, const char *fmt, ...)
{
	_cleanup_free_ char *detail = NULL;
	char text[16];
	va_list ap;

	va_start(ap, fmt);
	detail = xvasprintf(fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%d", (int)pid);
	record_put(r->w, (const char *const[]){ pid ? text : NULL, item, status, detail });
	r->fails |= status == failed;
}

/* --- the host --- */

/* Versions that are known to do harm. */
static void check_module(struct report *r)
{
	static const struct {
		const char *version, *detail;
	} bad[] = {
		{ "595.71.05", "to kill a process that it restored has hung hosts: suspend it first" },
		{ "610.57.04", "its lock is known to crash processes" },
	};
	_cleanup_free_ char *path = root_path("/sys/module/nvidia/version");
	char version[64];

	if (sysfs_read(path, version, sizeof(version)) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (strcmp(version, bad[i].version) == 0)
			put(r, 0, "driver", warn, "%s: %s", version, bad[i].detail);
}

static void check_driver(struct report *r)
{
	static const struct cudaworker_opts opts = { 0 };
	struct cudaworker w = CUDAWORKER_NONE;
	struct cudaworker_reply reply = { 0 };
	struct pollfd p = { .events = POLLIN };
	int status, rc = -EPIPE;

	if (!root_is_host()) {
		put(r, 0, "driver", unknown, "the driver knows this host only");
		return;
	}
	if (cudaworker_start(&w, NULL, 0, &opts) == 0) {
		/* A call about no process: that the library can be used is all we want. */
		cudaworker_ask(&w, CUDAWORKER_STATE, 0);
		p.fd = w.sock;
		if (poll(&p, 1, 10000) > 0)
			rc = cudaworker_take(&w, &reply, &status);
	}
	cudaworker_end(&w, true, 200);
	if (rc != 1)
		put(r, 0, "driver", failed, "the driver's library does not answer");
	else if (reply.open == -ENOENT)
		put(r, 0, "driver", failed, "libcuda.so.1 is not there");
	else if (reply.open == -ENOSYS)
		put(r, 0, "driver", failed, "CUDA %d.%d: 12.8 (driver 570) or newer is needed",
		    reply.version / 1000, reply.version % 1000 / 10);
	else if (reply.open)
		put(r, 0, "driver", failed, "libcuda.so.1 is not of the driver that is loaded");
	else
		put(r, 0, "driver", ok, "CUDA %d.%d", reply.version / 1000,
		    reply.version % 1000 / 10);
	if (rc == 1 && reply.open == 0 && reply.version < CUDA_VERSION_GPU_MAP)
		put(r, 0, "gpu-map", warn, "only the same GPUs: others need CUDA 13.0 (driver 580)");
	else if (rc == 1 && reply.open == 0)
		put(r, 0, "gpu-map", ok, "other GPUs of the same kind will do");
}

enum { VERSION_MAX = 64 };

static void take_version(const char *line, void *arg)
{
	char *version = arg;

	if (!*version && strncmp(line, "Version: ", 9) == 0)
		snprintf(version, VERSION_MAX, "%s", line + 9);
}

static char *find_file(const char *const *dirs, const char *name)
{
	for (; *dirs; dirs++) {
		char *path = root_path("%s/%s", *dirs, name);

		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* Where a root's CRIU is, not where our PATH points: it is run. */
static void check_criu(struct report *r)
{
	static const char *const places[] = {
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", NULL
	};
	static const char *const plugins[] = {
		"/usr/lib/criu", "/usr/local/lib/criu", "/usr/lib/x86_64-linux-gnu/criu",
		"/usr/lib/aarch64-linux-gnu/criu", NULL
	};
	_cleanup_free_ char *criu = find_file(places, "criu");
	_cleanup_free_ char *plugin = find_file(plugins, "cuda_plugin.so");
	char version[VERSION_MAX] = "";
	const char *problem;
	int major = 0, minor = 0;

	if (!criu) {
		put(r, 0, "criu", warn, "not installed: a suspended process cannot be dumped");
		return;
	}
	problem = trust_problem(criu);
	if (problem) {
		put(r, 0, "criu", warn, "%s %s; it was not run", criu, problem);
		return;
	}
	if (root_is_host()) {
		const char *const argv[] = { criu, "--version", NULL };
		const struct spawn_opts opts = {
			.timeout = 10, .line = take_version, .arg = version,
		};

		spawn_run(argv, &opts);
	}
	if (sscanf(version, "%d.%d", &major, &minor) != 2)
		put(r, 0, "criu", unknown, "%s does not say its version", criu);
	else if (major < 4 || (major == 4 && minor < 1))
		put(r, 0, "criu", warn, "%s is %s: 4.1 or newer is known to work", criu, version);
	else
		put(r, 0, "criu", ok, "%s %s", criu, version);
	if (plugin && (major > 4 || (major == 4 && minor >= 1)))
		put(r, 0, "criu-plugin", ok, "%s acts, too; what is suspended already, it leaves",
		    plugin);
	else if (plugin)
		put(r, 0, "criu-plugin", warn,
		    "%s refuses a process that is suspended already: an empty --libdir hides it",
		    plugin);
	else
		put(r, 0, "criu-plugin", ok, "none, and none is needed");
}

static void see_mps(pid_t pid, void *arg)
{
	char comm[16];
	pid_t *found = arg;

	if (!*found && procfd_comm(pid, comm) == 0 &&
	    strncmp(comm, "nvidia-cuda-mps", 15) == 0)
		*found = pid;
}

static void check_mps(struct report *r)
{
	pid_t pid = 0;

	if (procfd_each_process(see_mps, &pid) < 0)
		put(r, 0, "mps", unknown, "/proc cannot be read");
	else if (pid)
		put(r, 0, "mps", warn, "MPS runs (process %d): its clients cannot be checkpointed",
		    (int)pid);
	else
		put(r, 0, "mps", ok, "not running");
}

/* --- the processes --- */

static const struct {
	enum cudasigns_bit bit;
	const char *item, *status, *detail;
} signs[] = {
	{ CUDASIGNS_JOB, "job", warn,
	  "CUDA_CHECKPOINT_JOB_FILE: a job of processes that share memory; name all of them" },
	{ CUDASIGNS_IPC, "ipc", warn,
	  "shares GPU memory with another process: before driver 610, and outside of a job, that is not supported" },
	{ CUDASIGNS_FABRIC, "ipc", failed,
	  "has an IMEX channel open: memory shared between hosts cannot be checkpointed" },
	{ CUDASIGNS_MIG, "mig", warn, "uses a MIG instance, which restores are known to fail on" },
	{ CUDASIGNS_MPS, "mps", failed, "is a client of MPS" },
	{ CUDASIGNS_UVM, "uvm", warn,
	  "maps /dev/nvidia-uvm for writing, as managed memory does, which drivers up to 570 refuse" },
	{ CUDASIGNS_NVML, "nvml", warn,
	  "uses NVML: drivers before 570 refuse it, and /dev/nvidiactl stays open for CRIU to refuse" },
	{ CUDASIGNS_RDMA, "rdma", failed,
	  "has /dev/gdrdrv or an InfiniBand device open, which CRIU cannot dump" },
	{ CUDASIGNS_PROFILER, "profiler", failed,
	  "is profiled or debugged (CUPTI): the driver refuses that" },
};

static void put_leftovers(struct report *r, const struct cudasigns *s, bool has_cuda,
			  int state)
{
	for (size_t i = 0; i < s->n_nodes; i++) {
		if (state == CUDA_CHECKPOINTED)
			put(r, s->pid, "node", failed,
			    "still has %s open when suspended: CRIU will refuse it", s->nodes[i]);
		else if (!has_cuda)
			put(r, s->pid, "node", failed,
			    "has %s open without CUDA (inherited?): CRIU will refuse it",
			    s->nodes[i]);
	}
}

static void check_process(struct report *r, const struct cudaproc *p, int state)
{
	enum cudaproc_fault fault = cudaproc_fault(p);
	struct cudasigns s;
	int rc = cudasigns_read(p->pid, &s);
	bool is_clean = true;

	if (rc < 0) {
		put(r, p->pid, "process", failed, "%s",
		    rc == -ENOENT ? "has ended" : strerror(-rc));
		return;
	}
	if (fault == CUDAPROC_FROZEN)
		put(r, p->pid, "frozen", failed, "calls would hang; %s", p->thaw);
	else if (fault == CUDAPROC_STOPPED || fault == CUDAPROC_TRACED)
		put(r, p->pid, "stopped", failed, "calls would hang; by %s",
		    fault == CUDAPROC_TRACED ? "its tracer" : "SIGSTOP");
	if (state == CUDA_FAILED)
		put(r, p->pid, "state", failed, "broken for good");
	else if (state >= 0)
		put(r, p->pid, "state", ok, "%s", ckpt_state_text(state));
	else
		put(r, p->pid, "state", unknown, "the driver was not asked");
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		if (!(s.bits & signs[i].bit))
			continue;
		put(r, p->pid, signs[i].item, signs[i].status, "%s", signs[i].detail);
		is_clean = false;
	}
	if (is_clean)
		put(r, p->pid, "signs", ok, "nothing that is known to be refused");
	put_leftovers(r, &s, true, state);
	cudasigns_done(&s);
}

/* Processes beside the CUDA ones are dumped with them: their nodes are in the way, too. */
static void check_others(struct report *r, const struct ckpt_opts *o,
			 const struct ckpt_procs *procs)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;

	if (cudaselect_list(&o->sel, &pids, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct cudasigns s;
		bool has_cuda = false;

		for (size_t k = 0; k < procs->n && !has_cuda; k++)
			has_cuda = procs->list[k].pid == pids[i];
		if (has_cuda || cudasigns_read(pids[i], &s) < 0)
			continue;
		put_leftovers(r, &s, false, -1);
		cudasigns_done(&s);
	}
}

static void check_processes(struct report *r, const struct ckpt_opts *o,
			    const struct ckpt_procs *procs)
{
	const struct cudaunit_opts opts = { .timeout_ms = o->timeout_ms, .stop_fd = -1 };
	struct cudaunit u = { .restorer = CUDAWORKER_NONE };
	_cleanup_free_ pid_t *pids = xcalloc(procs->n ? procs->n : 1, sizeof(*pids));
	size_t n = 0;

	/* Those that would hang are not asked. */
	for (size_t i = 0; i < procs->n && root_is_host(); i++)
		if (cudaproc_fault(&procs->list[i]) == CUDAPROC_FIT)
			pids[n++] = procs->list[i].pid;
	cudaunit_open(&u, pids, n, &opts);
	for (size_t i = 0; i < procs->n; i++) {
		const struct cudaunit_member *m = NULL;

		for (size_t k = 0; k < u.n; k++)
			if (u.members[k].pid == procs->list[i].pid)
				m = &u.members[k];
		if (m && m->error == CUDAUNIT_REFUSED && !ckpt_is_named(o, m->pid))
			continue;
		if (m && m->error == CUDAUNIT_REFUSED)
			put(r, m->pid, "cuda", failed, "%s",
			    m->detail == CUDA_INVALID_VALUE || m->detail == CUDA_NOT_INITIALIZED
			    ? "libcuda is mapped, but CUDA is not used" : cuda_result_text(m->detail));
		else if (m && m->error == CUDAUNIT_BUSY)
			put(r, m->pid, "cuda", failed, "another cuda-ckpt is at work on it");
		else if (m && m->error == CUDAUNIT_HUNG)
			put(r, m->pid, "cuda", failed, "the driver gets no answer from it");
		else if (m && m->error == CUDAUNIT_CRASHED)
			put(r, m->pid, "cuda", failed, "the driver's library crashed when asked about it");
		check_process(r, &procs->list[i], m ? m->state : -1);
	}
	cudaunit_done(&u);
}

int ckpt_check(const struct ckpt_opts *o)
{
	struct report r = { .w = record_stdout(fields, ARRAY_SIZE(fields), &o->ropts) };
	struct ckpt_procs procs = { 0 };
	bool is_asked = o->sel.n_pids || o->sel.cgroup || o->sel.container || o->sel.guest;
	int code = EX_OK;

	if (!r.w)
		return msg_usage_error();
	if (is_asked)
		code = ckpt_find(o, &procs);
	if (code == EX_OK || code == 1) {
		check_driver(&r);
		check_module(&r);
		check_mps(&r);
		check_criu(&r);
		check_processes(&r, o, &procs);
		if (is_asked)
			check_others(&r, o, &procs);
		code = r.fails ? 1 : EX_OK;
	}
	record_writer_free(r.w);
	ckpt_procs_done(&procs);
	return code;
}
