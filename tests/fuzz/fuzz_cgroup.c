/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of /proc/PID/cgroup. */
#include "fuzz.h"
#include "gpu/cgroup.h"

static bool begins(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0 && s[strlen(prefix)];
}

/* The lines, and an id to look for. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_part(&data, &size), *id = fuzz_part(&data, &size);
	char *owner = cgroup_owner_of_text(text), *slash = strchr(owner, '/');

	FUZZ_MUST(strcmp(owner, "-") == 0 || begins(owner, "qemu/") || begins(owner, "lxc/") ||
		  begins(owner, "docker/") || begins(owner, "podman/") ||
		  begins(owner, "containerd/") || begins(owner, "pod/") ||
		  begins(owner, "unit/"));
	/* One component of a path: what else it says cannot look like another owner. */
	FUZZ_MUST(!slash || (!strchr(slash + 1, '/') && !strchr(owner, '\n')));
	if (begins(owner, "qemu/"))
		FUZZ_MUST(!owner[5 + strspn(owner + 5, "0123456789")]);
	cgroup_text_has_container(text, id);
	free(owner);
	free(text);
	free(id);
	return 0;
}
