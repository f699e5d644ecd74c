/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of an OCI runtime: "runc [GLOBAL...] VERB [OPTION...] ID". */
#include <string.h>

#include "base/cleanup.h"

#include "cuda-runc.h"

/* Options whose value is the next word. Those of runc, crun and youki. */
static const char *const global_values[] = {
	"cgroup-manager", "criu", "log", "log-format", "log-level", "root", "rootless",
};
static const char *const verb_values[] = {
	"b", "bundle", "console-socket", "empty-ns", "image-path", "lsm-mount-context",
	"lsm-profile", "manage-cgroups-mode", "network-lock", "page-server", "parent-path",
	"pid-file", "preserve-fds", "status-fd", "work-path",
};

/* One word: "--name", "--name=value" or, as Go's flags allow, with a single dash. */
struct word {
	const char *name;	/* NULL: no option */
	size_t len;
	const char *value;	/* behind '='; NULL for none */
};

static struct word word_of(const char *arg)
{
	struct word w = { 0 };

	if (arg[0] != '-' || !arg[1])
		return w;
	w.name = arg + (arg[1] == '-' ? 2 : 1);
	w.len = strcspn(w.name, "=");
	if (w.name[w.len] == '=')
		w.value = w.name + w.len + 1;
	return w;
}

static bool is(const struct word *w, const char *name)
{
	return w->name && strlen(name) == w->len && strncmp(w->name, name, w->len) == 0;
}

static bool takes_value(const struct word *w, const char *const names[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is(w, names[i]))
			return !w->value;
	return false;
}

/* Go's boolean flags: "--leave-running=false" is off. */
static bool is_on(const struct word *w)
{
	static const char *const off[] = { "0", "f", "F", "false", "FALSE", "False" };

	for (size_t i = 0; w->value && i < ARRAY_SIZE(off); i++)
		if (strcmp(w->value, off[i]) == 0)
			return false;
	return true;
}

static int parse_globals(struct call *call)
{
	int i;

	for (i = 1; i < call->argc; i++) {
		struct word w = word_of(call->argv[i]);
		const char *value = w.value;

		if (!w.name || w.len == 0)
			break;
		if (takes_value(&w, global_values, ARRAY_SIZE(global_values)))
			value = ++i < call->argc ? call->argv[i] : NULL;
		if (is(&w, "log"))
			call->log = value;
		else if (is(&w, "log-format"))
			call->log_json = value && strcmp(value, "json") == 0;
	}
	/* "--" ends the options; the verb follows it */
	if (i < call->argc && strcmp(call->argv[i], "--") == 0)
		i++;
	return i < call->argc ? i : call->argc;
}

static void parse_verb(struct call *call)
{
	bool options = true;

	for (int i = call->verb + 1; i < call->argc; i++) {
		struct word w = word_of(call->argv[i]);
		const char *value = w.value;

		if (!options || !w.name) {
			call->id = call->argv[i];
			continue;
		}
		if (w.len == 0) {
			options = false;
			continue;
		}
		if (takes_value(&w, verb_values, ARRAY_SIZE(verb_values)))
			value = ++i < call->argc ? call->argv[i] : NULL;
		if (is(&w, "image-path"))
			call->image_path = value;
		else if (value && (is(&w, "bundle") || is(&w, "b")))
			call->bundle = value;
		else if (is(&w, "leave-running"))
			call->leave_running = is_on(&w);
		else if (is(&w, "pre-dump"))
			call->pre_dump = is_on(&w);
		else if (is(&w, "detach") || is(&w, "d"))
			call->detach = is_on(&w);
		else if (is(&w, "help") || is(&w, "h"))
			call->help = true;
	}
}

void call_parse(struct call *call, int argc, char **argv)
{
	*call = (struct call){ .argc = argc, .argv = argv, .bundle = "." };
	call->verb = parse_globals(call);
	if (call->verb < argc)
		parse_verb(call);
}

static bool is_verb(const struct call *call, const char *verb)
{
	return call->verb < call->argc && strcmp(call->argv[call->verb], verb) == 0 &&
	       call->id && *call->id && !call->help && !call->pre_dump;
}

bool call_is_checkpoint(const struct call *call)
{
	return is_verb(call, "checkpoint");
}

bool call_is_restore(const struct call *call)
{
	return is_verb(call, "restore");
}
