/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our own configuration. */
#include "base/config.h"
#include "base/configvalue.h"
#include "fuzz.h"

static int fd = -1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *error = NULL;
	struct config c;
	int rc;

	fuzz_file(&fd, "/etc/pve-gpu-utils/pve-gpu-utils.conf", data, size);
	rc = config_load(NULL, &c, &error);
	FUZZ_MUST(rc <= 0 && (rc < 0) == (error != NULL));
	FUZZ_MUST(c.stop_timeout >= 1 && c.stop_timeout <= 86400);
	FUZZ_MUST(c.lookahead <= 1000);
	FUZZ_MUST(c.max_wait >= 1 && c.max_wait <= 10080);
	FUZZ_MUST(*config_restart_name(c.restart));
	for (size_t i = 0; i < c.n_never_stop; i++) {
		FUZZ_MUST(c.never_stop[i] >= 100 && c.never_stop[i] <= 999999999);
		FUZZ_MUST(i == 0 || c.never_stop[i - 1] < c.never_stop[i]);
	}
	for (size_t i = 0; i < c.n_host_services; i++) {
		FUZZ_MUST(configvalue_is_unit(c.host_services[i]));
		FUZZ_MUST(configvalue_has_unit_suffix(c.host_services[i]));
	}
	for (size_t i = 0; i < c.n_groups; i++)
		FUZZ_MUST(c.groups[i].addr && configvalue_is_addr(c.groups[i].addr));
	for (size_t i = 0; i < c.n_cards; i++)
		FUZZ_MUST(c.cards[i].addr && *c.cards[i].rung);
	/* After a mistake nothing of the file counts. */
	if (rc < 0)
		FUZZ_MUST(c.n_never_stop == 0 && c.n_groups == 0 && c.stop_timeout == 180);
	config_done(&c);
	free(error);
	return 0;
}
