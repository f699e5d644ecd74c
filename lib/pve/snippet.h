/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a guest's hookscript lies. */
#ifndef PVE_SNIPPET_H
#define PVE_SNIPPET_H

/*
 * The file of a volume id "STORAGE:snippets/NAME" by /etc/pve/storage.cfg, without the
 * root: allocated, NULL when there is no such storage or it has no files. Whether it is
 * mounted, or enabled, is not looked at: PVE does not either when it runs a hookscript.
 * Source: pve-storage, Storage/Plugin.pm parse_config and path.
 */
char *snippet_path(const char *volid);

#endif
