/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pve-hostpci-ls - list the PCI functions that VMs are given and hold */
#include "pve/listcmd.h"

static const char usage[] =
	"Usage: pve-hostpci-ls [-0Hjqrv] [-a | -N NODE] [-o LIST] [-R DIR]\n"
	"                      [--section SECTION] [VMID...]\n"
	"List every hostpciN of every VM of this node, resolved to PCI functions.\n\n"
	"  -0, --null           end records with NUL, not newline\n"
	"  -H, --header         begin with the names of the fields\n"
	"  -N, --node=NODE      the VMs of this node of the cluster\n"
	"  -R, --root=DIR       use DIR as the system root\n"
	"  -a, --all            the VMs of all nodes\n"
	"  -j, --json           print one JSON object a line\n"
	"  -o, --output=LIST    print these fields, in this order\n"
	"  -q, --quiet          no warnings\n"
	"  -r, --raw            TAB-separated on a terminal too\n"
	"  -v, --verbose        say which of them run\n"
	"      --section=NAME   effective (default), current, pending, or a snapshot\n"
	"  -h, --help           print this help and exit\n"
	"  -V, --version        print the version and exit\n";

int main(int argc, char *argv[])
{
	static const struct listcmd cmd = { GUEST_QEMU, usage, assignments_qemu };

	return listcmd_main(&cmd, argc, argv);
}
