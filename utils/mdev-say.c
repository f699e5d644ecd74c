/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "mdev-say.h"
#include "pci/parentname.h"

int say_no_parent(const char *text)
{
	_cleanup_free_ char *name = parentname_parse(text), *path = NULL;

	if (!name) {
		say("not the name of a device: %s", text);
		return msg_usage_error();
	}
	path = root_path("/sys/bus/pci/devices/%s", name);
	if (access(path, F_OK) < 0) {
		say("no such parent: %s", name);
		return EX_NOINPUT;
	}
	say("%s offers no vGPUs; see 'mdev-ls --check -p %s'", name, name);
	return EX_UNAVAILABLE;
}

void say_bad_definition(const char *path, const char *why, void *arg)
{
	(void)arg;
	say_warn("%s: %s", path, why);
}
