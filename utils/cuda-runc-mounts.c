/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts that NVIDIA's hook makes in a container behind the runtime's back: the
 * runtime names those of config.json to CRIU, of these CRIU has to be told here.
 * Source: criu(8), --external mnt[]; proc_pid_mountinfo(5); libnvidia-container.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/text.h"
#include "base/xalloc.h"

#include "cuda-runc.h"

enum { MOUNTINFO_MAX = 16 << 20, CONFIG_MAX = 16 << 20 };

struct mountline {		/* strings point into the line */
	int id, parent;
	const char *device;	/* "0:25" */
	char *root;
	char *target;
	const char *fstype;
};

/* "\040" and the like. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + s[3] - '0');
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The next line of text, which is cut into words; NULL at the end. */
static char *next_mount(char *text, struct mountline *m)
{
	while (*text) {
		char *line = text, *word, *words[6] = { NULL };
		size_t n = 0;
		bool dash = false;

		text += strcspn(text, "\n");
		if (*text)
			*text++ = '\0';
		m->fstype = NULL;
		while (!m->fstype && (word = strsep(&line, " "))) {
			if (n < ARRAY_SIZE(words))
				words[n++] = word;
			else if (dash)
				m->fstype = word;
			else
				dash = strcmp(word, "-") == 0;
		}
		if (!m->fstype)
			continue;
		m->id = atoi(words[0]);
		m->parent = atoi(words[1]);
		m->device = words[2];
		m->root = words[3];
		m->target = words[4];
		unescape(m->root);
		unescape(m->target);
		return text;
	}
	return NULL;
}

static char *read_mounts(const char *pid, char **why)
{
	_cleanup_free_ char *path = root_path("/proc/%s/mountinfo", pid);
	char *text = readfile_string(path, MOUNTINFO_MAX);

	if (!text)
		*why = xasprintf("%s: %s", path, strerror(errno));
	return text;
}

bool mounts_is_nvidia(const char *path)
{
	static const char *const marks[] = { "nvidia", "libcuda", "libnv", "/gsp_", "/cuda" };

	if (*path != '/' || strstr(path, "/../") || strstr(path, "/./"))
		return false;
	for (const char *p = path; *p; p++)
		if (isspace((unsigned char)*p) || iscntrl((unsigned char)*p) ||
		    (unsigned char)*p >= 0x80 || strchr("\"'\\#[]", *p))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (strstr(path, marks[i]))
			return true;
	return false;
}

/* Where on this host is that directory or file of a file system? Allocated or NULL. */
static char *source_of(const char *host_mounts, const struct mountline *m)
{
	_cleanup_free_ char *text = xstrdup(host_mounts);
	struct mountline h;
	char *next = text;

	while ((next = next_mount(next, &h))) {
		size_t len = strcmp(h.root, "/") == 0 ? 0 : strlen(h.root);
		_cleanup_free_ char *path = NULL, *real = NULL;
		struct stat st;

		if (strcmp(h.device, m->device) != 0 ||
		    strncmp(m->root, h.root, len) != 0 ||
		    (m->root[len] != '/' && m->root[len]))
			continue;
		path = xasprintf("%s%s", strcmp(h.target, "/") == 0 ? "" : h.target,
				 m->root + len);
		real = root_path("%s", path);
		if (lstat(real, &st) == 0)
			return TAKE_PTR(path);
	}
	return NULL;
}

static json_t *read_config(const char *bundle)
{
	_cleanup_free_ char *path = xasprintf("%s/config.json", bundle), *text = NULL;

	text = readfile_string(path, CONFIG_MAX);
	return text ? json_loads(text, 0, NULL) : NULL;
}

/* The runtime names its own mounts to CRIU. */
static bool is_configured(const json_t *config, const char *target)
{
	json_t *mounts = json_object_get(config, "mounts"), *item;
	size_t i;

	json_array_foreach(mounts, i, item) {
		const char *dest = json_string_value(json_object_get(item, "destination"));
		size_t len = dest ? strlen(dest) : 0;

		while (len > 1 && dest[len - 1] == '/')
			len--;
		if (dest && strlen(target) == len && strncmp(dest, target, len) == 0)
			return true;
	}
	return false;
}

static void add(struct mounts *mounts, const struct mountline *m, char *source,
		bool on_rootfs)
{
	_cleanup_free_ char *path = root_path("%s", source);
	struct stat st;

	mounts->list = xreallocarray(mounts->list, mounts->n + 1, sizeof(*mounts->list));
	mounts->list[mounts->n++] = (struct handed){
		.target = xstrdup(m->target),
		.source = source,
		.is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode),
		.on_rootfs = on_rootfs,
	};
}

int mounts_find(const struct job *job, struct mounts *mounts, char **why)
{
	_cleanup_free_ char *pid = xasprintf("%d", (int)job->container.pid);
	_cleanup_free_ char *text = read_mounts(pid, why), *host = NULL;
	json_t *config =
		job->container.bundle ? read_config(job->container.bundle) : NULL;
	struct mountline m;
	char *next = text;
	int rootfs = -1, rc = text ? 0 : -1;

	*mounts = (struct mounts){ 0 };
	while (rc == 0 && (next = next_mount(next, &m))) {
		char *source;

		if (strcmp(m.target, "/") == 0)
			rootfs = m.id;
		/* A whole tmpfs is the container's own: CRIU saves what is in it. */
		if (!mounts_is_nvidia(m.target) || is_configured(config, m.target) ||
		    (strcmp(m.fstype, "tmpfs") == 0 && strcmp(m.root, "/") == 0))
			continue;
		if (!host) {
			host = read_mounts("self", why);
			if (!host) {
				rc = -1;
				break;
			}
		}
		source = source_of(host, &m);
		if (source && mounts_is_nvidia(source)) {
			add(mounts, &m, source, m.parent == rootfs);
			continue;
		}
		*why = xasprintf("%s in the container: its source (%s) is not found on this host",
				 m.target, source ? source : m.root);
		free(source);
		rc = -1;
	}
	json_decref(config);
	if (rc < 0)
		mounts_done(mounts);
	return rc;
}

void mounts_done(struct mounts *mounts)
{
	for (size_t i = 0; i < mounts->n; i++) {
		free(mounts->list[i].target);
		free(mounts->list[i].source);
	}
	free(mounts->list);
	*mounts = (struct mounts){ 0 };
}
