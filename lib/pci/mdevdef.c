/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/trust.h"
#include "base/xalloc.h"
#include "pci/mdevdef.h"
#include "pci/parentname.h"

#define MDEVCTL_DIR "/etc/mdevctl.d"
#define OWN_DIR "/etc/pve-gpu-utils/vgpu.d"
#define SWITCH "/etc/pve-gpu-utils/mdev-autostart"

enum { FILE_SIZE_MAX = 256 * 1024 };	/* bytes */

struct list {
	struct mdevdef *defs;	/* owned */
	size_t n, room;
	void (*bad)(const char *path, const char *why, void *arg);
	void *arg;
};

static void tell_bad(const struct list *list, const char *path, const char *why)
{
	if (list->bad)
		list->bad(path, why, list->arg);
}

void mdevdef_add_attr(struct mdevdef *def, const char *name, const char *value)
{
	def->attrs = xreallocarray(def->attrs, def->n_attrs + 1, sizeof(*def->attrs));
	def->attrs[def->n_attrs++] =
		(struct mdevdef_attr){ xstrdup(name), xstrdup(value) };
}

void mdevdef_done(struct mdevdef *def)
{
	for (size_t i = 0; i < def->n_attrs; i++) {
		free(def->attrs[i].name);
		free(def->attrs[i].value);
	}
	free(def->attrs);
	free(def->parent);
	free(def->id);
	free(def->type);
	*def = (struct mdevdef){ 0 };
}

void mdevdef_free(struct mdevdef *defs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mdevdef_done(&defs[i]);
	free(defs);
}

/* An array of objects, each of one string; NULL when it is, else what is wrong. */
static const char *parse_attrs(const json_t *attrs, struct mdevdef *def)
{
	const json_t *entry, *value;
	const char *name;
	size_t i;

	if (!attrs)
		return NULL;
	if (!json_is_array(attrs))
		return "attrs is no array";
	json_array_foreach(attrs, i, entry) {
		if (!json_is_object(entry) || json_object_size(entry) != 1)
			return "an attribute is no object of one key";
		json_object_foreach((json_t *)entry, name, value) {
			if (!json_is_string(value))
				return "an attribute's value is no string";
			if (!*name || *name == '/' || strstr(name, ".."))
				return "an attribute's name leads out of its device";
			mdevdef_add_attr(def, name, json_string_value(value));
		}
	}
	return NULL;
}

static const char *parse_object(const json_t *object, struct mdevdef *def)
{
	const char *type = json_string_value(json_object_get(object, "mdev_type"));
	const char *start = json_string_value(json_object_get(object, "start"));
	const json_t *count = json_object_get(object, "numvfs");

	if (!json_is_object(object))
		return "no JSON object";
	if (!type || !*type)
		return "no mdev_type";
	if (!start || (strcmp(start, "auto") != 0 && strcmp(start, "manual") != 0))
		return "start is neither auto nor manual";
	if (count && (!json_is_integer(count) || json_integer_value(count) < 0 ||
		      json_integer_value(count) > UINT16_MAX))
		return "numvfs is no number of virtual functions";
	def->type = xstrdup(type);
	def->is_auto = strcmp(start, "auto") == 0;
	def->count = count ? (unsigned)json_integer_value(count) : 0;
	return parse_attrs(json_object_get(object, "attrs"), def);
}

int mdevdef_parse(const char *text, size_t len, struct mdevdef *def, const char **why)
{
	json_t *object = json_loadb(text, len, 0, NULL);
	struct mdevdef found = { 0 };

	*why = object ? parse_object(object, &found) : "no JSON";
	json_decref(object);
	if (*why) {
		mdevdef_done(&found);
		return -EINVAL;
	}
	free(def->type);
	for (size_t i = 0; i < def->n_attrs; i++) {
		free(def->attrs[i].name);
		free(def->attrs[i].value);
	}
	free(def->attrs);
	def->type = found.type;
	def->is_auto = found.is_auto;
	def->count = found.count;
	def->attrs = found.attrs;
	def->n_attrs = found.n_attrs;
	return 0;
}

char *mdevdef_text(const struct mdevdef *def)
{
	json_t *object = xcheck(json_object()), *attrs = xcheck(json_array());
	char *text;

	for (size_t i = 0; i < def->n_attrs; i++)
		json_array_append_new(attrs, json_pack("{ss}", def->attrs[i].name,
						       def->attrs[i].value));
	json_object_set_new(object, "mdev_type", json_string(def->type));
	json_object_set_new(object, "start", json_string(def->is_auto ? "auto" : "manual"));
	if (def->backend == VGPU_SRIOV)
		json_object_set_new(object, "numvfs", json_integer(def->count));
	json_object_set_new(object, "attrs", attrs);
	text = xcheck(json_dumps(object, JSON_INDENT(2)));
	json_decref(object);
	return text;
}

/* One file; name is its parent's folder. */
static void read_file(struct list *list, bool is_own, const char *parent,
		      const char *name, const char *path)
{
	struct readfile buf = { 0 };
	char uuid[MDEV_UUID_LEN + 1];
	struct mdevdef def = { 0 };
	const char *why;
	struct pciaddr addr;
	int rc;

	if (is_own ? !pciaddr_parse(name, &addr) : !vgpu_uuid_parse(name, uuid)) {
		tell_bad(list, path, is_own ? "its name is no address" : "its name is no UUID");
		return;
	}
	why = trust_problem(path);
	if (why) {
		tell_bad(list, path, why);
		return;
	}
	rc = readfile_at(AT_FDCWD, path, FILE_SIZE_MAX, &buf);
	if (rc < 0)
		tell_bad(list, path, strerror(-rc));
	else if (mdevdef_parse(buf.data, buf.len, &def, &why) < 0)
		tell_bad(list, path, why);
	else {
		def.parent = xstrdup(parent);
		def.id = xstrdup(is_own ? name : uuid);
		def.backend = !is_own ? VGPU_MDEV :
			      strcmp(def.type, "vf") == 0 ? VGPU_SRIOV : VGPU_NVIDIA;
		list->defs = xgrow(list->defs, list->n, &list->room, sizeof(*list->defs));
		list->defs[list->n++] = def;
	}
	free(buf.data);
}

static int read_parent(struct list *list, bool is_own, const char *parent,
		       const char *folder)
{
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *entry;

	if (!dir)	/* a file is no parent's folder */
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL;

		if (*entry->d_name == '.')
			continue;
		path = xasprintf("%s/%s", folder, entry->d_name);
		read_file(list, is_own, parent, entry->d_name, path);
	}
	return 0;
}

static int read_folder(struct list *list, bool is_own)
{
	_cleanup_free_ char *path = root_path("%s", is_own ? OWN_DIR : MDEVCTL_DIR);
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *entry;
	int rc = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (rc == 0 && (entry = readdir(dir))) {
		_cleanup_free_ char *folder = NULL;

		/* mdevctl's callouts were here once. */
		if (*entry->d_name == '.' || strcmp(entry->d_name, "scripts.d") == 0)
			continue;
		folder = xasprintf("%s/%s", path, entry->d_name);
		rc = read_parent(list, is_own, entry->d_name, folder);
	}
	return rc;
}

static int compare_def(const void *a, const void *b)
{
	const struct mdevdef *x = a, *y = b;
	int order = (x->backend != VGPU_MDEV) - (y->backend != VGPU_MDEV);

	if (!order)
		order = strcmp(x->parent, y->parent);
	return order ? order : strcmp(x->id, y->id);
}

int mdevdef_list(struct mdevdef **defs, size_t *n,
		 void (*bad)(const char *path, const char *why, void *arg), void *arg)
{
	struct list list = { .bad = bad, .arg = arg };
	int rc = read_folder(&list, false);

	if (rc == 0)
		rc = read_folder(&list, true);
	if (rc < 0) {
		mdevdef_free(list.defs, list.n);
		return rc;
	}
	if (list.n)
		qsort(list.defs, list.n, sizeof(*list.defs), compare_def);
	*defs = list.defs;
	*n = list.n;
	return 0;
}

const struct mdevdef *mdevdef_find(const struct mdevdef *defs, size_t n,
				   const char *parent, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(defs[i].id, id) == 0 &&
		    (!parent || strcmp(defs[i].parent, parent) == 0))
			return &defs[i];
	return NULL;
}

static char *folder_of(const struct mdevdef *def)
{
	return root_path("%s/%s", def->backend == VGPU_MDEV ? MDEVCTL_DIR : OWN_DIR,
			 def->parent);
}

char *mdevdef_path(const struct mdevdef *def)
{
	_cleanup_free_ char *folder = folder_of(def);

	return xasprintf("%s/%s", folder, def->id);
}

/* mkdir -p of what is below the root; mdevctl's folders are for all to read. */
static int make_folders(const char *folder)
{
	_cleanup_free_ char *path = xstrdup(folder);

	for (char *slash = strchr(path + strlen(root_dir()) + 1, '/'); ;
	     slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (!slash)
			return 0;
		*slash = '/';
	}
}

int mdevdef_write(const struct mdevdef *def)
{
	_cleanup_free_ char *folder = NULL, *path = NULL, *text = NULL;
	int rc;

	if (!parentname_is_safe(def->parent) || !parentname_is_safe(def->id) ||
	    *def->parent == '.' || *def->id == '.')
		return -EINVAL;
	folder = folder_of(def);
	path = mdevdef_path(def);
	text = mdevdef_text(def);
	rc = make_folders(folder);
	return rc < 0 ? rc : atomicfile_write(path, text, strlen(text), 0644);
}

int mdevdef_remove(const struct mdevdef *def)
{
	_cleanup_free_ char *folder = folder_of(def), *path = mdevdef_path(def);
	int rc = atomicfile_unlink(path);

	/* mdevctl leaves its own. */
	if (rc == 0 && def->backend != VGPU_MDEV)
		rmdir(folder);
	return rc;
}

bool mdevdef_is_started_at_boot(void)
{
	_cleanup_free_ char *path = root_path(SWITCH);

	return access(path, F_OK) == 0;
}

int mdevdef_start_at_boot(bool on)
{
	static const char text[] =
		"# While this file is there, vGPUs that are defined with start: auto are made at boot.\n";
	_cleanup_free_ char *path = root_path(SWITCH), *folder = NULL;
	int rc;

	if (!on) {
		rc = atomicfile_unlink(path);
		return rc == -ENOENT ? 0 : rc;
	}
	folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	rc = make_folders(folder);
	return rc < 0 ? rc : atomicfile_write(path, text, sizeof(text) - 1, 0644);
}
