/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testroot.h"

#include "base/cleanup.h"
#include "gpu/cuda.h"
#include "gpu/nvml.h"
#include "gpu/vramrecord.h"

#define A "00112233-4455-6677-8899-aabbccddeeff"
#define B "ffeeddcc-bbaa-9988-7766-554433221100"
#define A_PLAIN "00112233445566778899aabbccddeeff"

static const struct {
	const char *text, *want;	/* NULL: refused */
} uuids[] = {
	{ "GPU-" A, "GPU-" A },
	{ A, "GPU-" A },
	{ "GPU-" A_PLAIN, "GPU-" A },
	{ A_PLAIN, "GPU-" A },
	{ "00112233-4455-6677-8899-AABBCCDDEEFF", "GPU-" A },
	{ "", NULL },
	{ "GPU-", NULL },
	{ "MIG-" A, NULL },
	{ "gpu-" A, NULL },
	{ "GPU-" A "0", NULL },
	{ "00112233-4455-6677-8899-aabbccddeef", NULL },
	{ "001122334455-6677-8899-aabbccddeeff--", NULL },
	{ "0011223-34455-6677-8899-aabbccddeeff", NULL },
	{ "0011223344556677-8899-aabbccddeeffgg", NULL },
	{ "00112233445566778899aabbccddeefg", NULL },
};

START_TEST(test_uuid)
{
	struct cuda_uuid uuid;
	char text[CUDA_UUID_STRLEN];
	int rc = cuda_uuid_parse(uuids[_i].text, strlen(uuids[_i].text), &uuid);

	if (!uuids[_i].want) {
		ck_assert_int_eq(rc, -EINVAL);
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_str_eq(cuda_uuid_format(&uuid, text), uuids[_i].want);
	ck_assert_uint_eq(uuid.bytes[0], 0x00);
	ck_assert_uint_eq(uuid.bytes[15], 0xff);
}
END_TEST

static const struct {
	const char *text;
	int rc;
	size_t n;
} maps[] = {
	{ "GPU-" A "=GPU-" B, 0, 1 },
	{ A "=" A, 0, 1 },
	{ A "=" B "," B "=" A, 0, 2 },
	{ A "=" B "," A "=" A, -EEXIST, 0 },
	{ A "=" B "," B "=" B, -EEXIST, 0 },
	{ "", -EINVAL, 0 },
	{ ",", -EINVAL, 0 },
	{ "=", -EINVAL, 0 },
	{ A, -EINVAL, 0 },
	{ A "=", -EINVAL, 0 },
	{ "=" A, -EINVAL, 0 },
	{ A "=" B ",", -EINVAL, 0 },
	{ A "," B "=" A, -EINVAL, 0 },
	{ A "=" B "=" A, -EINVAL, 0 },
	{ A " = " B, -EINVAL, 0 },
	{ "0=1", -EINVAL, 0 },
};

START_TEST(test_map)
{
	struct cuda_gpu_pair *pairs = NULL;
	size_t n = 0;

	ck_assert_int_eq(cuda_gpu_map_parse(maps[_i].text, &pairs, &n), maps[_i].rc);
	ck_assert_uint_eq(n, maps[_i].n);
	ck_assert(maps[_i].rc == 0 || !pairs);
	free(pairs);
}
END_TEST

START_TEST(test_words)
{
	ck_assert_str_eq(cuda_state_word(CUDA_RUNNING), "running");
	ck_assert_str_eq(cuda_state_word(CUDA_CHECKPOINTED), "checkpointed");
	ck_assert_str_eq(cuda_state_word(5), "restoring");
	ck_assert_ptr_null(cuda_state_word(6));
	ck_assert_ptr_null(cuda_state_word(-1));
	ck_assert_str_eq(cuda_result_name(401), "CUDA_ERROR_ILLEGAL_STATE");
	ck_assert_ptr_null(cuda_result_name(12345));
	ck_assert_str_eq(cuda_result_text(12345), "unknown error");
	ck_assert_str_eq(cuda_result_text(CUDA_OUT_OF_MEMORY), "out of memory");
}
END_TEST

/* The layout that every driver from 12.8 on takes. */
START_TEST(test_abi)
{
	struct cuda_lock_args lock = { .timeout_ms = 0x01020304 };
	struct cuda_restore_args restore = { .gpu_pairs_count = 7 };
	unsigned char bytes[64];

	memcpy(bytes, &lock, sizeof(bytes));
	ck_assert_int_eq(bytes[0], 0x04);
	for (size_t i = 4; i < sizeof(bytes); i++)
		ck_assert_int_eq(bytes[i], 0);
	memcpy(bytes, &restore, sizeof(bytes));
	ck_assert_int_eq(bytes[8], 7);
	for (size_t i = 12; i < sizeof(bytes); i++)
		ck_assert_int_eq(bytes[i], 0);
}
END_TEST

static struct cuda_uuid uuid_of(const char *text)
{
	struct cuda_uuid uuid;

	ck_assert_int_eq(cuda_uuid_parse(text, strlen(text), &uuid), 0);
	return uuid;
}

START_TEST(test_record)
{
	struct cuda_uuid a = uuid_of(A), b = uuid_of(B);
	struct vramrecord r = { 0 }, back;
	char *path = testroot_path("/run/record");

	vramrecord_add(&r, &a, 10);
	vramrecord_add(&r, &b, UINT64_MAX);
	vramrecord_add(&r, &a, 5);
	ck_assert_uint_eq(r.n, 2);
	ck_assert_int_eq(vramrecord_write(path, &r), 0);
	ck_assert_int_eq(vramrecord_read(path, &back), 0);
	ck_assert_uint_eq(back.n, 2);
	ck_assert_uint_eq(back.gpus[0].bytes, 15);
	ck_assert_uint_eq(back.gpus[1].bytes, UINT64_MAX);
	vramrecord_done(&back);
	vramrecord_done(&r);
	/* None is as good a number as any. */
	ck_assert_int_eq(vramrecord_write(path, &r), 0);
	ck_assert_int_eq(vramrecord_read(path, &back), 0);
	ck_assert_uint_eq(back.n, 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(vramrecord_read(path, &back), -ENOENT);
	free(path);
	path = vramrecord_path(12, 345);
	ck_assert_str_eq(path + strlen(testroot), "/run/pve-gpu-utils/cuda/12-345");
	free(path);
}
END_TEST

static const char *const bad_records[] = {
	"",
	"GPU-" A "\t5\n",			/* no end */
	"GPU-" A "\t5\n#end 2\n",
	"GPU-" A "\t5\n#end 0\n",
	"GPU-" A "\t5\n#end 1\nmore\n",
	"GPU-" A "\t5\n#end 1\n#end 2\n",
	"GPU-" A "\t5\n#end 1 more\n",
	"GPU-" A "\t-5\n#end 1\n",
	"GPU-" A "\t\n#end 1\n",
	"GPU-" A "\t5x\n#end 1\n",
	"GPU-" A "\t99999999999999999999\n#end 1\n",
	"GPU-" A " 5\n#end 1\n",
	"GPU-0\t5\n#end 1\n",
	"# a comment\n#end 1\n",
};

START_TEST(test_bad_record)
{
	struct vramrecord r;
	char *path;

	testroot_file("/run/record", bad_records[_i]);
	path = testroot_path("/run/record");
	ck_assert_int_eq(vramrecord_read(path, &r), -EBADMSG);
	ck_assert_uint_eq(r.n, 0);
	free(path);
}
END_TEST

START_TEST(test_nvml_bytes)
{
	struct nvml_use uses[] = {
		{ 5, 0, 100 }, { 6, 0, 1 }, { 5, 1, 11 }, { 7, 0, UINT64_MAX },
		{ 7, 1, 3 },
	};
	const struct nvml nvml = { .uses = uses, .n_uses = ARRAY_SIZE(uses) };

	ck_assert_uint_eq(nvml_bytes_of(&nvml, 5), 111);
	ck_assert_uint_eq(nvml_bytes_of(&nvml, 6), 1);
	ck_assert_uint_eq(nvml_bytes_of(&nvml, 7), UINT64_MAX);
	ck_assert_uint_eq(nvml_bytes_of(&nvml, 8), UINT64_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cuda");
	TCase *tc = tcase_create("cuda");

	tcase_add_checked_fixture(tc, testroot_setup, testroot_teardown);
	tcase_add_loop_test(tc, test_uuid, 0, ARRAY_SIZE(uuids));
	tcase_add_loop_test(tc, test_map, 0, ARRAY_SIZE(maps));
	tcase_add_test(tc, test_words);
	tcase_add_test(tc, test_abi);
	tcase_add_test(tc, test_record);
	tcase_add_loop_test(tc, test_bad_record, 0, ARRAY_SIZE(bad_records));
	tcase_add_test(tc, test_nvml_bytes);
	suite_add_tcase(s, tc);
	return testroot_run(s);
}
