/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/xalloc.h"
#include "bench/exact.h"
#include "pve/contention.h"

#define FN(b, s, f)	{ .bus = b, .slot = s, .func = f }

static char nvidia[] = "nvidia", amdgpu[] = "amdgpu", vfio[] = "vfio-pci";

/*
 * 01: a card with audio in group 14, at the host's driver. 02: a card in group 15,
 * 03: another in the same group. 41: a PF with two VFs. 82,
 	83: mdev parents. 84: a vGPU VF.
 */
static const struct pcidev devs[] = {
	{ .addr = FN(0x00, 1, 0), .iommu_group = 15, .is_bridge = true },
	{ .addr = FN(0x01, 0, 0), .iommu_group = 14, .driver = nvidia },
	{ .addr = FN(0x01, 0, 1), .iommu_group = 14 },
	{ .addr = FN(0x02, 0, 0), .iommu_group = 15, .driver = vfio },
	{ .addr = FN(0x03, 0, 0), .iommu_group = 15, .driver = amdgpu },
	{ .addr = FN(0x04, 0, 0), .iommu_group = 16 },
	{ .addr = FN(0x05, 0, 0), .iommu_group = 17 },
	{ .addr = FN(0x06, 0, 0), .iommu_group = -1 },
	{ .addr = FN(0x07, 0, 0), .iommu_group = -1 },
	{ .addr = FN(0x41, 0, 0), .iommu_group = 30 },
	{ .addr = FN(0x41, 0, 1), .iommu_group = 31, .is_vf = true, .physfn = FN(0x41, 0,
		0) },
	{ .addr = FN(0x41, 0, 2), .iommu_group = 32, .is_vf = true, .physfn = FN(0x41, 0,
		0) },
	{ .addr = FN(0x82, 0, 0), .iommu_group = 40, .driver = nvidia, .has_mdev = true },
	{ .addr = FN(0x83, 0, 0), .iommu_group = 41, .driver = nvidia, .has_mdev = true },
	{ .addr = FN(0x84, 0, 4), .iommu_group = 42, .driver = nvidia, .has_mdev = true },
};

static const struct pciaddr vgpus[] = { FN(0x84, 0, 4) };

static char n63[] = "nvidia-63", n64[] = "nvidia-64", gvt[] = "i915-GVTg_V5_4";

/* 82 holds 2 x 63 or 4 x 64, one size at a time; what is available is set per test. */
static struct mdev_type types[] = {
	{ .parent = FN(0x82, 0, 0), .type = n63, .available = 0, .max_instance = 2,
		.framebuffer = 12288,
	  .one_size = true },
	{ .parent = FN(0x82, 0, 0), .type = n64, .available = 0, .max_instance = 4,
		.framebuffer = 6144,
	  .one_size = true },
	{ .parent = FN(0x83, 0, 0), .type = gvt, .available = 0, .max_instance = -1,
		.framebuffer = -1 },
};

static char *services[] = { (char []){ "ollama.service" } };
static const struct contention_host_user ollama = { FN(0x01, 0, 0), 4711, "ollama",
						    "ollama.service" };
static const struct contention_host_user xorg = { FN(0x01, 0, 0), 812, "Xorg", NULL };

struct scene {
	struct contention_input in;
	struct config cfg;
	struct contention *c;
	struct assignment *a;
	size_t n;
};

/* "qemu/100 hostpci0 0 0000:01:00.0 - - running pve1 ok cmdline\n": blanks for tabs. */
static void set_up(struct scene *s, const char *records)
{
	_cleanup_free_ char *text = xstrdup(records);
	_cleanup_fclose_ FILE *in = NULL;

	for (char *p = text; *p; p++)
		if (*p == ' ')
			*p = '\t';
	in = *text ? fmemopen(text, strlen(text), "r") : fopen("/dev/null", "r");
	ck_assert_int_eq(assignments_read(in, "test", false, &s->a, &s->n), 0);
	s->in.assignments = s->a;
	s->in.n_assignments = s->n;
	s->in.devs = devs;
	s->in.n_devs = ARRAY_SIZE(devs);
	s->in.types = types;
	s->in.n_types = ARRAY_SIZE(types);
	s->in.vgpus = vgpus;
	s->in.n_vgpus = ARRAY_SIZE(vgpus);
	s->in.config = &s->cfg;
	s->in.node = "pve1";
	s->c = contention_new(&s->in);
}

static void tear_down(struct scene *s)
{
	contention_free(s->c);
	assignments_free(s->a, s->n);
}

static struct guest_id guest(const char *name)
{
	struct guest_id id = { 0 };

	ck_assert_msg(guest_parse(name, &id), "%s", name);
	return id;
}

/* "stop qemu/101 0000:01:00.0 function;" or "free", "never: why", "host: why" */
static char *plan_text(const struct contention *c, const char *x)
{
	struct contention_plan p;
	char *text;

	ck_assert_int_eq(contention_plan(c, guest(x), &p), 0);
	if (p.verdict == CONTENTION_NEVER || p.verdict == CONTENTION_HOST) {
		ck_assert_ptr_nonnull(p.why);
		text = xasprintf("%s: %s",
				 p.verdict == CONTENTION_HOST ? "host" : "never", p.why);
		ck_assert_uint_eq(p.n, 0);
		contention_plan_done(&p);
		return text;
	}
	text = xstrdup(p.n > 0 ? "stop" : "free");
	ck_assert_int_eq(p.verdict, p.n > 0 ? CONTENTION_STOP : CONTENTION_FREE);
	for (size_t i = 0; i < p.n; i++) {
		char name[GUEST_STRLEN], *longer;
		_cleanup_free_ char *kinds = contention_kinds_format(p.stops[i].kinds);

		longer =
			xasprintf("%s %s", text,
				  p.stops[i].unit ? p.stops[i].unit
						  : guest_format(p.stops[i].guest, name));
		free(text);
		text = longer;
		for (size_t k = 0; k < p.stops[i].n_addrs; k++) {
			char addr[PCIADDR_STRLEN];

			longer =
				xasprintf("%s %s", text,
					  pciaddr_format(&p.stops[i].addrs[k], addr) + 5);
			free(text);
			text = longer;
		}
		longer = xasprintf("%s %s;", text, kinds);
		free(text);
		text = longer;
	}
	contention_plan_done(&p);
	return text;
}

#define VM(n, key, alt, addr, type, map, state, held) \
	"qemu/" n " " key " " alt " 0000:" addr " " type " " map " " state \
	" pve1 ok " held "\n"
#define RUNS(n, addr)	VM(n, "hostpci0", "0", addr, "-", "-", "running", "cmdline")
#define OFF(n, addr)	VM(n, "hostpci0", "0", addr, "-", "-", "stopped", "-")
#define CT(n, addr)	"lxc/" n " dev0 0 0000:" addr " - - running pve1 ok config\n"
#define POOL(n, state, h4, h5, h6) \
	VM(n, "hostpci0", "0", "04:00.0", "-", "pool", state, h4) \
	VM(n, "hostpci0", "1", "05:00.0", "-", "pool", state, h5) \
	VM(n, "hostpci0", "2", "06:00.0", "-", "pool", state, h6)
#define MDEV(n, key, type, state, held)	VM(n, key, "0", "82:00.0", type, "-", state, held)

static const struct {
	const char *what, *records, *x, *want;
	int available63, available64;
	uint32_t never, declared[2];
	const struct contention_host_user *user;
	bool service;
} plans[] = {
	{ "nobody", OFF("100", "02:00.0"), "qemu/100", "free", 0, 0, 0, { 0 }, NULL,
	  false },
	{ "a running one has its devices", RUNS("100", "02:00.0") RUNS("101", "02:00.0"),
	  "qemu/100",
	  "free", 0, 0, 0, { 0 }, NULL, false },
	{ "function", RUNS("101", "04:00.0") OFF("100", "04:00.0"), "qemu/100",
	  "stop qemu/101 04:00.0 function;", 0, 0, 0, { 0 }, NULL, false },
	{ "function, said twice", RUNS("101", "04:00.0") RUNS("101", "04:00.0") OFF("100",
	  "04:00.0"),
	  "qemu/100", "stop qemu/101 04:00.0 function;", 0, 0, 0, { 0 }, NULL, false },
	{ "off guests are in nobody's way", OFF("101", "04:00.0") OFF("100", "04:00.0"),
	  "qemu/100", "free",
	  0, 0, 0, { 0 }, NULL, false },
	{ "IOMMU group", RUNS("101", "03:00.0") OFF("100", "02:00.0"), "qemu/100",
	  "stop qemu/101 03:00.0 iommu-group;", 0, 0, 0, { 0 }, NULL, false },
	{ "a bridge is of no group", RUNS("101", "00:01.0") OFF("100", "02:00.0"),
	  "qemu/100", "free",
	  0, 0, 0, { 0 }, NULL, false },
	{ "no IOMMU group at all", RUNS("101", "06:00.0") OFF("100", "07:00.0"),
	  "qemu/100", "free",
	  0, 0, 0, { 0 }, NULL, false },
	{ "a VF while the PF is away", RUNS("101", "41:00.0") OFF("100", "41:00.1"),
	  "qemu/100",
	  "stop qemu/101 41:00.0 pf-vf;", 0, 0, 0, { 0 }, NULL, false },
	{ "the PF while VFs are used", RUNS("101", "41:00.1") RUNS("102", "41:00.2")
	  OFF("100", "41:00.0"),
	  "qemu/100", "stop qemu/101 41:00.1 pf-vf; qemu/102 41:00.2 pf-vf;", 0, 0, 0,
	  { 0 }, NULL, false },
	{ "VFs beside each other", RUNS("101", "41:00.1") OFF("100", "41:00.2"),
	  "qemu/100", "free",
	  0, 0, 0, { 0 }, NULL, false },
	{ "a VF beside a container on the PF", CT("200", "41:00.0") OFF("100", "41:00.1"),
	  "qemu/100",
	  "free", 0, 0, 0, { 0 }, NULL, false },
	{ "the PF while a container is on a VF", CT("200", "41:00.1") OFF("100",
	  "41:00.0"), "qemu/100",
	  "stop lxc/200 41:00.1 pf-vf;", 0, 0, 0, { 0 }, NULL, false },
	{ "a parent whose mdevs are used", MDEV("101", "hostpci0", "nvidia-63", "running",
	  "cmdline")
	  OFF("100", "82:00.0"), "qemu/100", "stop qemu/101 82:00.0 pf-vf;", 1, 0, 0,
	  { 0 }, NULL, false },
	{ "an mdev while the parent is away", RUNS("101", "82:00.0")
	  MDEV("100", "hostpci0", "nvidia-63", "stopped", "-"), "qemu/100",
	  "stop qemu/101 82:00.0 pf-vf;",
	  2, 4, 0, { 0 }, NULL, false },
	{ "host driver", CT("200", "01:00.0") OFF("100", "01:00.0"), "qemu/100",
	  "stop lxc/200 01:00.0 host-driver;", 0, 0, 0, { 0 }, NULL, false },
	{ "host driver of a group neighbour", CT("200", "01:00.0") OFF("100", "01:00.1"),
	  "qemu/100",
	  "stop lxc/200 01:00.0 iommu-group;", 0, 0, 0, { 0 }, NULL, false },
	{ "containers share", CT("200", "01:00.0")
	  "lxc/201 dev0 0 0000:01:00.0 - - stopped pve1 ok -\n", "lxc/201", "free", 0, 0,
	  0, { 0 }, NULL,
	  false },
	{ "a container whose card a VM has", RUNS("101", "01:00.0")
	  "lxc/201 dev0 0 0000:01:00.0 - - stopped pve1 ok -\n", "lxc/201",
	  "stop qemu/101 01:00.0 host-driver;", 0, 0, 0, { 0 }, NULL, false },
	{ "declared", RUNS("101", "04:00.0") OFF("100", "05:00.0"), "qemu/100",
	  "stop qemu/101 7f:00.0 declared;", 0, 0, 0, { 100, 101 }, NULL, false },
	{ "declared and by function", RUNS("101", "04:00.0") OFF("100", "04:00.0"),
	  "qemu/100",
	  "stop qemu/101 04:00.0 7f:00.0 declared,function;", 0, 0, 0, { 100, 101 }, NULL,
	  false },
	{ "a whole slot", RUNS("101", "01:00.0") VM("101", "hostpci0", "0", "01:00.1",
	  "-", "-", "running",
	  "cmdline") OFF("100", "01:00.0") OFF("100", "01:00.1"), "qemu/100",
	  "stop qemu/101 01:00.0 01:00.1 function;", 0, 0, 0, { 0 }, NULL, false },
	{ "what is not held is not in the way", VM("101", "hostpci0", "0", "04:00.0", "-",
	  "-", "running", "-")
	  OFF("100", "04:00.0"), "qemu/100", "free", 0, 0, 0, { 0 }, NULL, false },

	/* PVE chooses: the first alternative that is not reserved. */
	{ "the first free alternative", POOL("101", "running", "cmdline", "-", "-")
	  POOL("100", "stopped", "-", "-", "-"), "qemu/100", "free", 0, 0, 0, { 0 }, NULL,
	  false },
	{ "all taken: the higher VMID goes", POOL("101", "running", "cmdline", "-", "-")
	  POOL("102", "running", "-", "cmdline", "-") POOL("103", "running", "-", "-",
	  "cmdline")
	  POOL("100", "stopped", "-", "-", "-"), "qemu/100",
	  "stop qemu/103 06:00.0 function;", 0, 0, 0,
	  { 0 }, NULL, false },
	{ "all taken, the last never to stop", POOL("101", "running", "cmdline", "-", "-")
	  POOL("102", "running", "-", "cmdline", "-") POOL("103", "running", "-", "-",
	  "cmdline")
	  POOL("100", "stopped", "-", "-", "-"), "qemu/100",
	  "stop qemu/102 05:00.0 function;", 0, 0, 103,
	  { 0 }, NULL, false },
	/*
	 * Nobody has it reserved, so PVE takes the first one, its group being held or
	 * not.
	 */
	{ "groups are not looked at by PVE",
	  VM("100", "hostpci0", "0", "02:00.0", "-", "m", "stopped", "-")
	  VM("100", "hostpci0", "1", "04:00.0", "-", "m", "stopped", "-") RUNS("101",
	  "03:00.0"), "qemu/100",
	  "stop qemu/101 03:00.0 iommu-group;", 0, 0, 0, { 0 }, NULL, false },
	/* With 101 gone PVE would take 02, which 102 blocks. */
	{ "stopping the wrong one makes PVE choose worse",
	  VM("100", "hostpci0", "0", "02:00.0", "-", "m", "stopped", "-")
	  VM("100", "hostpci0", "1", "04:00.0", "-", "m", "stopped", "-") RUNS("101",
	  "02:00.0")
	  RUNS("102", "03:00.0") RUNS("103", "04:00.0"), "qemu/100",
	  "stop qemu/103 04:00.0 function;", 0, 0,
	  0, { 0 }, NULL, false },
	{ "a second entry does not get the first one's",
	  POOL("100", "stopped", "-", "-", "-") VM("100", "hostpci1", "0", "04:00.0", "-",
	  "p", "stopped", "-")
	  VM("100", "hostpci1", "1", "05:00.0", "-", "p", "stopped", "-") RUNS("101",
	  "05:00.0"), "qemu/100",
	  "stop qemu/101 05:00.0 function;", 0, 0, 0, { 0 }, NULL, false },
	{ "hostpci10 comes after hostpci9",
	  VM("100", "hostpci10", "0", "04:00.0", "-", "p", "stopped", "-")
	  VM("100", "hostpci10", "1", "05:00.0", "-", "p", "stopped", "-")
	  VM("100", "hostpci9", "0", "04:00.0", "-", "p", "stopped", "-")
	  VM("100", "hostpci9", "1", "06:00.0", "-", "p", "stopped", "-") RUNS("101",
	  "05:00.0"), "qemu/100",
	  "stop qemu/101 05:00.0 function;", 0, 0, 0, { 0 }, NULL, false },
	{ "one alternative is not passed over", RUNS("101", "04:00.0")
	  VM("100", "hostpci0", "0", "04:00.0", "-", "m", "stopped", "-"), "qemu/100",
	  "stop qemu/101 04:00.0 function;", 0, 0, 0, { 0 }, NULL, false },

	/* No plan. */
	{ "a holder that could not start again", RUNS("101", "04:00.0")
	  "qemu/101 hostpci1 0 0000:09:00.0 - - running pve1 missing -\n"
	  OFF("100", "04:00.0"), "qemu/100",
	  "never: qemu/101 in the way, not to be stopped (never-stop, HA with ha = refuse, "
	  "or it could not start again)", 0, 0, 0, { 0 }, NULL, false },
	{ "missing", "qemu/100 hostpci0 0 0000:09:00.0 - - stopped pve1 missing -\n",
	  "qemu/100",
	  "never: hostpci0: 0000:09:00.0 is not there", 0, 0, 0, { 0 }, NULL, false },
	{ "one bad line spoils the mapping", VM("100", "hostpci0", "0", "04:00.0", "-",
	  "m", "stopped", "-")
	  "qemu/100 hostpci0 1 0000:05:00.0 - m stopped pve1 mismatch:id -\n", "qemu/100",
	  "never: hostpci0: mapping 'm': 0000:05:00.0 is another device than the mapping "
	  "says (mismatch:id)",
	  0, 0, 0, { 0 }, NULL, false },
	{ "no such mapping", "qemu/100 hostpci0 0 - - m stopped pve1 no-mapping -\n",
	  "qemu/100",
	  "never: hostpci0: mapping 'm' has no device on this node", 0, 0, 0, { 0 }, NULL,
	  false },
	{ "the same device twice", OFF("100", "04:00.0")
	  VM("100", "hostpci1", "0", "04:00.0", "-", "-", "stopped", "-"), "qemu/100",
	  "never: hostpci1: every device that it names is taken by an earlier hostpci of "
	  "the same VM",
	  0, 0, 0, { 0 }, NULL, false },
	{ "never-stop", RUNS("101", "04:00.0") OFF("100", "04:00.0"), "qemu/100",
	  "never: qemu/101 in the way, not to be stopped (never-stop, HA with ha = refuse, "
	  "or it could not start again)", 0, 0, 101,
	  { 0 }, NULL, false },
	{ "host process", OFF("100", "01:00.0"), "qemu/100",
	  "host: process 812 (Xorg) of the host uses 0000:01:00.0", 0, 0, 0, { 0 }, &xorg,
	  false },
	{ "host process at the group's other function", OFF("100", "01:00.1"), "qemu/100",
	  "host: process 812 (Xorg) of the host uses 0000:01:00.0", 0, 0, 0, { 0 }, &xorg,
	  false },
	{ "unit that may not be stopped", OFF("100", "01:00.0"), "qemu/100",
	  "host: process 4711 (ollama) of ollama.service uses 0000:01:00.0", 0, 0, 0,
	  { 0 }, &ollama, false },
	{ "host service", OFF("100", "01:00.0"), "qemu/100",
	  "stop ollama.service 01:00.0 host-driver;",
	  0, 0, 0, { 0 }, &ollama, true },
	{ "host service beside a container", CT("200", "01:00.0") OFF("100", "01:00.0"),
	  "qemu/100",
	  "stop lxc/200 01:00.0 host-driver; ollama.service 01:00.0 host-driver;", 0, 0,
	  0, { 0 }, &ollama,
	  true },

	/* Instances. */
	{ "room for one more", MDEV("101", "hostpci0", "nvidia-63", "running", "cmdline")
	  MDEV("100", "hostpci0", "nvidia-63", "stopped", "-"), "qemu/100", "free", 1, 0,
	  0, { 0 }, NULL,
	  false },
	{ "full", MDEV("101", "hostpci0", "nvidia-63", "running", "cmdline")
	  MDEV("102", "hostpci0", "nvidia-63", "running", "cmdline")
	  MDEV("100", "hostpci0", "nvidia-63", "stopped", "-"), "qemu/100",
	  "stop qemu/102 82:00.0 mdev;",
	  0, 0, 0, { 0 }, NULL, false },
	{ "another size: all have to go", MDEV("101", "hostpci0", "nvidia-64", "running",
	  "cmdline")
	  MDEV("102", "hostpci0", "nvidia-64", "running", "cmdline")
	  MDEV("100", "hostpci0", "nvidia-63", "stopped", "-"), "qemu/100",
	  "stop qemu/101 82:00.0 mdev; qemu/102 82:00.0 mdev;", 0, 2, 0, { 0 }, NULL,
	  false },
	{ "two at a time", MDEV("101", "hostpci0", "nvidia-63", "running", "cmdline")
	  MDEV("100", "hostpci0", "nvidia-63", "stopped", "-")
	  MDEV("100", "hostpci1", "nvidia-63", "stopped", "-"), "qemu/100",
	  "stop qemu/101 82:00.0 mdev;",
	  1, 0, 0, { 0 }, NULL, false },
	{ "more than the card can", MDEV("100", "hostpci0", "nvidia-63", "stopped", "-")
	  MDEV("100", "hostpci1", "nvidia-63", "stopped", "-")
	  MDEV("100", "hostpci2", "nvidia-63", "stopped", "-"), "qemu/100",
	  "never: hostpci2: no parent can make a 'nvidia-63', whoever is stopped", 2, 0,
	  0, { 0 }, NULL,
	  false },
	{ "an instance that no guest holds", MDEV("101", "hostpci0", "nvidia-63",
	  "running", "cmdline")
	  MDEV("100", "hostpci0", "nvidia-63", "stopped", "-"), "qemu/100",
	  "stop qemu/101 82:00.0 mdev;",
	  0, 0, 0, { 0 }, NULL, false },
	{ "only instances that no guest holds", MDEV("100", "hostpci0", "nvidia-63",
	  "stopped", "-"),
	  "qemu/100",
	  "never: hostpci0: no parent can make a 'nvidia-63', whoever is stopped", 0, 0,
	  0,
	  { 0 }, NULL, false },
	{ "a type that the card does not offer", MDEV("100", "hostpci0", "nvidia-99",
	  "stopped", "-"),
	  "qemu/100",
	  "never: hostpci0: no parent can make a 'nvidia-99', whoever is stopped", 2, 4,
	  0,
	  { 0 }, NULL, false },
	{ "nothing known: all holders go",
	  VM("101", "hostpci0", "0", "83:00.0", "i915-GVTg_V5_4", "-", "running",
	  "cmdline")
	  VM("102", "hostpci0", "0", "83:00.0", "i915-GVTg_V5_4", "-", "running",
	  "cmdline")
	  VM("100", "hostpci0", "0", "83:00.0", "i915-GVTg_V5_4", "-", "stopped", "-"),
	  "qemu/100",
	  "stop qemu/101 83:00.0 mdev; qemu/102 83:00.0 mdev;", 0, 0, 0, { 0 }, NULL,
	  false },
	{ "a mediated device on two functions",
	  VM("100", "hostpci0", "0", "82:00.0", "nvidia-63", "-", "stopped", "-")
	  VM("100", "hostpci0", "0", "83:00.0", "nvidia-63", "-", "stopped", "-"),
	  "qemu/100",
	  "never: hostpci0: a mediated device cannot be made on several functions "
	  "(0000:83:00.0)", 2, 0, 0,
	  { 0 }, NULL, false },
	{ "a vGPU without mdev is held like a function",
	  VM("101", "hostpci0", "0", "84:00.4", "nvidia-660", "-", "running", "cmdline")
	  VM("100", "hostpci0", "0", "84:00.4", "nvidia-660", "-", "stopped", "-"),
	  "qemu/100",
	  "stop qemu/101 84:00.4 function;", 0, 0, 0, { 0 }, NULL, false },
	{ "the next parent when the first is full",
	  VM("100", "hostpci0", "0", "82:00.0", "nvidia-63", "m", "stopped", "-")
	  VM("100", "hostpci0", "1", "83:00.0", "nvidia-63", "m", "stopped", "-")
	  MDEV("101", "hostpci0", "nvidia-63", "running", "cmdline")
	  MDEV("102", "hostpci0", "nvidia-63", "running", "cmdline"), "qemu/100",
	  "stop qemu/102 82:00.0 mdev;", 0, 0, 0, { 0 }, NULL, false },
};

START_TEST(the_fewest_are_stopped)
{
	struct scene s = { 0 };
	_cleanup_free_ char *got = NULL;
	uint32_t never = plans[_i].never,
		 vmids[2] = { plans[_i].declared[0], plans[_i].declared[1] };
	char addr[] = "0000:7f:00.0";
	struct config_group group = { addr, vmids, 2 };

	types[0].available = plans[_i].available63;
	types[1].available = plans[_i].available64;
	s.cfg.never_stop = &never;
	s.cfg.n_never_stop = never > 0;
	s.cfg.groups = &group;
	s.cfg.n_groups = vmids[0] > 0;
	s.cfg.host_services = services;
	s.cfg.n_host_services = plans[_i].service;
	s.in.host_users = plans[_i].user;
	s.in.n_host_users = plans[_i].user != NULL;
	set_up(&s, plans[_i].records);
	got = plan_text(s.c, plans[_i].x);
	ck_assert_msg(strcmp(got, plans[_i].want) == 0, "%s: '%s', not '%s'",
		      plans[_i].what, got, plans[_i].want);
	tear_down(&s);
}
END_TEST

START_TEST(a_guest_without_gpu_needs_nobody_stopped)
{
	struct scene s = { 0 };
	struct contention_plan p;
	struct guest_id *by;

	set_up(&s, "");
	ck_assert_int_eq(contention_plan(s.c, guest("qemu/100"), &p), -ENOENT);
	ck_assert_int_eq(p.verdict, CONTENTION_FREE);
	ck_assert_uint_eq(contention_blockers(s.c, guest("qemu/100"), &by), 0);
	ck_assert_uint_eq(contention_rivals(s.c, guest("qemu/100"), &by), 0);
	ck_assert(!contention_has_gpu(s.c, guest("qemu/100")));
	ck_assert(contention_guest_up(s.c, guest("qemu/100")));
	tear_down(&s);
}
END_TEST

/* A group may name guests without a known device; they run or not all the same. */
START_TEST(declared_guests_need_no_assignment)
{
	struct scene s = { 0 };
	uint32_t vmids[] = { 100, 300 };
	char addr[] = "7f:00";
	struct config_group group = { addr, vmids, 2 };
	struct contention_member members[] = {
		{ { GUEST_QEMU, 100 }, false },
		{ { GUEST_LXC, 300 }, true },
	};
	_cleanup_free_ char *got = NULL;

	s.cfg.groups = &group;
	s.cfg.n_groups = 1;
	s.in.members = members;
	s.in.n_members = 2;
	set_up(&s, "");
	got = plan_text(s.c, "qemu/100");
	ck_assert_str_eq(got, "stop lxc/300 7f:00.0 declared;");
	tear_down(&s);
}
END_TEST

/* A function that is reserved, no telling for which hostpciN, belongs to none of them. */
START_TEST(a_reservation_is_no_part_of_hostpci0)
{
	struct scene s = { 0 };

	types[0].available = 2;
	set_up(&s, "qemu/100 hostpci 0 0000:04:00.0 - - running pve1 ok reservation\n"
		   "qemu/100 hostpci0 0 0000:82:00.0 nvidia-63 - running pve1 ok -\n");
	contention_guest_down(s.c, guest("qemu/100"));
	ck_assert(contention_guest_up(s.c, guest("qemu/100")));
	tear_down(&s);
}
END_TEST

START_TEST(ha_guests_are_refused)
{
	struct scene s = { 0 };
	struct guest_id refused = { GUEST_QEMU, 103 };
	_cleanup_free_ char *got = NULL;

	s.in.refused = &refused;
	s.in.n_refused = 1;
	set_up(&s, POOL("101", "running", "cmdline", "-", "-")
			   POOL("102", "running", "-", "cmdline", "-")
				   POOL("103", "running", "-", "-", "cmdline")
					   POOL("100", "stopped", "-", "-", "-"));
	got = plan_text(s.c, "qemu/100");
	ck_assert_str_eq(got, "stop qemu/102 05:00.0 function;");
	tear_down(&s);
}
END_TEST

static void put_pair(const struct contention_pair *p, void *arg)
{
	char **text = arg, *longer, addr[PCIADDR_STRLEN], name[GUEST_STRLEN];

	longer = xasprintf("%s%s %s", *text, pciaddr_format(&p->addr, addr) + 5,
			   contention_kind_name(p->kind));
	free(*text);
	*text = longer;
	for (size_t i = 0; i < p->n_guests; i++) {
		longer = xasprintf("%s%s%s", *text, i > 0 ? "," : " ",
				   guest_format(p->guests[i], name));
		free(*text);
		*text = longer;
	}
	longer = xasprintf("%s %zu %s\n", *text, p->running, p->detail ? p->detail : "-");
	free(*text);
	*text = longer;
}

static const struct {
	const char *what, *records, *want;
	uint32_t declared[2];
} lists[] = {
	{ "nothing", "", "", { 0 } },
	{ "one record", RUNS("100", "04:00.0"), "", { 0 } },
	{ "function", RUNS("100", "04:00.0") OFF("101", "04:00.0") OFF("102", "05:00.0"),
	  "04:00.0 function qemu/100,qemu/101 1 -\n", { 0 } },
	{ "group", RUNS("100", "02:00.0") OFF("101", "03:00.0"),
	  "02:00.0 iommu-group qemu/100,qemu/101 1 group 15\n", { 0 } },
	{ "whole slots are one matter", RUNS("100", "01:00.0") RUNS("100", "01:00.1")
	  OFF("101", "01:00.0")
	  OFF("101", "01:00.1"), "01:00.0 function qemu/100,qemu/101 1 -\n"
	  "01:00.1 function qemu/100,qemu/101 1 -\n", { 0 } },
	{ "pf-vf", RUNS("100", "41:00.1") OFF("101", "41:00.0"),
	  "41:00.0 pf-vf qemu/100,qemu/101 1 virtual functions\n", { 0 } },
	{ "a VF beside a container on the PF", CT("200", "41:00.0") OFF("100", "41:00.1"),
	  "", { 0 } },
	{ "VFs alone", RUNS("100", "41:00.1") OFF("101", "41:00.2"), "", { 0 } },
	{ "mdev", MDEV("100", "hostpci0", "nvidia-63", "running", "cmdline")
	  MDEV("101", "hostpci0", "nvidia-64", "stopped", "-"),
	  "82:00.0 mdev qemu/100,qemu/101 1 parent 0000:82:00.0 nvidia-63,nvidia-64\n",
	  { 0 } },
	{ "mdevs that all fit", MDEV("100", "hostpci0", "nvidia-63", "running", "cmdline")
	  MDEV("101", "hostpci0", "nvidia-63", "stopped", "-"), "", { 0 } },
	{ "parent and mdev", MDEV("100", "hostpci0", "nvidia-63", "running", "cmdline")
	  OFF("101", "82:00.0"),
	  "82:00.0 pf-vf qemu/100,qemu/101 1 mediated devices\n", { 0 } },
	{ "host driver", CT("200", "01:00.0") CT("201", "01:00.0") OFF("100", "01:00.0"),
	  "01:00.0 host-driver qemu/100,lxc/200,lxc/201 2 driver nvidia\n", { 0 } },
	{ "containers alone", CT("200", "01:00.0") CT("201", "01:00.0"), "", { 0 } },
	{ "declared", RUNS("100", "04:00.0") OFF("101", "05:00.0"),
	  "7f:00.0 declared qemu/100,qemu/101 1 declared in gpu-groups\n", { 100, 101 } },
	{ "between nodes by mapping alone", POOL("100", "running", "cmdline", "-", "-")
	  "qemu/900 hostpci0 0 0000:07:00.0 - pool - pve2 - -\n"
	  "qemu/901 hostpci0 0 0000:04:00.0 - - - pve2 - -\n",
	  "04:00.0 function qemu/100,qemu/900 1 mapping pool\n"
	  "05:00.0 function qemu/100,qemu/900 1 mapping pool\n"
	  "06:00.0 function qemu/100,qemu/900 1 mapping pool\n", { 0 } },
	{ "a mapping of other nodes", "qemu/900 hostpci0 0 0000:07:00.0 - m - pve2 - -\n"
	  "qemu/901 hostpci0 0 0000:07:00.0 - m - pve2 - -\n",
	  "07:00.0 function qemu/900,qemu/901 0 mapping m\n", { 0 } },
	{ "declared between nodes", OFF("100", "04:00.0")
	  "qemu/900 hostpci0 0 0000:07:00.0 - - - pve2 - -\n",
	  "7f:00.0 declared qemu/100,qemu/900 0 declared in gpu-groups\n", { 100, 900 } },
};

START_TEST(everything_that_could_arise_is_listed)
{
	struct scene s = { 0 };
	char *got = xstrdup("");
	uint32_t vmids[2] = { lists[_i].declared[0], lists[_i].declared[1] };
	char addr[] = "0000:7f:00.0";
	struct config_group group = { addr, vmids, 2 };
	size_t lines = 0;

	types[0].available = types[1].available = 1;
	s.cfg.groups = &group;
	s.cfg.n_groups = vmids[0] > 0;
	set_up(&s, lists[_i].records);
	for (const char *p = lists[_i].want; *p; p++)
		lines += *p == '\n';
	ck_assert_uint_eq(contention_pairs(s.c, put_pair, &got), lines);
	ck_assert_msg(strcmp(got, lists[_i].want) == 0, "%s: got\n%snot\n%s",
		      lists[_i].what, got, lists[_i].want);
	free(got);
	tear_down(&s);
}
END_TEST

START_TEST(the_model_looks_ahead)
{
	struct scene s = { 0 };
	struct guest_id a = guest("qemu/101"), b = guest("qemu/102"),
			x = guest("qemu/100"), *by;

	set_up(&s,
	       POOL("101", "running", "cmdline", "-", "-")
		       VM("102", "hostpci0", "0", "04:00.0", "-", "p", "running", "-")
			       VM("102", "hostpci0", "1", "05:00.0", "-", "p", "running",
				  "cmdline") VM("100", "hostpci0", "0", "05:00.0", "-",
						"-", "stopped", "-"));
	ck_assert(contention_has_choice(s.c, a) && !contention_has_choice(s.c, x));
	ck_assert(!contention_guest_up(s.c, x));
	ck_assert_uint_eq(contention_blockers(s.c, x, &by), 1);
	ck_assert_int_eq(guest_compare(&by[0], &b), 0);
	free(by);
	contention_guest_hide(s.c, b, true);
	ck_assert_uint_eq(contention_blockers(s.c, x, &by), 0);
	contention_guest_hide(s.c, b, false);
	ck_assert(!contention_guest_up(s.c, x));
	contention_guest_down(s.c, b);
	ck_assert(!contention_is_running(s.c, b));
	ck_assert(contention_guest_up(s.c, x));
	/* Both its alternatives are taken now. */
	ck_assert(!contention_guest_up(s.c, b));
	ck_assert_uint_eq(contention_blockers(s.c, b, &by), 2);
	free(by);
	contention_guest_down(s.c, a);
	ck_assert(contention_guest_up(s.c, b));
	/* 04 and 05 are gone: the third alternative. */
	ck_assert(contention_guest_up(s.c, a));
	contention_guest_down(s.c, x);
	ck_assert(contention_guest_up(s.c, x));
	ck_assert_uint_eq(contention_rivals(s.c, x, &by), 2);
	free(by);
	tear_down(&s);
}
END_TEST

enum { HOSTS_PER_RUN = 250 };

START_TEST(brute_force_finds_nothing_better)
{
	static struct host h;
	size_t plans_made = 0;

	for (unsigned seed = 1; seed <= HOSTS_PER_RUN; seed++) {
		host_wild(&h, (unsigned)_i * HOSTS_PER_RUN + seed);
		ck_assert_uint_eq(exact_check(&h, stderr, &plans_made), 0);
	}
	ck_assert_uint_gt(plans_made, HOSTS_PER_RUN);
}
END_TEST

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void ignore_pair(const struct contention_pair *p, void *arg)
{
	*(size_t *)arg += p->n_guests;
}

/* Ten thousand guests, all of them after the same three devices; and one each. */
START_TEST(ten_thousand_guests_are_ordinary)
{
	enum { GUESTS = 10000 };
	struct assignment *a = xcalloc(GUESTS * 3, sizeof(*a));
	struct contention_input in = { .assignments = a,
				       .n_assignments = GUESTS * 3,
				       .devs = devs,
				       .n_devs = ARRAY_SIZE(devs),
				       .node = "pve1" };
	char key[] = "hostpci0", pool[] = "pool", ok[] = "ok", held[] = "cmdline";
	struct contention *c;
	struct contention_plan plan;
	double start = seconds();
	size_t listed = 0;

	for (size_t i = 0; i < GUESTS * 3; i++) {
		a[i] = (struct assignment){ .guest = { GUEST_QEMU,
						       (uint32_t)(100 + i / 3) },
					    .key = key,
					    .alt = (int)(i % 3),
					    .has_addr = true,
					    .mapping = pool,
					    .status = ok,
					    .addr = { .bus = (uint8_t)(4 + i % 3) },
					    .state = ASSIGNMENT_STOPPED };
		if (_i == 1) /* everybody with devices of his own */
			a[i].addr = (struct pciaddr){ .domain = 1 + (uint32_t)(i >> 12),
						      .bus = (uint8_t)(i >> 4),
						      .slot = (uint8_t)(i % 16),
						      .func = (uint8_t)(i >> 20) };
	}
	for (size_t i = 0; _i == 0 && i < 3; i++) {
		a[3 * i + i].held = held;
		for (size_t k = 0; k < 3; k++)
			a[3 * i + k].state = ASSIGNMENT_RUNNING;
	}
	c = contention_new(&in);
	ck_assert_uint_eq(contention_pairs(c, ignore_pair, &listed), _i == 0 ? 3 : 0);
	ck_assert_uint_eq(listed, _i == 0 ? 3 * GUESTS : 0);
	for (uint32_t vmid = 103; vmid < 1103; vmid++) {
		ck_assert_int_eq(
			contention_plan(c, (struct guest_id){ GUEST_QEMU, vmid }, &plan),
			0);
		ck_assert_uint_eq(plan.n, _i == 0 ? 1 : 0);
		ck_assert(_i == 1 || plan.stops[0].guest.vmid == 102);
		contention_plan_done(&plan);
	}
	contention_free(c);
	free(a);
	ck_assert_msg(seconds() - start < 5, "%.1f s", seconds() - start);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("contention");
	TCase *plan = tcase_create("plan"), *list = tcase_create("list"),
	      *brute = tcase_create("brute force");

	tcase_add_loop_test(plan, the_fewest_are_stopped, 0, ARRAY_SIZE(plans));
	tcase_add_test(plan, a_guest_without_gpu_needs_nobody_stopped);
	tcase_add_test(plan, declared_guests_need_no_assignment);
	tcase_add_test(plan, ha_guests_are_refused);
	tcase_add_test(plan, a_reservation_is_no_part_of_hostpci0);
	tcase_add_test(plan, the_model_looks_ahead);
	tcase_add_loop_test(list, everything_that_could_arise_is_listed, 0,
			    ARRAY_SIZE(lists));
	tcase_set_timeout(brute, 120);
	tcase_add_loop_test(brute, brute_force_finds_nothing_better, 0, 10);
	tcase_add_loop_test(brute, ten_thousand_guests_are_ordinary, 0, 2);
	suite_add_tcase(suite, plan);
	suite_add_tcase(suite, list);
	suite_add_tcase(suite, brute);
	return testroot_run(suite);
}
