/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel command line that gets words and gives them back. */
#include "fuzz.h"
#include "host/cmdline.h"

/* The line, then words; "%%" between. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = fuzz_part(&data, &size), *with, *without;
	struct strlist words = { 0 }, added = { 0 };

	for (int i = 0; size && i < 8; i++) {
		char *word = fuzz_part(&data, &size);

		if (!cmdline_word_error(word))
			strlist_add_new(&words, word);
		free(word);
	}
	with = cmdline_add(line, &words, &added);
	FUZZ_MUST(with || errno == EBADMSG);
	if (with) {
		FUZZ_MUST(added.n <= words.n);
		for (size_t i = 0; i < words.n; i++)
			FUZZ_MUST(cmdline_has(with, words.s[i]));
		FUZZ_MUST(!cmdline_loses_root(line, with));
		without = cmdline_remove(with, &added);
		FUZZ_MUST(without);
		for (size_t i = 0; i < added.n; i++)
			FUZZ_MUST(!cmdline_has(without, added.s[i]));
		/* Of a line of blanks alone one may go with the words. */
		if (line[strspn(line, " \t\r\n\v\f")])
			FUZZ_MUST(strcmp(line, without) == 0);
		free(without);
		free(with);
	}
	free(cmdline_value(line, "vfio-pci.ids"));
	free(cmdline_from_running(line));
	strlist_done(&words);
	strlist_done(&added);
	free(line);
	return 0;
}
