/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transient units in which guests and services are started. What a guest's
 * hookscript left running keeps the unit of that start loaded for as long as it lives
 * (systemd, src/core/unit.c, unit_may_gc()), and systemd takes no second unit of a name
 * that is loaded: further starts of that guest then get a number.
 */
#ifndef PVE_POWERUNIT_H
#define PVE_POWERUNIT_H

/*
 * A name for a new unit, without ".service"; allocated.
 * what: VMID, or name of a host service.
 */
char *powerunit_name(const char *what);

/*
 * The unit, without ".service", in which a start of this guest is under way; allocated,
 * NULL for none. Where systemd does not answer, a unit that is there counts.
 */
char *powerunit_under_way(const char *vmid);

#endif
