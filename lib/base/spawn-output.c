/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/spawn-parts.h"
#include "base/xalloc.h"

enum {
	LINE_MAX_LEN = 4096,	/* longer lines are told in pieces */
	READS_MAX = 32,		/* what a pipe holds (64 KiB), and as much again */
};

static void tell(struct spawn *s, bool all)
{
	char *p = s->text, *end, *lf;

	if (!s->len)
		return;
	end = p + s->len;
	while (p < end) {
		lf = memchr(p, '\n', (size_t)(end - p));
		if (!lf && !all && end - p < LINE_MAX_LEN)
			break;
		if (lf)
			*lf = '\0';
		s->opts.line(p, s->opts.arg);
		p = lf ? lf + 1 : end;
	}
	s->len = (size_t)(end - p);
	memmove(s->text, p, s->len);
	s->text[s->len] = '\0';	/* what is told next ends here */
}

void spawn_take_output(struct spawn *s, bool last)
{
	off_t at = 0;
	ssize_t n = -1;

	if (s->out < 0 || (s->memory && !last))
		return;
	/* Who writes faster than we read must not keep us from the time limit. */
	for (int reads = 0; s->memory || reads < READS_MAX; reads++) {
		if (s->room < s->len + LINE_MAX_LEN + 1) {
			s->room = s->len + 2 * (size_t)LINE_MAX_LEN;
			s->text = xreallocarray(s->text, s->room, 1);
		}
		n = s->memory ? pread(s->out, s->text + s->len, LINE_MAX_LEN, at)
			: read(s->out, s->text + s->len, LINE_MAX_LEN);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += n;
		s->len += (size_t)n;
		s->text[s->len] = '\0';
		tell(s, false);
	}
	if (n == 0 || last) {
		tell(s, true);
		close(s->out);
		s->out = -1;
	}
}
