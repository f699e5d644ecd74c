/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest configs: lines, sections, pending changes, the facts of a guest. */
#include "fuzz.h"
#include "pve/guestfacts.h"
#include "pve/pveconf.h"

static bool keep_all(const struct pveconf_item *item, void *arg)
{
	(void)item;
	(void)arg;
	return true;
}

static void inside(const char *slice, size_t len, const char *text, size_t size)
{
	if (len)
		FUZZ_MUST(slice >= text && slice + len <= text + size);
}

static void check_item(const struct pveconf_item *item, const char *text, size_t size)
{
	FUZZ_MUST(item->line > 0);
	FUZZ_MUST(item->part != PVECONF_IGNORED);
	if (item->part == PVECONF_SNAPSHOT) {
		inside(item->section, item->section_len, text, size);
		FUZZ_MUST(pveconf_is_config_id(item->section, item->section_len));
	}
	if (item->what == PVECONF_HEADER)
		return;
	inside(item->value, item->value_len, text, size);
	if (item->what == PVECONF_SETTING || item->what == PVECONF_RAW) {
		FUZZ_MUST(item->key_len > 0);
		inside(item->key, item->key_len, text, size);
		FUZZ_MUST(!memchr(item->value, '\n', item->value_len));
	}
}

static void check_pick(enum pveconf_rules rules, const char *text, size_t size,
		       enum pveconf_choice choice)
{
	struct pveconf_pick pick = { 0 };

	pveconf_pick(&pick, rules, text, size, choice, "snap", keep_all, NULL);
	for (size_t i = 0; i < pick.n; i++) {
		const struct pveconf_item *item = &pick.items[i];
		unsigned index;

		check_item(item, text, size);
		FUZZ_MUST(item->what != PVECONF_HEADER);
		if (item->what == PVECONF_RAW || item->what == PVECONF_JUNK)
			continue;
		if (pveconf_key_index(item, "dev", 255, &index))
			FUZZ_MUST(index <= 255);
		/* Of a repeated key one counts. */
		for (size_t j = 0; j < i && item->what == PVECONF_SETTING; j++)
			FUZZ_MUST(pick.items[j].what != PVECONF_SETTING ||
				  pick.items[j].part != item->part ||
				  pick.items[j].key_len != item->key_len ||
				  memcmp(pick.items[j].key, item->key, item->key_len) != 0);
	}
	free(pick.items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest guest = { .order = -1, .up = -1, .down = -1 };
	struct pveconf_item item;
	struct pveconf_scan scan;
	enum pveconf_rules rules;
	unsigned long line = 0;
	char *text;

	if (size == 0)
		return 0;
	rules = data[0] & 1 ? PVECONF_LXC : PVECONF_QEMU;
	text = fuzz_string(data + 1, --size);
	pveconf_start(&scan, rules, text, size);
	while (pveconf_next(&scan, &item)) {
		check_item(&item, text, size);
		FUZZ_MUST(item.line > line);
		line = item.line;
	}
	for (int choice = PVECONF_CURRENT; choice <= PVECONF_OF_SNAPSHOT; choice++)
		check_pick(rules, text, size, (enum pveconf_choice)choice);

	guest.id.kind = rules == PVECONF_QEMU ? GUEST_QEMU : GUEST_LXC;
	guestfacts_read(&guest, text, size);
	FUZZ_MUST(guest.order >= -1 && guest.up >= -1 && guest.down >= -1);
	guest_done(&guest);
	free(text);
	return 0;
}
