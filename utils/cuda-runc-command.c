/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running the real runtime and cuda-ckpt. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/spawn.h"
#include "base/xalloc.h"

#include "cuda-runc.h"

enum {
	RUNTIME_LIMIT = 60,	/* s that state, ps, pause, kill and the like take */
	SAID_MAX = 1 << 20,	/* bytes of output that are kept */
	SAID_LINES = 3,		/* of a failed command, in a message */
};

struct said {
	char *text;
	size_t len, room;
};

static void keep_line(const char *line, void *arg)
{
	struct said *said = arg;
	size_t len = strlen(line);

	if (said->len + len > SAID_MAX)
		return;
	if (said->room < said->len + len + 2) {
		said->room = 2 * (said->len + len) + 256;
		said->text = xreallocarray(said->text, said->room, 1);
	}
	memcpy(said->text + said->len, line, len);
	said->len += len;
	said->text[said->len++] = '\n';
	said->text[said->len] = '\0';
}

int command_run(const char *const argv[], unsigned timeout, char **out)
{
	struct said said = { 0 };
	struct spawn_opts opts = { .timeout = timeout, .line = keep_line, .arg = &said };
	struct spawn s;
	bool told = false;
	int rc = spawn_start(&s, argv, &opts);

	if (rc == 0) {
		/* It is told to stop once, and then waited for: it takes back. */
		while (spawn_serve((struct spawn *[]){ &s }, 1, 100) > 0) {
			if (!told && interrupted())
				kill(s.pid, SIGTERM);
			told = told || interrupted();
		}
		rc = spawn_result(&s);
		spawn_done(&s);
	}
	*out = said.text ? said.text : xstrdup("");
	return rc;
}

const char *command_said(char *text)
{
	char *end = text + strlen(text), *p;
	int lines = 0;

	while (end > text && end[-1] == '\n')
		*--end = '\0';
	for (p = end; p > text; p--)
		if (p[-1] == '\n' && ++lines == SAID_LINES)
			break;
	text = p;
	for (; *p; p++)
		if (*p == '\n')
			*p = ';';
	return text;
}

/* The call's global options without --log: RUNTIME GLOBAL... */
static size_t put_globals(const struct job *job, const char **argv, bool quiet)
{
	const struct call *call = job->call;
	size_t n = 0;

	argv[n++] = job->runtime;
	for (int i = 1; i < call->verb; i++)
		if (strcmp(call->argv[i], "--") != 0)
			argv[n++] = call->argv[i];
	/* The last one counts. What is asked for is not the caller's affair. */
	if (quiet) {
		argv[n++] = "--log";
		argv[n++] = "/dev/null";
	}
	return n;
}

static json_t *parse(const char *text)
{
	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (*p == '{' || *p == '[' || strncmp(p, "null", 4) == 0)
			return json_loads(p, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY,
					  NULL);
	return NULL;
}

int runtime_do(const struct job *job, const char *const verb[], json_t **json, char **why)
{
	_cleanup_free_ const char **argv = NULL;
	_cleanup_free_ char *out = NULL;
	size_t n = 0, words = 0;
	int rc;

	while (verb[words])
		words++;
	argv = xcalloc((size_t)job->call->verb + words + 4, sizeof(*argv));
	n = put_globals(job, argv, json != NULL);
	for (size_t i = 0; i < words; i++)
		argv[n++] = verb[i];
	rc = command_run(argv, RUNTIME_LIMIT, &out);
	if (rc == 0 && json) {
		*json = parse(out);
		if (*json)
			return 0;
		*why = xasprintf("%s %s: no JSON", job->runtime, verb[0]);
		return -2;
	}
	if (rc == 0)
		return 0;
	*why = rc == -ETIMEDOUT ?
		xasprintf("%s %s: no answer for %d s", job->runtime, verb[0], RUNTIME_LIMIT) :
		rc < 0 ? xasprintf("%s: %s", job->runtime, strerror(-rc)) :
		xasprintf("%s %s: %s (exit status %d)", job->runtime, verb[0],
			  command_said(out), rc);
	return rc < 0 ? -2 : -1;
}

int runtime_state(struct job *job, char **why)
{
	struct container *c = &job->container;
	const char *status = NULL, *bundle = NULL;
	json_t *json = NULL;
	json_int_t pid = 0;
	int rc;

	free(c->bundle);
	*c = (struct container){ 0 };
	rc = runtime_do(job, (const char *[]){ "state", job->call->id, NULL }, &json, why);
	if (rc < 0)
		return rc;
	if (json_unpack(json, "{s:s, s?I, s?s}", "status", &status, "pid", &pid,
			"bundle", &bundle) < 0) {
		*why = xasprintf("%s state: no status", job->runtime);
		json_decref(json);
		return -2;
	}
	c->is_paused = strcmp(status, "paused") == 0;
	c->is_running = (c->is_paused || strcmp(status, "running") == 0) && pid > 0;
	c->pid = (pid_t)pid;
	c->bundle = bundle ? xstrdup(bundle) : NULL;
	json_decref(json);
	return 0;
}

int runtime_pids(const struct job *job, pid_t **pids, size_t *n, char **why)
{
	json_t *json = NULL, *item;
	size_t i;

	*pids = NULL;
	*n = 0;
	if (runtime_do(job, (const char *[]){ "ps", "--format", "json", job->call->id, NULL },
		       &json, why) < 0)
		return -1;
	*pids = xcalloc(json_array_size(json) + 1, sizeof(**pids));
	json_array_foreach(json, i, item)
		if (json_integer_value(item) > 0)
			(*pids)[(*n)++] = (pid_t)json_integer_value(item);
	json_decref(json);
	return 0;
}

static void child(const struct job *job, int criu_config)
{
	_cleanup_free_ const char **argv =
		xcalloc((size_t)job->call->argc + 1, sizeof(*argv));
	char path[64];
	sigset_t none;

	/* CRIU opens it while we wait: nothing that could stay behind. */
	if (criu_config >= 0) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getppid(), criu_config);
		setenv("CRIU_CONFIG_FILE", path, 1);
	}
	argv[0] = job->runtime;
	for (int i = 1; i < job->call->argc; i++)
		argv[i] = job->call->argv[i];
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(job->runtime, (char *const *)argv);
	_exit(errno == ENOENT ? 127 : 126);
}

int runtime_start(const struct job *job, int criu_config, struct running *run, char **why)
{
	run->pid = fork();
	if (run->pid == 0)
		child(job, criu_config);
	if (run->pid < 0) {
		*why = xasprintf("fork: %s", strerror(errno));
		return -1;
	}
	run->pidfd = pidfd_open(run->pid, 0);
	return 0;
}

int runtime_wait(struct running *run, int ms)
{
	struct pollfd p = { .fd = run->pidfd, .events = POLLIN };
	siginfo_t info = { 0 };

	if (run->pidfd >= 0)
		poll(&p, 1, ms);
	else
		poll(NULL, 0, ms < 20 ? ms : 20);
	if (waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG) < 0)
		return 1;
	if (info.si_pid != run->pid)
		return -1;
	if (run->pidfd >= 0)
		close(run->pidfd);
	return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}
