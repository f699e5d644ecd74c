/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-bind - bind the IOMMU groups of PCI functions to vfio-pci or to host drivers */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/atomicfile.h"
#include "base/cleanup.h"
#include "base/msg.h"
#include "base/root.h"
#include "base/sysfs.h"
#include "base/trust.h"
#include "base/xalloc.h"
#include "pci/bind.h"
#include "vfio-bind.h"

static void usage(FILE *out)
{
	fputs("Usage: vfio-bind [-fnqv] [-1] --to DRIVER|host [--record FILE] ADDR...\n"
	      "       vfio-bind [-fnqv] [-1] --record FILE ADDR...\n"
	      "       vfio-bind [-fnqv] --restore FILE\n"
	      "Bind PCI functions, with all of their IOMMU groups, to another driver.\n\n"
	      "  -1, --one            the functions named only, not their groups\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -f, --force          also what the host itself uses\n"
	      "  -n, --dry-run        print the writes, make none\n"
	      "  -q, --quiet          no warnings\n"
	      "  -t, --to=DRIVER      vfio-pci, another driver, or host (kernel's choice)\n"
	      "      --record=FILE    write down how they are bound now\n"
	      "      --restore=FILE   bind as FILE says\n"
	      "  -v, --verbose        say what is written\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

static int exit_code(int err)
{
	switch (-err) {
	case 0:		return EX_OK;
	case ENOENT:	return EX_NOINPUT;
	case EBADMSG:	return EX_DATAERR;
	case ENODEV:	return EX_UNAVAILABLE;
	case EBUSY:	return EX_TEMPFAIL;
	case EACCES:
	case EPERM:	return EX_NOPERM;
	default:	return EX_OSERR;
	}
}

/* Say why a function could not be bound; driver may be NULL. */
static void say_failure(const struct pciaddr *addr, const char *driver, int err)
{
	char text[PCIADDR_STRLEN];
	pid_t user;

	pciaddr_format(addr, text);
	if (err == -ENOENT) {
		say("%s: no such function", text);
	} else if (err == -ENODEV && driver) {
		say("%s: driver %s did not take it", text, driver);
	} else if (err == -ENODEV) {
		say("%s: no other driver took it", text);
	} else if (err == -EBUSY) {
		user = bind_vfio_user(addr);
		if (user)
			say("%s: in use by process %d: stop its guest first", text,
			    (int)user);
		else
			say("%s: in use", text);
	} else {
		errno = -err;
		say_errno("%s", text);
	}
}

static bool has_function(const struct functions *f, const struct pciaddr *addr)
{
	for (size_t i = 0; i < f->n; i++)
		if (pciaddr_compare(&f->recs[i].addr, addr) == 0)
			return true;
	return false;
}

static void move_function(struct functions *f, struct bind_record *from)
{
	if (has_function(f, &from->addr))
		return;
	f->recs = xgrow(f->recs, f->n, &f->room, sizeof(*f->recs));
	f->recs[f->n++] = *from;
	*from = (struct bind_record){ 0 };
}

/* Add one operand's function, and its group unless one; EX_OK or an exit code. */
static int add_operand(struct functions *f, const char *operand, bool one)
{
	struct bind_record *group;
	struct pciaddr addr;
	char text[PCIADDR_STRLEN];
	size_t n;
	int rc;

	if (!pciaddr_parse(operand, &addr)) {
		say("%s: not the address of a PCI function (DDDD:BB:DD.F)", operand);
		return msg_usage_error();
	}
	rc = bind_record_group(&addr, &group, &n);
	if (rc < 0) {
		say_failure(&addr, NULL, rc);
		return exit_code(rc);
	}
	for (size_t i = 0; i < n; i++)
		if (!one || pciaddr_compare(&group[i].addr, &addr) == 0)
			move_function(f, &group[i]);
	bind_records_free(group, n);
	if (!has_function(f, &addr)) {
		say("%s: a bridge cannot be bound", pciaddr_format(&addr, text));
		return EX_UNAVAILABLE;
	}
	return EX_OK;
}

static int write_record(struct functions *f, const struct opts *o)
{
	int rc;

	if (o->to)
		bind_records_keep(o->record, o->to, f->recs, f->n);
	if (sysfs_dry_run) {
		printf("# record %zu functions in %s\n", f->n, o->record);
		return EX_OK;
	}
	rc = bind_records_write(o->record, f->recs, f->n);
	if (rc < 0) {
		say("%s: %s", o->record, atomicfile_error(rc));
		return rc == -EACCES || rc == -EPERM ? EX_NOPERM : EX_OSERR;
	}
	say_info("%zu functions recorded in %s", f->n, o->record);
	return EX_OK;
}

static void say_restored(const struct pciaddr *addr, int err, void *arg)
{
	char text[PCIADDR_STRLEN];

	(void)arg;
	if (err == -ENOENT)
		say_warn("%s: gone since it was recorded; skipped",
			 pciaddr_format(addr, text));
	else if (err == -ENODEV)
		say("%s: its driver did not take it; left to the kernel's choice",
		    pciaddr_format(addr, text));
	else if (err < 0)
		say_failure(addr, NULL, err);
	else
		say_info("%s: bound as before", pciaddr_format(addr, text));
}

static void say_undone(const struct pciaddr *addr, int err, void *arg)
{
	char text[PCIADDR_STRLEN];

	if (err)
		say_restored(addr, err, arg);
	else
		say_warn("%s: put back as it was", pciaddr_format(addr, text));
}

/* Put the first n back, the last one first. */
static void undo(const struct functions *f, size_t n)
{
	while (n--)
		bind_restore(&f->recs[n], 1, say_undone, NULL);
}

static int bind_all(const struct functions *f, const struct opts *o)
{
	bool to_host = strcmp(o->to, "host") == 0;
	int rc;

	if (!to_host && !bind_driver_is_loaded(o->to)) {
		say("driver %s is not loaded: modprobe %s", o->to, o->to);
		return EX_UNAVAILABLE;
	}
	for (size_t i = 0; i < f->n; i++) {
		const struct pciaddr *addr = &f->recs[i].addr;
		char text[PCIADDR_STRLEN];

		/* With the override kept, no probe gives the function away. */
		if (to_host)
			rc = bind_host(addr);
		else
			rc = bind_function(addr, o->to,
					   bind_is_vfio_driver(o->to) ? o->to : NULL);
		if (rc < 0) {
			say_failure(addr, to_host ? NULL : o->to, rc);
			undo(f, i + 1);
			return exit_code(rc);
		}
		if (!sysfs_dry_run)
			say_info("%s: bound to %s", pciaddr_format(addr, text), o->to);
	}
	return EX_OK;
}

/* What is recorded with another driver than the one it has now. */
static void add_strays(struct functions *f, const struct bind_record *recs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct bind_record *group;
		size_t n_group;

		if (bind_record_group(&recs[i].addr, &group, &n_group) < 0)
			continue;	/* gone: bind_restore() says so */
		for (size_t k = 0; k < n_group; k++)
			if (pciaddr_compare(&group[k].addr, &recs[i].addr) == 0 &&
			    group[k].driver &&
			    (!recs[i].driver ||
			     strcmp(group[k].driver, recs[i].driver) != 0))
				move_function(f, &group[k]);
		bind_records_free(group, n_group);
	}
}

static int restore(const struct opts *o)
{
	const char *path = o->restore, *problem = trust_problem(path);
	struct functions strays = { 0 };
	struct bind_record *recs;
	size_t n;
	int code, rc = bind_records_read(path, &recs, &n);

	if (rc == 0 && problem) {
		say("%s: %s", path, problem);
		bind_records_free(recs, n);
		return EX_DATAERR;
	}
	if (rc == -EBADMSG) {
		say("%s: not a complete record of vfio-bind --record", path);
		return EX_DATAERR;
	}
	if (rc < 0) {
		errno = -rc;
		say_errno("%s", path);
		return exit_code(rc);
	}
	add_strays(&strays, recs, n);
	code = check_vital(&strays, o);
	if (code == EX_OK)
		code = check_users(&strays, o);
	if (code == EX_OK)
		code = exit_code(bind_restore(recs, n, say_restored, NULL));
	bind_records_free(strays.recs, strays.n);
	bind_records_free(recs, n);
	return code;
}

static int run(const struct opts *o, char **operands)
{
	struct functions f = { 0 };
	int code = EX_OK;

	if (o->restore)
		return restore(o);
	for (; *operands && code == EX_OK; operands++)
		code = add_operand(&f, *operands, o->one);
	if (code == EX_OK)
		code = check_vital(&f, o);
	if (code == EX_OK && o->to)
		code = check_users(&f, o);
	if (code == EX_OK && o->record)
		code = write_record(&f, o);
	if (code == EX_OK && o->to)
		code = bind_all(&f, o);
	bind_records_free(f.recs, f.n);
	return code;
}

/* The three forms of the synopsis; EX_OK or EX_USAGE. */
static int check_form(const struct opts *o, int n_operands)
{
	if (!o->to && !o->record && !o->restore) {
		say("nothing to do: --to, --record or --restore is needed");
		return msg_usage_error();
	}
	if (o->restore && (o->to || o->record || o->one || n_operands)) {
		say("--restore takes neither addresses nor --to, --record or --one");
		return msg_usage_error();
	}
	if (!o->restore && !n_operands) {
		say("no address is given");
		return msg_usage_error();
	}
	if (o->to && (!*o->to || *o->to == '.' || strchr(o->to, '/'))) {
		say("%s: not the name of a driver", o->to);
		return msg_usage_error();
	}
	return EX_OK;
}

int main(int argc, char *argv[])
{
	enum { OPT_RECORD = 256, OPT_RESTORE };
	static const struct option longopts[] = {
		{ "dry-run", no_argument, NULL, 'n' },
		{ "force", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "one", no_argument, NULL, '1' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "record", required_argument, NULL, OPT_RECORD },
		{ "restore", required_argument, NULL, OPT_RESTORE },
		{ "root", required_argument, NULL, 'R' },
		{ "to", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 }
	};
	struct opts o = { 0 };
	int c, code;

	while ((c = getopt_long(argc, argv, "1R:fnqt:vhV", longopts, NULL)) != -1) {
		switch (c) {
		case '1': o.one = true; break;
		case 'R': root_set(optarg); break;
		case 'f': o.force = true; break;
		case 'n': sysfs_dry_run = true; break;
		case 'q': msg_level = -1; break;
		case 't': o.to = optarg; break;
		case 'v': msg_level++; break;
		case OPT_RECORD: o.record = optarg; break;
		case OPT_RESTORE: o.restore = optarg; break;
		case 'h': usage(stdout); return close_stdout() ? EX_OK : EX_IOERR;
		case 'V': msg_version(); return close_stdout() ? EX_OK : EX_IOERR;
		default:  return msg_usage_error();
		}
	}
	code = check_form(&o, argc - optind);
	if (code == EX_OK)
		code = run(&o, argv + optind);
	if (!close_stdout() && code == EX_OK)
		code = EX_IOERR;
	return code;
}
