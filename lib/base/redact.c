/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/redact.h"
#include "base/text.h"
#include "base/xalloc.h"

struct entry {
	const char *kind;
	char *text;		/* owned */
	unsigned number;	/* from 1, of its kind */
	bool is_name;		/* looked for; else only remembered */
};

struct redactor {
	struct entry *entries;	/* owned; the names first, the longest of them first */
	size_t n, room;
};

/* What s begins with: its length, or 0; of what kind; what to skip before it. */
typedef size_t finder(const char *s, const char **kind, size_t *skip);

struct redactor *redactor_new(void)
{
	return xcalloc(1, sizeof(struct redactor));
}

void redactor_free(struct redactor *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		free(r->entries[i].text);
	free(r->entries);
	free(r);
}

static const struct entry *lookup(struct redactor *r, const char *kind, const char *text,
				  size_t len)
{
	unsigned number = 1;

	for (size_t i = 0; i < r->n; i++) {
		const struct entry *e = &r->entries[i];

		if (strcmp(e->kind, kind) != 0)
			continue;
		if (strlen(e->text) == len && strncasecmp(e->text, text, len) == 0)
			return e;
		number++;
	}
	r->entries = xgrow(r->entries, r->n, &r->room, sizeof(*r->entries));
	r->entries[r->n] = (struct entry){
		.kind = kind, .text = xstrndup(text, len), .number = number,
	};
	return &r->entries[r->n++];
}

/* Nobody is known by these, and a report is not to be read without them. */
static bool is_common(const char *name)
{
	static const char *const words[] = {
		"amd", "backup", "container", "ct", "debian", "default", "gpu",
		"guest", "host", "intel", "kvm", "local", "localhost", "lxc", "node",
		"none", "nvidia", "pci", "proxmox", "pve", "qemu", "root", "running",
		"server", "stopped", "test", "ubuntu", "unknown", "vfio", "vga",
		"vgpu", "vm", "vzdump",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(words[i], name) == 0)
			return true;
	return strspn(name, "0123456789.-") == strlen(name);
}

bool redactor_add(struct redactor *r, const char *kind, const char *name)
{
	struct entry e = { .kind = kind, .number = 1, .is_name = true };
	size_t at = 0, len = strlen(name);

	if (len < 2 || is_common(name))
		return false;
	for (size_t i = 0; i < r->n; i++) {
		if (strcasecmp(r->entries[i].text, name) == 0)
			return true;
		if (strcmp(r->entries[i].kind, kind) == 0)
			e.number++;
	}
	while (at < r->n && r->entries[at].is_name && strlen(r->entries[at].text) >= len)
		at++;
	e.text = xstrdup(name);
	r->entries = xgrow(r->entries, r->n, &r->room, sizeof(*r->entries));
	memmove(&r->entries[at + 1], &r->entries[at], (r->n - at) * sizeof(e));
	r->entries[at] = e;
	r->n++;
	return true;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c);
}

static size_t hex_run(const char *s)
{
	size_t n = 0;

	while (text_hex_digit(s[n]) >= 0)
		n++;
	return n;
}

static size_t find_uuid(const char *s, const char **kind, size_t *skip)
{
	static const size_t groups[] = { 8, 4, 4, 4, 12 };
	size_t len = 0;

	(void)skip;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		if (hex_run(s + len) != groups[i] || (i < 4 && s[len + groups[i]] != '-'))
			return 0;
		len += groups[i] + (i < 4);
	}
	/* "00000001-0000-0000-0000-000000000100" is hostpci1 of VM 100: no secret. */
	if (is_word(s[len]) || strncmp(s + 8, "-0000-0000-0000-", 16) == 0)
		return 0;
	*kind = "uuid";
	return len;
}

static size_t find_id(const char *s, const char **kind, size_t *skip)
{
	size_t len = hex_run(s);

	(void)skip;
	*kind = "id";
	return (len == 32 || len == 64) && !is_word(s[len]) ? len : 0;
}

/* Six pairs of digits; an EUI-64, PXE's BOOTIF and InfiniBand have more of them. */
static size_t find_mac(const char *s, const char **kind, size_t *skip)
{
	size_t pairs = 0, len;
	char between = s[0] && s[1] ? s[2] : '\0';

	*kind = "mac";
	if (strncmp(s, "enx", 3) == 0 || strncmp(s, "wlx", 3) == 0) {
		*skip = 3;	/* udev's name of a USB adapter */
		return hex_run(s + 3) == 12 && !is_word(s[15]) ? 12 : 0;
	}
	if (between != ':' && between != '-')
		return 0;
	for (;; pairs++) {
		if (hex_run(s + 3 * pairs) != 2)
			return 0;
		if (s[3 * pairs + 2] != between)
			break;
	}
	pairs++;
	len = 3 * pairs - 1;
	return pairs >= 6 && !is_word(s[len]) ? len : 0;
}

static size_t find_ipv4(const char *s, const char **kind, size_t *skip)
{
	unsigned first = 0;
	size_t len = 0;

	(void)skip;
	for (int i = 0; i < 4; i++) {
		size_t digits = strspn(s + len, "0123456789");
		unsigned value = digits && digits <= 3 ? (unsigned)atoi(s + len) : 256;

		if (value > 255 || (i < 3 && s[len + digits] != '.'))
			return 0;
		if (i == 0)
			first = value;
		len += digits + (i < 3);
	}
	if (is_word(s[len]) || (s[len] == '.' && isdigit((unsigned char)s[len + 1])))
		return 0;
	*kind = "ip";
	return first == 0 || first == 127 || first == 255 ? 0 : len;
}

static size_t find_ipv6(const char *s, const char **kind, size_t *skip)
{
	size_t len = 0, groups = 0, digits = 0;
	bool is_short = false;

	(void)skip;
	for (;;) {
		size_t run = hex_run(s + len);

		if (run > 4)
			return 0;
		groups += run > 0;
		digits += run;
		len += run;
		if (s[len] != ':' || (s[len + 1] == ':' && is_short))
			break;
		is_short |= s[len + 1] == ':';
		len += s[len + 1] == ':' ? 2 : 1;
		if (hex_run(s + len) == 0)
			break;
	}
	if (is_short && s[len] == '.' && isdigit((unsigned char)s[len + 1]))
		len += strspn(s + len, "0123456789.");	/* "::ffff:192.0.2.1" */
	/* A colon at the end is the sentence's, unless it is one of two. */
	if (len && s[len - 1] == ':' && (len < 2 || s[len - 2] != ':'))
		return 0;
	if (is_word(s[len]) || groups > 8 || (groups != 8 && !is_short))
		return 0;
	*kind = "ip";
	return digits < 2 ? 0 : len;	/* "::", "::1", and "0::" of a control group */
}

static size_t find_mail(const char *s, const char **kind, size_t *skip)
{
	static const char *const units[] = {
		"mount", "path", "scope", "service", "slice", "socket", "target", "timer",
	};
	size_t local = 0, len, dot = 0;

	(void)skip;
	while (is_word(s[local]) || (s[local] && strchr("._%+-", s[local])))
		local++;
	if (!local || s[local] != '@')
		return 0;
	for (len = local + 1; is_word(s[len]) || s[len] == '-' || s[len] == '.'; len++)
		if (s[len] == '.' && is_word(s[len + 1]))
			dot = len;
	if (s[len - 1] == '.')
		len--;
	if (!dot)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (len - dot - 1 == strlen(units[i]) &&
		    strncmp(s + dot + 1, units[i], len - dot - 1) == 0)
			return 0;
	*kind = "mail";
	return len;
}

/* "serial=X", "Serial Number: X", "by-id/X", "wwn-0xX", "eui.X". */
static size_t find_serial(const char *s, const char **kind, size_t *skip)
{
	size_t at = 0, len = 0;

	*kind = "serial";
	if (strncmp(s, "by-id/", 6) == 0) {
		*skip = 6;
		return strcspn(s + 6, " \t,;/\"'");
	}
	if (strncasecmp(s, "wwn-0x", 6) == 0) {
		*skip = 6;
		return hex_run(s + 6);
	}
	if (strncasecmp(s, "eui.", 4) == 0) {
		*skip = 4;
		return hex_run(s + 4);
	}
	if (strncasecmp(s, "serial", 6) != 0)
		return 0;
	for (at = 6; isalpha((unsigned char)s[at]) || s[at] == ' ' || s[at] == '_'; )
		at++;
	if (s[at] != ':' && s[at] != '=')
		return 0;
	at++;
	at += strspn(s + at, " \t\"");
	while (is_word(s[at + len]) || (s[at + len] && strchr("._-", s[at + len])))
		len++;
	*skip = at;
	return len;
}

/* Serial numbers first: one may look like anything. */
static finder *const finders[] = {
	find_serial, find_mail, find_uuid, find_id, find_mac, find_ipv4, find_ipv6,
};

static const struct entry *find_name(const struct redactor *r, const char *s, size_t *len)
{
	for (size_t i = 0; i < r->n && r->entries[i].is_name; i++) {
		*len = strlen(r->entries[i].text);
		if (strncasecmp(s, r->entries[i].text, *len) == 0 && !is_word(s[*len]))
			return &r->entries[i];
	}
	return NULL;
}

/* What stands before a value, such as "serial of web: ": names in it are taken out, too. */
static void put_label(const struct redactor *r, FILE *out, const char *s, size_t len)
{
	bool in_word = false;

	for (size_t i = 0, n; i < len; i += n) {
		const struct entry *e = in_word ? NULL : find_name(r, s + i, &n);

		if (e && n <= len - i) {
			fprintf(out, "%s-%u", e->kind, e->number);
		} else {
			n = 1;
			fputc(s[i], out);
		}
		in_word = is_word(s[i + n - 1]);
	}
}

/* What begins at s, a word's start: written with its label. Returns its length, or 0. */
static size_t put_found(struct redactor *r, FILE *out, const char *s)
{
	const char *kind = NULL;
	size_t len, skip = 0;
	const struct entry *e = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(finders) && !e; i++) {
		skip = 0;
		len = finders[i](s, &kind, &skip);
		if (len)
			e = lookup(r, kind, s + skip, len);
	}
	if (!e) {
		skip = 0;
		e = find_name(r, s, &len);
	}
	if (!e)
		return 0;
	put_label(r, out, s, skip);
	fprintf(out, "%s-%u", e->kind, e->number);
	return skip + len;
}

/* Length of the escape "\xHH" of a record at s; what follows begins a word. */
static size_t escape_length(const char *s)
{
	return s[0] == '\\' && s[1] == 'x' && text_hex_digit(s[2]) >= 0 &&
	       text_hex_digit(s[3]) >= 0 ? 4 : 0;
}

char *redactor_line(struct redactor *r, const char *line)
{
	_cleanup_fclose_ FILE *out = NULL;
	char *text = NULL;
	size_t room = 0;
	bool in_word = false;

	out = xcheck(open_memstream(&text, &room));
	while (*line) {
		size_t n = in_word ? 0 : put_found(r, out, line);
		size_t escape = n ? 0 : escape_length(line);

		if (n == 0) {
			n = escape ? escape : 1;
			fwrite(line, 1, n, out);
		}
		/* Inside "1.2.3.4.5", a version, nothing begins. */
		in_word = !escape && (is_word(line[n - 1]) ||
				      (in_word && *line == '.' &&
				       isdigit((unsigned char)line[1])));
		line += n;
	}
	fclose(out);
	out = NULL;
	return xcheck(text);
}
