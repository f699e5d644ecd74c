# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# Real containers on cgroup v2, started from the lines of lxc-gpu-mount: what they see, what
# they may open, the same without our rules; privileged and not; over a reboot that gives
# the driver's devices other majors. The driver is the lab's own (nvidia/), its nodes and
# their absence are real, and so is the DRM card.

gpu0=0000:01:00.0	# minor 1: the second that the driver took
gpu1=0000:02:00.0	# minor 0, with MIG instance 1
card=0000:03:00.0
raw=300 unpriv=301 strict=302

host() {
	[ ! -e "$image/nvidia.why" ] || {
		printf '  skipped: %s\n' "$(cat "$image/nvidia.why")"
		skipped=$((skipped + 1))
		return
	}
	failed_before=$failed
	boot first off
	[ "$failed" = "$failed_before" ] && boot again off
	:
}

machine() {
	case $1 in
	first)
		prepare
		lab_say "lines of LXC, a privileged container"
		lxc_lines $raw 0 nvidia1 nvidia0 "$gpu0"
		lab_say "lines of LXC, an unprivileged container that is denied devices"
		lxc_lines $strict 1 nvidia0 nvidia1 "$gpu1"
		lab_say "lines of LXC, an unprivileged container as Proxmox VE has it"
		lxc_unprivileged
		lab_say "devN, an unprivileged container with a MIG instance"
		mig
		lab_say "a DRM card for an unprivileged container's group video"
		drm
		for_next_boot
		;;
	again)
		lab_say "after a reboot"
		after_reboot
		lab_say "a node that is missing"
		missing
		lab_say "all is taken away"
		take_away
		;;
	esac
}

# ---- what a test says ----

# show TEXT COMMAND...: what it prints, for the log of the run.
show() {
	lab_say "  \$ $1"
	shift
	"$@" 2>&1 | sed 's/^/lab:       /' >$console || :
}
in_ct() {
	id=$1
	shift
	pct exec "$id" -- "$@"
}
# ct_reads CTID NODE TEXT: its driver answers.
ct_reads() {
	got=$(in_ct "$1" cat "/dev/$2" 2>&1) || :
	echo "/dev/$2 in $1: $got"
	[ "$got" = "$3" ]
}
ct_writes() { in_ct "$1" sh -c ": <>/dev/$2"; }
ct_sees() { in_ct "$1" test -c "/dev/$2"; }
ct_refused() {
	got=$(in_ct "$1" sh -c ": <>$2" 2>&1) && {
		echo "$2 in $1 is open"
		return 1
	}
	echo "$got"
	case $got in
	*'Operation not permitted'*) ;;
	*) return 1 ;;
	esac
}
owner_is() {
	got=$(in_ct "$1" stat -c '%u:%g %a' "/dev/$2")
	echo "/dev/$2 in $1: $got"
	[ "$got" = "$3" ]
}
restart() {
	pct stop "$1" 2>/dev/null || :
	pct start "$1"
}
has() { grep -qxF -- "$2" "/etc/pve/lxc/$1.conf" || { cat "/etc/pve/lxc/$1.conf"; return 1; }; }
has_none() { ! grep -E -- "$2" "/etc/pve/lxc/$1.conf"; }
major_of() { awk -v name="$1" '$2 == name { print $1; exit }' /proc/devices; }
# node_is NODE MAJOR MINOR
node_is() {
	got=$(stat -c '%t %T' "/dev/$1" 2>&1) || :
	echo "/dev/$1: $got"
	# shellcheck disable=SC2059 # two numbers, in hexadecimal as of stat
	[ "$got" = "$(printf '%x %x' "$2" "$3")" ]
}
no_nodes() {
	! find /dev -name 'nvidia*' | grep .
}

# ---- the host ----

# The cards are NVIDIA's by their ids from the start of a boot until they have their driver,
# which comes only later: as udev loads it beside everything else. What is mounted in /sys
# has to go then: the kernel gives no user namespace a sysfs of which something is hidden.
cards() {
	echo 0x10de >/etc/lab-vendor
	cat >/usr/lib/lab/ids <<END
#!/bin/sh
for card in $gpu0 $gpu1; do
	mount --bind /etc/lab-vendor /sys/bus/pci/devices/\$card/vendor
done
END
	cat >/usr/lib/lab/driver <<END
#!/bin/sh
sleep \$1
modprobe nvidia
for card in $gpu1 $gpu0; do
	echo nvidia >/sys/bus/pci/devices/\$card/driver_override
	echo \$card >/sys/bus/pci/drivers/nvidia/bind
	umount /sys/bus/pci/devices/\$card/vendor
done
END
	chmod +x /usr/lib/lab/ids /usr/lib/lab/driver
	cat >/etc/systemd/system/lab-ids.service <<END
[Unit]
Before=pve-gpu-nodes.service pve-guests.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/lab/ids
[Install]
WantedBy=multi-user.target
END
	cat >/etc/systemd/system/lab-driver.service <<END
[Unit]
After=lab-ids.service
[Service]
Type=simple
ExecStart=/usr/lib/lab/driver 2
[Install]
WantedBy=multi-user.target
END
	systemctl -q enable lab-ids.service lab-driver.service
	/usr/lib/lab/ids
	/usr/lib/lab/driver 0
}

# make_ct CTID LINE...: a container with nothing but busybox.
make_ct() {
	id=$1
	root=/var/lib/lab/ct/$id
	shift
	mkdir -p "$root/bin" "$root/sbin" "$root/etc" "$root/dev" "$root/proc" "$root/sys" \
		"$root/tmp" "$root/run" "$root/root"
	cp /bin/busybox "$root/bin/"
	for applet in sh cat test stat ls sleep mknod id; do
		ln -s busybox "$root/bin/$applet"
	done
	printf '#!/bin/sh\ntrap "exit 0" PWR TERM INT\nwhile :; do sleep 1000 & wait; done\n' >"$root/sbin/init"
	chmod +x "$root/sbin/init"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	printf 'root:x:0:\nvideo:x:44:\nrender:x:992:\n' >"$root/etc/group"
	{
		printf 'arch: amd64\nhostname: ct%s\nmemory: 512\nostype: debian\n' "$id"
		printf 'rootfs: local:%s/disk.raw,size=1G\n' "$id"
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} >"/etc/pve/lxc/$id.conf"
	case " $* " in
	*' unprivileged: 1 '*) chown -R 100000:100000 "$root" ;;
	esac
	cp "/etc/pve/lxc/$id.conf" "/var/lib/lab/$id.orig"
}

prepare() {
	mv /usr/lib/pve-sim/pct /usr/lib/pve-sim/pct.sim
	ln -s ../lab/realct /usr/lib/pve-sim/pct
	grep -qs '^root:100000:' /etc/subuid || echo root:100000:65536 >>/etc/subuid
	grep -qs '^root:100000:' /etc/subgid || echo root:100000:65536 >>/etc/subgid
	# The simulated guests hide files of /proc, as above.
	rm /etc/pve/qemu-server/*.conf /etc/pve/lxc/*.conf
	for file in /proc/[0-9]*/cgroup; do
		! mountpoint -q "$file" || umount "$file"
	done
	mkdir -p /var/lib/lab/ct
	chmod 755 /var/lib/lab /var/lib/lab/ct /var/lib/lxc
	cards
	lab_say "$(lxc-start --version | sed 's/^/LXC /'), $(uname -r), $(stat -fc %T /sys/fs/cgroup)"
	check "cgroup v2 alone" test "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs
	check "both cards have their driver" test "$(cat /proc/driver/nvidia/gpus/$gpu0/information /proc/driver/nvidia/gpus/$gpu1/information |
		sed -n 's/^Device Minor: *\t *//p' | tr '\n' ' ')" = '1 0 '
	check "no node of it is there" no_nodes
	make_ct $raw
	make_ct $unpriv 'unprivileged: 1' '' '[before]' 'arch: amd64' 'snaptime: 1763000000'
	set -- 'unprivileged: 1' 'lxc.cgroup2.devices.deny: a'
	for rule in 'c *:* m' 'c 1:3 rwm' 'c 1:5 rwm' 'c 1:7 rwm' 'c 1:8 rwm' 'c 1:9 rwm' \
		'c 5:0 rwm' 'c 5:1 rwm' 'c 5:2 rwm' 'c 136:* rwm'; do
		set -- "$@" "lxc.cgroup2.devices.allow: $rule"
	done
	make_ct $strict "$@"
}

# ---- lines of LXC ----

# lxc_lines CTID INDEX NODE OTHER-NODE ADDRESS
lxc_lines() {
	ct=$1 node=$3 other=$4
	check "lxc-gpu-mount --style mount --gpu $2 $ct" lxc-gpu-mount -v --style mount --gpu "$2" "$ct"
	show "cat /etc/pve/lxc/$ct.conf" cat "/etc/pve/lxc/$ct.conf"
	check "minor, not number: $node" has "$ct" "lxc.mount.entry: /dev/$node dev/$node none bind,optional,create=file 0 0"
	check "pve-gpu-nodes.service is enabled" systemctl is-enabled pve-gpu-nodes.service
	check "the nodes have been made" test -c "/dev/$node" -a -c /dev/nvidiactl -a -c /dev/nvidia-uvm
	check "twice changes nothing" twice "$ct" --style mount --gpu "$2"
	check "it starts" pct start "$ct"
	show "pct exec $ct -- ls -l /dev" in_ct "$ct" sh -c 'ls -ld /dev/nvidia* /dev/nvidia-caps/*'
	check "it sees /dev/$node" ct_sees "$ct" "$node"
	check "and opens it: gpu $5" ct_reads "$ct" "$node" "gpu $5"
	check "for writing, too" ct_writes "$ct" "$node"
	check "and nvidiactl" ct_reads "$ct" nvidiactl control
	check "and nvidia-uvm" ct_reads "$ct" nvidia-uvm uvm
	check "and nvidia-uvm-tools" ct_reads "$ct" nvidia-uvm-tools uvm-tools
	check "the rest of /dev is as before" in_ct "$ct" sh -c ': >/dev/null'
	check "not /dev/$other" not ct_sees "$ct" "$other"
	[ "$ct" != $raw ] || check "nor by a node of its own" own_node_refused "$ct"
	check "it stops" pct stop "$ct"

	cp "/etc/pve/lxc/$ct.conf" "/var/lib/lab/$ct.with"
	sed -i '/^lxc\.cgroup2\.devices\.allow: .* wr$/d' "/etc/pve/lxc/$ct.conf"
	check "without our rules it starts" pct start "$ct"
	check "sees /dev/$node" ct_sees "$ct" "$node"
	check "and is refused" ct_refused "$ct" "/dev/$node"
	show "pct exec $ct -- cat /dev/$node" in_ct "$ct" cat "/dev/$node"
	check "as with nvidia-uvm" ct_refused "$ct" /dev/nvidia-uvm
	check "lxc-gpu-mount gives the rules again" lxc-gpu-mount -q --style mount --gpu "$2" "$ct"
	check "those that were there" same_lines "/var/lib/lab/$ct.with" "/etc/pve/lxc/$ct.conf"
	restart "$ct"
	check "it opens /dev/$node" ct_reads "$ct" "$node" "gpu $5"
	pct stop "$ct"
}

lxc_unprivileged() {
	check "lxc-gpu-mount --style mount --gpu 1 $unpriv" lxc-gpu-mount -v --style mount --gpu 1 $unpriv
	check "before the snapshot" test "$(sed '/^\[/,$d' /etc/pve/lxc/$unpriv.conf | grep -c '^lxc\.')" \
		= "$(grep -c '^lxc\.' /etc/pve/lxc/$unpriv.conf)"
	check "it starts" pct start $unpriv
	check "it opens the GPU" ct_reads $unpriv nvidia0 "gpu $gpu1"
	check "and nvidia-uvm" ct_reads $unpriv nvidia-uvm uvm
	check "nobody's, as root is another one there" owner_is $unpriv nvidia0 '65534:65534 666'
	check "the rest of /dev is as before" in_ct $unpriv sh -c ': >/dev/null'
	pct stop $unpriv
	cp /etc/pve/lxc/$unpriv.conf /run/lab/with
	sed -i '/^lxc\.cgroup2/d' /etc/pve/lxc/$unpriv.conf
	pct start $unpriv
	check "it is not refused without our rules, either" ct_reads $unpriv nvidia0 "gpu $gpu1"
	pct stop $unpriv
	cp /run/lab/with /etc/pve/lxc/$unpriv.conf
}

# In another order perhaps.
same_lines() {
	sort "$1" >/run/lab/one
	sort "$2" | diff /run/lab/one -
}
twice() {
	ct=$1
	shift
	cp "/etc/pve/lxc/$ct.conf" /run/lab/twice
	lxc-gpu-mount "$@" "$ct" && cmp "/etc/pve/lxc/$ct.conf" /run/lab/twice
}
own_node_refused() {
	in_ct "$1" mknod /tmp/gpu c 195 0 && ct_refused "$1" /tmp/gpu
}

# ---- devN ----

mig() {
	lxc-gpu-mount -q --remove $unpriv
	check "lines of LXC are gone, every byte is as it was" cmp /var/lib/lab/$unpriv.orig /etc/pve/lxc/$unpriv.conf
	show "lxc-gpu-mount -n --style dev --gpu 1/gi1 $unpriv" lxc-gpu-mount -n --style dev --gpu 1/gi1 $unpriv
	check "lxc-gpu-mount --style dev --gpu 1/gi1 $unpriv" lxc-gpu-mount -v --style dev --gpu 1/gi1 $unpriv
	show "cat /etc/pve/lxc/$unpriv.conf" cat /etc/pve/lxc/$unpriv.conf
	check "none of LXC's lines" has_none $unpriv '^lxc\.'
	check "the snapshot has nothing of it" not sh -c "sed '1,/^\[before/d' /etc/pve/lxc/$unpriv.conf | grep nvidia"
	check "twice changes nothing" twice $unpriv --style dev --gpu 1/gi1
	check "it starts" pct start $unpriv
	show "pct exec $unpriv -- ls -l /dev" in_ct $unpriv sh -c 'ls -ld /dev/nvidia* /dev/nvidia-caps/*'
	check "it opens the GPU" ct_reads $unpriv nvidia0 "gpu $gpu1"
	check "its GPU instance" ct_reads $unpriv nvidia-caps/nvidia-cap12 "capability 12"
	check "its compute instance" ct_reads $unpriv nvidia-caps/nvidia-cap13 "capability 13"
	check "nvidia-uvm" ct_reads $unpriv nvidia-uvm uvm
	check "no right to configure MIG" not ct_sees $unpriv nvidia-caps/nvidia-cap1
	check "a node is its root's" owner_is $unpriv nvidia0 '0:0 666'
	check "the rest of /dev is as before" in_ct $unpriv sh -c ': >/dev/null'
	pct stop $unpriv
}

drm() {
	ls -l /dev/dri/by-path >/run/lab/by-path 2>&1
	check "the card has its node" test -e "/dev/dri/by-path/pci-$card-card"
	check "lxc-gpu-mount --style dev --gpu $card $unpriv" lxc-gpu-mount -v --style dev --gpu $card $unpriv
	show "cat /etc/pve/lxc/$unpriv.conf" cat /etc/pve/lxc/$unpriv.conf
	check "it is not mounted any more" not test -e /var/lib/lxc/$unpriv/rootfs/etc
	check "nor locked" has_none $unpriv '^lock'
	check "the container's own group: 44" sh -c "grep -q 'card.*gid=44' /etc/pve/lxc/$unpriv.conf"
	check "no NVIDIA node is left" has_none $unpriv nvidia
	check "it starts" pct start $unpriv
	node=$(in_ct $unpriv sh -c 'ls /dev/dri/* /dev/dri/by-path/* 2>/dev/null' | grep card | head -n 1)
	node=${node#/dev/}
	show "pct exec $unpriv -- ls -l /dev/$node" in_ct $unpriv ls -l "/dev/$node"
	check "it opens the card" ct_writes $unpriv "$node"
	check "it is of group video there" owner_is $unpriv "$node" '0:44 660'
	check "a user of that group opens it" as_user 44 "$node"
	check "another does not" not as_user 1000 "$node"
	pct stop $unpriv
}
as_user() {
	lxc-attach -n $unpriv --clear-env -v PATH=/bin -u 1000 -g "$1" -- sh -c ": <>/dev/$2"
}

# ---- the next boot ----

for_next_boot() {
	lxc-gpu-mount -q --style dev --gpu 1 $unpriv
	for ct in $raw $unpriv; do
		sed -i '1i onboot: 1' "/etc/pve/lxc/$ct.conf"
	done
	sed -i '1i onboot: 1' /var/lib/lab/$raw.orig
	major_of nvidia-uvm >/var/lib/lab/uvm
	major_of nvidia-caps >/var/lib/lab/caps
	printf 'options nvidia majors=2\noptions nvidia-uvm majors=3\n' >/etc/modprobe.d/lab-majors.conf
	sync
}

after_reboot() {
	uvm=$(major_of nvidia-uvm)
	caps=$(major_of nvidia-caps)
	lab_say "nvidia-uvm has major $uvm, had $(cat /var/lib/lab/uvm); nvidia-caps $caps, had $(cat /var/lib/lab/caps)"
	check "other majors" test "$uvm.$caps" != "$(cat /var/lib/lab/uvm).$(cat /var/lib/lab/caps)" -a -n "$uvm"
	check "pve-gpu-nodes.service has done its work" test "$(systemctl show -p Result --value pve-gpu-nodes)" = success
	show "journalctl -b -u pve-gpu-nodes" journalctl -q -b --no-pager -o cat -u pve-gpu-nodes
	check "nvidia0 is there" node_is nvidia0 195 0
	check "nvidia1 is there" node_is nvidia1 195 1
	check "nvidiactl is there" node_is nvidiactl 195 255
	check "nvidia-uvm is there, with its new major" node_is nvidia-uvm "$uvm" 0
	check "nvidia-uvm-tools is there" node_is nvidia-uvm-tools "$uvm" 1
	check "nvidia-cap12 is there" node_is nvidia-caps/nvidia-cap12 "$caps" 12
	for ct in $raw $unpriv; do
		check "the container $ct has started with the host" within 20 runs lxc/$ct
	done
	check "devN: nvidia0" ct_reads $unpriv nvidia0 "gpu $gpu1"
	check "devN: nvidia-uvm" ct_reads $unpriv nvidia-uvm uvm
	check "lines of LXC: nvidia1" ct_reads $raw nvidia1 "gpu $gpu0"
	check "lines of LXC: the old major of nvidia-uvm is refused" ct_refused $raw /dev/nvidia-uvm
	check "lxc-gpu-mount renews it" lxc-gpu-mount -v --style mount --gpu 0 $raw
	check "the rule of the new major" has $raw "lxc.cgroup2.devices.allow: c $uvm:0 wr"
	check "that of the old one is gone" has_none $raw "c $(cat /var/lib/lab/uvm):0 "
	restart $raw
	check "it opens nvidia-uvm" ct_reads $raw nvidia-uvm uvm
}

missing() {
	rm /dev/nvidia0
	pct stop $unpriv
	check "with devN it does not start" not pct start $unpriv
	show "pct start $unpriv" pct start $unpriv
	check "the service makes the node" systemctl restart pve-gpu-nodes.service
	check "and it starts" pct start $unpriv
	check "it opens nvidia0" ct_reads $unpriv nvidia0 "gpu $gpu1"
	rm /dev/nvidia1
	pct stop $raw
	check "with lines of LXC it starts without" pct start $raw
	check "the others open" ct_reads $raw nvidiactl control
	check "lxc-gpu-mount makes the node" lxc-gpu-mount --style mount --gpu 0 $raw
	restart $raw
	check "it opens nvidia1" ct_reads $raw nvidia1 "gpu $gpu0"
	pct stop $raw
	pct stop $unpriv
}

take_away() {
	check "lxc-gpu-mount --remove $raw" lxc-gpu-mount -v --remove $raw
	check "every byte is as it was" cmp /var/lib/lab/$raw.orig /etc/pve/lxc/$raw.conf
	check "lxc-gpu-mount --remove $unpriv" lxc-gpu-mount -v --remove $unpriv
	check "no line of ours is left" has_none $unpriv '^dev[0-9]|^lxc\.'
	check "it starts" pct start $unpriv
	check "without any GPU" not in_ct $unpriv sh -c 'ls /dev/nvidia* /dev/dri'
	pct stop $unpriv
}
