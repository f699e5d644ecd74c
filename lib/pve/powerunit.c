/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "pve/power.h"
#include "pve/powerunit.h"

enum { SHOW_LIMIT = 5 };	/* s for systemctl show */

/* Where systemd keeps what a transient unit was made of, for as long as it is loaded. */
#define TRANSIENT "/run/systemd/transient"
#define PREFIX "pve-gpu-start-"

char *powerunit_name(const char *what)
{
	/* up to the type; a template instance's name would make ours one too */
	_cleanup_free_ char *first = xasprintf(PREFIX "%.*s", (int)strcspn(what, "."),
					       what);

	for (char *at = first; (at = strchr(at, '@')); )
		*at = '_';
	for (unsigned n = 0; ; n++) {
		char *unit = n ? xasprintf("%s-%u", first, n) : xstrdup(first);
		_cleanup_free_ char *path = xasprintf(TRANSIENT "/%s.service", unit);

		if (access(path, F_OK) < 0)
			return unit;
		free(unit);
	}
}

struct states {
	char *id;		/* owned; of the unit that the lines are about */
	char *live;		/* owned; one that works or is about to, NULL for none */
};

/* systemctl show: Id comes before the others. */
static void read_state(const char *line, void *arg)
{
	struct states *s = arg;
	bool live = false;

	if (strncmp(line, "Id=", 3) == 0) {
		free(s->id);
		s->id = xstrdup(line + 3);
	} else if (strncmp(line, "ActiveState=", 12) == 0) {
		live = strcmp(line + 12, "inactive") != 0
			&& strcmp(line + 12, "failed") != 0;
	} else if (strncmp(line, "Job=", 4) == 0) {
		live = line[4] && strcmp(line + 4, "0") != 0;
	}
	if (live && s->id && !s->live)
		s->live = xstrdup(s->id);
}

static char *without_type(const char *unit)
{
	return xasprintf("%.*s", (int)strcspn(unit, "."), unit);
}

/* names: of the units' files; a file is there before its unit works, and after. */
static char *ask(char *const names[], size_t n)
{
	_cleanup_free_ const char **argv = xcalloc(n + 4, sizeof(*argv));
	struct states s = { 0 };
	struct spawn_opts opts = { .timeout = SHOW_LIMIT, .line = read_state, .arg = &s };
	char *unit = NULL;
	int rc;

	argv[0] = POWER_SYSTEMCTL;
	argv[1] = "show";
	argv[2] = "--property=Id,ActiveState,Job";
	for (size_t i = 0; i < n; i++)
		argv[3 + i] = strrchr(names[i], '/') + 1;
	rc = spawn_run(argv, &opts);
	if (s.live)
		unit = without_type(s.live);
	else if (rc != 0 || !s.id)
		unit = without_type(argv[3]);
	free(s.id);
	free(s.live);
	return unit;
}

char *powerunit_under_way(const char *vmid)
{
	_cleanup_free_ char *first = xasprintf(TRANSIENT "/" PREFIX "%s.service", vmid);
	_cleanup_free_ char *more = xasprintf(TRANSIENT "/" PREFIX "%s-[0-9]*.service",
					      vmid);
	glob_t found = { 0 };
	char *unit = NULL;

	glob(first, 0, NULL, &found);
	glob(more, GLOB_APPEND, NULL, &found);
	if (found.gl_pathc > 0)
		unit = ask(found.gl_pathv, found.gl_pathc);
	globfree(&found);
	return unit;
}
