/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State file and journal: what is read can be written, and is then the same. */
#include "fuzz.h"
#include "pve/state.h"

static int fd = -1;

static void check_same(const struct state_entry *a, const struct state_entry *b)
{
	FUZZ_MUST(fuzz_same(a->name, b->name) && fuzz_same(a->node, b->node));
	FUZZ_MUST(fuzz_same(a->reason, b->reason) && fuzz_same(a->title, b->title));
	FUZZ_MUST(fuzz_same(a->lock, b->lock));
	FUZZ_MUST(a->is_guest == b->is_guest && a->running == b->running);
	FUZZ_MUST(a->pid == b->pid && a->start_time == b->start_time && a->since == b->since);
	FUZZ_MUST(a->template == b->template && a->has_disk == b->has_disk);
	FUZZ_MUST(a->onboot == b->onboot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *in, *out;
	struct state_file f, g;
	int rc;

	fuzz_file(&fd, "/in", data, size);
	if (!in) {
		in = fuzz_path("/in");
		out = fuzz_path("/out");
	}
	rc = state_read(in, &f);
	FUZZ_MUST(rc == 0 || rc == -EBADMSG);
	for (size_t i = 0; i < f.n; i++) {
		FUZZ_MUST(f.entries[i].name && *f.entries[i].name);
		FUZZ_MUST(f.entries[i].pid >= 0 && f.entries[i].since >= 0);
	}
	if (rc == 0) {
		FUZZ_MUST(state_write(out, &f) == 0);
		FUZZ_MUST(state_read(out, &g) == 0);
		FUZZ_MUST(f.n == g.n && f.time == g.time && f.journal == g.journal);
		FUZZ_MUST(fuzz_same(f.node, g.node));
		FUZZ_MUST(strcmp(f.boot_id, g.boot_id) == 0);
		FUZZ_MUST(f.job_pid == g.job_pid && f.job_start == g.job_start);
		for (size_t i = 0; i < f.n; i++)
			check_same(&f.entries[i], &g.entries[i]);
		state_done(&g);
	}
	state_done(&f);
	return 0;
}
