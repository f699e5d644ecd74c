/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/root.h"
#include "pci/pciconfig.h"

enum {
	STATUS = 0x06, STATUS_HAS_CAPABILITIES = 0x10,
	CLASS_REVISION = 0x08,
	HEADER_TYPE = 0x0e, HEADER_MULTIFUNCTION = 0x80, HEADER_CARDBUS = 2,
	CAPABILITIES = 0x34, CARDBUS_CAPABILITIES = 0x14,
	CAP_EXPRESS = 0x10, EXPRESS_DEVCAP = 4,
	CAP_AF = 0x13, AF_CAP = 3, AF_TP_AND_FLR = 0x03,
	CAPS_MAX = 48,		/* more do not fit: the list is a loop */
};
#define DEVCAP_FLR 0x10000000u

/* Read on up to size bytes; c->len says how far it went. 0 or -errno. */
static int read_up_to(int fd, struct pciconfig *c, size_t size)
{
	ssize_t n;

	do
		n = pread(fd, c->bytes + c->len, size - c->len, (off_t)c->len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	c->len += (size_t)n;
	return 0;
}

int pciconfig_read(const struct pciaddr *addr, struct pciconfig *c)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	char text[PCIADDR_STRLEN];
	int rc;

	c->len = 0;
	path = root_path("/sys/bus/pci/devices/%s/config", pciaddr_format(addr, text));
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* A hung device lets every access run into its timeout: no more than needed. */
	rc = read_up_to(fd, c, 4);
	if (rc == 0 && pciconfig_is_dead(c, false))
		rc = read_up_to(fd, c, CLASS_REVISION + 4);
	if (rc == 0 && !pciconfig_is_dead(c, true) && c->len >= 4)
		rc = read_up_to(fd, c, sizeof(c->bytes));
	if (rc == 0 && c->len < 4)
		rc = -EIO;
	return rc;
}

/* Little-endian, as on the bus; all ones beyond what was read. */
static uint32_t get(const struct pciconfig *c, size_t at, size_t size)
{
	uint32_t v = 0;

	if (at + size > c->len)
		return UINT32_MAX;
	for (size_t i = size; i > 0; i--)
		v = v << 8 | c->bytes[at + i - 1];
	return v;
}

bool pciconfig_is_dead(const struct pciconfig *c, bool is_vf)
{
	if (is_vf && c->len >= CLASS_REVISION + 4)
		return get(c, CLASS_REVISION, 4) == UINT32_MAX;
	return !is_vf && get(c, 0, 4) == UINT32_MAX;
}

int pciconfig_header(const struct pciconfig *c)
{
	return c->len > HEADER_TYPE ? c->bytes[HEADER_TYPE] & ~HEADER_MULTIFUNCTION : -1;
}

bool pciconfig_is_multifunction(const struct pciconfig *c)
{
	return c->len > HEADER_TYPE && c->bytes[HEADER_TYPE] & HEADER_MULTIFUNCTION;
}

/* Place of a capability; 0 when it is not there or was not read. */
static size_t capability(const struct pciconfig *c, uint8_t id)
{
	size_t at = CAPABILITIES;

	if (c->len < 64 || !(c->bytes[STATUS] & STATUS_HAS_CAPABILITIES))
		return 0;
	if (pciconfig_header(c) == HEADER_CARDBUS)
		at = CARDBUS_CAPABILITIES;
	at = c->bytes[at] & ~3u;
	for (int i = 0; i < CAPS_MAX && at >= 0x40 && at + 2 <= c->len; i++) {
		if (c->bytes[at] == id)
			return at;
		at = c->bytes[at + 1] & ~3u;
	}
	return 0;
}

int pciconfig_port_type(const struct pciconfig *c)
{
	size_t at = capability(c, CAP_EXPRESS);

	return at && at + 4 <= c->len ? (int)(get(c, at + 2, 2) >> 4 & 0xf) : -1;
}

bool pciconfig_has_flr(const struct pciconfig *c)
{
	size_t express = capability(c, CAP_EXPRESS), af = capability(c, CAP_AF);

	if (express && express + EXPRESS_DEVCAP + 4 <= c->len &&
	    get(c, express + EXPRESS_DEVCAP, 4) & DEVCAP_FLR)
		return true;
	return af && af + AF_CAP < c->len &&
	       (c->bytes[af + AF_CAP] & AF_TP_AND_FLR) == AF_TP_AND_FLR;
}
