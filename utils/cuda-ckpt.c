/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt - suspend and resume the CUDA state of processes */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "cuda-ckpt.h"

enum { TIMEOUT = 10000 };	/* ms */

static const char *const verbs[] = {
	[VERB_SUSPEND] = "suspend",
	[VERB_RESUME] = "resume",
	[VERB_LOCK] = "lock",
	[VERB_CHECKPOINT] = "checkpoint",
	[VERB_RESTORE] = "restore",
	[VERB_UNLOCK] = "unlock",
	[VERB_STATE] = "state",
	[VERB_CHECK] = "check",
};

struct words {			/* options as they were given */
	const char *action, *pid, *timeout, *gpu_map;
	bool lists_gpus;
	bool has_records;	/* one of -0 -H -j -o -r */
};

static void usage(FILE *out)
{
	fputs("Usage: cuda-ckpt suspend|resume|lock|checkpoint|restore|unlock|state|check\n"
	      "                 [-fqv] [-0Hjr] [-o LIST] [OPTION...] PID...\n"
	      "       cuda-ckpt --action ACTION --pid PID [--timeout MS] | --list-gpus\n"
	      "Move the CUDA state of processes out of their GPUs, and back.\n\n"
	      "  -0, --null -H, --header -j, --json -o, --output=LIST -r, --raw  report\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "      --action=ACTION  full-checkpoint, full-restore, or one stage; with --pid\n"
	      "      --cgroup=PATH    all CUDA processes of this control group\n"
	      "      --container=ID   all of this container\n"
	      "  -f, --force          even when memory seems to be short\n"
	      "      --gpu-map=LIST   OLD=NEW,... GPUs to restore to, by UUID\n"
	      "      --guest=GUEST    all of this container guest (lxc/200)\n"
	      "      --list-gpus      print the UUIDs of the GPUs\n"
	      "  -p, --pid=PID        the process of --action\n"
	      "  -q, --quiet          no warnings, no progress\n"
	      "      --record=FILE    GPU memory: write it (suspend), compare with it (resume)\n"
	      "  -t, --timeout=MS     for pending GPU work (10000; --action 5000; 0: no limit)\n"
	      "      --tree           also all that descend from the processes\n"
	      "  -v, --verbose        say each step\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

/* 0 to 2 are not open where a program is started without: no worker's socket may be one. */
static void open_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd < 3);
	if (fd >= 3)
		close(fd);
}

/* Three descriptors a process: the usual 1024 are too few for a large job. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	/* Should it fail, opening says what is missing. */
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int parse_timeout(const char *text, uint32_t *ms)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || value > UINT32_MAX) {
		say("%s: not a number of milliseconds", text);
		return msg_usage_error();
	}
	*ms = (uint32_t)value;
	return EX_OK;
}

static int parse_gpu_map(const char *text, struct ckpt_opts *o)
{
	int rc = cuda_gpu_map_parse(text, &o->pairs, &o->n_pairs);

	if (rc == 0)
		return EX_OK;
	if (rc == -EEXIST)
		say("--gpu-map: a GPU is named twice");
	else
		say("--gpu-map: %s: not a list of OLD=NEW, each a GPU's UUID (GPU-...)", text);
	return msg_usage_error();
}

static int parse_pids(char **operands, struct ckpt_opts *o)
{
	size_t room = 0;

	for (; *operands; operands++) {
		pid_t pid;

		if (cudaproc_parse_pid(*operands, &pid) < 0) {
			say("%s: not a process id", *operands);
			return msg_usage_error();
		}
		o->pids = xgrow(o->pids, o->sel.n_pids, &room, sizeof(*o->pids));
		o->pids[o->sel.n_pids++] = pid;
	}
	o->sel.pids = o->pids;
	return EX_OK;
}

/* A container guest: "lxc/200", "lxc/NAME", "200". */
static int parse_guest(struct ckpt_opts *o)
{
	static char name[80];
	const char *guest = o->sel.guest;

	if (!guest)
		return EX_OK;
	if (strncmp(guest, "qemu/", 5) == 0) {
		say("%s: a virtual machine's processes are its own: run cuda-ckpt in it", guest);
		return msg_usage_error();
	}
	if (*guest && strspn(guest, "0123456789") == strlen(guest)) {
		snprintf(name, sizeof(name), "lxc/%s", guest);
		o->sel.guest = name;
		return EX_OK;
	}
	if (strncmp(guest, "lxc/", 4) == 0 && guest[4] && !strchr(guest + 4, '/'))
		return EX_OK;
	say("%s: not a container guest (lxc/200)", guest);
	return msg_usage_error();
}

static int check_selection(const struct ckpt_opts *o)
{
	const struct cudaselect *sel = &o->sel;
	int sets = (sel->cgroup != NULL) + (sel->container != NULL) + (sel->guest != NULL);

	if (sets > 1) {
		say("--cgroup, --container and --guest exclude each other");
		return msg_usage_error();
	}
	if (sel->cgroup && *sel->cgroup != '/') {
		say("%s: not the path of a control group (/lxc/200)", sel->cgroup);
		return msg_usage_error();
	}
	if (sel->container && (!*sel->container || strchr(sel->container, '/'))) {
		say("--container wants an id");
		return msg_usage_error();
	}
	if (sel->tree && !sel->n_pids) {
		say("--tree needs a process to begin with");
		return msg_usage_error();
	}
	if (!sets && !sel->n_pids && o->verb != VERB_CHECK) {
		say("no process is given");
		return msg_usage_error();
	}
	return EX_OK;
}

static int check_options(const struct words *words, const struct ckpt_opts *o)
{
	if (words->pid) {
		say("--pid is for --action; here processes are operands");
		return msg_usage_error();
	}
	if (o->n_pairs && o->verb != VERB_RESUME && o->verb != VERB_RESTORE &&
	    o->verb != VERB_CHECK) {
		say("--gpu-map is for resume and restore");
		return msg_usage_error();
	}
	if (o->record && (o->verb == VERB_LOCK || o->verb == VERB_UNLOCK ||
			  o->verb == VERB_STATE || o->verb == VERB_CHECK)) {
		say("--record is for suspend and resume");
		return msg_usage_error();
	}
	return EX_OK;
}

static int run_verb(const char *verb, char **operands, const struct words *words,
		    struct ckpt_opts *o)
{
	size_t i = 0;
	int code;

	while (i < ARRAY_SIZE(verbs) && strcmp(verbs[i], verb) != 0)
		i++;
	if (i == ARRAY_SIZE(verbs)) {
		say("%s: no such command", verb);
		return msg_usage_error();
	}
	o->verb = (enum verb)i;
	o->reports = words->has_records;
	code = words->timeout ? parse_timeout(words->timeout, &o->timeout_ms) : EX_OK;
	if (code == EX_OK && words->gpu_map)
		code = parse_gpu_map(words->gpu_map, o);
	if (code == EX_OK)
		code = parse_pids(operands, o);
	if (code == EX_OK)
		code = parse_guest(o);
	if (code == EX_OK)
		code = check_selection(o);
	if (code == EX_OK)
		code = check_options(words, o);
	if (code != EX_OK)
		return code;
	switch (o->verb) {
	case VERB_STATE:	return ckpt_state(o);
	case VERB_CHECK:	return ckpt_check(o);
	default:		return ckpt_run(o);
	}
}

/* --action and --list-gpus: what they would pass over in silence is refused. */
static int run_action(char **operands, const struct words *words, const struct ckpt_opts *o)
{
	const struct cudaselect *sel = &o->sel;

	if (*operands) {
		say("%s: --action and --list-gpus take no operand", *operands);
		return 1;
	}
	if (sel->tree || sel->cgroup || sel->container || sel->guest || o->record ||
	    words->gpu_map || words->has_records) {
		say("--action and --list-gpus take --pid, --timeout and --force only");
		return 1;
	}
	if (ckpt_refuse_root() != EX_OK)
		return 1;
	return ckpt_action(words->action, words->pid, words->timeout, o->force,
			   words->lists_gpus);
}

static int run(char **operands, const struct words *words, struct ckpt_opts *o)
{
	if (words->action || words->lists_gpus)
		return run_action(operands, words, o);
	/* What the other spelling does without an action. */
	if (!*operands) {
		usage(stdout);
		return EX_OK;
	}
	return run_verb(operands[0], operands + 1, words, o);
}

/* Wrong options are 1 in the other spelling. */
static int usage_error(char **argv)
{
	int code = msg_usage_error();

	for (; *argv; argv++)
		if (strncmp(*argv, "--action", 8) == 0 || strcmp(*argv, "--list-gpus") == 0)
			code = 1;
	return code;
}

int main(int argc, char *argv[])
{
	enum { OPT_ACTION = 256, OPT_CGROUP, OPT_CONTAINER, OPT_GPU_MAP, OPT_GUEST,
	       OPT_LIST_GPUS, OPT_RECORD, OPT_TREE };
	static const struct option longopts[] = {
		RECORD_LONGOPTS,
		{ "action", required_argument, NULL, OPT_ACTION },
		{ "cgroup", required_argument, NULL, OPT_CGROUP },
		{ "container", required_argument, NULL, OPT_CONTAINER },
		{ "force", no_argument, NULL, 'f' },
		{ "gpu-map", required_argument, NULL, OPT_GPU_MAP },
		{ "guest", required_argument, NULL, OPT_GUEST },
		{ "help", no_argument, NULL, 'h' },
		{ "list-gpus", no_argument, NULL, OPT_LIST_GPUS },
		{ "pid", required_argument, NULL, 'p' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "record", required_argument, NULL, OPT_RECORD },
		{ "root", required_argument, NULL, 'R' },
		{ "timeout", required_argument, NULL, 't' },
		{ "tree", no_argument, NULL, OPT_TREE },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct ckpt_opts o = { .timeout_ms = TIMEOUT };
	struct words words = { 0 };
	int c, code;

	open_stdio();
	raise_file_limit();
	while ((c = getopt_long(argc, argv, RECORD_SHORTOPTS "R:fp:qt:vhV", longopts,
				NULL)) != -1) {
		if (record_opt(&o.ropts, c, optarg)) {
			words.has_records = true;
			continue;
		}
		switch (c) {
		case 'R': root_set(optarg); break;
		case 'f': o.force = true; break;
		case 'p': words.pid = optarg; break;
		case 'q': msg_level = -1; break;
		case 't': words.timeout = optarg; break;
		case 'v': msg_level++; break;
		case OPT_ACTION: words.action = optarg; break;
		case OPT_CGROUP: o.sel.cgroup = optarg; break;
		case OPT_CONTAINER: o.sel.container = optarg; break;
		case OPT_GPU_MAP: words.gpu_map = optarg; break;
		case OPT_GUEST: o.sel.guest = optarg; break;
		case OPT_LIST_GPUS: words.lists_gpus = true; break;
		case OPT_RECORD: o.record = optarg; break;
		case OPT_TREE: o.sel.tree = true; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:
			if (isdigit(optopt))
				say("-%c: not a process id", optopt);
			return usage_error(argv);
		}
	}
	code = run(argv + optind, &words, &o);
	free(o.pids);
	free(o.pairs);
	if (!close_stdout() && code <= 1)
		code = words.action || words.lists_gpus ? 1 : EX_IOERR;
	return code;
}
