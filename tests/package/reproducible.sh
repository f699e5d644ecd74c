#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# reproducible.sh DIR - what build.sh has built in DIR once more, elsewhere and in other surroundings: the same?
set -eu

cd "$1"
rm -rf again
mkdir -p again/in-another-folder
tar -C again/in-another-folder -xf ./*.orig.tar.xz
cp -a debian again/in-another-folder/*/
(
	umask 0077
	cd again/in-another-folder/*/
	env TZ=Pacific/Kiritimati LC_ALL=fr_FR.UTF-8 USER=somebody LOGNAME=somebody HOME=/nonexistent/other \
		DEB_BUILD_OPTIONS='nocheck parallel=1' dpkg-buildpackage -us -uc -b
) >again/log 2>&1 || {
	tail -n 20 again/log
	exit 1
}
compared=0
differ=0
for deb in ./*.deb; do
	compared=$((compared + 1))
	cmp "$deb" "again/in-another-folder/$deb" || differ=$((differ + 1))
done
rm -rf again
echo "$compared packages compared, $differ differ"
[ "$compared" -gt 0 ] && [ "$differ" -eq 0 ]
