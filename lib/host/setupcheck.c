/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "host/grubconf.h"
#include "host/hostcheck-parts.h"
#include "host/setupcheck.h"

/* Find the cards; when that fails, say so and look at the host alone: false. */
static bool choose(struct setup *s, const struct setup_request *asked,
		   struct hostcheck *hc)
{
	struct setup_request all = *asked;
	_cleanup_free_ char *error = NULL, *other = NULL;

	all.force = true;
	if (setup_choose(s, &all, &error) < 0) {
		hostcheck_tell(hc, HOSTCHECK_FAIL, "cards",
			       "gpu-ls lists the cards; name one with --gpu", "%s",
			       error ? error : "not found");
		request_done(&s->request);
		cards_done(&s->cards);
		artifacts_done(&s->artifacts);
		/* Without a wish only a host without a PCI bus fails. */
		if (cards_find(&s->request, &s->cards, &other) < 0)
			cards_done(&s->cards);
		return false;
	}
	if (request_is_empty(asked) &&
	    !cards_match_record(&s->cards, &s->old.cards, &other))
		hostcheck_tell(hc, HOSTCHECK_FAIL, "cards",
			       "this card stays with the host: vfio-setup apply --gpu, or undo",
			       "%s", other);
	return true;
}

static void add_changes(const struct setup *s, struct hostcheck *hc)
{
	for (size_t i = 0; i < s->t.to.n; i++) {
		const struct hostfile *from = &s->t.from.f[i], *to = &s->t.to.f[i];
		const char *what = !to->data ? "to be removed" :
				   from->data ? "to be changed" : "to be written";

		if (strcmp(to->path, MANIFEST_PATH) != 0)
			hostcheck_tell(hc, HOSTCHECK_TODO, "files",
				       "vfio-setup apply (vfio-setup diff shows it)",
				       "%s: %s", to->path, what);
	}
}

static void add_written(const struct setup *s, struct hostcheck *hc)
{
	_cleanup_free_ char *words = xstrdup("");

	for (size_t i = 0; i < s->old.words.n; i++) {
		const char *gap = i ? " " : "; in " BOOTLOADER_CMDLINE ": ";
		char *longer = xasprintf("%s%s%s", words, gap, s->old.words.s[i]);

		free(words);
		words = longer;
	}
	hostcheck_tell(hc, HOSTCHECK_OK, "files", NULL, "%zu files as apply wrote them%s",
		       s->next.files.n, words);
}

/* A file of GRUB's that is read after ours and takes no notice of it. */
static void add_reset(const struct setup *s, struct hostcheck *hc)
{
	struct grubconf g;

	if (!s->loader.grub || !s->words.n || grubconf_read(false, &g) < 0)
		return;
	if (g.reset)
		hostcheck_tell(hc, HOSTCHECK_WARN, "boot",
			       "our words are lost there: let it begin with $GRUB_CMDLINE_LINUX_DEFAULT",
			       "%s sets GRUB_CMDLINE_LINUX_DEFAULT anew, after our file",
			       g.reset);
	grubconf_done(&g);
}

/* An EFI system partition that is not there. */
static void add_skipped(const struct bootloader *b, struct hostcheck *hc)
{
	enum hostcheck_level level = b->no_esp ? HOSTCHECK_FAIL : HOSTCHECK_WARN;
	const char *how = b->no_esp ?
		"without an EFI system partition nothing takes effect" :
		"it keeps what it has: mount or replace it, or proxmox-boot-tool clean";

	if (b->skipped)
		hostcheck_tell(hc, level, "boot", how, "proxmox-boot-tool status: %s",
			       b->skipped);
}

void setupcheck_run(struct setup *s, const struct setup_request *asked,
		    struct hostcheck *hc)
{
	struct hostcheck_input in = { &s->cards, &s->artifacts, &s->loader, false };
	bool nothing = request_is_empty(asked) && !s->applied;
	_cleanup_free_ char *error = NULL;
	bool chosen = choose(s, asked, hc);
	int rc = chosen ? setup_plan_apply(s, false, &error) : 0;

	in.applied = chosen && s->applied && rc == 0 && !setup_has_changes(s);
	hostcheck_run(hc, &in);
	add_reset(s, hc);
	add_skipped(&s->loader, hc);
	if (transaction_is_pending())
		hostcheck_tell(hc, HOSTCHECK_TODO, "files",
			       "vfio-setup apply or vfio-setup undo puts back what it did",
			       "an earlier run did not end");
	if (rc < 0)
		hostcheck_tell(hc, HOSTCHECK_TODO, "files", "apply refuses it", "%s",
			       error ? error : "cannot be planned");
	else if (!chosen && s->applied)
		hostcheck_tell(hc, HOSTCHECK_WARN, "files", "vfio-setup undo takes it back",
			       "what was applied is still there");
	else if (nothing || !chosen)
		hostcheck_tell(hc, HOSTCHECK_OK, "files", NULL, "nothing is applied");
	else if (setup_has_changes(s))
		add_changes(s, hc);
	else
		add_written(s, hc);
}
