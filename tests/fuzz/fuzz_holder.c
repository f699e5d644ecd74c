/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's command line and PVE's reservations. */
#include "fuzz.h"
#include "pve/holder.h"

static int fd = -1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_string(data, size);
	struct holding *h;
	struct reservation *r;
	size_t n;

	fuzz_file(&fd, "/run/qemu-server/pci-id-reservations", data, size);
	holder_parse_cmdline(text, size, &h, &n);
	for (size_t i = 0; i < n; i++)
		FUZZ_MUST(h[i].hostpci >= -1 && h[i].hostpci < 16);
	holdings_free(h, n);
	FUZZ_MUST(reservations_read(&r, &n) == 0);
	for (size_t i = 0; i < n; i++) {
		FUZZ_MUST(r[i].vmid >= 100 && r[i].vmid <= 999999999);
		FUZZ_MUST((r[i].until < 0) || r[i].pid == 0);
		FUZZ_MUST(i == 0 || pciaddr_compare(&r[i - 1].addr, &r[i].addr) <= 0);
	}
	free(r);
	free(text);
	return 0;
}
