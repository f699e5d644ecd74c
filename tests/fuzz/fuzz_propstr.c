/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Property strings, by the schema of hostpciN. */
#include "fuzz.h"
#include "pve/hostpci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *values[32], *again[32];
	char *text = fuzz_string(data, size), *joined = NULL, *why = NULL;
	struct hostpci h;
	size_t len = 0;
	FILE *out;

	FUZZ_MUST(hostpci_schema.n <= 32);
	if (!propstr_parse(&hostpci_schema, text, size, values, &why)) {
		FUZZ_MUST(why && *why);
		free(why);
		free(text);
		return 0;
	}
	FUZZ_MUST(!why);
	/* Written with all keys, it says the same. */
	out = xcheck(open_memstream(&joined, &len));
	for (size_t i = 0; i < hostpci_schema.n; i++) {
		if (!values[i])
			continue;
		FUZZ_MUST(values[i] >= text && values[i] < text + size);
		FUZZ_MUST(*values[i] && !strchr(values[i], ','));
		fprintf(out, ",%s=%s", hostpci_schema.keys[i].name, values[i]);
	}
	FUZZ_MUST(fclose(out) == 0);
	FUZZ_MUST(propstr_parse(&hostpci_schema, joined, len, again, &why));
	for (size_t i = 0; i < hostpci_schema.n; i++)
		FUZZ_MUST(fuzz_same(values[i], again[i]));
	free(joined);
	free(text);

	text = fuzz_string(data, size);
	if (hostpci_parse(text, size, &h, &why))
		FUZZ_MUST(fuzz_same(h.mapping, h.mapping));
	else
		free(why);
	free(text);
	return 0;
}
