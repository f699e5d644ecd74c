/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lxc-gpu-mount - give GPUs to a container, or take them away */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/readfile.h"
#include "base/root.h"
#include "base/xalloc.h"
#include "lxc-gpu-mount.h"
#include "pve/guest.h"

static void usage(FILE *out)
{
	fputs("Usage: lxc-gpu-mount [-nqv] [-R DIR] [--gpu all|none|LIST] [--strict]\n"
	      "                     [--style dev|mount|auto] CTID\n"
	      "       lxc-gpu-mount [-nqv] [-R DIR] --remove CTID\n"
	      "Give a container these GPUs and no others, or take all away.\n\n"
	      "  -R, --root=DIR       use DIR as the system root\n"
	      "  -g, --gpu=WHICH      all (default), none (NVIDIA's standard nodes only), or\n"
	      "                       numbers of NVIDIA GPUs and PCI addresses, by comma;\n"
	      "                       NUMBER/giX[/ciY] is one MIG instance\n"
	      "  -n, --dry-run        print how the config would change\n"
	      "  -q, --quiet          no warnings\n"
	      "  -r, --remove         take away every line that this program writes\n"
	      "  -s, --style=STYLE    dev: devN settings; mount: lxc.mount.entry and cgroup\n"
	      "                       rules; auto (default): dev where PVE has it\n"
	      "      --strict         fail where a GPU or a node is missing\n"
	      "  -v, --verbose        say what is done\n"
	      "  -h, --help           print this help and exit\n"
	      "  -V, --version        print the version and exit\n", out);
}

/* "200" or "lxc/200"; a number that no guest can have is one of no container. */
static int parse_ctid(const char *operand, uint32_t *ctid)
{
	struct guest_id id;
	const char *digits = strncmp(operand, "lxc/", 4) == 0 ? operand + 4 : operand;

	if (guest_parse_vmid(digits, ctid))
		return 0;
	if (guest_parse(operand, &id)) {
		say("%s is no container", operand);
		return EXIT_INPUT;
	}
	if (*digits && strspn(digits, "0123456789") == strlen(digits) && *digits != '0') {
		say("lxc/%s: no such container on this node", digits);
		return EXIT_NO_CONTAINER;
	}
	say("%s: not the number of a container", operand);
	msg_usage_error();
	return EXIT_INPUT;
}

static int run(struct job *j)
{
	_cleanup_free_ char *node = guest_local_node();
	struct readfile text = { 0 };
	int rc;

	j->label = xasprintf("/etc/pve/nodes/%s/lxc/%u.conf", node, j->ctid);
	j->path = root_path("%s", j->label);
	if (root_is_host() && !j->dry_run && geteuid() != 0) {
		say("root is needed to change a container");
		return EXIT_HOST;
	}
	rc = config_read(j, &text);
	if (rc == 0)
		rc = config_check_lock(j, &text);
	if (rc == 0) {
		ctconf_facts(text.data, text.len, &j->facts);
		rc = j->remove ? 0 : wants_find(j);
	}
	if (rc == 0)
		rc = j->dry_run ? change_print(j, &text) : change_apply(j);
	free(text.data);
	return rc;
}

static void job_done(struct job *j)
{
	ctconf_facts_done(&j->facts);
	ctnodes_done(&j->nodes);
	free(j->wants);
	free(j->list);
	free(j->path);
	free(j->label);
}

static bool parse_style(struct job *j, const char *word)
{
	j->has_style = strcmp(word, "auto") != 0;
	j->style = strcmp(word, "mount") == 0 ? CTCONF_MOUNT : CTCONF_DEV;
	return !j->has_style || j->style == CTCONF_MOUNT || strcmp(word, "dev") == 0;
}

static int wrong_use(void)
{
	msg_usage_error();
	return EXIT_INPUT;
}

int main(int argc, char *argv[])
{
	enum { OPT_STRICT = 256 };
	static const struct option longopts[] = {
		{ "root", required_argument, NULL, 'R' },
		{ "gpu", required_argument, NULL, 'g' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "remove", no_argument, NULL, 'r' },
		{ "style", required_argument, NULL, 's' },
		{ "strict", no_argument, NULL, OPT_STRICT },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	struct job j = { 0 };
	int c, rc;

	while ((c = getopt_long(argc, argv, "R:g:nqrs:vhV", longopts, NULL)) != -1) {
		switch (c) {
		case 'R': root_set(optarg); break;
		case 'g': j.gpu = optarg; break;
		case 'n': j.dry_run = true; break;
		case 'q': msg_level = -1; break;
		case 'r': j.remove = true; break;
		case 's':
			if (!parse_style(&j, optarg)) {
				say("%s: not dev, mount or auto", optarg);
				return wrong_use();
			}
			break;
		case OPT_STRICT: j.strict = true; break;
		case 'v': msg_level++; break;
		case 'h': usage(stdout); return close_stdout() ? 0 : EXIT_OTHER;
		case 'V': msg_version(); return close_stdout() ? 0 : EXIT_OTHER;
		default: return wrong_use();
		}
	}
	if (argc - optind != 1) {
		say(argc == optind ? "which container?" : "one container at a time");
		return wrong_use();
	}
	if (j.remove && j.gpu && strcmp(j.gpu, "all") != 0) {
		say("--remove takes all away: name those that are to stay with --gpu alone");
		return wrong_use();
	}
	if (!j.gpu)
		j.gpu = "all";
	rc = parse_ctid(argv[optind], &j.ctid);
	if (rc == 0)
		rc = run(&j);
	job_done(&j);
	if (!close_stdout() && rc == 0)
		rc = EXIT_OTHER;
	return rc;
}
