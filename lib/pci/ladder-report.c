/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a climb did, for people and for programs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "pci/ladder.h"

static void put_string(FILE *out, const char *name, const char *text)
{
	fprintf(out, ",\"%s\":", name);
	if (text)
		text_put_json(out, text);
	else
		fputs("null", out);
}

/* Milliseconds with three digits after the point, in any locale. */
static void put_ms(FILE *out, const char *name, int64_t us)
{
	fprintf(out, ",\"%s\":%lld.%03lld", name, (long long)us / 1000,
		(long long)us % 1000);
}

static void begin(FILE *out, const char *type, const struct ladder_card *card)
{
	char addr[PCIADDR_STRLEN];

	fprintf(out, "{\"type\":\"%s\"", type);
	put_string(out, "addr", pciaddr_format(&card->named[0], addr));
}

static void put_write(FILE *out, const struct ladder_card *card, const char *step,
		      const struct timedwrite *w)
{
	begin(out, "write", card);
	put_string(out, "step", step);
	put_string(out, "path", w->path);
	put_string(out, "value", w->value);
	put_ms(out, "ms", w->us);
	fprintf(out, ",\"errno\":%d", -w->result);
	put_string(out, "error", w->result ? strerror(-w->result) : NULL);
	if (w->left)
		fprintf(out, ",\"left\":%d}\n", (int)w->left);
	else
		fputs(",\"left\":null}\n", out);
}

void ladder_report_step(FILE *out, const struct ladder *l, const struct ladder_card *card,
			const struct ladder_step *step)
{
	int64_t writes = 0;

	for (size_t i = 0; i < step->n_writes; i++) {
		const struct timedwrite *w = &l->writer.done[step->first_write + i];

		put_write(out, card, step->name, w);
		writes += w->us;
	}
	begin(out, "step", card);
	put_string(out, "step", step->name);
	fprintf(out, ",\"ok\":%s", step->is_good ? "true" : "false");
	put_string(out, "text", step->text);
	put_ms(out, "writes_ms", writes);
	put_ms(out, "ms", step->us);
	fputs("}\n", out);
}

void ladder_report_result(FILE *out, const struct ladder_card *card,
			  enum ladder_rung rung, const char *verdict, int code,
			  int64_t writes, int64_t us)
{
	begin(out, "result", card);
	put_string(out, "rung", rung < LADDER_RUNGS ? ladder_rung_name(rung) : NULL);
	put_string(out, "verdict", verdict);
	fprintf(out, ",\"exit\":%d", code);
	put_ms(out, "writes_ms", writes);
	put_ms(out, "ms", us);
	fputs("}\n", out);
}

void ladder_show_step(FILE *out, const struct ladder_card *card,
		      const struct ladder_step *step)
{
	char addr[PCIADDR_STRLEN];

	fprintf(out, "%-12s  %-11s  %8lld.%01lld ms  ",
		pciaddr_format(&card->named[0], addr), step->name,
		(long long)step->us / 1000, (long long)step->us % 1000 / 100);
	text_put_shown(out, step->text ? step->text : "ok");
	putc('\n', out);
}
