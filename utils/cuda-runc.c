/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-runc - OCI runtime that takes CUDA's state along in checkpoints */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/msg.h"

#include "cuda-runc.h"

enum { EX_CANNOT_EXEC = 126, EX_NO_RUNTIME = 127 };

static const int stop_signals[] = { SIGTERM, SIGINT, SIGHUP };
static bool ignoring;
static pid_t worker;

static void usage(FILE *out)
{
	fputs("Usage: cuda-runc [OPTION...] COMMAND [ARG...]\n"
	      "OCI runtime for containers that use CUDA. All calls go to the real runtime\n"
	      "(runc, or nvidia-container-runtime) as they are; before \"checkpoint\" the\n"
	      "CUDA state of the container's processes goes to host memory, after \"restore\"\n"
	      "back to the GPU.\n\n"
	      "  -h, --help           alone: print this help and exit\n\n"
	      "Every other option and command is the real runtime's, --version too.\n\n"
	      "Environment:\n"
	      "  CUDA_RUNC_RUNTIME    the real runtime: a path, or a name in PATH\n"
	      "  CUDA_RUNC_GPU_MAP    OLD=NEW,...: UUIDs of the GPUs to restore on\n"
	      "  CUDA_RUNC_TIMEOUT    ms to wait for CUDA calls under way (10000)\n", out);
}

static void stop_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		sigaddset(set, stop_signals[i]);
}

/* They are blocked all the time, so that every step ends as it should. */
bool interrupted(void)
{
	sigset_t pending;

	if (ignoring || sigpending(&pending) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		if (sigismember(&pending, stop_signals[i]))
			return true;
	return false;
}

void interrupts_ignore(void)
{
	ignoring = true;
}

/* --- the work, in a process of its own ----------------------------------- */

static int work(const struct call *call, const char *runtime, pid_t parent)
{
	struct job job = { .call = call, .runtime = runtime };
	int rc;

	/* A caller that gives up kills us, and nobody could take back what was done:
	 * this process outlives the one it knows, and takes back. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		raise(SIGTERM);
	rc = call_is_checkpoint(call) ? checkpoint_run(&job) : restore_run(&job);
	free(job.container.bundle);
	return rc;
}

static void relay(int sig)
{
	int err = errno;

	if (worker > 0)
		kill(worker, sig);
	errno = err;
}

static int supervise(const struct call *call, const char *runtime)
{
	struct sigaction act = { .sa_handler = relay };
	pid_t parent = getpid();
	sigset_t set, former;
	int status;

	signal(SIGCHLD, SIG_DFL);
	stop_set(&set);
	sigprocmask(SIG_BLOCK, &set, &former);
	worker = fork();
	if (worker < 0) {
		complain(call, "fork: %s", strerror(errno));
		return 1;
	}
	if (worker == 0)
		exit(work(call, runtime, parent));
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		sigaction(stop_signals[i], &act, NULL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	while (waitpid(worker, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The real runtime, or the worker; an exit status when there is no runtime. */
static int pass(char *argv[], const struct call *call)
{
	_cleanup_free_ char *why = NULL;
	bool inner = false;
	_cleanup_free_ char *runtime = runtime_find(&inner, &why);

	if (!runtime && call->argc == 2 && strcmp(argv[1], "--version") == 0) {
		msg_version();
		return close_stdout() ? EX_OK : EX_IOERR;
	}
	if (!runtime) {
		complain(call, "%s", why);
		return EX_NO_RUNTIME;
	}
	if (!inner && (call_is_checkpoint(call) || call_is_restore(call)))
		return supervise(call, runtime);
	argv[0] = runtime;
	execv(runtime, argv);
	complain(call, "%s: %s", runtime, strerror(errno));
	return EX_CANNOT_EXEC;
}

int main(int argc, char *argv[])
{
	struct call call;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout);
		return close_stdout() ? EX_OK : EX_IOERR;
	}
	call_parse(&call, argc, argv);
	return pass(argv, &call);
}
