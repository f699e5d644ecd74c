/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hold ADDR|UUID - open a function bound to vfio-pci, or a mediated device, as a virtual
 * machine does, print "held", and keep it until killed.
 * Source: Documentation/driver-api/vfio.rst.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char *argv[])
{
	char path[256], link[256];
	int container, group, device;
	ssize_t n;

	if (argc != 2)
		return 64;
	snprintf(path, sizeof(path), "/sys/bus/%s/devices/%s/iommu_group",
		 strlen(argv[1]) == 36 ? "mdev" : "pci", argv[1]);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		die(path);
	link[n] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR);
	if (container < 0)
		die("/dev/vfio/vfio");
	group = open(path, O_RDWR);
	if (group < 0)
		die(path);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0)
		die("VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) < 0)
		die("VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[1]);
	if (device < 0)
		die("VFIO_GROUP_GET_DEVICE_FD");
	printf("held\n");
	fflush(stdout);
	for (;;)
		pause();
}
