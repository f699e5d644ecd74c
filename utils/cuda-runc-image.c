/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-runc.json beside CRIU's images, and the options that CRIU is given. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/xalloc.h"

#include "cuda-runc.h"

enum { NOTE_VERSION = 1, NOTE_MAX = 1 << 20, CONFIG_MAX = 1 << 20 };

static const char *image_dir(const char *image_path)
{
	/* As the runtimes have it: in the folder they are called in. */
	return image_path && *image_path ? image_path : "checkpoint";
}

static char *note_path(const char *image_path)
{
	return xasprintf("%s/cuda-runc.json", image_dir(image_path));
}

char *image_record(const char *image_path)
{
	return xasprintf("%s/cuda-ckpt.record", image_dir(image_path));
}

int image_make(const char *image_path, char **why)
{
	struct stat st;
	int rc;

	if (stat(image_dir(image_path), &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	rc = atomicfile_mkdir(image_dir(image_path));
	if (rc == 0)
		return 0;
	*why = xasprintf("%s: %s", image_dir(image_path), strerror(-rc));
	return -1;
}

int note_write(const char *image_path, const struct note *note, char **why)
{
	_cleanup_free_ char *path = note_path(image_path), *text = NULL;
	json_t *mounts = json_array(), *json;
	int rc;

	for (size_t i = 0; i < note->mounts.n; i++) {
		const struct handed *m = &note->mounts.list[i];

		json_array_append_new(mounts, json_pack("{s:s, s:s, s:b, s:b}",
			"target", m->target, "source", m->source, "directory", m->is_dir,
			"on_rootfs", m->on_rootfs));
	}
	json = json_pack("{s:i, s:i, s:o}", "version", (int)NOTE_VERSION,
			 "suspended", (int)note->suspended, "mounts", mounts);
	text = xcheck(json ? json_dumps(json, JSON_INDENT(1)) : NULL);
	json_decref(json);
	rc = atomicfile_write(path, text, strlen(text), 0600);
	if (rc < 0)
		*why = xasprintf("%s: %s", path, strerror(-rc));
	return rc < 0 ? -1 : 0;
}

bool image_has_note(const char *image_path)
{
	_cleanup_free_ char *note = note_path(image_path);

	return access(note, F_OK) == 0;
}

void image_clear(const char *image_path, bool note, bool record)
{
	_cleanup_free_ char *note_file = note_path(image_path),
			    *record_file = image_record(image_path);

	if (note)
		unlink(note_file);
	if (record)
		unlink(record_file);
}

static bool parse(const json_t *json, struct note *note)
{
	json_t *mounts = json_object_get(json, "mounts"), *item;
	size_t i;

	if (json_integer_value(json_object_get(json, "version")) != NOTE_VERSION ||
	    json_integer_value(json_object_get(json, "suspended")) < 0 ||
	    !json_is_array(mounts))
		return false;
	note->suspended = (size_t)json_integer_value(json_object_get(json, "suspended"));
	note->mounts.list =
		xcalloc(json_array_size(mounts) + 1, sizeof(*note->mounts.list));
	json_array_foreach(mounts, i, item) {
		const char *target, *source;
		int is_dir, on_rootfs;

		if (json_unpack(item, "{s:s, s:s, s:b, s:b}", "target", &target,
				"source", &source, "directory", &is_dir,
				"on_rootfs", &on_rootfs) < 0 ||
		    !mounts_is_nvidia(target) || !mounts_is_nvidia(source))
			return false;
		note->mounts.list[note->mounts.n++] = (struct handed){
			xstrdup(target), xstrdup(source), is_dir, on_rootfs };
	}
	return true;
}

int note_read(const char *image_path, struct note *note, char **why)
{
	_cleanup_free_ char *path = note_path(image_path), *text = NULL;
	json_t *json;
	bool good;

	*note = (struct note){ 0 };
	text = readfile_string(path, NOTE_MAX);
	if (!text && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!text) {
		*why = xasprintf("%s: %s", path, strerror(errno));
		return -1;
	}
	json = json_loads(text, 0, NULL);
	good = json && parse(json, note);
	json_decref(json);
	if (good)
		return 1;
	note_done(note);
	*why = xasprintf("%s: not a note of this version of cuda-runc", path);
	return -1;
}

void note_done(struct note *note)
{
	mounts_done(&note->mounts);
}

/*
 * Every file of options that is handed over counts before those that the runtime
 * asks for. Source: criu(8), CONFIGURATION FILES.
 */
int criu_config(const struct note *note, bool restore, char **why)
{
	const char *former = getenv("CRIU_CONFIG_FILE");
	_cleanup_free_ char *text =
		former && *former ? readfile_string(former, CONFIG_MAX) : NULL;
	int fd = memfd_create("criu.conf", MFD_CLOEXEC);
	FILE *out = fd < 0 ? NULL : fdopen(dup(fd), "w");

	if (!out) {
		*why = xasprintf("options for CRIU: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (text)
		fprintf(out, "%s\n", text);
	/*
	 * A folder without plugins: CRIU's CUDA plugin would do our stages again, one
	 * process after the other, and its images are not restored without it.
	 */
	if (note->suspended)
		fputs("libdir /run\n", out);
	for (size_t i = 0; i < note->mounts.n; i++) {
		const struct handed *m = &note->mounts.list[i];

		if (restore)
			fprintf(out, "external mnt[cuda-runc-%zu]:%s\n", i, m->source);
		else
			fprintf(out, "external mnt[%s]:cuda-runc-%zu\n", m->target, i);
	}
	if (fclose(out) != 0) {
		*why = xasprintf("options for CRIU: %s", strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}
