/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of hostcheck_run(), each adds its lines. */
#ifndef HOST_HOSTCHECK_PARTS_H
#define HOST_HOSTCHECK_PARTS_H

#include "host/hostcheck.h"
#include "host/kmodconf.h"

struct hostcheck_facts {
	char *cmdline;		/* owned; /proc/cmdline, "" when it cannot be read */
	char *release;		/* owned; kernel_release(), NULL without one */
	struct kmodconf *kmod;	/* owned; of that kernel, NULL without one */
};

/* iommu, interrupts, group */
void hostcheck_iommu(struct hostcheck *hc, const struct hostcheck_input *in,
		     const struct hostcheck_facts *facts);
/* driver, claim */
void hostcheck_drivers(struct hostcheck *hc, const struct hostcheck_input *in,
		       const struct hostcheck_facts *facts);
/* display */
void hostcheck_display(struct hostcheck *hc, const struct hostcheck_input *in,
		       const struct hostcheck_facts *facts);
/* modules, initramfs */
void hostcheck_modules(struct hostcheck *hc, const struct hostcheck_input *in,
		       const struct hostcheck_facts *facts);
/* boot, cmdline */
void hostcheck_boot(struct hostcheck *hc, const struct hostcheck_input *in,
		    const struct hostcheck_facts *facts);
/* bar */
void hostcheck_bars(struct hostcheck *hc, const struct hostcheck_input *in);
/* acs, secure-boot */
void hostcheck_isolation(struct hostcheck *hc, const struct hostcheck_facts *facts);

/* "0000:03:00.0", in buf. */
const char *hostcheck_name(const struct pcidev *dev, char buf[PCIADDR_STRLEN]);

/* What a todo asks for: "reboot" when the plan is on disk, else to apply it first. */
const char *hostcheck_next(const struct hostcheck_input *in);

/* Add a line; how is copied, NULL for none. */
void hostcheck_tell(struct hostcheck *hc, enum hostcheck_level level, const char *topic,
		    const char *how, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif
