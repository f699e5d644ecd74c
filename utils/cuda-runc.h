/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of cuda-runc. */
#ifndef CUDA_RUNC_H
#define CUDA_RUNC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

/* --- cuda-runc-args.c: a runtime's command line, read by position --- */

struct call {
	int argc;
	char **argv;		/* ours; strings point into it */
	int verb;		/* index of the verb; argc when there is none */
	const char *id;		/* the container; NULL for none */
	const char *log;	/* --log; NULL for none */
	bool log_json;		/* --log-format json */
	const char *image_path;	/* NULL or empty: "checkpoint" here */
	const char *bundle;	/* "." when not given */
	bool leave_running;
	bool pre_dump;
	bool detach;
	bool help;		/* --help behind the verb */
};

void call_parse(struct call *call, int argc, char **argv);

/*
 * Is it a checkpoint or a restore of a container? A request for help, one
 * without a container (engines probe for options so) and a pre-dump are not.
 */
bool call_is_checkpoint(const struct call *call);
bool call_is_restore(const struct call *call);

/* --- cuda-runc-runtime.c: which runtime is the real one --- */

/*
 * The real runtime's absolute path, allocated: CUDA_RUNC_RUNTIME, else
 * nvidia-container-runtime unless it is what calls us, else runc. Marks the
 * environment, so that a runtime that calls cuda-runc gets runc from it.
 * NULL, with a message in *why (allocated), when there is none.
 * inner: set when another cuda-runc is above this one: that one does the work.
 */
char *runtime_find(bool *inner, char **why);

/* --- cuda-runc-command.c: what the real runtime and cuda-ckpt are asked --- */

struct container {		/* as "state" tells */
	pid_t pid;
	bool is_running;	/* or paused */
	bool is_paused;
	char *bundle;		/* owned; NULL when it does not say */
};

/* A worker's view of its job. */
struct job {
	const struct call *call;
	const char *runtime;
	struct container container;
};

/*
 * Run "RUNTIME GLOBAL-OPTIONS VERB ARG..." to its end, stdin /dev/null.
 * json: parse what it prints; its log lines are dropped then.
 * Returns 0; -1 with what it said, in one line, in *why (allocated); -2 with why when it
 * could not be asked or gave no answer.
 */
int runtime_do(const struct job *job, const char *const verb[], json_t **json,
	       char **why);

/* 0; -1 when there is no such container, -2 when it cannot be told (why). */
int runtime_state(struct job *job, char **why);

/* The container's processes, in numbers of this host. pids: allocated. 0 or -1 (why). */
int runtime_pids(const struct job *job, pid_t **pids, size_t *n, char **why);

/* The call itself, with our stdio; criu_config: memory file for CRIU, or -1. */
struct running {
	pid_t pid;
	int pidfd;
};
int runtime_start(const struct job *job, int criu_config, struct running *run,
		  char **why);

/* Wait up to ms; -1 while it goes on, else its exit status (128 + signal). */
int runtime_wait(struct running *run, int ms);

/* Any command to its end; out: what it said, allocated. Exit status, or -errno. */
int command_run(const char *const argv[], unsigned timeout, char **out);

/* The last lines of a command's output as one; may be empty. text is changed. */
const char *command_said(char *text);

/* --- cuda-runc-cuda.c: stages 1 and 4, by cuda-ckpt --- */

struct cudaset {		/* processes with a CUDA context */
	pid_t *pids;		/* owned */
	size_t n;
};

/*
 * Those of the container whose CUDA state is as wanted: running (to be suspended)
 * or not (to be resumed). Others are left out.
 * states: set to the number of processes that have a CUDA state of any kind.
 * Returns 0, or -1 (why): for one that is locked or failed when running is
 * wanted, for one that failed when it is not.
 */
int cuda_find(const struct job *job, bool running, struct cudaset *set, size_t *states,
	      char **why);

/* The container's processes that have CUDA's library mapped; allocated. 0 or -1 (why). */
int cuda_users(const struct job *job, pid_t **pids, size_t *n, char **why);

/*
 * 0, or -1 (why) with all of them as they were. gpu_map: NULL for none. record: file
 * about the GPU memory that they have, and need; NULL for none.
 */
int cuda_suspend(const struct cudaset *set, const char *record, char **why);
int cuda_resume(const struct cudaset *set, const char *gpu_map, const char *record,
		char **why);

/* Open NVIDIA nodes that stop CRIU, as words; NULL when there is none. */
char *cuda_leftovers(const struct job *job);

/* --- cuda-runc-mounts.c: what NVIDIA's hooks have mounted --- */

struct handed {			/* a mount that CRIU is told to leave to us */
	char *target;		/* owned; in the container */
	char *source;		/* owned; on the host */
	bool is_dir;
	bool on_rootfs;		/* its mount point is a file of the root file system */
};

struct mounts {
	struct handed *list;	/* owned */
	size_t n;
};

/* NVIDIA's mounts in the container that its config.json does not name. 0 or -1 (why). */
int mounts_find(const struct job *job, struct mounts *mounts, char **why);

/* Before a restore: has the host the sources? Make the mount points. 0 or -1 (why). */
int mounts_prepare(const struct mounts *mounts, const char *bundle, const json_t *config,
		   char **why);
void mounts_done(struct mounts *mounts);

/* Is it a path that NVIDIA's toolkit mounts, and that CRIU's configuration can hold? */
bool mounts_is_nvidia(const char *path);

/* --- cuda-runc-image.c: what goes with the image, and to CRIU --- */

struct note {			/* cuda-runc.json in the image's directory */
	size_t suspended;	/* processes */
	struct mounts mounts;
};

/* Make the directory when it is missing: what goes into it comes before the dump. */
int image_make(const char *image_path, char **why);

/* The file that cuda-ckpt records GPU memory in; allocated. */
char *image_record(const char *image_path);

/* 0 or -1 (why). */
int note_write(const char *image_path, const struct note *note, char **why);

/* Has an earlier checkpoint left its note in the directory? */
bool image_has_note(const char *image_path);

/* Take away what is ours in it. */
void image_clear(const char *image_path, bool note, bool record);

/* 1; 0 when there is none; -1 (why). */
int note_read(const char *image_path, struct note *note, char **why);
void note_done(struct note *note);

/* A memory file with CRIU's options, after those of CRIU_CONFIG_FILE. -1 (why) */
int criu_config(const struct note *note, bool restore, char **why);

/* --- cuda-runc-log.c --- */

/*
 * Report an error: as a line in --log, and on stderr unless that is the
 * restored container's and there is a log.
 */
void complain(const struct call *call, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* What the runtime has said in --log since it had that size: allocated, or NULL. */
size_t log_size(const struct call *call);
char *log_error_since(const struct call *call, size_t size);

/* --- cuda-runc-checkpoint.c, cuda-runc-restore.c --- */

int checkpoint_run(struct job *job);	/* exit status */
int restore_run(struct job *job);

/* --- cuda-runc.c --- */

/* Has a signal asked us to stop? Every step's caller looks. */
bool interrupted(void);
void interrupts_ignore(void);	/* what has begun to take back is not stopped */

#endif
