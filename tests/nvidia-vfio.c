/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nvidia-vfio - the files that NVIDIA's vGPU driver shows for its VFs, answered as the
 * driver does. Preloaded into programs that see a tree of plain files as /sys.
 *
 * A VF is a folder with nvidia/current_vgpu_type and a link physfn. The card of a PF is
 * the file .card in the PF's folder:
 *	memory MIB
 *	mixed			several sizes at a time
 *	type ID MIB NAME
 * Orders, in .orders there, one per line, each for one write:
 *	busy|perm VF		no release: EBUSY, EPERM
 *	invalid|io VF		no vGPU: EINVAL, EIO; io leaves the VF empty
 *	deaf VF			the write succeeds and changes nothing
 * All writes are told in .writes there: VF VALUE RESULT.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CURRENT "/nvidia/current_vgpu_type"
#define CREATABLE "/nvidia/creatable_vgpu_types"

enum { TYPES_MAX = 64, TEXT_MAX = 8192, ROOM = 2 * PATH_MAX };

struct type {
	int id;
	unsigned size;		/* MiB */
	char name[64];
};

struct card {
	char path[PATH_MAX];	/* the PF's folder */
	int lock;
	unsigned memory, used;	/* MiB */
	unsigned one_size;	/* MiB that all must have; 0: any */
	bool is_mixed;
	struct type types[TYPES_MAX];
	int n;
};

/* Past our own open() and read(). */
static int raw_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static ssize_t raw_read(const char *path, char *text, size_t size)
{
	int fd = raw_open(path, O_RDONLY);
	ssize_t n;

	text[0] = '\0';
	if (fd < 0)
		return -1;
	n = syscall(SYS_read, fd, text, size - 1);
	syscall(SYS_close, fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

static void raw_write(const char *path, const char *text, int flags)
{
	int fd = raw_open(path, O_WRONLY | O_CREAT | flags);

	if (fd < 0 || syscall(SYS_write, fd, text, strlen(text)) != (long)strlen(text))
		abort();
	syscall(SYS_close, fd);
}

static bool ends_with(const char *path, const char *end)
{
	size_t len = strlen(path), n = strlen(end);

	return len >= n && strcmp(path + len - n, end) == 0;
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const struct type *find_type(const struct card *c, int id)
{
	for (int i = 0; i < c->n; i++)
		if (c->types[i].id == id)
			return &c->types[i];
	return NULL;
}

static int current_of(const char *vf)
{
	char path[ROOM], text[32];

	snprintf(path, sizeof(path), "%s" CURRENT, vf);
	return raw_read(path, text, sizeof(text)) > 0 ? atoi(text) : -1;
}

static void read_card(struct card *c)
{
	char path[ROOM], text[TEXT_MAX], *save = NULL;

	snprintf(path, sizeof(path), "%s/.card", c->path);
	raw_read(path, text, sizeof(text));
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct type *t = &c->types[c->n];

		if (sscanf(line, "memory %u", &c->memory) == 1)
			continue;
		if (strcmp(line, "mixed") == 0)
			c->is_mixed = true;
		else if (c->n < TYPES_MAX &&
			 sscanf(line, "type %d %u %63[^\n]", &t->id, &t->size, t->name) == 3)
			c->n++;
	}
}

/* What the VFs of the card hold together. */
static void count_used(struct card *c)
{
	char above[PATH_MAX + 8];
	struct dirent *entry;
	DIR *dir;

	snprintf(above, sizeof(above), "%s/..", c->path);
	dir = opendir(above);
	while (dir && (entry = readdir(dir))) {
		char vf[ROOM - 64], link[ROOM], target[PATH_MAX];
		const struct type *t;
		ssize_t n;

		snprintf(vf, sizeof(vf), "%s/%s", above, entry->d_name);
		snprintf(link, sizeof(link), "%s/physfn", vf);
		n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		t = strcmp(base(target), base(c->path)) == 0 ? find_type(c, current_of(vf)) : NULL;
		if (!t)
			continue;
		c->used += t->size;
		if (!c->is_mixed)
			c->one_size = t->size;
	}
	if (dir)
		closedir(dir);
}

/* The card of a VF, locked; false when it has none. */
static bool open_card(const char *vf, struct card *c)
{
	char path[ROOM];

	memset(c, 0, sizeof(*c));
	snprintf(path, sizeof(path), "%s/physfn", vf);
	if (!realpath(path, c->path))
		return false;
	snprintf(path, sizeof(path), "%s/.lock", c->path);
	c->lock = raw_open(path, O_RDWR | O_CREAT);
	if (c->lock < 0)
		return false;
	flock(c->lock, LOCK_EX);
	read_card(c);
	count_used(c);
	return true;
}

static void close_card(struct card *c)
{
	syscall(SYS_close, c->lock);
}

static bool fits(const struct card *c, const struct type *t)
{
	return c->used + t->size <= c->memory && (!c->one_size || c->one_size == t->size);
}

/* A folder's path out of that of a file in its nvidia/ folder. */
static void folder_of(const char *file, char *vf)
{
	snprintf(vf, PATH_MAX, "%s", file);
	*strrchr(vf, '/') = '\0';
	*strrchr(vf, '/') = '\0';
}

/* creatable_vgpu_types of this moment, as a file of its own. */
static int open_creatable(const char *path)
{
	char vf[PATH_MAX], text[TEXT_MAX] = "";
	size_t len = 0;
	struct card c;
	int fd;

	folder_of(path, vf);
	if (!open_card(vf, &c))
		return -1;
	if (current_of(vf) == 0)
		for (int i = 0; i < c.n; i++)
			if (fits(&c, &c.types[i]))
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%-5d : %s\n",
							len ? "" : "ID    : vGPU Name\n",
							c.types[i].id, c.types[i].name);
	close_card(&c);
	fd = memfd_create("creatable", MFD_CLOEXEC);
	if (fd < 0 || syscall(SYS_write, fd, text, len) != (long)len)
		abort();
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* The first order for a VF among words; it is used up. */
static bool take_order(const struct card *c, const char *vf, const char *word)
{
	char path[ROOM], text[TEXT_MAX], line[ROOM], *at;

	snprintf(path, sizeof(path), "%s/.orders", c->path);
	snprintf(line, sizeof(line), "%s %s\n", word, vf);
	if (raw_read(path, text, sizeof(text)) <= 0)
		return false;
	at = strstr(text, line);
	if (!at)
		return false;
	memmove(at, at + strlen(line), strlen(at + strlen(line)) + 1);
	raw_write(path, text, O_TRUNC);
	return true;
}

static void put_current(const char *vf, int id)
{
	char path[ROOM], text[16];

	snprintf(path, sizeof(path), "%s" CURRENT, vf);
	snprintf(text, sizeof(text), "%d\n", id);
	raw_write(path, text, O_TRUNC);
}

static int release(const struct card *c, const char *vf)
{
	if (current_of(vf) != 0) {
		if (take_order(c, base(vf), "busy"))
			return EBUSY;
		if (take_order(c, base(vf), "perm"))
			return EPERM;
		if (!take_order(c, base(vf), "deaf"))
			put_current(vf, 0);
	}
	return 0;
}

static int set(const struct card *c, const char *vf, int id)
{
	const struct type *t = find_type(c, id);

	if (current_of(vf) != 0)
		return current_of(vf) == id ? 0 : EBUSY;
	if (!t || take_order(c, base(vf), "invalid"))
		return EINVAL;
	if (!fits(c, t) || take_order(c, base(vf), "io"))
		return EIO;
	if (!take_order(c, base(vf), "deaf"))
		put_current(vf, id);
	return 0;
}

/* A write to current_vgpu_type. */
static ssize_t answer(const char *path, const void *data, size_t len)
{
	char vf[PATH_MAX], text[32], line[ROOM], writes[ROOM], *end;
	struct card c;
	long id;
	int err;

	folder_of(path, vf);
	if (!open_card(vf, &c)) {
		errno = ENODEV;
		return -1;
	}
	snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)data);
	text[strcspn(text, "\n")] = '\0';
	id = strtol(text, &end, 10);
	if (!text[0] || *end || id < 0)
		err = EINVAL;
	else
		err = id ? set(&c, vf, (int)id) : release(&c, vf);
	snprintf(writes, sizeof(writes), "%s/.writes", c.path);
	snprintf(line, sizeof(line), "%s %s %s\n", base(vf), text, err ? strerrorname_np(err) : "ok");
	raw_write(writes, line, O_APPEND);
	close_card(&c);
	errno = err;
	return err ? -1 : (ssize_t)len;
}

/* ---- what programs call -------------------------------------------------- */

static bool fd_path(int fd, char *path)
{
	char link[64];
	int saved = errno;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	errno = saved;
	if (n < 0)
		return false;
	path[n] = '\0';
	return strstr(path, "/nvidia/") != NULL;
}

static int open_any(int at, const char *path, int flags, unsigned mode)
{
	if (ends_with(path, CREATABLE) && (flags & O_ACCMODE) == O_RDONLY)
		return open_creatable(path);
	if (strstr(path, "/nvidia/"))	/* of a file of /sys nothing is cut off */
		flags &= ~(O_TRUNC | O_CREAT);
	return (int)syscall(SYS_openat, at, path, flags, mode);
}

#define OPEN(name, args, at)							\
int name args									\
{										\
	unsigned mode = 0;							\
	va_list ap;								\
										\
	if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {			\
		va_start(ap, flags);						\
		mode = va_arg(ap, unsigned);					\
		va_end(ap);							\
	}									\
	return open_any(at, path, flags, mode);					\
}

OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int fd, const char *path, int flags, ...), fd)
OPEN(openat64, (int fd, const char *path, int flags, ...), fd)

#define OPEN_2(name, args, at)							\
int name args;									\
int name args { return open_any(at, path, flags, 0); }

OPEN_2(__open_2, (const char *path, int flags), AT_FDCWD)
OPEN_2(__open64_2, (const char *path, int flags), AT_FDCWD)
OPEN_2(__openat_2, (int fd, const char *path, int flags), fd)
OPEN_2(__openat64_2, (int fd, const char *path, int flags), fd)

ssize_t write(int fd, const void *data, size_t len)
{
	char path[PATH_MAX];

	if (fd_path(fd, path) && ends_with(path, CURRENT))
		return answer(path, data, len);
	return syscall(SYS_write, fd, data, len);
}

/* Without a vGPU these two have nothing to tell. */
ssize_t read(int fd, void *data, size_t len)
{
	char path[PATH_MAX], vf[PATH_MAX];

	if (fd_path(fd, path) &&
	    (ends_with(path, "/nvidia/placement_id") || ends_with(path, "/nvidia/gpu_instance_id"))) {
		folder_of(path, vf);
		if (current_of(vf) == 0) {
			errno = ENXIO;
			return -1;
		}
	}
	return syscall(SYS_read, fd, data, len);
}
