/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pmxcfs NODE STATE FUSE-ARGUMENT... - a stand-in for Proxmox VE's cluster file system,
 * in memory: what a program that edits a guest's config meets there.
 *
 *	modes by path: folders 0755, files 0640 root:www-data, below priv/ 0700 and 0600;
 *	chmod to any other mode and chown to anybody else: EPERM
 *	no links, nodes, locks or extended attributes; fsync does nothing, with success
 *	a file holds 1 MiB, a write beyond it: EFBIG
 *	rename replaces a file as a whole; of folders only empty ones, and without flags
 *	a guest's number belongs to one node and one kind: EEXIST elsewhere
 *	local, lxc, qemu-server lead into NODE's folder
 *
 * In the folder STATE a test steers it, and sees what was done:
 *	noquorum	is there: no write bits, and every change is EACCES, root's too
 *	ioerror		is there: every change is EIO, as after a fault of the database
 *	delay		is there: every write takes a fifth of a second
 *	log		a line per change, OPERATION RESULT PATH [TO | OFFSET LENGTH]; the
 *			result is 0 or an errno
 *
 * Source: pve-cluster, pmxcfs.c, cfs-plug-memdb.c, memdb.c, dcdb.c.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { FILE_MAX_SIZE = 1 << 20, FS_MAX_SIZE = 128 << 20, INODES_MAX = 256 << 10,
       WWW_DATA = 33 };

/*
 * Paths begin with '/'; a folder that holds something is never renamed, so they are keys.
 */
struct entry {
	struct entry *next;
	unsigned opened;	/* how often it is open; what is gone waits for 0 */
	bool is_dir, gone;
	char *data;		/* FILE_MAX_SIZE bytes, when anything was ever written */
	size_t len;
	time_t mtime;
	char *path;
};

static struct entry *entries;
static const char *own_node;
static int state_fd = -1, log_fd = -1;

static void die(const char *what)
{
	perror(what);
	exit(71);
}

static struct entry *find(const char *path)
{
	for (struct entry *e = entries; e; e = e->next) {
		if (strcmp(e->path, path) == 0)
			return e;
	}
	return NULL;
}

static struct entry *add(const char *path, bool is_dir)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e || !(e->path = strdup(path)))
		die("memory");
	e->is_dir = is_dir;
	e->mtime = time(NULL);
	e->next = entries;
	entries = e;
	return e;
}

static void free_unused(struct entry *e)
{
	if (e->gone && e->opened == 0) {
		free(e->data);
		free(e->path);
		free(e);
	}
}

static void drop(struct entry *e)
{
	for (struct entry **at = &entries; *at; at = &(*at)->next) {
		if (*at == e) {
			*at = e->next;
			e->gone = true;
			free_unused(e);
			return;
		}
	}
}

/* Of an open file; its name may be another's by now. */
static struct entry *of(const struct fuse_file_info *fi)
{
	return (struct entry *)(uintptr_t)fi->fh;
}

static int opened(struct entry *e, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fi->fh = (uintptr_t)e;
	e->opened++;
	return 0;
}

/* Is below right inside the folder dir? Its name then, NULL else. */
static const char *name_in(const char *dir, const char *below)
{
	size_t len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	if (strncmp(below, dir, len) != 0 || below[len] != '/' || !below[len + 1] ||
	    strchr(below + len + 1, '/'))
		return NULL;
	return below + len + 1;
}

static bool has_children(const char *dir)
{
	for (struct entry *e = entries; e; e = e->next) {
		if (name_in(dir, e->path))
			return true;
	}
	return false;
}

static bool is_private(const char *path)
{
	const char *p = path;

	if (strncmp(p, "/nodes/", 7) == 0)
		p = strchr(p + 7, '/');
	return p && strncmp(p, "/priv", 5) == 0 && (!p[5] || p[5] == '/');
}

/* VMID when path is the config of a guest, 0 else. */
static unsigned long guest_of(const char *path)
{
	char kind[16];
	unsigned long id;
	int end = 0;

	if (sscanf(path, "/nodes/%*[^/]/%15[a-z-]/%lu.conf%n", kind, &id, &end) != 2 ||
	    !end || path[end])
		return 0;
	return strcmp(kind, "lxc") == 0 || strcmp(kind, "qemu-server") == 0 ? id : 0;
}

static bool guest_elsewhere(const char *path, const char *leaving)
{
	unsigned long id = guest_of(path);

	for (struct entry *e = entries; id && e; e = e->next) {
		if (guest_of(e->path) == id && strcmp(e->path, path) != 0 &&
		    (!leaving || strcmp(e->path, leaving) != 0))
			return true;
	}
	return false;
}

static bool ordered(const char *name)
{
	return faccessat(state_fd, name, F_OK, 0) == 0;
}

/* What every change meets first. */
static int may_change(void)
{
	if (ordered("noquorum"))
		return -EACCES;
	return ordered("ioerror") ? -EIO : 0;
}

static int told(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int told(int rc, const char *fmt, ...)
{
	char line[2 * PATH_MAX + 64], what[2 * PATH_MAX];
	const char *rest;
	va_list ap;
	int len;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	rest = strchr(what, ' ');
	len = snprintf(line, sizeof(line), "%.*s %d%s\n", (int)(rest - what), what,
		       rc < 0 ? -rc : 0, rest);
	if (write(log_fd, line, (size_t)len) != len)
		die("log");
	return rc;
}

static const char *link_to(const char *path)
{
	static const char *const kinds[] = { "/lxc", "/qemu-server" };
	static char to[PATH_MAX];

	if (strcmp(path, "/local") == 0) {
		snprintf(to, sizeof(to), "nodes/%s", own_node);
		return to;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(path, kinds[i]) == 0) {
			snprintf(to, sizeof(to), "nodes/%s%s", own_node, path);
			return to;
		}
	}
	return NULL;
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	const struct entry *e = fi && fi->fh ? of(fi) : find(path);

	path = e ? e->path : path;
	memset(st, 0, sizeof(*st));
	st->st_gid = WWW_DATA;
	st->st_nlink = 1;
	if (link_to(path)) {
		/* The quorum shows in the mode of the link local. */
		st->st_mode = S_IFLNK | 0777;
		st->st_size = (off_t)strlen(link_to(path));
	} else if (!e) {
		return -ENOENT;
	} else if (e->is_dir) {
		st->st_mode = S_IFDIR | (is_private(path) ? 0700 : 0755);
		st->st_nlink = 2;
	} else {
		st->st_mode = S_IFREG | (is_private(path) ? 0600 : 0640);
		st->st_size = (off_t)e->len;
	}
	if (e)
		st->st_mtime = st->st_ctime = st->st_atime = e->mtime;
	if (ordered("noquorum"))
		st->st_mode &= ~(mode_t)0222;
	return 0;
}

static int fs_readlink(const char *path, char *buf, size_t size)
{
	const char *to = link_to(path);

	if (!to)
		return -EINVAL;
	snprintf(buf, size, "%s", to);
	return 0;
}

static int fs_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	static const char *const links[] = { "local", "lxc", "qemu-server" };
	const char *name;

	(void)off;
	(void)fi;
	(void)flags;
	fill(buf, ".", NULL, 0, 0);
	fill(buf, "..", NULL, 0, 0);
	if (strcmp(path, "/") == 0) {
		for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
			fill(buf, links[i], NULL, 0, 0);
	}
	for (struct entry *e = entries; e; e = e->next) {
		name = name_in(path, e->path);
		if (name)
			fill(buf, name, NULL, 0, 0);
	}
	return 0;
}

static int make(const char *path, bool is_dir)
{
	int rc = may_change();

	if (rc < 0)
		return rc;
	if (find(path) || link_to(path) || guest_elsewhere(path, NULL))
		return -EEXIST;
	add(path, is_dir);
	return 0;
}

static int fs_mkdir(const char *path, mode_t mode)
{
	(void)mode;
	return told(make(path, true), "mkdir %s", path);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	int rc = told(make(path, false), "create %s", path);

	(void)mode;
	return rc < 0 ? rc : opened(find(path), fi);
}

static int fs_open(const char *path, struct fuse_file_info *fi)
{
	struct entry *e = find(path);

	return e ? opened(e, fi) : -ENOENT;
}

static int fs_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	of(fi)->opened--;
	free_unused(of(fi));
	return 0;
}

static int fs_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	const struct entry *e = of(fi);

	(void)path;
	if ((size_t)off >= e->len)
		return 0;
	if (size > e->len - (size_t)off)
		size = e->len - (size_t)off;
	memcpy(buf, e->data + off, size);
	return (int)size;
}

static char *new_data(void)
{
	char *data = calloc(1, FILE_MAX_SIZE);

	if (!data)
		die("memory");
	return data;
}

static int resize(struct entry *e, size_t len)
{
	if (!e->data)
		e->data = new_data();
	if (len < e->len)
		memset(e->data + len, 0, e->len - len);
	e->len = len;
	e->mtime = time(NULL);
	return 0;
}

static int do_write(struct entry *e, const char *buf, size_t size, off_t off)
{
	int rc = may_change();

	if (rc < 0)
		return rc;
	if (size + (size_t)off > FILE_MAX_SIZE)
		return -EFBIG;
	if (size + (size_t)off > e->len || !e->data)
		resize(e, size + (size_t)off);
	memcpy(e->data + off, buf, size);
	e->mtime = time(NULL);
	return (int)size;
}

static int fs_write(const char *path, const char *buf, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)path;
	if (ordered("delay"))
		usleep(200000);
	return told(do_write(of(fi), buf, size, off), "write %s %lld %zu", of(fi)->path,
		    (long long)off, size);
}

static int fs_truncate(const char *path, off_t len, struct fuse_file_info *fi)
{
	struct entry *e = fi && fi->fh ? of(fi) : find(path);
	int rc = may_change();

	path = e ? e->path : path;
	if (rc == 0)
		rc = !e ? -ENOENT : len > FILE_MAX_SIZE ? -EFBIG : resize(e, (size_t)len);
	return told(rc, "truncate %s %lld", path, (long long)len);
}

static int do_remove(const char *path, bool is_dir)
{
	struct entry *e = find(path);
	int rc = may_change();

	if (rc < 0)
		return rc;
	if (!e)
		return -ENOENT;
	if (e->is_dir != is_dir)
		return is_dir ? -ENOTDIR : -EISDIR;
	if (is_dir && has_children(path))
		return -ENOTEMPTY;
	drop(e);
	return 0;
}

static int fs_unlink(const char *path)
{
	return told(do_remove(path, false), "unlink %s", path);
}

static int fs_rmdir(const char *path)
{
	return told(do_remove(path, true), "rmdir %s", path);
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
	struct entry *e = find(from), *old = find(to);
	int rc = may_change();

	if (flags)
		return -EINVAL;
	if (rc < 0)
		return rc;
	if (!e)
		return -ENOENT;
	if (e->is_dir && has_children(from))
		return -ENOTEMPTY;
	if (old && old->is_dir != e->is_dir)
		return old->is_dir ? -EISDIR : -ENOTDIR;
	if ((old && old->is_dir) || link_to(to) || guest_elsewhere(to, from))
		return -EEXIST;
	if (old == e)
		return 0;
	if (old)
		drop(old);
	free(e->path);
	e->path = strdup(to);
	if (!e->path)
		die("memory");
	return 0;
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
	return told(do_rename(from, to, flags), "rename %s %s", from, to);
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	path = fi && fi->fh ? of(fi)->path : path;
	/* Of folders, too: they cannot be told apart there. */
	return told((mode & 07777) == (is_private(path) ? 0600U : 0640U) ? 0 : -EPERM,
		    "chmod %s %o", path, mode & 07777);
}

static int fs_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	bool fine = (uid == (uid_t)-1 || uid == 0) &&
		(gid == (gid_t)-1 || gid == WWW_DATA);

	path = fi && fi->fh ? of(fi)->path : path;
	return told(fine ? 0 : -EPERM, "chown %s %d:%d", path, (int)uid, (int)gid);
}

static int fs_utimens(const char *path, const struct timespec tv[2],
		      struct fuse_file_info *fi)
{
	struct entry *e = fi && fi->fh ? of(fi) : find(path);
	int rc = may_change();

	path = e ? e->path : path;
	if (rc == 0 && !e)
		rc = -ENOENT;
	if (rc == 0)
		e->mtime = tv[1].tv_nsec == UTIME_NOW ? time(NULL) : tv[1].tv_sec;
	return told(rc, "utimens %s", path);
}

static int fs_statfs(const char *path, struct statvfs *st)
{
	(void)path;
	memset(st, 0, sizeof(*st));
	st->f_bsize = st->f_frsize = 4096;
	st->f_blocks = st->f_bfree = st->f_bavail = FS_MAX_SIZE / 4096;
	st->f_files = st->f_ffree = INODES_MAX;
	st->f_namemax = 256;
	return 0;
}

static void *fs_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	/* Emptying is a change of its own there, not a part of the opening. */
	conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC;
	cfg->attr_timeout = cfg->entry_timeout = cfg->negative_timeout = 0;
	/* What is replaced while it is open: of() is for that. */
	cfg->hard_remove = 1;
	return NULL;
}

static const struct fuse_operations operations = {
	.init = fs_init, .getattr = fs_getattr, .readlink = fs_readlink,
	.readdir = fs_readdir,
	.mkdir = fs_mkdir, .create = fs_create, .open = fs_open, .release = fs_release,
	.read = fs_read, .write = fs_write, .truncate = fs_truncate, .unlink = fs_unlink,
	.rmdir = fs_rmdir,
	.rename = fs_rename, .chmod = fs_chmod, .chown = fs_chown, .utimens = fs_utimens,
	.statfs = fs_statfs,
};

int main(int argc, char **argv)
{
	static const char *const folders[] = { "", "/lxc", "/qemu-server", "/priv" };
	char path[PATH_MAX];

	if (argc < 4) {
		fprintf(stderr, "Usage: pmxcfs NODE STATE FUSE-ARGUMENT...\n");
		return 64;
	}
	own_node = argv[1];
	state_fd = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (state_fd < 0)
		die(argv[2]);
	log_fd = openat(state_fd, "log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (log_fd < 0)
		die("log");
	add("/", true);
	add("/priv", true);
	add("/nodes", true);
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, sizeof(path), "/nodes/%s%s", own_node, folders[i]);
		add(path, true);
	}
	argv[2] = argv[0];
	return fuse_main(argc - 2, argv + 2, &operations, NULL);
}
