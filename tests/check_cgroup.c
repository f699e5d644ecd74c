/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "gpu/cgroup.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "12345678-1234-1234-1234-123456789abc"
#define UID_ "12345678_1234_1234_1234_123456789abc"

static const struct {
	const char *text, *owner;
} owners[] = {
	{ "0::/qemu.slice/100.scope\n", "qemu/100" },
	{ "0::/qemu.slice/999999999.scope\n", "qemu/999999999" },
	{ "0::/qemu.slice/.scope\n", "-" },
	{ "0::/user.slice/user-1000.slice/user@1000.service/qemu.slice/100.scope\n",
	  "unit/user@1000.service" },
	{ "0::/lxc/200/ns/init.scope\n", "lxc/200" },
	{ "0::/lxc/200/ns/docker/" ID "\n", "lxc/200" },
	{ "0::/lxc/200/ns/system.slice/docker-" ID ".scope\n", "lxc/200" },
	{ "12:memory:/lxc/201/ns/system.slice/x.service\n0::/lxc/201/ns\n", "lxc/201" },
	{ "0::/lxc.payload.web\n", "lxc/web" },
	{ "0::/lxc.payload.project_web/system.slice/x.service\n", "lxc/project_web" },
	/* A user's own: names below a folder that is his prove nothing. */
	{ "0::/user.slice/user-1000.slice/session-4.scope/lxc.payload.200\n",
	  "unit/session-4.scope" },
	{ "0::/lxc.monitor/200\n", "-" },
	{ "6:freezer:/default/train-7\n0::/system.slice/containerd.service\n",
	  "containerd/train-7" },
	{ "0::/default/" ID "\n", "containerd/0123456789ab" },
	{ "0::/moby/" ID "\n", "containerd/0123456789ab" },
	{ "0::/default\n", "-" },
	{ "0::/system.slice/default/x\n", "-" },
	{ "0::/lxc.monitor.web\n", "-" },
	{ "12:memory:/docker/" ID "\n", "docker/0123456789ab" },
	{ "0::/docker/" ID "\n", "docker/0123456789ab" },
	{ "0::/system.slice/docker-" ID ".scope\n", "docker/0123456789ab" },
	{ "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" ID ".scope\n",
	  "docker/0123456789ab" },
	{ "0::/docker/" ID "/docker/" ID2 "\n", "docker/fedcba987654" },
	{ "1:name=systemd:/system.slice/docker.service\n4:devices:/docker/" ID "\n",
	  "docker/0123456789ab" },
	{ "4:devices:/docker/" ID "\n1:name=systemd:/system.slice/docker.service\n",
	  "docker/0123456789ab" },
	{ "0::/kubepods/pod" UID "/" ID "\n", "pod/" UID },
	{ "0::/kubepods/burstable/pod" UID "/" ID "\n", "pod/" UID },
	{ "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
	  ".slice/cri-containerd-" ID ".scope\n", "pod/" UID },
	{ "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_
	  ".slice/crio-" ID ".scope/container\n", "pod/" UID },
	{ "0::/machine.slice/libpod-" ID ".scope/container\n", "podman/0123456789ab" },
	{ "0::/machine.slice/libpod-conmon-" ID ".scope\n", "unit/libpod-conmon-" ID ".scope" },
	{ "0::/system.slice/foo.service/libpod-payload-" ID "\n", "podman/0123456789ab" },
	{ "0::/libpod_parent/libpod-" ID "\n", "podman/0123456789ab" },
	{ "0::/system.slice/ollama.service\n", "unit/ollama.service" },
	{ "0::/system.slice/system-a.slice/a@1.service/sub\n", "unit/a@1.service" },
	{ "0::/user.slice/user-0.slice/session-3.scope\n", "unit/session-3.scope" },
	{ "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n",
	  "unit/user@1000.service" },
	{ "0::/machine.slice/systemd-nspawn@a.service/payload\n", "unit/systemd-nspawn@a.service" },
	{ "0::/docker/" ID "0\n", "-" },		/* one digit too many */
	{ "0::/mydocker-" ID ".scope\n", "unit/mydocker-" ID ".scope" },
	{ "0::/\n", "-" },
	{ "0::/../" ID "\n", "-" },
	{ "", "-" },
	{ "garbage", "-" },
	{ "0:\n", "-" },
};

START_TEST(owner_of_text)
{
	char *owner = cgroup_owner_of_text(owners[_i].text);

	ck_assert_str_eq(owner, owners[_i].owner);
	free(owner);
}
END_TEST

START_TEST(owner_of_process)
{
	char *owner;

	testroot_file("/proc/42/cgroup", "0::/qemu.slice/100.scope\n");
	ck_assert_int_eq(cgroup_owner(42, &owner), 0);
	ck_assert_str_eq(owner, "qemu/100");
	free(owner);
	ck_assert_int_eq(cgroup_owner(43, &owner), -ENOENT);
	ck_assert(!cgroup_is_in_container(43, ID));
}
END_TEST

static const struct {
	const char *text, *id;
	bool inside;
} containers[] = {
	{ "0::/system.slice/docker-" ID ".scope\n", ID, true },
	{ "0::/system.slice/docker-" ID ".scope\n", "0123456789ab", true },
	{ "0::/system.slice/docker-" ID ".scope\n", "0123456789a", false },	/* too short */
	{ "0::/system.slice/docker-" ID ".scope\n", "0123456789ac", false },
	{ "0::/system.slice/docker-" ID ".scope\n", ID2, false },
	{ "0::/docker/" ID "/docker/" ID2 "\n", ID, true },	/* nested in it */
	{ "4:a:/x\n3:b:/docker/" ID "\n", ID, true },
	{ "0::/kubepods/pod" UID "/" ID "\n", "0123456789abcdef", true },
	{ "0::/default/mycontainer\n", "mycontainer", true },
	{ "0::/default/mycontainer\n", "mycontain", false },
	{ "0::/default/mycontainer2\n", "mycontainer", false },
	{ "0::/machine.slice/libpod-conmon-" ID ".scope\n", ID, false },
	{ "0::/\n", ID, false },
};

START_TEST(inside_a_container)
{
	ck_assert_msg(cgroup_text_has_container(containers[_i].text, containers[_i].id) ==
		      containers[_i].inside, "%s", containers[_i].text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cgroup");
	TCase *tcase = tcase_create("cgroup");

	tcase_add_checked_fixture(tcase, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tcase, owner_of_text, 0, ARRAY_SIZE(owners));
	tcase_add_test(tcase, owner_of_process);
	tcase_add_loop_test(tcase, inside_a_container, 0, ARRAY_SIZE(containers));
	suite_add_tcase(suite, tcase);
	return testroot_run(suite);
}
