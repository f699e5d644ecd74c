#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# copy-tree.sh DIR - copy the source tree into DIR, without build results
#
# A tree in which somebody ran ./configure cannot be built out of place, and
# packaging must not litter a checkout: both work on such a copy.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)

mkdir -p "$1"
dest=$(cd "$1" && pwd)

# sudo makes the checkout somebody else's to git.
if [ -e "$top/.git" ] && command -v git >/dev/null 2>&1 &&
	list=$(mktemp) && git -c safe.directory="$top" -C "$top" ls-files -z -co --exclude-standard >"$list"; then
	# Files that are deleted but still in the index are passed over.
	# shellcheck disable=SC2016 # the inner shell expands these
	(cd "$top" && xargs -0 sh -c 'for f; do if [ -e "$f" ] || [ -L "$f" ]; then printf "%s\0" "$f"; fi; done' sh \
		<"$list" | tar -c --null -T - -f - | tar -x -f - -C "$dest" --no-same-owner)
	rm -f "$list"
	exit 0
fi
(cd "$top" && tar -c -f - --exclude-vcs --exclude='*.o' --exclude='*.a' --exclude='*.trs' --exclude=.deps \
	--exclude=.dirstamp --exclude=./Makefile --exclude=./config.status --exclude=./config.h \
	--exclude=./config.log --exclude=./autom4te.cache .) | tar -x -f - -C "$dest" --no-same-owner
