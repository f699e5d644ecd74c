#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mkfiles.sh FILES DIR - write under DIR the files that FILES holds: each begins
# after a line "==> /its/path".
set -eu
awk -v dir="$2" '
	/^==> / {
		if (path) close(path)
		path = dir substr($0, 5)
		parent = path
		sub("/[^/]*$", "", parent)
		system("mkdir -p \"" parent "\"")
		next
	}
	{ print > path }
' "$1"
