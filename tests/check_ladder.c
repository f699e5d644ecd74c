/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ladder on a kernel made of files: timedwrite() is replaced by one that
 * removes, finds and binds functions as the kernel does, and can kill the run at any
 * write.
 */
#include "pcitree.h"

#include <sys/wait.h>

#include "base/sysfs.h"
#include "pci/ladder.h"

#define GPU "0000:01:00.0"
#define AUDIO "0000:01:00.1"
#define PORT "pci0000:00/0000:00:01.0"
#define ARC_PORT "pci0000:00/0000:00:02.0"
#define UP ARC_PORT "/0000:02:00.0"
#define ARC UP "/0000:03:00.0/0000:04:00.0"
#define ARC_AUDIO UP "/0000:03:01.0/0000:05:00.0"
#define FLR "pci0000:00/0000:00:03.0/0000:06:00.0"

static const struct {
	const char *place;
	unsigned vendor, device, class;
	const char *method;	/* reset_method; NULL: none */
	const char *driver, *override;
} machine[] = {
	{ PORT, 0x8086, 0xa70d, 0x060400, NULL, "pcieport", "" },
	{ PORT "/" GPU, 0x10de, 0x2204, 0x030000, "bus", "vfio-pci", "vfio-pci" },
	{ PORT "/" AUDIO, 0x10de, 0x1aef, 0x040300, NULL, "snd_hda_intel", "" },
	{ ARC_PORT, 0x8086, 0xa70d, 0x060400, NULL, "pcieport", "" },
	{ UP, 0x8086, 0x4fa1, 0x060400, NULL, "pcieport", "" },
	{ UP "/0000:03:00.0", 0x8086, 0x4fa4, 0x060400, NULL, "pcieport", "" },
	{ UP "/0000:03:01.0", 0x8086, 0x4fa4, 0x060400, NULL, "pcieport", "" },
	{ ARC, 0x8086, 0x56a6, 0x030000, "bus", "vfio-pci", "vfio-pci" },
	{ ARC_AUDIO, 0x8086, 0x4f92, 0x040300, "bus", NULL, "" },
	{ "pci0000:00/0000:00:03.0", 0x8086, 0xa70d, 0x060400, NULL, "pcieport", "" },
	{ FLR, 0x10de, 0x2684, 0x030000, "flr bus", "vfio-pci", "vfio-pci" },
};

/* What the kernel is to do, and did. */
static struct {
	int kill_at;		/* die before this write; 0 = never */
	int stop_at;		/* ask to stop at it */
	int hang_at;		/* leave a child behind in it */
	int writes;
	bool loses_audio;	/* it does not come back */
	bool shrinks_gpu;	/* its BAR comes back smaller */
	bool refuses_override;
	bool refuses_reset;
	bool refuses_auto;	/* of power/control */
	bool is_heedless;	/* a rescan attaches drivers in spite of autoprobe */
} kernel;
static volatile sig_atomic_t stopped;

static const char *addr_of(const char *place)
{
	return strrchr(place, '/') + 1;
}

static void put_link(const char *addr, const char *place)
{
	_cleanup_free_ char *link =
		xasprintf("%s/sys/bus/pci/devices/%s", testroot, addr);
	_cleanup_free_ char *target = xasprintf("../../../devices/%s", place);

	ck_assert(symlink(target, link) == 0 || errno == EEXIST);
}

/* A device object as it is new. */
static void put_fresh(size_t i, uint64_t size)
{
	const char *place = machine[i].place;
	bool bridge = machine[i].class >> 8 == 0x0604;
	uint8_t head[256] = {
		(uint8_t)machine[i].vendor,
		(uint8_t)(machine[i].vendor >> 8),
		(uint8_t)machine[i].device,
		(uint8_t)(machine[i].device >> 8),
		[10] = (uint8_t)(machine[i].class >> 8),
		[11] = (uint8_t)(machine[i].class >> 16),
		[14] = bridge,
		[19] = 0xf0,
	};
	char resource[512],
		*driver = xasprintf("%s/sys/devices/%s/driver", testroot, place);

	pcitree_config_bytes(place, head, 64);
	snprintf(resource, sizeof(resource),
		 "0x00000000f0000000 0x%016llx 0x0000000000040200\n",
		 0xefffffffull + (unsigned long long)size);
	pcitree_attribute(place, "resource", bridge ? "" : resource);
	pcitree_attribute(place, "driver_override", "(null)\n");
	pcitree_attribute(place, "power/control", "on\n");
	pcitree_attribute(place, "d3cold_allowed", "1\n");
	pcitree_attribute(place, "msi_bus", "1\n");
	pcitree_attribute(place, "reset", "");
	pcitree_attribute(place, "remove", "");
	if (machine[i].method)
		pcitree_attribute(place, "reset_method", machine[i].method);
	if (unlink(driver) < 0)
		errno = 0;
	free(driver);
}

static void put_number(const char *place, const char *name, unsigned digits,
		       unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "0x%0*x\n", (int)digits, value);
	pcitree_attribute(place, name, text);
}

/* Everything as an administrator has set it up. */
static void build(void)
{
	memset(&kernel, 0, sizeof(kernel));
	stopped = 0;
	testroot_file("/sys/bus/pci/drivers_autoprobe", "1\n");
	for (size_t i = 0; i < ARRAY_SIZE(machine); i++) {
		const char *place = machine[i].place;
		const char *override = machine[i].override;

		if (machine[i].class >> 8 == 0x0604)
			pcitree_bridge(place);
		pcitree_attribute(place, "irq", "0\n");
		put_link(addr_of(place), place);
		put_fresh(i, 16 << 20);
		if (machine[i].driver)
			pcitree_driver(place, machine[i].driver);
		pcitree_attribute(place, "driver_override",
				  *override ? override : "(null)\n");
		pcitree_attribute(place, "power/control", "auto\n");
		pcitree_attribute(place, "msi_bus", "0\n");
		put_number(place, "vendor", 4, machine[i].vendor);
		put_number(place, "device", 4, machine[i].device);
		put_number(place, "class", 6, machine[i].class);
	}
	for (int bus = 1; bus <= 6; bus++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/class/pci_bus/0000:%02x/rescan", bus);
		testroot_file(path, "");
	}
}

static bool is_there(const char *place)
{
	_cleanup_free_ char *link = xasprintf("%s/sys/bus/pci/devices/%s", testroot,
					      addr_of(place));

	return access(link, F_OK) == 0;
}

static void kernel_remove(const char *addr)
{
	for (size_t i = 0; i < ARRAY_SIZE(machine); i++) {
		_cleanup_free_ char *link = xasprintf(
			"%s/sys/bus/pci/devices/%s", testroot, addr_of(machine[i].place));

		if (strstr(machine[i].place, addr))
			ck_assert(unlink(link) == 0 || errno == ENOENT);
	}
}

static void kernel_rescan(unsigned bus)
{
	char head[16];

	snprintf(head, sizeof(head), "0000:%02x:", bus);
	for (size_t i = 0; i < ARRAY_SIZE(machine); i++) {
		const char *place = machine[i].place, *addr = addr_of(place);
		_cleanup_free_ char *above = xstrndup(place, (size_t)(addr - 1 - place));
		char autoprobe[4] = "";
		_cleanup_free_ char *path =
			xasprintf("%s/sys/bus/pci/drivers_autoprobe", testroot);

		/* This bus, and those below what was found on it. */
		if (is_there(place) ||
		    (strncmp(addr, head, 8) != 0 && !strstr(place, head)) ||
		    (strchr(above, '/') && !is_there(above)) ||
		    (kernel.loses_audio && strcmp(addr, AUDIO) == 0))
			continue;
		put_fresh(i, kernel.shrinks_gpu && strcmp(addr, GPU) == 0 ? 4 << 20
									  : 16 << 20);
		put_link(addr, place);
		sysfs_read(path, autoprobe, sizeof(autoprobe));
		if (strcmp(autoprobe, "1") == 0 || kernel.is_heedless)
			pcitree_driver(place, "native");
	}
}

/* driver: NULL takes it away. */
static int kernel_bind(const char *driver, const char *addr)
{
	for (size_t i = 0; i < ARRAY_SIZE(machine); i++)
		if (strcmp(addr_of(machine[i].place), addr) == 0 &&
		    is_there(machine[i].place)) {
			_cleanup_free_ char *link = xasprintf(
				"%s/sys/devices/%s/driver", testroot, machine[i].place);

			ck_assert(unlink(link) == 0 || errno == ENOENT);
			if (driver)
				pcitree_driver(machine[i].place, driver);
		}
	return 0;
}

/* The word of a path that many parts from its end. */
static void part_of(const char *path, int back, char *word, size_t size)
{
	_cleanup_free_ char *copy = xstrdup(path);
	char *slash = copy;

	for (; back >= 0; back--) {
		slash = strrchr(copy, '/');
		if (back)
			*slash = '\0';
	}
	snprintf(word, size, "%s", slash + 1);
}

static int kernel_write(const char *path, const char *value)
{
	char last[32], above[32];
	unsigned bus;
	FILE *f;

	part_of(path, 0, last, sizeof(last));
	part_of(path, 1, above, sizeof(above));
	if (strcmp(last, "bind") == 0 || strcmp(last, "unbind") == 0)
		return kernel_bind(strcmp(last, "bind") == 0 ? above : NULL, value);
	if (access(path, F_OK) < 0)
		return -errno;
	if (strcmp(last, "remove") == 0) {
		kernel_remove(above);
		return 0;
	}
	if (strcmp(last, "rescan") == 0 && sscanf(above, "0000:%2x", &bus) == 1) {
		kernel_rescan(bus);
		return 0;
	}
	if (strcmp(last, "driver_override") == 0 && kernel.refuses_override)
		return -EPERM;
	if (strcmp(last, "control") == 0 && strcmp(value, "auto") == 0 &&
	    kernel.refuses_auto)
		return -EPERM;
	if (strncmp(last, "reset", 5) == 0 && kernel.refuses_reset)
		return -ENOTTY;
	/* "default" is all methods, probed again. */
	if (strcmp(last, "reset_method") == 0 && strcmp(value, "default") == 0)
		return 0;
	f = fopen(path, "w");
	if (!f)
		return -errno;
	fprintf(f, "%s%s", value, strchr(value, '\n') ? "" : "\n");
	return fclose(f) == 0 ? 0 : -errno;
}

int __wrap_timedwrite(struct timedwriter *w, const char *path, const char *value);
int __wrap_timedwrite(struct timedwriter *w, const char *path, const char *value)
{
	struct timedwrite *d;

	if (++kernel.writes == kernel.kill_at)
		_exit(99);
	if (kernel.writes == kernel.stop_at)
		stopped = SIGTERM;
	w->done = xgrow(w->done, w->n, &w->room, sizeof(*w->done));
	d = &w->done[w->n++];
	*d = (struct timedwrite){ .path = xstrdup(path), .value = xstrdup(value) };
	if (kernel.writes == kernel.hang_at) {
		d->left = 4711;
		d->result = -ETIMEDOUT;
		return d->result;
	}
	d->result = kernel_write(path, value);
	return d->result;
}

static void put_text(FILE *out, const char *place, const char *name)
{
	_cleanup_free_ char *path =
		xasprintf("%s/sys/devices/%s/%s", testroot, place, name);
	char text[64] = "-";

	sysfs_read(path, text, sizeof(text));
	fprintf(out, " %s", text);
}

/* The whole machine in a text: what must be as it was. Allocated. */
static char *state(void)
{
	static const char *const names[] = {
		"driver_override", "reset_method", "power/control",
		"d3cold_allowed",  "msi_bus",
	};
	char *text = NULL, autoprobe[4] = "";
	size_t len;
	FILE *out = open_memstream(&text, &len);
	_cleanup_free_ char *path =
		xasprintf("%s/sys/bus/pci/drivers_autoprobe", testroot);

	for (size_t i = 0; i < ARRAY_SIZE(machine); i++) {
		const char *place = machine[i].place;
		_cleanup_free_ char *link =
			xasprintf("%s/sys/devices/%s/driver", testroot, place);
		_cleanup_free_ char *driver = sysfs_link_name(link);

		fprintf(out, "%s %d %s", place, is_there(place), driver ? driver : "-");
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			put_text(out, place, names[k]);
		putc('\n', out);
	}
	sysfs_read(path, autoprobe, sizeof(autoprobe));
	fprintf(out, "autoprobe %s\n", autoprobe);
	fclose(out);
	return text;
}

static struct ladder new_ladder(void)
{
	return (struct ladder){ .writer = { .lock = -1 },
				.timeout = 50,
				.stop = &stopped };
}

/* One card of the function at this place, its snapshot taken. */
static struct ladder_card *card_of(const struct topology *t, const char *addr, int only)
{
	struct pciaddr a = at(addr);
	struct ladder_card *cards;
	size_t n;

	ladder_cards(t, &a, 1, &cards, &n);
	ck_assert_uint_eq(n, 1);
	if (only >= 0)
		cards->start = cards->last = (enum ladder_rung)only;
	ck_assert_int_eq(ladder_card_snapshot(t, cards), 0);
	return cards;
}

static enum ladder_result climb(const char *addr, int only, enum ladder_rung *rung,
				char **what)
{
	struct ladder l = new_ladder();
	struct ladder_card *card;
	enum ladder_result result;
	struct topology t;

	ck_assert_int_eq(topology_read(&t), 0);
	card = card_of(&t, addr, only);
	result = ladder_climb(&l, card, rung, what);
	timedwrite_done(&l.writer);
	ladder_cards_free(card, 1);
	topology_done(&t);
	return result;
}

static size_t count_files(void)
{
	struct snapshot *list;
	size_t n, bad;

	ck_assert_int_eq(snapshot_load_all(&list, &n, &bad), 0);
	snapshot_free_all(list, n);
	return n + bad;
}

static const struct {
	const char *addr;
	int only;		/* -1: where it starts by itself */
	enum ladder_rung rung;	/* that does it */
} climbs[] = {
	{ GPU, -1, LADDER_SLOT },
	{ AUDIO, -1, LADDER_SLOT },
	{ "0000:04:00.0", -1, LADDER_CARD },
	{ "0000:04:00.0", LADDER_SLOT, LADDER_SLOT },
	{ "0000:05:00.0", -1, LADDER_CARD },
	{ "0000:06:00.0", -1, LADDER_OWN },
	{ "0000:06:00.0", LADDER_SLOT, LADDER_SLOT },
};

START_TEST(climbs_and_loses_nothing)
{
	_cleanup_free_ char *before = NULL, *after = NULL, *what = NULL;
	enum ladder_rung rung;

	build();
	before = state();
	ck_assert_int_eq(climb(climbs[_i].addr, climbs[_i].only, &rung, &what),
			 LADDER_HEALTHY);
	ck_assert_int_eq(rung, climbs[_i].rung);
	after = state();
	ck_assert_str_eq(after, before);
	ck_assert_uint_eq(count_files(), 0);
}
END_TEST

/* Host drivers that a rescan attached have to go again. */
START_TEST(host_drivers_are_sent_away)
{
	_cleanup_free_ char *before = NULL, *after = NULL, *what = NULL;
	enum ladder_rung rung;

	build();
	kernel.is_heedless = true;
	before = state();
	ck_assert_int_eq(climb(climbs[_i].addr, climbs[_i].only, &rung, &what),
			 LADDER_HEALTHY);
	after = state();
	ck_assert_str_eq(after, before);
}
END_TEST

/* What pci-rescan does: put back what a killed run left, then climb. */
static void run_again(const char *addr, int only)
{
	_cleanup_free_ char *what = NULL;
	struct snapshot *left;
	enum ladder_rung rung;
	size_t n, bad;

	ck_assert_int_eq(snapshot_load_all(&left, &n, &bad), 0);
	ck_assert_uint_eq(bad, 0);
	for (size_t i = 0; i < n; i++) {
		struct ladder l = new_ladder();
		_cleanup_free_ char *text = NULL;

		ck_assert_int_eq(ladder_heal(&l, &left[i], false, &text), 0);
		ck_assert_ptr_null(text);
		timedwrite_done(&l.writer);
	}
	snapshot_free_all(left, n);
	ck_assert_int_eq(climb(addr, only, &rung, &what), LADDER_HEALTHY);
}

/* Killed before every write in turn, the climb and the heal itself. */
START_TEST(killed_anywhere_it_heals)
{
	_cleanup_free_ char *before = NULL;
	bool done = false;

	build();
	before = state();
	for (int at_write = 1; !done; at_write++) {
		_cleanup_free_ char *after = NULL;
		pid_t pid = fork();
		int status;

		ck_assert_int_lt(at_write, 100);
		if (pid == 0) {
			enum ladder_rung rung;
			char *what;

			kernel.writes = 0;
			kernel.kill_at = at_write;
			climb(climbs[_i].addr, climbs[_i].only, &rung, &what);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		done = WEXITSTATUS(status) == 0;
		pid = fork();
		if (pid == 0) {		/* killed again, while it heals */
			kernel.writes = 0;
			kernel.kill_at = 1 + at_write % 5;
			run_again(climbs[_i].addr, climbs[_i].only);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		run_again(climbs[_i].addr, climbs[_i].only);
		after = state();
		ck_assert_str_eq(after, before);
		ck_assert_uint_eq(count_files(), 0);
	}
}
END_TEST

START_TEST(stopped_anywhere_it_puts_back)
{
	_cleanup_free_ char *before = NULL;

	build();
	before = state();
	for (int at_write = 1; at_write < 30; at_write++) {
		_cleanup_free_ char *after = NULL, *what = NULL;
		enum ladder_rung rung;
		enum ladder_result result;

		kernel.writes = 0;
		stopped = 0;
		kernel.stop_at = at_write;
		result = climb(climbs[_i].addr, climbs[_i].only, &rung, &what);
		ck_assert(result == LADDER_STOPPED || result == LADDER_HEALTHY);
		after = state();
		ck_assert_str_eq(after, before);
		ck_assert_uint_eq(count_files(), 0);
	}
}
END_TEST

START_TEST(lost_function_is_known_by_the_file)
{
	_cleanup_free_ char *before = NULL, *after = NULL, *what = NULL, *again = NULL,
			    *text = NULL;
	struct pciaddr audio = at(AUDIO);
	struct ladder l = new_ladder();
	struct snapshot *left;
	struct ladder_card card;
	enum ladder_rung rung;
	size_t n, bad;

	build();
	before = state();
	kernel.loses_audio = true;
	ck_assert_int_eq(climb(GPU, -1, &rung, &what), LADDER_LOST);
	ck_assert_str_eq(what, AUDIO " is not on the bus");
	ck_assert_int_eq(snapshot_load_all(&left, &n, &bad), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(ladder_heal(&l, left, false, &text), -ENODEV);
	ck_assert(strstr(text, "still gone"));

	/* It comes back when it is asked for by its address alone. */
	ladder_card_lost(left, &audio, 1, &card);
	ck_assert_int_eq(card.start, LADDER_SLOT);
	ck_assert_ptr_nonnull(card.why[LADDER_OWN]);
	kernel.loses_audio = false;
	ck_assert_int_eq(ladder_climb(&l, &card, &rung, &again), LADDER_HEALTHY);
	after = state();
	ck_assert_str_eq(after, before);
	ck_assert_uint_eq(count_files(), 0);
	ladder_card_done(&card);
	timedwrite_done(&l.writer);
	snapshot_free_all(left, n);
}
END_TEST

START_TEST(changed_card_is_told)
{
	_cleanup_free_ char *what = NULL, *after = NULL;
	enum ladder_rung rung;

	build();
	kernel.shrinks_gpu = true;
	ck_assert_int_eq(climb(GPU, -1, &rung, &what), LADDER_CHANGED);
	ck_assert_str_eq(what, GPU " BAR 0 has 4 MiB, had 16 MiB");
	after = state();
	ck_assert_ptr_nonnull(strstr(after, "autoprobe 1"));
	ck_assert_ptr_nonnull(strstr(after, "vfio-pci vfio-pci bus auto"));
}
END_TEST

START_TEST(what_is_not_put_back_is_told)
{
	_cleanup_free_ char *what = NULL;
	enum ladder_rung rung;

	build();
	kernel.refuses_override = true;
	ck_assert_int_eq(climb(GPU, -1, &rung, &what), LADDER_CHANGED);
	ck_assert_ptr_nonnull(
		strstr(what, GPU " driver_override is \"\", was \"vfio-pci\""));
	ck_assert_uint_eq(count_files(), 0);
}
END_TEST

/* A rung that does not work is no excuse. */
START_TEST(what_is_not_put_back_counts_more)
{
	_cleanup_free_ char *what = NULL;
	enum ladder_rung rung;

	build();
	kernel.refuses_reset = kernel.refuses_auto = true;
	ck_assert_int_eq(climb("0000:06:00.0", LADDER_OWN, &rung, &what), LADDER_CHANGED);
	ck_assert_ptr_nonnull(strstr(what, "power/control is \"on\", was \"auto\""));
}
END_TEST

/* A mild rung that does not work is followed by the next. */
START_TEST(next_rung_is_tried)
{
	_cleanup_free_ char *before = NULL, *after = NULL, *what = NULL;
	enum ladder_rung rung;

	build();
	before = state();
	kernel.refuses_reset = true;
	ck_assert_int_eq(climb("0000:06:00.0", -1, &rung, &what), LADDER_HEALTHY);
	ck_assert_int_eq(rung, LADDER_SLOT);
	after = state();
	ck_assert_str_eq(after, before);
	free(what);
	what = NULL;
	ck_assert_int_eq(climb("0000:06:00.0", LADDER_OWN, &rung, &what), LADDER_NONE);
	ck_assert_str_eq(what, "no reset method works");
}
END_TEST

/* A write that hangs: nothing but autoprobe is touched any more, the file stays. */
START_TEST(hanging_write_ends_it)
{
	_cleanup_free_ char *what = NULL, *after = NULL;
	struct ladder l = new_ladder();
	struct ladder_card *card;
	enum ladder_rung rung;
	struct topology t;
	int last;

	build();
	ck_assert_int_eq(topology_read(&t), 0);
	card = card_of(&t, GPU, -1);
	kernel.hang_at = last = 8;	/* the audio's remove, after wake and autoprobe */
	ck_assert_int_eq(ladder_climb(&l, card, &rung, &what), LADDER_LOST);
	ck_assert(l.is_hung);
	ck_assert_ptr_nonnull(strstr(l.writer.done[last - 1].path, AUDIO "/remove"));
	ck_assert_uint_eq(l.writer.n, (size_t)last + 1);
	after = state();
	ck_assert_ptr_nonnull(strstr(after, "autoprobe 1"));
	ck_assert_uint_eq(count_files(), 1);
	timedwrite_done(&l.writer);
	ladder_cards_free(card, 1);
	topology_done(&t);
}
END_TEST

/* Another driver has it since: it stays; the older word is for the next climb. */
START_TEST(other_driver_is_left_alone)
{
	_cleanup_free_ char *text = NULL, *before = NULL, *after = NULL, *what = NULL;
	struct ladder l = new_ladder();
	struct ladder_card *card;
	struct snapshot *left;
	enum ladder_rung rung;
	struct topology t;
	size_t n, bad;
	pid_t pid;

	build();
	before = state();
	pid = fork();
	if (pid == 0) {
		kernel.kill_at = 12;
		climb(GPU, -1, &rung, &what);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	testroot_file("/sys/bus/pci/drivers_autoprobe", "1\n");
	kernel_rescan(1);
	kernel_bind("native", GPU);
	ck_assert_int_eq(snapshot_load_all(&left, &n, &bad), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(ladder_heal(&l, left, false, &text), -EEXIST);
	ck_assert_str_eq(text, GPU " was taken by driver native since");
	ck_assert_uint_eq(count_files(), 1);

	ck_assert_int_eq(topology_read(&t), 0);
	card = card_of(&t, GPU, -1);
	ladder_card_keep(card, left);
	ck_assert_int_eq(ladder_climb(&l, card, &rung, &what), LADDER_HEALTHY);
	after = state();
	ck_assert_str_eq(after, before);
	timedwrite_done(&l.writer);
	ladder_cards_free(card, 1);
	topology_done(&t);
	snapshot_free_all(left, n);
}
END_TEST

START_TEST(functions_of_one_card_are_one)
{
	struct pciaddr addrs[] = { at("0000:05:00.0"), at(AUDIO), at("0000:04:00.0"),
				   at(GPU) };
	struct ladder_card *cards;
	struct topology t;
	size_t n;

	build();
	ck_assert_int_eq(topology_read(&t), 0);
	ladder_cards(&t, addrs, ARRAY_SIZE(addrs), &cards, &n);
	ck_assert_uint_eq(n, 2);
	/* the display counts, in whatever order they are named */
	ck_assert_int_eq(pciaddr_compare(&cards[0].named[0], &addrs[2]), 0);
	ck_assert_uint_eq(cards[0].n_named, 2);
	ck_assert(cards[0].has_top && cards[0].start == LADDER_CARD);
	ck_assert_int_eq(pciaddr_compare(&cards[1].named[0], &addrs[3]), 0);
	ck_assert_uint_eq(cards[1].n_slot, 2);
	ck_assert(!cards[1].has_top && cards[1].start == LADDER_SLOT);
	ladder_cards_free(cards, n);
	topology_done(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ladder");
	TCase *tc = tcase_create("ladder");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tc, climbs_and_loses_nothing, 0, ARRAY_SIZE(climbs));
	tcase_add_loop_test(tc, host_drivers_are_sent_away, 0, ARRAY_SIZE(climbs));
	tcase_add_loop_test(tc, killed_anywhere_it_heals, 0, ARRAY_SIZE(climbs));
	tcase_add_loop_test(tc, stopped_anywhere_it_puts_back, 0, ARRAY_SIZE(climbs));
	tcase_add_test(tc, lost_function_is_known_by_the_file);
	tcase_add_test(tc, changed_card_is_told);
	tcase_add_test(tc, what_is_not_put_back_is_told);
	tcase_add_test(tc, what_is_not_put_back_counts_more);
	tcase_add_test(tc, next_rung_is_tried);
	tcase_add_test(tc, hanging_write_ends_it);
	tcase_add_test(tc, other_driver_is_left_alone);
	tcase_add_test(tc, functions_of_one_card_are_one);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	return testroot_run(suite);
}
