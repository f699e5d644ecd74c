/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GPU lines in 10,000 generated configs: snapshots, pending changes, notes, CRLF, raw
 * keys, devN in use up to 255, junk. What is a line of ours is told here without the
 * code under test: all that the text has more than before.
 *
 * CTCONF_SEED, CTCONF_COUNT: other configs, other numbers of them. With AddressSanitizer,
 * which takes six times as long, a fifth of it unless PVE_GPU_TEST_LONG is set.
 */
#include "testroot.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <strings.h>

#include "base/cleanup.h"
#include "pve/ctconf.h"

enum { DEVS = 256, WANTS_MAX = 12, LINES_MAX = 4096, COUNT = 10000 };

/*
 * Each ck_assert() tells of its place in a file: a million of them take longer than all
 * else.
 */
#define MUST(cond, ...) \
	do { \
		if (!(cond)) \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

/* ---- chance ---- */

static uint64_t chance_state;
static unsigned long at_config;		/* for messages */

static unsigned chance(unsigned below)
{
	/* xorshift64*; G. Marsaglia, S. Vigna */
	chance_state ^= chance_state >> 12;
	chance_state ^= chance_state << 25;
	chance_state ^= chance_state >> 27;
	return (unsigned)((chance_state * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static bool one_in(unsigned n)
{
	return chance(n) == 0;
}

/* ---- texts ---- */

struct text {
	char *at;
	size_t len, room;
};

static void put(struct text *t, const char *more, size_t len)
{
	if (t->len + len + 1 > t->room) {
		t->room = 2 * (t->len + len + 1);
		t->at = xreallocarray(t->at, t->room, 1);
	}
	memcpy(t->at + t->len, more, len);
	t->len += len;
	t->at[t->len] = '\0';
}

static void puts_to(struct text *t, const char *more)
{
	put(t, more, strlen(more));
}

static void done(struct text *t)
{
	free(t->at);
	*t = (struct text){ 0 };
}

struct line {
	const char *at;
	size_t len;		/* without LF */
	int section;		/* 0 main, 1 pending, 2 a snapshot */
};

struct lines {
	struct line l[LINES_MAX];
	size_t n;
};

/* "[pve:pending]" in any case, "[snap]": the headers that PVE knows in a container's config. */
static int header_of(const char *at, size_t len)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	char name[64];

	while (len && strchr(" \t\r", at[len - 1]))
		len--;
	if (len < 3 || len > sizeof(name) || *at != '[' || at[len - 1] != ']')
		return -1;
	memcpy(name, at + 1, len - 2);
	name[len - 2] = '\0';
	if (strcasecmp(name, "pve:pending") == 0)
		return 1;
	if (strlen(name) > 1 && strchr(first, *name) && strspn(name, more) == len - 2)
		return 2;
	return -1;
}

static void split(struct lines *lines, const char *text, size_t len)
{
	const char *end = text + len;
	int section = 0;

	lines->n = 0;
	while (text < end) {
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		struct line *line = &lines->l[lines->n++];
		int header;

		MUST(lines->n < LINES_MAX, "%lu: too many lines", at_config);
		line->at = text;
		line->len = (size_t)((lf ? lf : end) - text);
		header = header_of(line->at, line->len);
		section = header > 0 ? header : section;
		line->section = section;
		text = lf ? lf + 1 : end;
	}
}

/* ---- the generated config ---- */

struct node {
	struct ctconf_want want;
	bool on_folder;		/* in a folder that may be wanted too */
};

enum { UVM = 510, CAPS = 511 };

static const struct node nodes[] = {
	{ { .path = "/dev/nvidia0", .has_number = true, .major = 195, .minor = 0, .gid = -1, .mode = 0666 }, false },
	{ { .path = "/dev/nvidia1", .has_number = true, .major = 195, .minor = 1, .gid = -1, .mode = 0666 }, false },
	{ { .path = "/dev/nvidia10", .has_number = true, .major = 195, .minor = 10, .gid = -1, .mode = 0666 }, false },
	{ { .path = "/dev/nvidiactl", .has_number = true, .major = 195, .minor = 255, .gid = -1, .mode = 0666 }, false },
	{ { .path = "/dev/nvidia-uvm", .has_number = true, .major = UVM, .minor = 0, .gid = -1, .mode = 0666 }, false },
	{ { .path = "/dev/nvidia-uvm-tools", .has_number = true, .major = UVM, .minor = 1, .gid = -1, .mode = 0666 }, false },
	{ { .path = "/dev/nvidia-caps", .is_dir = true, .gid = -1, .mode = 0666 }, false },
	{ { .path = "/dev/nvidia-caps/nvidia-cap2", .has_number = true, .major = CAPS, .minor = 2, .gid = -1, .mode = 0444 }, true },
	{ { .path = "/dev/nvidia-caps/nvidia-cap12", .has_number = true, .major = CAPS, .minor = 12, .gid = -1, .mode = 0444 }, true },
	{ { .path = "/dev/dri/renderD128", .has_number = true, .major = 226, .minor = 128, .gid = 104, .mode = 0660 }, false },
	{ { .path = "/dev/dri/by-path/pci-0000:00:02.0-card", .dest = "/dev/dri/card0", .has_number = true, .major = 226, .minor = 1, .gid = 44, .mode = 0660 }, false },
	{ { .path = "/dev/kfd", .has_number = true, .major = 236, .minor = 0, .gid = 993, .mode = 0660 }, false },
};

struct config {
	struct text text;
	bool open_end;
	bool has_nul;
	unsigned pool[DEVS];	/* dev indexes in a random order */
	unsigned n_used;
	/* What lines of somebody else give already, for the next start. */
	bool pending_deletes[DEVS];
	const char *dev_path[DEVS];	/* static */
	bool dev_taken[DEVS];		/* in the main or the pending section */
	bool mount_nvidia0, rule_195, rule_226, rule_all;
};

static const char *const settings[] = {
	"arch: amd64", "cores: 4", "features: nesting=1,keyctl=1", "hostname: gpu-box", "memory: 8192",
	"nameserver: 10.0.0.1", "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth",
	"mp0: /tank/models,mp=/models,ro=1", "onboot: 1", "ostype: debian", "parent: before-upgrade",
	"rootfs: local-zfs:subvol-101-disk-0,size=16G", "startup: order=2,up=30", "swap: 512",
	"tags: gpu;nvidia", "unprivileged: 1", "timezone: host", "newkey: from a later release",
};
static const char *const junk[] = {
	"this is no setting", "Cores: 4", " cores: 4", "dev: /dev/nvidia0", "dev256: /dev/nvidia0,mode=0666",
	"dev00: /dev/nvidia0,mode=0666", "[not a header]", "[9lives]", "[]", "[snap", "lxc.mount.entry",
	"lxc.mount.entry /dev/nvidia0 dev/nvidia0 none bind,optional,create=file 0 0", "\xff\xfe caf\xe9", ":",
	"lxc-mount-entry: x",
};
static const char *const notes[] = {
	"#", "# Plex", "#dev0%3A /dev/nvidia0,mode=0666", "#lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file 0 0",
	"# BEGIN pve-gpu-utils", "# END pve-gpu-utils", "#  [snap]", "#\xc3\xbc",
};
static const char *const raws[] = {
	"lxc.apparmor.profile: unconfined", "lxc.cap.drop =", "lxc.idmap = u 0 100000 65536",
	"lxc.idmap=g 0 100000 65536", "lxc.mount.entry: /dev/net/tun dev/net/tun none bind,create=file 0 0",
	"lxc.mount.entry: /tank/a tank/a none bind,optional,create=dir 0 0",
	"lxc.mount.entry: /dev/nvidia1 /dev/nvidia1 none bind,optional,create=file 0 0",
	"lxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir",
	"lxc.mount.entry: /dev/nvidia1 mnt/nvidia1 none bind,optional,create=file 0 0",
	"lxc.cgroup2.devices.allow: c 10:200 rwm", "lxc.cgroup2.devices.allow: c 510:0 r",
	"lxc.cgroup.devices.allow: c 195:* rwm", "lxc.cgroup2.devices.deny: c 195:0 wr", "lxc.hook.pre-start: /bin/true",
};
/* Of our own form, where only a snapshot's can be: PVE copies them there. */
static const char *const copies[] = {
	"dev0: /dev/nvidia0,mode=0666", "dev1: /dev/dri/renderD128,gid=104,mode=0660",
	"lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file 0 0",
	"lxc.cgroup2.devices.allow: c 195:0 wr",
};
#define PICK(list) list[chance(ARRAY_SIZE(list))]
#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

static void put_line(struct config *c, const char *text)
{
	static const char *const ends[] = { "\n", "\r\n" };
	unsigned style = c->text.at && strstr(c->text.at, "\r\n") ? 1 : 0;

	puts_to(&c->text, text);
	/* A line of the other kind now and then; the first one decides on the rest. */
	if (c->text.len == strlen(text))
		style = one_in(4);
	puts_to(&c->text, ends[one_in(40) ? !style : style]);
}

/* A devN that is not ours: of other nodes, or with another option, or without a mode. */
static void put_dev(struct config *c, bool pending)
{
	static const struct {
		const char *value, *path;
	} values[] = {
		{ "/dev/ttyUSB0,mode=0666", NULL }, { "/dev/snd/timer,gid=29,mode=0660", NULL },
		{ "/dev/nvidia0", "/dev/nvidia0" }, { "/dev/nvidia1,gid=44", "/dev/nvidia1" },
		{ "/dev/nvidiactl,mode=0666,uid=1000", "/dev/nvidiactl" },
		{ "path=/dev/kfd,deny-write=1,mode=0660", "/dev/kfd" },
		{ "/dev/dri/renderD129,gid=104", NULL }, { "/dev/accel/accel0,mode=0660", NULL },
	};
	const unsigned kind = chance(ARRAY_SIZE(values));
	_cleanup_free_ char *line = NULL;
	unsigned index;

	if (c->n_used == DEVS)
		return;
	index = c->pool[c->n_used++];
	line = xasprintf("dev%u:%s%s", index, one_in(3) ? "" : one_in(3) ? "\t " : " ", values[kind].value);
	put_line(c, line);
	c->dev_taken[index] = true;
	c->dev_path[index] = values[kind].path;
	if (!pending && one_in(12)) {
		/* Once more, which replaces the first. */
		put_line(c, "cores: 2");
		free(line);
		line = xasprintf("dev%u: /dev/fuse", index);
		put_line(c, line);
		c->dev_path[index] = NULL;
	}
}

static void put_rule(struct config *c)
{
	switch (chance(6)) {
	case 0:
		put_line(c, "lxc.cgroup2.devices.allow: c 195:* rwm");
		c->rule_195 = true;
		break;
	case 1:
		put_line(c, "lxc.cgroup2.devices.allow = c 226:* rw");
		c->rule_226 = true;
		break;
	case 2:
		put_line(c, "lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file");
		c->mount_nvidia0 = true;
		break;
	case 3:
		if (one_in(4)) {
			put_line(c, "lxc.cgroup2.devices.allow: a");
			c->rule_all = true;
		}
		break;
	default:
		put_line(c, PICK(raws));
	}
}

static void put_note(struct config *c)
{
	if (one_in(60)) {
		put(&c->text, "# a\0b\n", 6);
		c->has_nul = true;
	} else {
		put_line(c, PICK(notes));
	}
}

static void put_main(struct config *c)
{
	static const unsigned devs[] = { 0, 1, 3, 20, 240, 250, 254, 255, 256 };
	unsigned n = chance(30);
	unsigned n_devs = one_in(2) ? chance(4) : one_in(2) ? PICK(devs) : 0;

	for (unsigned i = one_in(3) ? chance(5) : 0; i > 0; i--)
		put_note(c);
	while (n-- > 0) {
		switch (chance(12)) {
		case 0: put_note(c); break;
		case 1: put_line(c, one_in(2) ? "" : "  \t"); break;
		case 2: put_line(c, PICK(junk)); break;
		case 3: case 4: case 5: put_rule(c); break;
		default: put_line(c, PICK(settings));
		}
		if (one_in(4) && n_devs) {
			put_dev(c, false);
			n_devs--;
		}
	}
	while (n_devs-- > 0)
		put_dev(c, false);
	while (one_in(4))
		put_line(c, one_in(2) ? "" : "\t");
}

static void put_pending(struct config *c)
{
	put_line(c, one_in(3) ? "[PVE:Pending]" : one_in(3) ? "[pve:pending]  " : "[pve:pending]");
	for (unsigned n = chance(5); n > 0; n--)
		put_line(c, PICK(settings));
	for (unsigned n = chance(3); n > 0; n--)
		put_dev(c, true);
	if (one_in(3)) {
		/* Also what is not there: a new one would be gone at the next start. */
		bool known = c->n_used && one_in(2);
		unsigned index = known ? c->pool[chance(c->n_used)] : chance(5);
		_cleanup_free_ char *line = xasprintf("delete: cores,dev%u", index);

		put_line(c, line);
		c->pending_deletes[index] = true;
		c->dev_taken[index] = true;
	}
}

static void put_snapshot(struct config *c, unsigned number)
{
	_cleanup_free_ char *header = xasprintf("[snap-%u_%s]", number, one_in(2) ? "Before" : "a");

	put_line(c, header);
	for (unsigned n = chance(12); n > 0; n--) {
		switch (chance(6)) {
		case 0: put_note(c); break;
		case 1: put_line(c, PICK(copies)); break;
		case 2: put_line(c, PICK(raws)); break;
		case 3: put_line(c, PICK(junk)); break;
		default: put_line(c, PICK(settings));
		}
	}
	put_line(c, "snaptime: 1763000000");
}

static void generate(struct config *c)
{
	bool pending = one_in(3);

	*c = (struct config){ 0 };
	puts_to(&c->text, "");
	for (unsigned i = 0; i < DEVS; i++)
		c->pool[i] = i;
	for (unsigned i = DEVS; one_in(2) && i > 1; i--) {
		unsigned other = chance(i), kept = c->pool[i - 1];

		c->pool[i - 1] = c->pool[other];
		c->pool[other] = kept;
	}
	if (!one_in(50))
		put_main(c);
	if (pending)
		put_pending(c);
	for (unsigned i = 0, n = one_in(2) ? chance(4) : 0; i < n; i++)
		put_snapshot(c, i);
	if (c->text.len && one_in(6)) {
		c->text.len--;
		if (c->text.len && c->text.at[c->text.len - 1] == '\r')
			c->text.len--;
		c->text.at[c->text.len] = '\0';
	}
}

/* ---- what has to come of it ---- */

static size_t choose(struct ctconf_want *wants, unsigned shift)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		if (!one_in(2))
			continue;
		wants[n] = nodes[i].want;
		if (wants[n].major == UVM || wants[n].major == CAPS)
			wants[n].major += shift;
		n++;
	}
	return n;
}

static bool dev_given(const struct config *c, const char *path)
{
	for (unsigned i = 0; i < DEVS; i++) {
		if (c->dev_path[i] && !c->pending_deletes[i] &&
		    strcmp(c->dev_path[i], path) == 0)
			return true;
	}
	return false;
}

static bool rule_given(const struct config *c, const struct ctconf_want *w)
{
	return c->rule_all || (c->rule_195 && w->major == 195) ||
		(c->rule_226 && w->major == 226);
}

/* The lines that are to be there, without their index: "dev: VALUE". */
struct expected {
	char *l[3 * WANTS_MAX];
	size_t n;
};

static void expect(struct expected *e, char *line)
{
	for (size_t i = 0; i < e->n; i++) {
		if (strcmp(e->l[i], line) == 0) {
			free(line);
			return;
		}
	}
	e->l[e->n++] = line;
}

static void expect_all(struct expected *e, const struct config *c,
		       enum ctconf_style style,
		       const struct ctconf_want *wants, size_t n)
{
	bool folder = false;

	for (size_t i = 0; i < n; i++)
		folder = folder || wants[i].is_dir;
	e->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct ctconf_want *w = &wants[i];
		const char *to = (w->dest ? w->dest : w->path) + 1;
		bool below = folder && !w->is_dir && strncmp(w->path, "/dev/nvidia-caps/", 17) == 0;

		if (dev_given(c, w->path) || (style == CTCONF_DEV && w->is_dir))
			continue;
		if (style == CTCONF_DEV && w->gid < 0) {
			expect(e, xasprintf("dev: %s,mode=0%o", w->path, w->mode));
		} else if (style == CTCONF_DEV) {
			expect(e, xasprintf("dev: %s,gid=%d,mode=0%o", w->path, w->gid, w->mode));
		} else {
			if (!below && !(c->mount_nvidia0 && strcmp(to, "dev/nvidia0") == 0))
				expect(e, xasprintf("lxc.mount.entry: %s %s none bind,optional,create=%s 0 0",
						    w->path, to, w->is_dir ? "dir" : "file"));
			if (w->has_number && !rule_given(c, w))
				expect(e, xasprintf("lxc.cgroup2.devices.allow: c %u:%u wr", w->major, w->minor));
		}
	}
}

static void expected_done(struct expected *e)
{
	while (e->n > 0)
		free(e->l[--e->n]);
}

static bool same(const struct line *a, const struct line *b)
{
	return a->len == b->len && memcmp(a->at, b->at, a->len) == 0;
}

/* Take the line off the list; a devN also when the index is its own. */
static bool take(struct expected *e, const struct line *line, bool *devs)
{
	char *own = xstrndup(line->at, line->len), *at = own;
	size_t end = strcspn(own, "\r");
	bool found = false;

	own[end] = '\0';
	if (strncmp(own, "dev", 3) == 0) {
		unsigned long index = strtoul(own + 3, &at, 10);

		MUST(index < DEVS && !devs[index], "%lu: dev%lu is taken: '%s'", at_config, index,
			      own);
		devs[index] = true;
		at -= 3;
		memmove(at, "dev", 3);
	}
	for (size_t i = 0; i < e->n && !found; i++) {
		if (strcmp(e->l[i], at) == 0) {
			free(e->l[i]);
			e->l[i] = e->l[--e->n];
			found = true;
		}
	}
	free(own);
	return found;
}

static struct lines before, after;

/*
 * Every line of old is in new, in order and byte for byte; each one more is one of those
 * expected, in the main section, and all of them are there.
 */
static void compare(const struct config *c, const struct text *old, const char *text,
		    size_t len,
		    struct expected *e)
{
	bool devs[DEVS], crlf;
	size_t at = 0;

	memcpy(devs, c->dev_taken, sizeof(devs));
	split(&before, old->at, old->len);
	crlf = before.n > 0 && old->len > before.l[0].len && before.l[0].len > 0 &&
	       before.l[0].at[before.l[0].len - 1] == '\r';
	split(&after, text, len);
	for (size_t i = 0; i < after.n; i++) {
		struct line *line = &after.l[i];

		/*
		 * Of a line that has lost or gained the end of the text, the LF alone is
		 * other.
		 */
		if (at < before.n && same(&before.l[at], line)) {
			MUST(before.l[at].section == line->section, "%lu: '%.*s' has changed its section in\n%.3000s",
			     at_config, (int)line->len, line->at, text);
			at++;
			continue;
		}
		MUST(take(e, line, devs), "%lu: not expected: '%.*s' in\n%.3000s", at_config,
			      (int)line->len, line->at, text);
		MUST((line->at[line->len - 1] == '\r') == crlf, "%lu: '%.*s' ends otherwise than the first line of\n%.3000s",
		     at_config, (int)line->len, line->at, text);
		MUST(line->section == 0, "%lu: '%.*s' is not in the main section of\n%.3000s",
			      at_config, (int)line->len, line->at, text);
	}
	MUST(at == before.n, "%lu: '%.*s' is gone from\n%.3000s", at_config, (int)before.l[at].len,
		      before.l[at].at, text);
	MUST(e->n == 0, "%lu: '%s' is not in\n%.3000s", at_config, e->l[0], text);
	MUST(!old->len || !len ||
	     (old->at[old->len - 1] == '\n') == (text[len - 1] == '\n'),
	     "%lu: the last line ends otherwise in\n%.3000s", at_config, text);
}

/* The main section's devN, as "pct set" would have them after the raw text was written. */
static void devs_of(const char *text, size_t len, char **values)
{
	split(&after, text, len);
	for (size_t i = 0; i < after.n; i++) {
		unsigned index;
		int end = 0;
		_cleanup_free_ char *line = xstrndup(after.l[i].at, after.l[i].len);

		line[strcspn(line, "\r")] = '\0';
		if (after.l[i].section != 0 || sscanf(line, "dev%3u:%n", &index, &end) != 1 || !end ||
		    index >= DEVS || (line[3] == '0' && line[4] != ':'))
			continue;
		free(values[index]);
		values[index] = xstrdup(line + end + strspn(line + end, " \t"));
	}
}

static void compare_raw(const struct text *old, const struct ctconf_edit *edit)
{
	char *whole[DEVS] = { 0 }, *raw[DEVS] = { 0 };

	MUST(edit->raw_changed ==
	     (edit->raw_len != old->len || memcmp(edit->raw, old->at, old->len) != 0),
	     "%lu: raw_changed is wrong", at_config);
	devs_of(edit->text, edit->len, whole);
	devs_of(edit->raw, edit->raw_len, raw);
	for (size_t i = 0; i < edit->n_devs; i++) {
		unsigned index = edit->devs[i].index;

		MUST(i == 0 || edit->devs[i - 1].index < index, "%lu: devs are out of order", at_config);
		free(raw[index]);
		raw[index] = edit->devs[i].value ? xstrdup(edit->devs[i].value) : NULL;
	}
	for (unsigned i = 0; i < DEVS; i++) {
		MUST(whole[i] ? raw[i] && strcmp(whole[i], raw[i]) == 0 : !raw[i],
		     "%lu: dev%u is '%s', by pct '%s'", at_config, i, whole[i] ? whole[i] : "",
		     raw[i] ? raw[i] : "");
		free(whole[i]);
		free(raw[i]);
	}
}

/* ---- PVE writes the file ---- */

static int by_key(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One section as PVE writes it: notes, settings by key, raw lines in their order. */
static void rewrite_section(struct text *out, const struct lines *in, size_t from,
			    size_t to)
{
	static const char key_chars[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
	char *keys[LINES_MAX];
	size_t n = 0;

	for (size_t i = from; i < to; i++) {
		if (in->l[i].at[0] == '#' && in->l[i].len) {
			put(out, in->l[i].at,
			    in->l[i].len - (in->l[i].at[in->l[i].len - 1] == '\r'));
			puts_to(out, "\n");
		}
	}
	for (size_t i = from; i < to; i++) {
		char *line = xstrndup(in->l[i].at, in->l[i].len);
		size_t key = strspn(line, key_chars), end = strlen(line);

		while (end && strchr(" \t\r", line[end - 1]))
			line[--end] = '\0';
		if (!key || line[key] != ':' || !line[key + 1] ||
			    !islower((unsigned char)*line)) {
			free(line);
			continue;
		}
		/* ':' sorts behind digits: the key alone has to count. */
		line[key] = '\1';
		for (size_t k = 0; k < n; k++) {
			if (strncmp(keys[k], line, key + 1) == 0) {
				free(keys[k]);
				keys[k] = keys[--n];
			}
		}
		keys[n++] = line;
	}
	qsort(keys, n, sizeof(*keys), by_key);
	for (size_t i = 0; i < n; i++) {
		char *value = strchr(keys[i], '\1');

		put(out, keys[i], (size_t)(value - keys[i]));
		puts_to(out, ": ");
		puts_to(out, value + 1 + strspn(value + 1, " \t"));
		puts_to(out, "\n");
		free(keys[i]);
	}
	for (size_t i = from; i < to; i++) {
		_cleanup_free_ char *line = xstrndup(in->l[i].at, in->l[i].len);
		char *value = line + strcspn(line, ":= ");

		if (strncmp(line, "lxc.", 4) != 0 || !*value || (*value == ' ' && value[1] != '='))
			continue;
		put(out, line, (size_t)(value - line));
		value += strspn(value, ":= \t");
		value[strcspn(value, "\r")] = '\0';
		puts_to(out, ": ");
		puts_to(out, value);
		puts_to(out, "\n");
	}
}

static struct lines rewritten;

static struct text rewrite(const char *text, size_t len)
{
	struct text out = { 0 };
	size_t from = 0;

	puts_to(&out, "");
	split(&rewritten, text, len);
	for (size_t i = 0; i <= rewritten.n; i++) {
		const struct line *line = &rewritten.l[i];

		if (i < rewritten.n && header_of(line->at, line->len) < 0)
			continue;
		rewrite_section(&out, &rewritten, from, i);
		if (i < rewritten.n) {
			puts_to(&out, "\n");
			put(&out, line->at,
			    line->len - (line->at[line->len - 1] == '\r'));
			puts_to(&out, "\n");
		}
		from = i + 1;
	}
	return out;
}

/* ---- the properties ---- */

struct counts {
	unsigned changed, full, too_long, rewritten;
};

static void is_text(const char *what, const struct text *want, const char *text,
		    size_t len)
{
	MUST(want->len == len && memcmp(want->at, text, len) == 0,
		      "%lu: %s\n--- before\n%.1500s\n--- now\n%.1500s", at_config, what, want->at, text);
}

static void succeeds(int rc)
{
	MUST(rc == 0, "%lu: %s", at_config, strerror(-rc));
}

/* All own lines away, from a text that PVE may have written anew: old again. */
static void removed(const char *what, const struct text *old, const char *text,
		    size_t len)
{
	struct ctconf_edit edit;

	succeeds(ctconf_change(text, len, one_in(2) ? CTCONF_DEV : CTCONF_MOUNT, NULL, 0,
			       &edit));
	is_text(what, old, edit.text, edit.len);
	ctconf_edit_done(&edit);
}

static void one_config(struct counts *counts)
{
	const enum ctconf_style style = one_in(2) ? CTCONF_DEV : CTCONF_MOUNT,
		other = one_in(2);
	struct ctconf_want wants[ARRAY_SIZE(nodes)], others[ARRAY_SIZE(nodes)];
	size_t n = choose(wants, 0), n_others = choose(others, 1 + chance(5)),
		free_devs = 0;
	struct ctconf_edit edit, again;
	struct expected e;
	struct config c;
	int rc;

	generate(&c);
	removed("without a line of ours nothing goes", &c.text, c.text.at, c.text.len);
	expect_all(&e, &c, style, wants, n);
	for (unsigned i = 0; i < DEVS; i++)
		free_devs += !c.dev_taken[i];
	rc = ctconf_change(c.text.at, c.text.len, style, wants, n, &edit);
	if (style == CTCONF_DEV && e.n > free_devs) {
		MUST(rc == -ENOSPC, "%lu: %d, though no devN is left", at_config, rc);
		counts->full++;
		expected_done(&e);
		done(&c.text);
		return;
	}
	succeeds(rc);
	counts->changed += e.n > 0;
	compare(&c, &c.text, edit.text, edit.len, &e);
	compare_raw(&c.text, &edit);

	succeeds(ctconf_change(edit.text, edit.len, style, wants, n, &again));
	is_text("twice changes nothing", &(struct text){ edit.text, edit.len, 0 }, again.text, again.len);
	MUST(again.n_devs == 0 && !again.raw_changed && !again.raw_adds,
	     "%lu: it wants to change what is right", at_config);
	ctconf_edit_done(&again);
	removed("what was added goes", &c.text, edit.text, edit.len);

	if (!c.has_nul) {
		struct text was = rewrite(c.text.at, c.text.len),
			is = rewrite(edit.text, edit.len);

		removed("what was added goes, after PVE wrote the file", &was, is.at, is.len);
		succeeds(ctconf_change(is.at, is.len, style, wants, n, &again));
		is_text("it is right still, after PVE wrote the file", &is, again.text, again.len);
		ctconf_edit_done(&again);
		done(&was);
		done(&is);
		counts->rewritten++;
	}

	/* Another wish, in the other form, at another boot. */
	expect_all(&e, &c, other, others, n_others);
	rc = ctconf_change(edit.text, edit.len, other, others, n_others, &again);
	if (other == CTCONF_DEV && e.n > free_devs) {
		MUST(rc == -ENOSPC, "%lu: %d, though no devN is left", at_config, rc);
		expected_done(&e);
	} else {
		succeeds(rc);
		compare(&c, &c.text, again.text, again.len, &e);
		removed("what the second one added goes", &c.text, again.text, again.len);
		ctconf_edit_done(&again);
	}
	ctconf_edit_done(&edit);
	done(&c.text);
}

static unsigned long from_environment(const char *name, unsigned long value)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : value;
}

static unsigned long default_count(void)
{
#ifdef __SANITIZE_ADDRESS__
	const char *all = getenv("PVE_GPU_TEST_LONG");

	if (!all || !*all)
		return COUNT / 5;
#endif
	return COUNT;
}

START_TEST(generated)
{
	const unsigned long seed = from_environment("CTCONF_SEED", 1);
	const unsigned long count = from_environment("CTCONF_COUNT", default_count());
	struct counts counts = { 0 };

	for (unsigned long i = 0; i < count; i++) {
		chance_state = (seed * 1000003 + i) * 0x9e3779b97f4a7c15ULL | 1;
		chance(2);
		at_config = i;
		one_config(&counts);
	}
	printf("%lu configs: %u got lines, %u had no devN left, %u were written anew by PVE\n", count,
	       counts.changed, counts.full, counts.rewritten);
	/* What was generated is what it was meant to be. */
	ck_assert_uint_gt(counts.changed, count / 2);
	ck_assert_uint_gt(counts.full, count / 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ctconf_random");
	TCase *tcase = tcase_create("ctconf_random");

	tcase_set_timeout(tcase, 1500);
	tcase_add_test(tcase, generated);
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
