/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "gpu/cgroup.h"

enum {
	FILE_MAX = 1024 * 1024,
	ID_LEN = 64,		/* container ids of docker, podman, CRI: SHA-256 in hex */
	ID_SHORT = 12,		/* what these programs print of them */
};

enum rank {		/* the highest of a path, or of several lines, wins */
	RANK_NONE,
	RANK_UNIT,
	RANK_POD,
	RANK_CONTAINER,
	RANK_GUEST,
};

struct owner {
	enum rank rank;
	char *name;		/* owned */
};

/* Whole component by whole component: never by a part of the path. */
struct path {
	char *text;		/* owned */
	char **part;		/* owned; point into text */
	size_t n;
};

static struct path path_split(const char *start, size_t len)
{
	struct path p = { .text = xstrndup(start, len) };
	size_t room = 0;
	char *save = NULL;

	for (char *s = strtok_r(p.text, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
		p.part = xgrow(p.part, p.n, &room, sizeof(*p.part));
		p.part[p.n++] = s;
	}
	return p;
}

static void path_done(struct path *p)
{
	free(p->text);
	free(p->part);
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool ends_with(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len > n && strcmp(s + len - n, suffix) == 0;
}

static bool is_vmid(const char *s, size_t len)
{
	return len >= 3 && len <= 9 && *s != '0' && strspn(s, "0123456789") >= len;
}

/* A container id of 64 hex digits, with or without ".scope"; NULL when s is none. */
static const char *container_id(const char *s)
{
	size_t len = strspn(s, "0123456789abcdef");

	return len == ID_LEN && (!s[len] || strcmp(s + len, ".scope") == 0) ? s : NULL;
}

static const struct {
	const char *prefix, *kind;
} runtimes[] = {
	{ "docker-", "docker" },
	{ "libpod-payload-", "podman" },
	{ "libpod-", "podman" },
	{ "cri-containerd-", "pod" },
	{ "crio-", "pod" },
};

/* Claim the path for an owner unless one of higher rank has it. */
static void claim(struct owner *owner, enum rank rank, char *name)
{
	if (rank < owner->rank) {
		free(name);
		return;
	}
	free(owner->name);
	owner->rank = rank;
	owner->name = name;
}

/* "pod<uid>" (cgroupfs layout), "kubepods-burstable-pod<uid_>.slice" (systemd's). */
static char *pod_uid(const char *part)
{
	const char *start = NULL;
	size_t len;
	char *uid;

	if (starts_with(part, "pod"))
		start = part + 3;
	else if (strstr(part, "kubepods") && strstr(part, "-pod") &&
		 ends_with(part, ".slice"))
		start = strstr(part, "-pod") + 4;
	if (!start)
		return NULL;
	len = strspn(start, "0123456789abcdef_-");
	if (len < 32 || (start[len] && strcmp(start + len, ".slice") != 0))
		return NULL;
	uid = xstrndup(start, len);
	for (char *c = uid; *c; c++)
		if (*c == '_')
			*c = '-';
	return uid;
}

/* The usual ones: ctr's and nerdctl's, and docker's where it makes no path of its own. */
static bool is_containerd_namespace(const char *part)
{
	return strcmp(part, "default") == 0 || strcmp(part, "moby") == 0;
}

static void claim_container(struct owner *owner, const struct path *p, size_t i,
			    bool in_pod)
{
	const char *part = p->part[i], *before = i ? p->part[i - 1] : "", *id;

	for (size_t k = 0; k < ARRAY_SIZE(runtimes); k++) {
		if (!starts_with(part, runtimes[k].prefix))
			continue;
		id = container_id(part + strlen(runtimes[k].prefix));
		/* In a pod the pod is the owner, named by its uid. */
		if (id && !in_pod)
			claim(owner, RANK_CONTAINER,
			      xasprintf("%s/%.*s", runtimes[k].kind, ID_SHORT, id));
	}
	id = container_id(part);
	if (id && strcmp(before, "docker") == 0)
		claim(owner, RANK_CONTAINER, xasprintf("docker/%.*s", ID_SHORT, id));
	/* "/NAMESPACE/ID": ids of its own clients are any text. */
	if (i == 1 && is_containerd_namespace(before))
		claim(owner, RANK_CONTAINER,
		      xasprintf("containerd/%.*s", id ? ID_SHORT : INT_MAX, part));
}

static void claim_guest(struct owner *owner, const struct path *p, size_t i)
{
	const char *part = p->part[i], *before = i ? p->part[i - 1] : "";
	size_t len = strlen(part);

	if (owner->rank == RANK_GUEST)
		return;		/* the outermost: what is nested in it stops with it */
	/*
	 * At the top only: below a folder of their own users make what names they like.
	 */
	if (i == 1 && strcmp(before, "qemu.slice") == 0 && ends_with(part, ".scope") &&
	    is_vmid(part, len - 6))
		claim(owner, RANK_GUEST, xasprintf("qemu/%.*s", (int)len - 6, part));
	else if (i == 1 && strcmp(before, "lxc") == 0)
		claim(owner, RANK_GUEST, xasprintf("lxc/%s", part));
	else if (i == 0 && starts_with(part, "lxc.payload.") && part[12])
		claim(owner, RANK_GUEST, xasprintf("lxc/%s", part + 12));
}

static void claim_path(struct owner *owner, const char *start, size_t len)
{
	struct path p = path_split(start, len);
	bool in_pod = false, has_unit = false;

	for (size_t i = 0; i < p.n; i++) {
		char *uid = pod_uid(p.part[i]);

		if (uid) {
			in_pod = true;
			claim(owner, RANK_POD, xasprintf("pod/%s", uid));
			free(uid);
		}
		claim_guest(owner, &p, i);
		claim_container(owner, &p, i, in_pod);
		/* The outermost unit is the one that systemctl knows. */
		if (!has_unit && owner->rank <= RANK_UNIT &&
		    (ends_with(p.part[i], ".service") ||
		     ends_with(p.part[i], ".scope"))) {
			has_unit = true;
			claim(owner, RANK_UNIT, xasprintf("unit/%s", p.part[i]));
		}
	}
	path_done(&p);
}

/* Lines are "ID:CONTROLLERS:PATH" (cgroups(7)); *line moves on. NULL at the end. */
static const char *next_path(const char **line, size_t *len)
{
	while (**line) {
		const char *start = *line, *end = start + strcspn(start, "\n"), *path;

		*line = end + (*end == '\n');
		path = memchr(start, ':', (size_t)(end - start));
		if (path)
			path = memchr(path + 1, ':', (size_t)(end - path - 1));
		if (!path)
			continue;
		*len = (size_t)(end - path - 1);
		return path + 1;
	}
	return NULL;
}

char *cgroup_owner_of_text(const char *text)
{
	struct owner owner = { 0 };
	const char *path;
	size_t len;

	while ((path = next_path(&text, &len)))
		claim_path(&owner, path, len);
	return owner.name ? owner.name : xstrdup("-");
}

static char *read_cgroup(pid_t pid)
{
	_cleanup_free_ char *path = root_path("/proc/%d/cgroup", (int)pid);

	return readfile_string(path, FILE_MAX);
}

int cgroup_owner(pid_t pid, char **owner)
{
	_cleanup_free_ char *text = read_cgroup(pid);

	if (!text)
		return errno == ESRCH ? -ENOENT : -errno;
	*owner = cgroup_owner_of_text(text);
	return 0;
}

bool cgroup_text_has_container(const char *text, const char *id)
{
	size_t want = strlen(id), len;
	bool is_short = want >= ID_SHORT && want < ID_LEN &&
			strspn(id, "0123456789abcdef") == want;
	const char *path;
	bool found = false;

	while (!found && (path = next_path(&text, &len))) {
		struct path p = path_split(path, len);

		for (size_t i = 0; i < p.n && !found; i++) {
			const char *part = p.part[i];
			size_t part_len;

			for (size_t k = 0; k < ARRAY_SIZE(runtimes); k++) {
				if (starts_with(part, runtimes[k].prefix) &&
				    container_id(part + strlen(runtimes[k].prefix))) {
					part += strlen(runtimes[k].prefix);
					break;
				}
			}
			part_len = strlen(part) - (ends_with(part, ".scope") ? 6 : 0);
			found = (part_len == want || (is_short && container_id(part))) &&
				strncmp(part, id, want) == 0;
		}
		path_done(&p);
	}
	return found;
}

bool cgroup_is_in_container(pid_t pid, const char *id)
{
	_cleanup_free_ char *text = read_cgroup(pid);

	return text && cgroup_text_has_container(text, id);
}
