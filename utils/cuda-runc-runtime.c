/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which runtime is the real one. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"

#include "cuda-runc.h"

#define NVIDIA "nvidia-container-runtime"
#define MARK "CUDA_RUNC_INNER"
enum { CONFIG_MAX = 1 << 20 };

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool is_self(const char *path)
{
	struct stat st, own;

	return stat(path, &st) == 0 && stat("/proc/self/exe", &own) == 0 &&
	       st.st_dev == own.st_dev && st.st_ino == own.st_ino;
}

/* A program by its name or path; allocated, NULL when there is none. Empty and relative
 * folders of PATH are passed over: the folder we run in is a container's bundle. */
static char *find(const char *name)
{
	const char *env = getenv("PATH");
	const char *path = env && *env ? env : "/usr/sbin:/usr/bin:/sbin:/bin";

	if (strchr(name, '/'))
		return *name == '/' && is_program(name) ? xstrdup(name) : NULL;
	while (*path) {
		size_t len = strcspn(path, ":");
		_cleanup_free_ char *dir = xstrndup(path, len);
		_cleanup_free_ char *file = xasprintf("%s/%s", dir, name);

		if (*dir == '/' && is_program(file))
			return TAKE_PTR(file);
		path += len;
		path += *path == ':';
	}
	return NULL;
}

/* The strings of "runtimes = [...]" below [nvidia-container-runtime], one a call. */
static char *next_string(char **text)
{
	char *p = *text, *end;

	for (; *p && *p != ']'; p++) {
		if (*p == '#')
			p += strcspn(p, "\n");
		if (*p != '"' && *p != '\'')
			continue;
		end = strchr(p + 1, *p);
		if (!end)
			break;
		*end = '\0';
		*text = end + 1;
		return p + 1;
	}
	return NULL;
}

static char *find_runtimes(char *text)
{
	bool inside = false;
	size_t len;

	for (char *line = text; *line; line += len, line += *line == '\n') {
		char *p = line + strspn(line, " \t");

		len = strcspn(line, "\n");
		if (*p == '[')
			inside = strncmp(p, "[" NVIDIA "]", strlen(NVIDIA) + 2) == 0;
		if (!inside || strncmp(p, "runtimes", 8) != 0)
			continue;
		p += 8 + strspn(p + 8, " \t");
		if (*p != '=')
			continue;
		p += 1 + strspn(p + 1, " \t\r\n");
		return *p == '[' ? p + 1 : NULL;
	}
	return NULL;
}

/*
 * Does nvidia-container-runtime call us? It runs the first program of its list that
 * is there. Source: nvidia-container-toolkit, config.toml.
 */
static bool is_below_nvidia(void)
{
	const char *home = getenv("XDG_CONFIG_HOME");
	_cleanup_free_ char *path = NULL, *text = NULL;
	char *list, *name;

	if (home && *home == '/') {
		path = root_path("%s/" NVIDIA "/config.toml", home);
		text = readfile_string(path, CONFIG_MAX);
	}
	if (!text) {
		free(path);
		path = root_path("/etc/" NVIDIA "/config.toml");
		text = readfile_string(path, CONFIG_MAX);
	}
	list = text ? find_runtimes(text) : NULL;
	while (list && (name = next_string(&list))) {
		_cleanup_free_ char *file = find(name);

		if (file)
			return is_self(file);
	}
	return false;
}

static char *find_nvidia(void)
{
	static const char *const places[] = {
		"/usr/bin/" NVIDIA, "/usr/local/nvidia/toolkit/" NVIDIA,
	};
	char *file = find(NVIDIA);

	for (size_t i = 0; (!file || is_self(file)) && i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *place = root_path("%s", places[i]);

		free(file);
		file = find(place);
	}
	if (file && !is_self(file))
		return file;
	free(file);
	return NULL;
}

static bool is_nvidia(const char *file)
{
	return strcmp(strrchr(file, '/') + 1, NVIDIA) == 0;
}

char *runtime_find(bool *inner, char **why)
{
	const char *mark = getenv(MARK), *wanted = getenv("CUDA_RUNC_RUNTIME");
	_cleanup_free_ char *file = NULL;

	*inner = mark && *mark;
	if (*inner && strcmp(mark, "1") != 0) {
		*why = xstrdup("the runtimes call each other in a circle: set "
			       "CUDA_RUNC_RUNTIME to one that does not call cuda-runc");
		return NULL;
	}
	setenv(MARK, *inner ? "2" : "1", 1);
	if (wanted && *wanted) {
		file = find(wanted);
		if (!file || is_self(file)) {
			*why = xasprintf("CUDA_RUNC_RUNTIME: %s: %s", wanted,
					 file ? "that is cuda-runc itself" : "no such program");
			return NULL;
		}
		/* It is what has just called us. */
		if (*inner && is_nvidia(file))
			*file = '\0';
		else
			return TAKE_PTR(file);
	}
	if (!*inner && !is_below_nvidia()) {
		free(file);
		file = find_nvidia();
		if (file)
			return TAKE_PTR(file);
	}
	free(file);
	file = find("runc");
	if (file && !is_self(file))
		return TAKE_PTR(file);
	*why = xstrdup("no runtime: neither " NVIDIA " nor runc is there; "
		       "install runc or set CUDA_RUNC_RUNTIME");
	return NULL;
}
