/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lxc-gpu-mount: from the wish to the nodes and to what the container is to have. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/spawn.h"
#include "base/xalloc.h"
#include "lxc-gpu-mount.h"
#include "pve/ctgroup.h"

enum { STATUS_MAX = 64 << 20, TIMEOUT = 60 };

static const char service[] = "pve-gpu-nodes.service";

bool complain(const struct job *j, const char *what)
{
	if (j->strict)
		say("%s", what);
	else
		say_warn("%s", what);
	return j->strict;
}

/* ---- style ---- */

/* devN came with pve-container 5.0.7; dpkg's record tells without a fork. */
static bool pve_has_dev(void)
{
	_cleanup_free_ char *path = root_path("/var/lib/dpkg/status"),
			    *text = readfile_string(path, STATUS_MAX), *end = NULL;
	const char *p, *blank, *version;
	unsigned v[3] = { 0 };

	p = text ? strstr(text, "Package: pve-container\n") : NULL;
	if (!p || (p != text && p[-1] != '\n'))
		return false;
	blank = strstr(p, "\n\n");
	end = blank ? xstrndup(p, (size_t)(blank - p)) : xstrdup(p);
	version = strstr(end, "\nVersion: ");
	if (!version || !strstr(end, " ok installed")
	    || sscanf(version, "\nVersion: %u.%u.%u", &v[0], &v[1], &v[2]) < 2)
		return false;
	return v[0] > 5 || (v[0] == 5 && (v[1] > 0 || v[2] >= 7));
}

static void choose_style(struct job *j)
{
	if (j->has_style)
		return;
	j->style = pve_has_dev() ? CTCONF_DEV : CTCONF_MOUNT;
	say_info("lxc/%u: %s", j->ctid, j->style == CTCONF_DEV
		 ? "Proxmox VE's own devN settings"
		 : "lxc.mount.entry lines: this host's pve-container has no devN settings");
}

/* ---- the wish ---- */

static int say_find(int rc, char *why)
{
	_cleanup_free_ char *text = why;

	if (text) {
		say("%s", text);
	} else {
		errno = -rc;
		say_errno("cannot read the GPU nodes");
	}
	return rc == -EINVAL ? EXIT_INPUT : EXIT_HOST;
}

/* The list without GPUs that are not there: they are said, and end a strict run. */
static int drop_missing(const struct job *j, char **list)
{
	_cleanup_free_ char *copy = xstrdup(j->gpu), *out = xstrdup("");
	char *word, *rest = copy;

	while ((word = strsep(&rest, ","))) {
		struct ctnodes nodes;
		char *why = NULL, *more;
		int rc = ctnodes_find(word, &nodes, &why);

		if (rc == -ENOENT) {
			_cleanup_free_ char *text = why;

			if (complain(j, text))
				return EXIT_HOST;
			continue;
		}
		if (rc < 0)
			return say_find(rc, why);
		ctnodes_done(&nodes);
		more = xasprintf("%s%s%s", out, *out ? "," : "", word);
		free(out);
		out = more;
	}
	if (*out == '\0') {
		say("none of these GPUs is there");
		return EXIT_HOST;
	}
	*list = TAKE_PTR(out);
	return 0;
}

static int find_nodes(struct job *j)
{
	char *why = NULL;
	int rc;

	if (!j->list && strcmp(j->gpu, "all") != 0 && strcmp(j->gpu, "none") != 0) {
		rc = drop_missing(j, &j->list);
		if (rc)
			return rc;
	}
	rc = ctnodes_find(j->list ? j->list : j->gpu, &j->nodes, &why);
	return rc < 0 ? say_find(rc, why) : 0;
}

/* ---- nodes that come into being on use ---- */

/* pve-gpu-nodes makes every one of these that the driver offers. */
static bool is_nvidia(const struct ctnode *node)
{
	static const char prefix[] = "/dev/nvidia";

	return strncmp(node->path, prefix, strlen(prefix)) == 0;
}

/* The service makes all of NVIDIA's, also those that the driver's own tools make. */
static bool lacks_nodes(const struct ctnodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++) {
		const struct ctnode *node = &nodes->nodes[i];

		if (is_nvidia(node)
		    && (!node->is_there || (!node->has_number && !node->is_dir)))
			return true;
	}
	return false;
}

static bool needs_service(const struct ctnodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->nodes[i].made_on_use)
			return true;
	return false;
}

static int run(const char *const argv[])
{
	const struct spawn_opts opts = { .timeout = TIMEOUT };
	int rc = spawn_run(argv, &opts);

	say_info("%s %s: %d", argv[0], argv[1], rc);
	return rc;
}

/* They are made now, and by the service at each boot, before guests start. */
static int make_nodes(struct job *j)
{
	static const char program[] = LIBEXECDIR "/pve-gpu-nodes";
	const char *const make[] = { program, "-q", NULL };
	const char *const is_enabled[] = { "/usr/bin/systemctl", "is-enabled", "--quiet",
					   service, NULL };
	const char *const enable[] = { "/usr/bin/systemctl", "enable", "--quiet", service,
				       NULL };

	if (!needs_service(&j->nodes) || j->dry_run || !root_is_host())
		return 0;
	if (spawn_has_systemd() && run(is_enabled) != 0) {
		if (run(enable) == 0)
			say_info("%s will make the nodes at each boot", service);
		else if (complain(j, "pve-gpu-nodes.service cannot be enabled: after a "
				     "boot nodes may be missing"))
			return EXIT_HOST;
	}
	if (!lacks_nodes(&j->nodes))
		return 0;
	run(make);
	/* a driver that was loaded just now has its numbers now */
	ctnodes_done(&j->nodes);
	return find_nodes(j);
}

/* ---- wants ---- */

/* Does any node get its group in the container from us? */
static bool needs_group(const struct job *j, enum ctnode_group group)
{
	for (size_t i = 0; i < j->nodes.n; i++)
		if (j->nodes.nodes[i].group == group)
			return j->style == CTCONF_DEV;
	return false;
}

static int find_groups(const struct job *j, struct ctgroups *groups)
{
	bool render = needs_group(j, CTNODE_RENDER), video = needs_group(j, CTNODE_VIDEO);
	_cleanup_free_ char *what = NULL;
	bool unmounted;
	int rc;

	*groups = (struct ctgroups){ -1, -1 };
	if (!render && !video)
		return 0;
	rc = ctgroups_read(j->ctid, j->facts.rootfs, !j->dry_run, groups, &unmounted);
	if (!unmounted) {
		say("lxc/%u is still mounted: pct unmount %u", j->ctid, j->ctid);
		return EXIT_HOST;
	}
	if (rc == -EAGAIN && j->dry_run) {
		say_warn("lxc/%u is stopped: its group ids are looked up only when it is done",
			 j->ctid);
		return 0;
	}
	if (rc < 0)
		what = xasprintf("lxc/%u: /etc/group: %s: only root can use the nodes in there",
				 j->ctid, strerror(-rc));
	else if ((render && groups->render < 0) || (video && groups->video < 0))
		what = xasprintf("lxc/%u has no group %s: only root can use its nodes in there",
				 j->ctid,
				 render && groups->render < 0 ? "render" : "video");
	return what && complain(j, what) ? EXIT_HOST : 0;
}

/* Can the container be given this node? What stands against it is said. 0: yes. */
static int judge_node(const struct job *j, const struct ctnode *node, bool *fit)
{
	_cleanup_free_ char *what = NULL;
	bool will_be = node->made_on_use && (node->has_number || node->is_dir)
		       && (j->dry_run || !root_is_host());

	*fit = node->is_there || will_be;
	if (!*fit && is_nvidia(node) && j->dry_run && root_is_host()) {
		/* its module is not loaded for a look at what would be done */
		say_warn("%s is not there: it is made first, if the driver can",
			 node->path);
		*fit = j->style == CTCONF_DEV || node->has_number;
		return 0;
	}
	if (!*fit) {
		what = xasprintf("%s is not there%s: left out", node->path,
				 node->made_on_use ? " and cannot be made" : "");
		return complain(j, what) ? EXIT_HOST : 0;
	}
	if (j->style == CTCONF_MOUNT && j->facts.unprivileged
	    && node->group != CTNODE_EVERYBODY) {
		what = xasprintf("%s: an unprivileged container cannot open it this way: use "
				 "--style dev", node->path);
		return complain(j, what) ? EXIT_HOST : 0;
	}
	return 0;
}

/*
 * The folder of the capabilities holds every MIG instance's, and an unprivileged
 * container of Proxmox VE may open what it sees: where instances are given, these alone.
 */
static bool has_capabilities(const struct ctnodes *nodes)
{
	static const char folder[] = "/dev/nvidia-caps/";

	for (size_t i = 0; i < nodes->n; i++)
		if (strncmp(nodes->nodes[i].path, folder, strlen(folder)) == 0)
			return true;
	return false;
}

int wants_find(struct job *j)
{
	struct ctgroups groups;
	bool no_folder;
	int rc;

	choose_style(j);
	rc = find_nodes(j);
	if (rc == 0)
		rc = make_nodes(j);
	if (rc == 0)
		rc = find_groups(j, &groups);
	if (rc)
		return rc;
	no_folder = j->style == CTCONF_DEV || has_capabilities(&j->nodes);
	j->wants = xcalloc(j->nodes.n + 1, sizeof(*j->wants));
	for (size_t i = 0; i < j->nodes.n; i++) {
		const struct ctnode *node = &j->nodes.nodes[i];
		bool fit;

		if (node->is_dir && no_folder)
			continue;
		rc = judge_node(j, node, &fit);
		if (rc)
			return rc;
		if (!fit)
			continue;
		j->wants[j->n_wants++] = (struct ctconf_want){
			.path = node->path, .dest = node->name, .is_dir = node->is_dir,
			.has_number = node->has_number,
			.major = node->major, .minor = node->minor,
			.gid = node->group == CTNODE_RENDER ? groups.render
			       : node->group == CTNODE_VIDEO ? groups.video : -1,
			.mode = node->group == CTNODE_EVERYBODY ? 0666 : 0660,
		};
	}
	if (j->n_wants == 0) {
		say("none of the nodes is there: is the driver loaded?");
		return EXIT_HOST;
	}
	return 0;
}
