/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/xalloc.h"
#include "host/cmdline.h"
#include "host/hostcheck-parts.h"

void hostcheck_add(struct hostcheck *hc, enum hostcheck_level level, const char *topic,
		   char *what, char *how)
{
	hc->lines = xgrow(hc->lines, hc->n, &hc->room, sizeof(*hc->lines));
	hc->lines[hc->n++] = (struct hostcheck_line){
		.level = level, .topic = topic, .what = what, .how = how,
	};
}

const char *hostcheck_level_name(enum hostcheck_level level)
{
	static const char *const names[] = {
		[HOSTCHECK_OK] = "ok", [HOSTCHECK_TODO] = "todo",
		[HOSTCHECK_WARN] = "warn", [HOSTCHECK_FAIL] = "fail",
	};

	return names[level];
}

int hostcheck_exit(const struct hostcheck *hc)
{
	int code = EX_OK;

	for (size_t i = 0; i < hc->n; i++) {
		if (hc->lines[i].level == HOSTCHECK_FAIL)
			return EX_UNAVAILABLE;
		if (hc->lines[i].level == HOSTCHECK_TODO)
			code = 1;
	}
	return code;
}

void hostcheck_done(struct hostcheck *hc)
{
	for (size_t i = 0; i < hc->n; i++) {
		free(hc->lines[i].what);
		free(hc->lines[i].how);
	}
	free(hc->lines);
	*hc = (struct hostcheck){ 0 };
}

const char *hostcheck_name(const struct pcidev *dev, char buf[PCIADDR_STRLEN])
{
	return pciaddr_format(&dev->addr, buf);
}

const char *hostcheck_next(const struct hostcheck_input *in)
{
	return in->applied ? "reboot" : "vfio-setup apply, then reboot";
}

void hostcheck_tell(struct hostcheck *hc, enum hostcheck_level level, const char *topic,
		    const char *how, const char *fmt, ...)
{
	va_list args;
	char *what;

	va_start(args, fmt);
	what = xvasprintf(fmt, args);
	va_end(args);
	hostcheck_add(hc, level, topic, what, how ? xstrdup(how) : NULL);
}

/* The loader, and how far each word of the plan has come. */
void hostcheck_boot(struct hostcheck *hc, const struct hostcheck_input *in,
		    const struct hostcheck_facts *facts)
{
	const struct strlist *words = &in->plan->words;

	if (!in->boot)
		return;
	if (!in->boot->grub && !in->boot->cmdline_file)
		hostcheck_tell(hc, words->n ? HOSTCHECK_FAIL : HOSTCHECK_WARN, "boot",
			       "words for the kernel's command line cannot be configured here",
			       "no boot loader that we know");
	else
		hostcheck_tell(hc, in->boot->guessed ? HOSTCHECK_WARN : HOSTCHECK_OK,
			       "boot", NULL, "%s (%s)", in->boot->name,
			       in->boot->evidence);
	for (size_t i = 0; i < words->n; i++) {
		const char *word = words->s[i];
		struct bootword w = { 0 };

		bootloader_word(in->boot, word, &w);
		/* The running kernel's own view counts where the module has no other. */
		w.active = w.active || cmdline_has(facts->cmdline, word);
		if (!w.configured)
			hostcheck_tell(hc, HOSTCHECK_TODO, "boot", "vfio-setup apply",
				       "%s: not configured%s", word,
				       w.active ? ", active only until the next boot" : "");
		else if (w.staged_known && !w.staged)
			hostcheck_tell(hc, HOSTCHECK_TODO, "boot",
				       "vfio-setup apply, or the boot loader's own command",
				       "%s: configured, not in the boot entries", word);
		else if (!w.active)
			hostcheck_tell(hc, HOSTCHECK_TODO, "boot", "reboot",
				       "%s: %s, not active", word,
				       w.staged_known ? "staged" : "configured");
		else
			hostcheck_tell(hc, HOSTCHECK_OK, "boot", NULL, "%s: active",
				       word);
	}
}

/* Words of others that do not do what their users think. */
static void check_words(struct hostcheck *hc, const struct hostcheck_facts *facts)
{
	_cleanup_free_ char *video = cmdline_value(facts->cmdline, "video");

	if (cmdline_has(facts->cmdline, "amd_iommu=on"))
		hostcheck_tell(hc, HOSTCHECK_WARN, "cmdline",
			       "AMD's IOMMU is on by itself; the word can go",
			       "amd_iommu=on means nothing to the kernel");
	if (video && strncmp(video, "efifb:", 6) == 0 && facts->release &&
	    kernel_is_at_least(facts->release, 5, 15))
		hostcheck_tell(hc, HOSTCHECK_WARN, "cmdline",
			       "initcall_blacklist=sysfb_init is the word; this one can go",
			       "video=%s has no effect since Linux 5.15", video);
	if (cmdline_has(facts->cmdline, "nomodeset"))
		hostcheck_tell(hc, HOSTCHECK_WARN, "cmdline",
			       "vfio-pci does not need it; host displays stay slow",
			       "nomodeset keeps every graphics driver from starting");
}

void hostcheck_isolation(struct hostcheck *hc, const struct hostcheck_facts *facts)
{
	_cleanup_free_ char *acs = cmdline_value(facts->cmdline, "pcie_acs_override");
	_cleanup_free_ char *lockdown = root_path("/sys/kernel/security/lockdown");
	_cleanup_free_ char *secure = root_path("/sys/firmware/efi/efivars/SecureBoot-"
						"8be4df61-93ca-11d2-aa0d-00e098032b8c");
	char text[SYSFS_MAX];
	bool is_secure, is_locked;
	int n;

	if (acs)
		hostcheck_tell(hc, HOSTCHECK_WARN, "acs",
			       "IOMMU groups prove no isolation any more: a guest may reach other devices",
			       "pcie_acs_override=%s is active", acs);
	else
		hostcheck_tell(hc, HOSTCHECK_OK, "acs", NULL,
			       "IOMMU groups are the hardware's own");
	/*
	 * Four bytes of attributes, then the value:
	 * Documentation/filesystems/efivarfs.rst.
	 */
	n = sysfs_read(secure, text, sizeof(text));
	is_secure = n == 5 && text[4] == 1;
	is_locked = sysfs_read(lockdown, text, sizeof(text)) > 0 &&
		    !strstr(text, "[none]");
	if (is_secure || is_locked)
		hostcheck_tell(hc, HOSTCHECK_WARN, "secure-boot",
			       "vfio-pci works; modules that nobody signed (vendor-reset, some drivers) do not load",
			       "%s",
			       is_secure ? "Secure Boot is on" : "the kernel is locked down");
	else
		hostcheck_tell(hc, HOSTCHECK_OK, "secure-boot", NULL,
			       "neither Secure Boot nor lockdown is on");
}

void hostcheck_run(struct hostcheck *hc, const struct hostcheck_input *in)
{
	_cleanup_free_ char *path = root_path("/proc/cmdline");
	struct hostcheck_facts facts = { 0 };
	char text[SYSFS_MAX];

	facts.cmdline = xstrdup(sysfs_read(path, text, sizeof(text)) > 0 ? text : "");
	facts.release = kernel_release();
	facts.kmod = kmodconf_open(facts.release);
	hostcheck_iommu(hc, in, &facts);
	hostcheck_drivers(hc, in, &facts);
	hostcheck_display(hc, in, &facts);
	hostcheck_modules(hc, in, &facts);
	hostcheck_boot(hc, in, &facts);
	check_words(hc, &facts);
	hostcheck_bars(hc, in);
	hostcheck_isolation(hc, &facts);
	kmodconf_close(facts.kmod);
	free(facts.release);
	free(facts.cmdline);
}
