/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of a container's config. */
#include "base/cleanup.h"
#include "fuzz.h"
#include "pve/ctconf.h"
#include "pve/pveconf.h"

static const struct ctconf_want all_wants[] = {
	{ .path = "/dev/nvidia0", .has_number = true, .major = 195, .minor = 0, .gid = -1, .mode = 0666 },
	{ .path = "/dev/nvidiactl", .has_number = true, .major = 195, .minor = 255, .gid = -1,
	  .mode = 0666 },
	{ .path = "/dev/nvidia-uvm", .has_number = true, .major = 508, .minor = 0, .gid = 44,
	  .mode = 0660 },
	{ .path = "/dev/dri/renderD128", .has_number = true, .major = 226, .minor = 128, .gid = 104,
	  .mode = 0660 },
	{ .path = "/dev/dri/card0", .dest = "/dev/dri/card9", .has_number = true, .major = 226,
	  .minor = 0, .gid = 44, .mode = 0660 },
	{ .path = "/dev/kfd", .has_number = true, .major = 510, .minor = 0, .gid = -1, .mode = 0666 },
	{ .path = "/dev/nvidia-caps", .is_dir = true, .gid = -1 },
};

static bool change(const char *text, size_t len, enum ctconf_style style,
		   const struct ctconf_want *wants, size_t n, struct ctconf_edit *edit)
{
	int rc = ctconf_change(text, len, style, wants, n, edit);

	FUZZ_MUST(rc == 0 || rc == -ENOSPC || rc == -EFBIG);
	if (rc < 0)
		return false;
	FUZZ_MUST(edit->text && edit->text[edit->len] == '\0');
	for (size_t i = 0; i < edit->n_devs; i++)
		FUZZ_MUST(edit->devs[i].index <= 255);
	FUZZ_MUST(edit->raw_changed == (edit->raw_len != len ||
					memcmp(edit->raw, text, len) != 0));
	return true;
}

static size_t line_length(const char *text, size_t left)
{
	const char *lf = left ? memchr(text, '\n', left) : NULL;

	return lf ? (size_t)(lf - text) + 1 : left;
}

/*
 * Every line of `with` is one of `base`, in its order, or an own one; none of base is gone.
 * A text that ends without LF has got one for the line behind it.
 */
static void check_lines(const char *base, size_t base_len, const char *with, size_t with_len)
{
	bool has_lf = false;

	while (with_len) {
		size_t n = line_length(with, with_len), m = line_length(base, base_len);

		if (m && n == m && memcmp(with, base, n) == 0) {
			base += m;
			base_len -= m;
		} else if (m && n == m + 1 && with[m] == '\n' && memcmp(with, base, m) == 0) {
			base_len = 0;
			has_lf = true;
		} else if (m == 0 && n == 1 && *with == '\n' && !has_lf) {
			has_lf = true;
		} else {
			FUZZ_MUST(ctconf_is_own(with, n));
		}
		with += n;
		with_len -= n;
	}
	FUZZ_MUST(base_len == 0);
}

/* One byte: which nodes; one: the style; the config. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctconf_want wants[ARRAY_SIZE(all_wants)];
	struct ctconf_edit base, with, twice, back;
	struct ctconf_facts facts;
	enum ctconf_style style;
	size_t n = 0;
	char *text;

	if (size < 2)
		return 0;
	style = data[1] & 1 ? CTCONF_MOUNT : CTCONF_DEV;
	for (size_t i = 0; i < ARRAY_SIZE(all_wants); i++)
		if ((data[0] & 1 << i) && !(style == CTCONF_DEV && all_wants[i].is_dir)) {
			wants[n] = all_wants[i];
			if (style == CTCONF_DEV)
				wants[n].dest = NULL;
			n++;
		}
	size -= 2;
	text = fuzz_string(data + 2, size);
	ctconf_facts(text, size, &facts);
	ctconf_facts_done(&facts);
	if (change(text, size, style, NULL, 0, &base)) {
		check_lines(base.text, base.len, text, size);
		if (change(base.text, base.len, style, wants, n, &with)) {
			check_lines(base.text, base.len, with.text, with.len);
			/* A second time it changes nothing. */
			FUZZ_MUST(change(with.text, with.len, style, wants, n, &twice));
			FUZZ_MUST(twice.len == with.len &&
				  memcmp(twice.text, with.text, with.len) == 0);
			FUZZ_MUST(!twice.raw_changed && twice.n_devs == 0);
			ctconf_edit_done(&twice);
			/* Taken away it is as it was. */
			FUZZ_MUST(change(with.text, with.len, style, NULL, 0, &back));
			FUZZ_MUST(back.len == base.len &&
				  memcmp(back.text, base.text, base.len) == 0);
			ctconf_edit_done(&back);
			ctconf_edit_done(&with);
		}
		ctconf_edit_done(&base);
	}
	free(text);
	return 0;
}
