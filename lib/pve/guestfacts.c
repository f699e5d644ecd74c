/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "pve/guestfacts.h"
#include "pve/pveconf.h"

static char *value_string(const struct pveconf_item *item)
{
	return xstrndup(item->value, item->value_len);
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(text, word, len) == 0;
}

static bool is_true(const char *text, size_t len)
{
	return is_word(text, len, "1") || is_word(text, len, "on")
	       || is_word(text, len, "yes") || is_word(text, len, "true");
}

static bool is_false(const char *text, size_t len)
{
	return is_word(text, len, "0") || is_word(text, len, "off")
	       || is_word(text, len, "no") || is_word(text, len, "false");
}

/* Cut the next part off a property string; key is empty for a bare value. */
static bool next_part(const char **text, size_t *left, const char **key, size_t *key_len,
		      const char **value, size_t *len)
{
	const char *comma, *equals;
	size_t n;

	if (*left == 0)
		return false;
	comma = memchr(*text, ',', *left);
	n = comma ? (size_t)(comma - *text) : *left;
	equals = memchr(*text, '=', n);
	*key = *text;
	*key_len = equals ? (size_t)(equals - *text) : 0;
	*value = equals ? equals + 1 : *text;
	*len = n - (size_t)(*value - *text);
	*text += n + (comma != NULL);
	*left -= n + (comma != NULL);
	return true;
}

static int small_number(const char *text, size_t len)
{
	int value = 0;

	if (len == 0 || len > 8)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

static void take_startup(struct guest *g, const struct pveconf_item *item)
{
	const char *text = item->value, *key, *value;
	size_t left = item->value_len, key_len, len;

	g->order = g->up = g->down = -1;
	while (next_part(&text, &left, &key, &key_len, &value, &len)) {
		if (key_len == 0 || is_word(key, key_len, "order"))
			g->order = small_number(value, len);
		else if (is_word(key, key_len, "up"))
			g->up = small_number(value, len);
		else if (is_word(key, key_len, "down"))
			g->down = small_number(value, len);
	}
}

/* Would vzdump include this drive? Source: qemu-server, QemuConfig.pm get_backup_volumes.
 */
static bool is_backed_up(const struct pveconf_item *item)
{
	const char *text = item->value, *key, *value;
	size_t left = item->value_len, key_len, len;

	while (next_part(&text, &left, &key, &key_len, &value, &len)) {
		if (is_word(key, key_len, "media") && is_word(value, len, "cdrom"))
			return false;
		if (is_word(key, key_len, "backup") && is_false(value, len))
			return false;
	}
	return true;
}

static bool is_disk_key(const struct pveconf_item *item)
{
	unsigned i;

	return pveconf_key_index(item, "scsi", 30, &i)
	       || pveconf_key_index(item, "virtio", 15, &i)
	       || pveconf_key_index(item, "sata", 5, &i)
	       || pveconf_key_index(item, "ide", 3, &i)
	       || pveconf_key_index(item, "tpmstate", 0, &i);
}

void guestfacts_read(struct guest *g, const char *text, size_t len)
{
	const char *name_key = g->id.kind == GUEST_QEMU ? "name" : "hostname";
	bool efi_disk = false, ovmf = false;
	struct pveconf_item item;
	struct pveconf_scan scan;
	unsigned i;

	pveconf_start(&scan, g->id.kind == GUEST_QEMU ? PVECONF_QEMU : PVECONF_LXC, text,
		      len);
	while (pveconf_next(&scan, &item) && item.what != PVECONF_HEADER) {
		if (item.what != PVECONF_SETTING)
			continue;
		if (pveconf_key_is(&item, name_key)) {
			free(g->name);
			g->name = value_string(&item);
		} else if (pveconf_key_is(&item, "lock")) {
			free(g->lock);
			g->lock = value_string(&item);
		} else if (pveconf_key_is(&item, "hookscript")) {
			free(g->hookscript);
			g->hookscript = value_string(&item);
		} else if (pveconf_key_is(&item, "template")) {
			g->template = is_true(item.value, item.value_len);
		} else if (pveconf_key_is(&item, "onboot")) {
			g->onboot = is_true(item.value, item.value_len);
		} else if (pveconf_key_is(&item, "freeze")) {
			g->freeze = is_true(item.value, item.value_len);
		} else if (pveconf_key_is(&item, "startup")) {
			take_startup(g, &item);
		} else if (g->id.kind == GUEST_LXC) {
			continue;
		} else if (pveconf_key_is(&item, "bios")) {
			ovmf = is_word(item.value, item.value_len, "ovmf");
		} else if (pveconf_key_index(&item, "efidisk", 0, &i)) {
			efi_disk = is_backed_up(&item);
		} else if (!g->has_disk && is_disk_key(&item)) {
			g->has_disk = is_backed_up(&item);
		}
	}
	g->has_disk |= efi_disk && ovmf;
}

void guestfacts_ha_read(struct guestfacts_ha *ha)
{
	_cleanup_free_ char *path = root_path("/etc/pve/ha/resources.cfg");
	_cleanup_free_ char *text = readfile_string(path, PVECONF_MAX);
	char *rest = text, *line, *save = NULL;
	bool open = false;
	size_t room = 0;

	*ha = (struct guestfacts_ha){ 0 };
	if (!text)
		return;
	for (; (line = strtok_r(rest, "\n", &save)); rest = NULL) {
		char kind[3], id[11], word[8];
		uint32_t vmid;

		if (sscanf(line, "%2[vmct]: %10[0-9] ", kind, id) == 2 && *line != ' ') {
			open = (strcmp(kind, "vm") == 0 || strcmp(kind, "ct") == 0)
			       && guest_parse_vmid(id, &vmid);
			if (!open)
				continue;
			ha->ids = xgrow(ha->ids, ha->n, &room, sizeof(*ha->ids));
			ha->ids[ha->n++] = (struct guest_id){
				*kind == 'v' ? GUEST_QEMU : GUEST_LXC, vmid };
		} else if (open && sscanf(line, " state %7s", word) == 1
			   && strcmp(word, "ignored") == 0) {
			ha->n--;
			open = false;
		}
	}
	if (ha->n > 0)
		qsort(ha->ids, ha->n, sizeof(*ha->ids), guest_compare);
}

bool guestfacts_is_ha(const struct guestfacts_ha *ha, struct guest_id id)
{
	return ha->n > 0 && bsearch(&id, ha->ids, ha->n, sizeof(*ha->ids), guest_compare);
}
