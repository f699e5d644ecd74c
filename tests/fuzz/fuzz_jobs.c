/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backup jobs, their defaults, pools. */
#include "fuzz.h"
#include "pve/jobs.h"

static int fds[4] = { -1, -1, -1, -1 };

/* jobs.cfg, vzdump.cron, vzdump.conf, user.cfg; "%%" between. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = { "/etc/pve/jobs.cfg", "/etc/pve/vzdump.cron",
					     "/etc/vzdump.conf", "/etc/pve/user.cfg" };
	struct guest guests[3] = { 0 };
	struct job_defaults defaults = { 0 };
	struct job *jobs = NULL;
	char *path = NULL;
	size_t n = 0;

	for (size_t i = 0; i < 4; i++) {
		char *part = fuzz_part(&data, &size);

		fuzz_file(&fds[i], paths[i], part, strlen(part));
		free(part);
	}
	for (size_t i = 0; i < 3; i++)
		guests[i].id = (struct guest_id){ GUEST_QEMU, 100 + (uint32_t)i };
	FUZZ_MUST(jobs_read(&jobs, &n, &path) == 0);
	for (size_t i = 0; i < n; i++) {
		struct guest_id *selected = NULL;
		size_t n_selected = 0;

		FUZZ_MUST(jobs[i].id);
		for (size_t k = 1; k < jobs[i].n_vmids; k++)
			FUZZ_MUST(jobs[i].vmids[k - 1] <= jobs[i].vmids[k]);
		job_is_for_node(&jobs[i], "pve1");
		job_select(&jobs[i], guests, 3, &selected, &n_selected);
		FUZZ_MUST(n_selected <= 3);
		free(selected);
	}
	jobs_free(jobs, n);
	if (job_defaults_read(&defaults) == 0)
		job_defaults_done(&defaults);
	return 0;
}
