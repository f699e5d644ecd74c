/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The argument vector that cuda-runc is called with. */
#include "fuzz.h"

#include "../../utils/cuda-runc.h"

enum { WORDS = 64 };

/* Is it one of the words, or the end of one? */
static bool is_in(const char *s, char *const argv[], int argc)
{
	for (int i = 0; i < argc; i++)
		if (s >= argv[i] && s <= argv[i] + strlen(argv[i]))
			return true;
	return false;
}

/* Words, each ended by LF. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_string(data, size), *copy = fuzz_string(data, size);
	char *rest = text, *argv[WORDS + 1] = { (char *)"cuda-runc" };
	struct call call, again;
	int argc = 1;

	while (argc < WORDS && rest)
		argv[argc++] = strsep(&rest, "\n");
	call_parse(&call, argc, argv);
	FUZZ_MUST(call.argc == argc && call.argv == argv);
	FUZZ_MUST(call.verb >= 1 && call.verb <= argc);
	FUZZ_MUST(!call.id || (is_in(call.id, argv, argc) && call.verb < argc));
	FUZZ_MUST(!call.log || is_in(call.log, argv, argc));
	FUZZ_MUST(!call.image_path || is_in(call.image_path, argv, argc));
	FUZZ_MUST(call.bundle);
	FUZZ_MUST(!(call_is_checkpoint(&call) && call_is_restore(&call)));
	if (call_is_checkpoint(&call) || call_is_restore(&call)) {
		FUZZ_MUST(call.id && *call.id && !call.help && !call.pre_dump);
		/* What is behind the verb does not change what is before it. */
		call_parse(&again, call.verb + 1, argv);
		FUZZ_MUST(again.verb == call.verb && fuzz_same(again.log, call.log));
		FUZZ_MUST(again.log_json == call.log_json && !again.id);
	}
	/* The words go on to the runtime as they came. */
	for (size_t i = 0; i < size; i++)
		FUZZ_MUST(text[i] == copy[i] || copy[i] == '\n');
	free(copy);
	free(text);
	return 0;
}
