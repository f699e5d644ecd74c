/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cuda-ckpt: what goes on, and what was done */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "cuda-ckpt.h"

static const struct record_field fields[] = {
	{ "pid", RECORD_NUMBER }, { "stage", RECORD_STRING }, { "seconds", RECORD_STRING },
	{ "bytes", RECORD_NUMBER }, { "result", RECORD_STRING },
};

static const struct cudaunit *told_of;
static bool has_line;		/* a line of progress is on the terminal */

void ckpt_tell_of(const struct cudaunit *u)
{
	told_of = u;
}

void ckpt_tell_end(void)
{
	if (has_line)
		fputs("\r\033[K", stderr);
	has_line = false;
}

static bool shows_progress(void)
{
	static int shows = -1;

	if (shows < 0)
		shows = isatty(STDERR_FILENO);
	return shows && msg_level >= 0;
}

static bool is_copy(enum cudaunit_stage stage)
{
	return stage == CUDAUNIT_CHECKPOINT || stage == CUDAUNIT_RESTORE;
}

static uint64_t difference(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void show(enum cudaunit_stage stage, int64_t ms)
{
	uint64_t moved = 0, all = 0;
	size_t done = 0, asked = 0;
	char have[32], want[32];
	double seconds = (double)ms / 1000;

	for (size_t i = 0; i < told_of->n; i++) {
		const struct cudaunit_member *m = &told_of->members[i];

		done += m->stage[stage].done;
		asked += m->stage[stage].done || m->is_asked;
		if (m->stage[stage].done || m->is_asked)
			moved += difference(m->rss, m->rss_start);
		all += m->vram == UINT64_MAX ? 0 : m->vram;
	}
	fprintf(stderr, "\r\033[K%s: %zu of %zu processes", cudaunit_stage_word(stage),
		done, asked);
	if (is_copy(stage) && all)
		fprintf(stderr, ", %s of %s", ckpt_gib(moved, have), ckpt_gib(all, want));
	else if (is_copy(stage))
		fprintf(stderr, ", %s", ckpt_gib(moved, have));
	if (is_copy(stage) && ms > 0)
		fprintf(stderr, ", %.2f GiB/s", (double)moved / (1 << 30) / seconds);
	fflush(stderr);
	has_line = true;
}

void ckpt_tell(enum cudaunit_stage stage, const struct cudaunit_member *m, int64_t ms,
	       void *arg)
{
	if (m && m->error == CUDAUNIT_OK && msg_level >= 1) {
		ckpt_tell_end();
		say_info("%s: %s in %.3f s", ckpt_name(arg, m->pid), cudaunit_stage_word(stage),
			 (double)m->stage[stage].ns / 1e9);
	}
	/* What takes no time is not worth a line. */
	if (!m && ms >= 200 && told_of && shows_progress())
		show(stage, ms);
}

struct record_writer *ckpt_report_new(const struct record_opts *ropts)
{
	return record_stdout(fields, ARRAY_SIZE(fields), ropts);
}

static const char *result_word(const struct cudaunit_member *m, char buf[32])
{
	switch (m->failure.error) {
	case CUDAUNIT_REFUSED:
		snprintf(buf, 32, "error-%d", m->failure.detail);
		return buf;
	case CUDAUNIT_GONE:	return "gone";
	case CUDAUNIT_HUNG:	return "hung";
	case CUDAUNIT_CRASHED:	return "crashed";
	default:		return "failed";
	}
}

void ckpt_report(struct record_writer *w, const struct cudaunit *u)
{
	for (size_t i = 0; i < u->n; i++) {
		const struct cudaunit_member *m = &u->members[i];
		char pid[16], seconds[32], bytes[32], word[32];

		snprintf(pid, sizeof(pid), "%d", (int)m->pid);
		for (enum cudaunit_stage k = 0; k < CUDAUNIT_STAGES; k++) {
			uint64_t n = m->vram == UINT64_MAX ? m->stage[k].bytes : m->vram;

			if (!m->stage[k].done)
				continue;
			snprintf(seconds, sizeof(seconds), "%.6f",
				 (double)m->stage[k].ns / 1e9);
			snprintf(bytes, sizeof(bytes), "%" PRIu64, n);
			record_put(w, (const char *const[]){ pid, cudaunit_stage_word(k),
				   seconds, is_copy(k) && n ? bytes : NULL, "ok" });
		}
		if (m->failure.error)
			record_put(w, (const char *const[]){ pid,
				   cudaunit_stage_word(m->failure.at), NULL, NULL,
				   result_word(m, word) });
	}
}
