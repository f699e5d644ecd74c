/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "host/setupcheck.h"

/* Find the cards; when that fails, say so and look at the host alone: false. */
static bool choose(struct setup *s, const struct setup_request *asked, struct hostcheck *hc)
{
	struct setup_request all = *asked;
	char *error = NULL;

	all.force = true;
	if (setup_choose(s, &all, &error) < 0) {
		hostcheck_add(hc, HOSTCHECK_FAIL, "cards", error ? error : xstrdup("not found"),
			      xstrdup("gpu-ls lists the cards; name one with --gpu"));
		request_done(&s->request);
		cards_done(&s->cards);
		artifacts_done(&s->artifacts);
		error = NULL;
		/* No card can be missing now; without a PCI bus the list stays empty. */
		if (cards_find(&s->request, &s->cards, &error) < 0)
			free(error);
		return false;
	}
	if (request_is_empty(asked) && !cards_match_record(&s->cards, &s->old.cards, &error))
		hostcheck_add(hc, HOSTCHECK_FAIL, "cards", error,
			      xstrdup("another card than the one that was set up: it stays with the host; vfio-setup apply --gpu, or undo"));
	return true;
}

static void add_changes(const struct setup *s, struct hostcheck *hc)
{
	for (size_t i = 0; i < s->t.to.n; i++) {
		const struct hostfile *f = &s->t.to.f[i];

		if (strcmp(f->path, MANIFEST_PATH) != 0)
			hostcheck_add(hc, HOSTCHECK_TODO, "files",
				      xasprintf("%s: %s", f->path, !f->data ? "to be removed" :
						s->t.from.f[i].data ? "to be changed" : "to be written"),
				      xstrdup("vfio-setup apply (vfio-setup diff shows it)"));
	}
}

static void add_written(const struct setup *s, struct hostcheck *hc)
{
	_cleanup_free_ char *words = xstrdup("");

	for (size_t i = 0; i < s->old.words.n; i++) {
		char *longer = xasprintf("%s%s%s", words, i ? " " : "; in /etc/kernel/cmdline: ",
					 s->old.words.s[i]);

		free(words);
		words = longer;
	}
	hostcheck_add(hc, HOSTCHECK_OK, "files",
		      xasprintf("%zu files as apply wrote them%s", s->next.files.n, words), NULL);
}

void setupcheck_run(struct setup *s, const struct setup_request *asked, struct hostcheck *hc)
{
	struct hostcheck_input in = { &s->cards, &s->artifacts, &s->loader, false };
	bool nothing = request_is_empty(asked) && !s->applied;
	char *error = NULL;
	bool chosen = choose(s, asked, hc);
	int rc = chosen ? setup_plan_apply(s, false, &error) : 0;

	in.applied = chosen && s->applied && rc == 0 && !setup_has_changes(s);
	hostcheck_run(hc, &in);
	if (transaction_is_pending())
		hostcheck_add(hc, HOSTCHECK_TODO, "files", xstrdup("an earlier run did not end"),
			      xstrdup("vfio-setup apply or vfio-setup undo puts back what it did"));
	if (rc < 0)
		hostcheck_add(hc, HOSTCHECK_TODO, "files", error, xstrdup("apply refuses it"));
	else if (!chosen && s->applied)
		hostcheck_add(hc, HOSTCHECK_WARN, "files", xstrdup("what was applied is still there"),
			      xstrdup("vfio-setup undo takes it back"));
	else if (nothing || !chosen)
		hostcheck_add(hc, HOSTCHECK_OK, "files", xstrdup("nothing is applied"), NULL);
	else if (setup_has_changes(s))
		add_changes(s, hc);
	else
		add_written(s, hc);
}
