/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libkmod.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "host/kmodconf.h"

struct kmodconf {
	struct kmod_ctx *ctx;
};

static void on_log(void *data, int priority, const char *file, int line, const char *fn,
		   const char *format, va_list args)
{
	(void)data;
	(void)priority;
	(void)file;
	(void)line;
	(void)fn;
	(void)format;
	(void)args;
}

struct kmodconf *kmodconf_open(const char *release)
{
	static const char *const folders[] = {
		"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d",
		"/usr/lib/modprobe.d", "/lib/modprobe.d",
	};
	_cleanup_free_ char *own = release ? NULL : kernel_release(), *dir = NULL,
			    *index = NULL;
	const char *paths[ARRAY_SIZE(folders) + 1] = { NULL };
	struct kmodconf *k;

	if (!release && !own) {
		errno = ENOENT;
		return NULL;
	}
	dir = root_path("/lib/modules/%s", release ? release : own);
	index = xasprintf("%s/modules.dep.bin", dir);
	if (access(index, R_OK) < 0)
		return NULL;
	k = xcalloc(1, sizeof(*k));
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		paths[i] = root_path("%s", folders[i]);
	k->ctx = xcheck(kmod_new(dir, paths));
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		free((void *)(uintptr_t)paths[i]);
	kmod_set_log_fn(k->ctx, on_log, NULL);
	kmod_load_resources(k->ctx);
	return k;
}

void kmodconf_close(struct kmodconf *k)
{
	if (!k)
		return;
	kmod_unref(k->ctx);
	free(k);
}

/* A name as libkmod has it: with '_', allocated. */
static char *normal_name(const char *name)
{
	char *normal = xstrdup(name);

	for (char *c = normal; *c; c++)
		if (*c == '-')
			*c = '_';
	return normal;
}

bool kmodconf_same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
			return false;
	return *a == *b;
}

/* "vfio_pci", and its variants such as "mlx5_vfio_pci", take nothing by themselves. */
static bool is_vfio(const char *name)
{
	static const char tail[] = "_vfio_pci";
	size_t len = strlen(name), n = sizeof(tail) - 1;

	return strncmp(name, "vfio", 4) == 0 ||
	       (len > n && strcmp(name + len - n, tail) == 0);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void kmodconf_claimants(struct kmodconf *k, const char *modalias, struct strlist *names)
{
	struct kmod_list *list = NULL, *entry;

	if (kmod_module_new_from_lookup(k->ctx, modalias, &list) < 0)
		return;
	kmod_list_foreach(entry, list) {
		struct kmod_module *mod = kmod_module_get_module(entry);
		_cleanup_free_ char *name = normal_name(kmod_module_get_name(mod));

		if (!is_vfio(name))
			strlist_add_new(names, name);
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	if (names->s)
		qsort(names->s, names->n, sizeof(*names->s), compare_names);
}

/* The modules of a name; NULL without any. */
static struct kmod_list *look_up(struct kmodconf *k, const char *module)
{
	_cleanup_free_ char *name = normal_name(module);
	struct kmod_list *list = NULL;

	return kmod_module_new_from_lookup(k->ctx, name, &list) < 0 ? NULL : list;
}

bool kmodconf_exists(struct kmodconf *k, const char *module)
{
	struct kmod_list *list = look_up(k, module);

	kmod_module_unref_list(list);
	return list != NULL;
}

bool kmodconf_is_builtin(struct kmodconf *k, const char *module)
{
	struct kmod_list *list = look_up(k, module), *rest = NULL;
	bool builtin = list && kmod_module_apply_filter(k->ctx, KMOD_FILTER_BUILTIN, list,
							&rest) == 0 && !rest;

	kmod_module_unref_list(rest);
	kmod_module_unref_list(list);
	return builtin;
}

/* Does an entry's key mean the module? Keys of softdeps may be patterns. */
static bool is_for(struct kmod_config_iter *iter, const char *name)
{
	_cleanup_free_ char *key = normal_name(kmod_config_iter_get_key(iter));

	return fnmatch(key, name, 0) == 0;
}

static bool is_refused(const char *command)
{
	static const char *const idle[] = {
		"/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true",
		"false", "true", ":",
	};

	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		if (strcmp(command, idle[i]) == 0)
			return true;
	return false;
}

bool kmodconf_is_blacklisted(struct kmodconf *k, const char *module)
{
	_cleanup_free_ char *name = normal_name(module);
	struct kmod_config_iter *iter = kmod_config_get_blacklists(k->ctx);
	bool found = false;

	while (iter && !found && kmod_config_iter_next(iter))
		found = kmodconf_same_name(kmod_config_iter_get_key(iter), name);
	kmod_config_iter_free_iter(iter);
	iter = kmod_config_get_install_commands(k->ctx);
	while (iter && !found && kmod_config_iter_next(iter))
		found = is_for(iter, name) &&
			is_refused(kmod_config_iter_get_value(iter));
	kmod_config_iter_free_iter(iter);
	return found;
}

/* Is before among the words after "pre:", up to "post:"? */
static bool names_pre(const char *softdep, const char *before)
{
	const char *pre = strstr(softdep, "pre:");
	_cleanup_free_ char *copy = pre ? xstrdup(pre + strlen("pre:")) : NULL;
	char *rest = copy, *post = copy ? strstr(copy, "post:") : NULL, *word;

	/* libkmod 30 leaves out the blank before "post:". */
	if (post)
		*post = '\0';
	while (rest && (word = strsep(&rest, " \t")))
		if (kmodconf_same_name(word, before))
			return true;
	return false;
}

bool kmodconf_has_pre(struct kmodconf *k, const char *module, const char *before)
{
	_cleanup_free_ char *name = normal_name(module);
	struct kmod_config_iter *iter = kmod_config_get_softdeps(k->ctx);
	bool found = false;

	while (iter && !found && kmod_config_iter_next(iter))
		found = is_for(iter, name) &&
			names_pre(kmod_config_iter_get_value(iter), before);
	kmod_config_iter_free_iter(iter);
	return found;
}

char *kmodconf_options(struct kmodconf *k, const char *module)
{
	struct kmod_config_iter *iter = kmod_config_get_options(k->ctx);
	char *all = NULL;

	while (iter && kmod_config_iter_next(iter)) {
		char *longer;

		if (!kmodconf_same_name(kmod_config_iter_get_key(iter), module))
			continue;
		longer = all ? xasprintf("%s %s", all, kmod_config_iter_get_value(iter)) :
			       xstrdup(kmod_config_iter_get_value(iter));
		free(all);
		all = longer;
	}
	kmod_config_iter_free_iter(iter);
	return all;
}
