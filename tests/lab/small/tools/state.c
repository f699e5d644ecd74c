/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state [ADDR...] - what pci-rescan has to leave as it was, a line per function,
 * of all or of those named (with all below them), then whether drivers are probed.
 * Not the places of the BARs, which may move: their sizes and flags.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char devices[] = "/sys/bus/pci/devices";

/* One attribute without its newline; "-" when there is none. */
static const char *attribute(const char *addr, const char *name, char *buf, size_t size)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", devices, addr, name);
	f = fopen(path, "re");
	if (!f)
		return "-";
	if (!fgets(buf, (int)size, f))
		strcpy(buf, "-");
	fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	return *buf ? buf : "(none)";
}

static const char *driver(const char *addr, char *buf, size_t size)
{
	char path[512];
	char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s/driver", devices, addr);
	n = readlink(path, buf, size - 1);
	if (n < 0)
		return "-";
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	return slash ? slash + 1 : buf;
}

static void print_bars(const char *addr)
{
	uint64_t start, end, flags;
	char path[512];
	FILE *f;
	int i = 0;

	snprintf(path, sizeof(path), "%s/%s/resource", devices, addr);
	f = fopen(path, "re");
	if (!f)
		return;
	/* After the seventh a bridge has its windows: they follow what is below. */
	for (; i < 7 && fscanf(f, "%" SCNx64 "%" SCNx64 "%" SCNx64, &start, &end, &flags) == 3; i++)
		if (end)
			printf(" %d:%" PRIx64 "/%" PRIx64 "%s", i, end - start + 1, flags,
			       start ? "" : "(unassigned)");
	fclose(f);
}

/* The header type as the device itself says it now: ff when it is dead. */
static int header_type(const char *addr)
{
	unsigned char header[64];
	char path[512];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/config", devices, addr);
	f = fopen(path, "re");
	if (!f)
		return -1;
	n = fread(header, 1, sizeof(header), f);
	fclose(f);
	return n == sizeof(header) ? header[14] : -1;
}

static void print_function(const char *addr)
{
	static const char *const names[] = {
		"driver_override", "reset_method", "power/control", "d3cold_allowed",
		"msi_bus", "sriov_numvfs", "enable",
	};
	char vendor[64], device[64], class[64], buf[256];

	printf("%s %s:%s %s header %x driver %s", addr,
	       attribute(addr, "vendor", vendor, sizeof(vendor)),
	       attribute(addr, "device", device, sizeof(device)),
	       attribute(addr, "class", class, sizeof(class)), (unsigned)header_type(addr),
	       driver(addr, buf, sizeof(buf)));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		printf(" %s %s", names[i], attribute(addr, names[i], buf, sizeof(buf)));
	printf(" bars");
	print_bars(addr);
	printf("\n");
}

/* Is it one of those named, or below one? */
static int is_wanted(const char *addr, int argc, char **argv)
{
	char path[512], real[4096], part[64];

	if (argc < 2)
		return 1;
	snprintf(path, sizeof(path), "%s/%s", devices, addr);
	if (!realpath(path, real))
		return 0;
	strncat(real, "/", sizeof(real) - strlen(real) - 1);
	for (int i = 1; i < argc; i++) {
		snprintf(part, sizeof(part), "/%s/", argv[i]);
		if (strstr(real, part))
			return 1;
	}
	return 0;
}

int main(int argc, char *argv[])
{
	struct dirent **list;
	char buf[16] = "";
	FILE *f;
	int n;

	n = scandir(devices, &list, NULL, alphasort);
	if (n < 0) {
		perror(devices);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.' && is_wanted(list[i]->d_name, argc, argv))
			print_function(list[i]->d_name);
		free(list[i]);
	}
	free(list);
	f = fopen("/sys/bus/pci/drivers_autoprobe", "re");
	if (!f || !fgets(buf, sizeof(buf), f))
		return 1;
	fclose(f);
	printf("drivers_autoprobe %s", buf);
	return 0;
}
