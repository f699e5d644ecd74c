#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh DIR - make in DIR libcuda.so.1 (see fake.h), old/libcuda.so.1, which has no
# cuCheckpoint functions as before CUDA 12.8, and nvml/libnvidia-ml.so.1, which
# tells who uses how much, cudajob, a CUDA program, and cudabare, which makes the driver's
# calls. Exit 77: no compiler.
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
out=$1
command -v "${CC:-cc}" >/dev/null || {
	echo 'skipped: no C compiler for the stand-in of libcuda'
	exit 77
}
mkdir -p "$out/old" "$out/nvml"
flags='-std=gnu11 -O2 -Wall -Wextra -fPIC -shared -pthread -Wl,-soname,libcuda.so.1'
# shellcheck disable=SC2086 # several flags
${CC:-cc} $flags -o "$out/libcuda.so.1" "$here/caller.c" "$here/device.c" "$here/knobs.c" -ldl
# shellcheck disable=SC2086
${CC:-cc} $flags -DFAKE_WITHOUT_CHECKPOINT -o "$out/old/libcuda.so.1" "$here/caller.c" "$here/device.c" "$here/knobs.c" -ldl
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -fPIC -shared -Wl,-soname,libnvidia-ml.so.1 \
	-o "$out/nvml/libnvidia-ml.so.1" "$here/nvml.c" -ldl
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -o "$out/cudajob" "$here/../gpu/cudajob.c" -ldl
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -o "$out/cudabare" "$here/../gpu/cudabare.c" -ldl
