/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "host/unidiff.h"

/* diff(1) reads files: a folder of our own, which nobody else can reach into. */
static int run_diff(const char *dir, const struct hostfile *from,
		    const struct hostfile *to)
{
	const struct spawn_opts opts = { .pass = true };
	_cleanup_free_ char *old = xasprintf("%s/old", dir),
			    *new = xasprintf("%s/new", dir);
	const char *argv[] = {
		"/usr/bin/diff", "-u", "--text",
		"--label", from->data ? from->path : "/dev/null",
		"--label", to->data ? to->path : "/dev/null", old, new, NULL,
	};
	int rc = atomicfile_write(old, from->data ? from->data : "", from->len, 0600);

	if (rc == 0)
		rc = atomicfile_write(new, to->data ? to->data : "", to->len, 0600);
	if (rc == 0) {
		fflush(stdout);
		rc = spawn_run(argv, &opts);
	}
	unlink(old);
	unlink(new);
	if (rc < 0)
		return rc;
	return rc <= 1 ? 0 : -EIO;
}

int unidiff_print(const struct hostfile *from, const struct hostfile *to)
{
	char dir[] = "/tmp/vfio-setup.XXXXXX";
	int rc;

	if (!mkdtemp(dir))
		return -errno;
	rc = run_diff(dir, from, to);
	rmdir(dir);
	return rc;
}
