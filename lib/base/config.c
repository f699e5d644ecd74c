/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/configvalue.h"
#include "base/inifile.h"
#include "base/root.h"
#include "base/xalloc.h"

static const char *const sections[] = { "backup", "rescan", "gpu-groups" };

static const char *const restart_names[] = {
	[CONFIG_RESTART_EARLY] = "early",
	[CONFIG_RESTART_LAST] = "last",
	[CONFIG_RESTART_JOB_END] = "job-end",
};

struct loader {
	struct config *cfg;
	uint64_t seen;		/* bit i: keys[i] was met */
};

static bool set_stop_timeout(struct config *cfg, const char *v)
{
	return configvalue_number(v, 1, 86400, &cfg->stop_timeout);
}

static bool set_force_stop(struct config *cfg, const char *v)
{
	return configvalue_bool(v, &cfg->force_stop);
}

static bool set_restart(struct config *cfg, const char *v)
{
	int i;

	if (!configvalue_choice(v, restart_names, ARRAY_SIZE(restart_names), &i))
		return false;
	cfg->restart = (enum config_restart)i;
	return true;
}

static bool set_lookahead(struct config *cfg, const char *v)
{
	return configvalue_number(v, 0, 1000, &cfg->lookahead);
}

static bool set_max_wait(struct config *cfg, const char *v)
{
	return configvalue_number(v, 1, 10080, &cfg->max_wait);
}

static bool set_never_stop(struct config *cfg, const char *v)
{
	return configvalue_add_vmids(v, &cfg->never_stop, &cfg->n_never_stop);
}

static bool set_either(const char *v, const char *no, const char *yes, bool *value)
{
	const char *const names[] = { no, yes };
	int i;

	if (!configvalue_choice(v, names, 2, &i))
		return false;
	*value = i;
	return true;
}

static bool set_host_driver(struct config *cfg, const char *v)
{
	return set_either(v, "leave", "rebind", &cfg->rebind);
}

static bool set_host_services(struct config *cfg, const char *v)
{
	for (;;) {
		_cleanup_free_ char *word = configvalue_next_word(&v);

		if (!word)
			return true;
		if (!configvalue_is_unit(word))
			return false;
		cfg->host_services =
			xreallocarray(cfg->host_services, cfg->n_host_services + 1,
				      sizeof(*cfg->host_services));
		cfg->host_services[cfg->n_host_services++] =
			configvalue_has_unit_suffix(word) ? TAKE_PTR(word)
					      : xasprintf("%s.service", word);
	}
}

static bool set_ha(struct config *cfg, const char *v)
{
	return set_either(v, "refuse", "stop", &cfg->ha_stop);
}

static bool set_boot_restart(struct config *cfg, const char *v)
{
	bool yes;

	if (strcmp(v, "onboot") == 0) {
		cfg->boot_restart = CONFIG_BOOT_ONBOOT;
		return true;
	}
	if (!configvalue_bool(v, &yes))
		return false;
	cfg->boot_restart = yes ? CONFIG_BOOT_YES : CONFIG_BOOT_NO;
	return true;
}

static bool set_rescan_timeout(struct config *cfg, const char *v)
{
	return configvalue_number(v, 1, 3600, &cfg->rescan_timeout);
}

static bool set_on_failure(struct config *cfg, const char *v)
{
	return set_either(v, "start", "abort", &cfg->on_failure_abort);
}

static bool set_post_stop(struct config *cfg, const char *v)
{
	return set_either(v, "keep", "host", &cfg->post_stop_host);
}

static bool set_card(struct config *cfg, const char *v)
{
	static const char *const rungs[] = { "own", "subordinate", "slot", "card" };
	_cleanup_free_ char *addr = configvalue_next_word(&v),
			    *rung = configvalue_next_word(&v),
			    *more = configvalue_next_word(&v);
	struct config_card *card;
	int i;

	if (!addr || !rung || more || !configvalue_is_addr(addr) ||
	    !configvalue_choice(rung, rungs, ARRAY_SIZE(rungs), &i))
		return false;
	cfg->cards = xreallocarray(cfg->cards, cfg->n_cards + 1, sizeof(*cfg->cards));
	card = &cfg->cards[cfg->n_cards++];
	card->addr = TAKE_PTR(addr);
	card->rung = TAKE_PTR(rung);
	return true;
}

/* Several lines for one address make one group: a line holds some 40 VMIDs. */
static bool set_group(struct config *cfg, const char *v)
{
	_cleanup_free_ char *addr = configvalue_next_word(&v);
	struct config_group *group = NULL, fresh = { 0 };

	if (!addr || !configvalue_is_addr(addr) || !v[strspn(v, " \t,")])
		return false;
	for (size_t i = 0; i < cfg->n_groups; i++)
		if (strcasecmp(cfg->groups[i].addr, addr) == 0)
			group = &cfg->groups[i];
	if (group)
		return configvalue_add_vmids(v, &group->vmids, &group->n);
	if (!configvalue_add_vmids(v, &fresh.vmids, &fresh.n))
		return false;
	fresh.addr = TAKE_PTR(addr);
	cfg->groups = xreallocarray(cfg->groups, cfg->n_groups + 1, sizeof(*cfg->groups));
	cfg->groups[cfg->n_groups++] = fresh;
	return true;
}

static const struct key {
	const char *section, *name;
	bool repeats;
	bool (*set)(struct config *cfg, const char *value);
	const char *wants;
} keys[] = {
	{ "backup", "stop-timeout", false, set_stop_timeout, "seconds, 1 to 86400" },
	{ "backup", "force-stop", false, set_force_stop, "yes or no" },
	{ "backup", "restart", false, set_restart, "early, last or job-end" },
	{ "backup", "lookahead", false, set_lookahead, "a number of guests, 0 to 1000" },
	{ "backup", "max-wait", false, set_max_wait, "minutes, 1 to 10080" },
	{ "backup", "never-stop", true, set_never_stop, "a list of guests" },
	{ "backup", "host-driver", false, set_host_driver, "rebind or leave" },
	{ "backup", "host-services", true, set_host_services, "a list of systemd units" },
	{ "backup", "ha", false, set_ha, "refuse or stop" },
	{ "backup", "boot-restart", false, set_boot_restart, "yes, onboot or no" },
	{ "rescan", "timeout", false, set_rescan_timeout, "seconds, 1 to 3600" },
	{ "rescan", "on-failure", false, set_on_failure, "start or abort" },
	{ "rescan", "post-stop", false, set_post_stop, "keep or host" },
	{ "rescan", "card", true, set_card,
	  "an address and own, subordinate, slot or card" },
	{ "gpu-groups", "group", true, set_group, "an address and guests" },
};

static char *take(void *arg, const char *section, const char *name, const char *value)
{
	struct loader *l = arg;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].section, section) != 0 ||
		    strcmp(keys[i].name, name) != 0)
			continue;
		if (l->seen & UINT64_C(1) << i && !keys[i].repeats)
			return xasprintf("'%s' is set a second time", name);
		l->seen |= UINT64_C(1) << i;
		if (!keys[i].set(l->cfg, value))
			return xasprintf("%s: '%s' is not %s", name, value,
					 keys[i].wants);
		return NULL;
	}
	return xasprintf("unknown key '%s' in [%s]", name, section);
}

static void set_defaults(struct config *cfg)
{
	*cfg = (struct config){
		.stop_timeout = 180,
		.restart = CONFIG_RESTART_EARLY,
		.lookahead = 2,
		.max_wait = 15,
		.rebind = true,
		.boot_restart = CONFIG_BOOT_YES,
		.rescan_timeout = 30,
	};
}

int config_load(const char *path, struct config *cfg, char **error)
{
	_cleanup_free_ char *own = NULL;
	struct loader l = { .cfg = cfg };
	int rc;

	set_defaults(cfg);
	if (!path)
		path = own = root_path("/etc/pve-gpu-utils/pve-gpu-utils.conf");
	rc = inifile_read(path, sections, ARRAY_SIZE(sections), take, &l, error);
	if (rc < 0) {
		config_done(cfg);
		set_defaults(cfg);
	}
	return rc;
}

void config_done(struct config *cfg)
{
	free(cfg->never_stop);
	for (size_t i = 0; i < cfg->n_host_services; i++)
		free(cfg->host_services[i]);
	free(cfg->host_services);
	for (size_t i = 0; i < cfg->n_cards; i++) {
		free(cfg->cards[i].addr);
		free(cfg->cards[i].rung);
	}
	free(cfg->cards);
	for (size_t i = 0; i < cfg->n_groups; i++) {
		free(cfg->groups[i].addr);
		free(cfg->groups[i].vmids);
	}
	free(cfg->groups);
	*cfg = (struct config){ 0 };
}

const char *config_restart_name(enum config_restart r)
{
	return restart_names[r];
}
