# SPDX-License-Identifier: GPL-2.0-or-later
# PveSim - what the simulated qm, pct, vzdump, pvesh and ha-manager share: guest
# configurations, who runs, PVE's choice of PCI devices, events, simulated time.
# Only modules of perl-base. Messages and exit codes as the real programs' own.
package PveSim;
use strict;
use warnings;
use Fcntl qw(:DEFAULT :flock);
use POSIX ();
use Exporter 'import';

our @EXPORT = qw($S $NODE $RUN conf nap event slurp spew guest_attr quorate need_quorum
	read_conf write_conf conf_path guest_list guest_kind guest_name with_config_lock
	check_lock vm_pid vm_state vm_signal ct_pid ct_running is_running vm_start vm_stop
	vm_shutdown vm_cleanup ct_start ct_stop ct_shutdown wait_gone unit_start mark ha_state ha_request
	ha_managed volume_path check_hookscript late_post_stop vm_disks run_cli say_err signal_die parse_opts faults propstr now uptime sys_nr);

our $S = '/run/pve-sim';		# the host's directory: what outlives a power loss
our $RUN = '/run/qemu-server';
our $NODE = readlink('/etc/pve/local') // 'nodes/pve1';
$NODE =~ s,.*/,,;
my $PCI = '/sys/bus/pci/devices';

# ---- small things -----------------------------------------------------------

sub slurp {
	my ($path) = @_;
	open(my $fh, '<', $path) or return undef;
	local $/;
	my $text = <$fh>;
	return $text // '';
}

# Whole or not at all: PVE writes its files by rename, too.
sub spew {
	my ($path, $text) = @_;
	my $tmp = "$path.tmp.$$";
	sysopen(my $fh, $tmp, O_WRONLY | O_CREAT | O_TRUNC, 0640) or die "unable to open file '$tmp' - $!\n";
	syswrite($fh, $text) // die "unable to write '$tmp' - $!\n";
	close($fh);
	rename($tmp, $path) or do { my $e = "$!"; unlink($tmp); die "close (rename) atomic file '$path' failed: $e\n" };
}

sub keys_of {
	my ($text) = @_;
	return { ($text // '') =~ /^([\w-]+)[ \t]*=[ \t]*(.*?)[ \t]*$/mg };
}

my $conf;
sub conf {
	my ($key, $default) = @_;
	$conf //= keys_of(slurp("$S/conf"));
	return $conf->{$key} // $default;
}

# How a guest behaves, out of guest/VMID: start, shutdown, backup (simulated seconds), ...
sub guest_attr {
	my ($id, $key, $default) = @_;
	return keys_of(slurp("$S/guest/$id"))->{$key} // $default;
}

# Faults that the simulated programs themselves act out, one "word [argument]" a line.
sub faults {
	my ($word) = @_;
	return (slurp("$S/faults") // '') =~ /^\Q$word\E(?:[ \t]+(.*?))?[ \t]*$/m ? ($1 // 1) : undef;
}

# Seconds since boot, as the C programs' CLOCK_BOOTTIME.
sub uptime {
	my $now = "\0" x 16;
	syscall(sys_nr('clock_gettime'), 7, $now);
	my ($s, $ns) = unpack('q2', $now);
	return $s + $ns / 1e9;
}
sub now { return uptime() * conf('speed', 60) }	# simulated seconds, from some start

# Sleep simulated seconds; a signal handler that dies ends it.
sub nap {
	my ($seconds) = @_;
	my $end = uptime() + $seconds / conf('speed', 60);
	while ((my $left = $end - uptime()) > 0) {
		select(undef, undef, undef, $left);
	}
}

sub event {
	my ($what, $guest, $detail) = @_;
	open(my $fh, '>>', "$S/events") or return;
	syswrite($fh, sprintf("%.3f\t%s\t%s\t%s\n", uptime(), $what, $guest, $detail // ''));
}

# A point of its own among the steps at which a test may kill: the shim sees the name.
sub mark {
	my ($what) = @_;
	sysopen(my $fh, "$S/step.$what", O_RDONLY);
}

sub say_err { print STDERR @_, "\n" }

sub signal_die {
	$SIG{TERM} = $SIG{INT} = $SIG{QUIT} = $SIG{HUP} = sub { die "interrupted by signal\n" };
}

# System calls that perl-base has no function for.
sub sys_nr {
	my ($name) = @_;
	my $arm = (POSIX::uname())[4] eq 'aarch64';
	my %nr = (unshare => $arm ? 97 : 272, setns => $arm ? 268 : 308,
		  clock_gettime => $arm ? 113 : 228);
	return $nr{$name};
}

# "--key value", "--key=value", "-key value", "--flag"; the rest are operands.
sub parse_opts {
	my ($flags, @argv) = @_;
	my (%opt, @rest);
	while (defined(my $arg = shift @argv)) {
		if ($arg =~ /^--?([a-zA-Z][\w-]*)(?:=(.*))?$/s) {
			my ($key, $value) = ($1, $2);
			if (!defined $value) {
				$value = 1;
				$value = shift @argv
				    if @argv && (!$flags->{$key} || $argv[0] =~ /^[01]$/);
			}
			$opt{$key} = $value;
		} else {
			push @rest, $arg;
		}
	}
	return (\%opt, @rest);
}

# Run a command of the command line: what dies is printed, 0 or 255 comes back.
sub run_cli {
	my ($code) = @_;
	my $rc = eval { $code->() };
	if (my $err = $@) {
		$err =~ s/\n*$/\n/;
		print STDERR $err;
		exit 255;
	}
	exit($rc || 0);
}

# ---- cluster ----------------------------------------------------------------

sub quorate { return !defined faults('no-quorum') }
sub need_quorum { quorate() or die "cluster not ready - no quorum?\n" }

sub vmlist_update {
	my (@ids);
	for my $path (glob('/etc/pve/nodes/*/{qemu-server,lxc}/*.conf')) {
		my ($node, $dir, $id) = $path =~ m,nodes/([^/]+)/([^/]+)/(\d+)\.conf$, or next;
		my $type = $dir eq 'lxc' ? 'lxc' : 'qemu';
		push @ids, qq("$id": { "node": "$node", "type": "$type", "version": 1 });
	}
	my $ids = @ids ? qq(,\n"ids": {\n) . join(",\n", sort @ids) . "}\n" : "\n";
	eval { spew('/etc/pve/.vmlist', qq({\n"version": 1$ids}\n)) };
}

# ---- configurations ---------------------------------------------------------

sub conf_path {
	my ($kind, $id) = @_;
	return "/etc/pve/nodes/$NODE/" . ($kind eq 'lxc' ? 'lxc' : 'qemu-server') . "/$id.conf";
}

sub guest_kind {
	my ($id) = @_;
	return 'qemu' if -e conf_path('qemu', $id);
	return 'lxc' if -e conf_path('lxc', $id);
	return undef;
}

# VMIDs of this node, ascending; of one kind or of both.
sub guest_list {
	my (@kinds) = @_;
	@kinds = ('qemu', 'lxc') if !@kinds;
	my @ids;
	for my $kind (@kinds) {
		opendir(my $dh, "/etc/pve/nodes/$NODE/" . ($kind eq 'lxc' ? 'lxc' : 'qemu-server')) or next;
		push @ids, map { /^([1-9]\d{2,8})\.conf$/ ? $1 : () } readdir $dh;
	}
	return sort { $a <=> $b } @ids;
}

# {notes, keys {}, raw [lxc.*], pending {}, delete [], rest "later sections as text"}
sub read_conf {
	my ($kind, $id) = @_;
	my $text = slurp(conf_path($kind, $id));
	defined $text or die "Configuration file 'nodes/$NODE/" . ($kind eq 'lxc' ? 'lxc' : 'qemu-server')
	    . "/$id.conf' does not exist\n";
	my $c = { kind => $kind, id => $id, notes => '', keys => {}, raw => [], pending => {},
		  delete => [], rest => '' };
	my $section = '';
	for my $line (split /\n/, $text) {
		next if $line =~ /^\s*$/;
		if ($line =~ /^\[(.*)\]\s*$/) {
			$section = $1;
			$section = 'PENDING' if $section =~ /^(pve:)?pending$/i;
			$c->{rest} .= "\n$line\n" if $section ne 'PENDING';
		} elsif ($section eq 'PENDING') {
			if ($line =~ /^delete:\s*(.*?)\s*$/) {
				push @{$c->{delete}}, map { s/^!//r } split /[,;\s]+/, $1;
			} elsif ($line =~ /^([a-z][a-z_-]*\d*):\s*(.*?)\s*$/) {
				$c->{pending}{$1} = $2;
			}
		} elsif ($section ne '') {
			$c->{rest} .= "$line\n";
		} elsif ($line =~ /^#/) {
			$c->{notes} .= "$line\n";
		} elsif ($line =~ /^lxc\.\S+?\s*[:=]/) {
			push @{$c->{raw}}, $line;
		} elsif ($line =~ /^([a-z][a-z_-]*\d*):\s*(.*?)\s*$/) {
			$c->{keys}{$1} = $2;
		} else {
			print STDERR "vm $id - unable to parse config: $line\n";
		}
	}
	if ($kind eq 'qemu') {	# PVE drops the lines whose value it does not understand
		for my $part ($c->{keys}, $c->{pending}) {
			for my $key (grep { /^hostpci/ } keys %$part) {
				my $ok = $key =~ /^hostpci(\d|1[0-5])$/
				    && eval { parse_hostpci($part->{$key}); 1 };
				next if $ok;
				print STDERR "vm $id - unable to parse value of '$key' - format error\n";
				delete $part->{$key};
			}
		}
	}
	return $c;
}

sub write_conf {
	my ($c) = @_;
	my $text = $c->{notes};
	$text .= "$_: $c->{keys}{$_}\n" for sort keys %{$c->{keys}};
	$text .= "$_\n" for @{$c->{raw}};
	if (%{$c->{pending}} || @{$c->{delete}}) {
		$text .= $c->{kind} eq 'lxc' ? "\n[pve:pending]\n" : "\n[PENDING]\n";
		$text .= 'delete: ' . join(',', @{$c->{delete}}) . "\n" if @{$c->{delete}};
		$text .= "$_: $c->{pending}{$_}\n" for sort keys %{$c->{pending}};
	}
	spew(conf_path($c->{kind}, $c->{id}), $text . $c->{rest});
	vmlist_update();
}

sub guest_name {
	my ($c) = @_;
	return $c->{keys}{$c->{kind} eq 'lxc' ? 'hostname' : 'name'}
	    // ($c->{kind} eq 'lxc' ? "CT$c->{id}" : "VM $c->{id}");
}

# PVE's own lock around every change of a configuration, 10 s.
my %held;
sub with_config_lock {
	my ($kind, $id, $code) = @_;
	my $path = $kind eq 'lxc' ? "/run/lock/lxc/pve-config-$id.lock"
				  : "/var/lock/qemu-server/lock-$id.conf";
	return $code->() if $held{$path};
	mkdir '/run/lock';
	mkdir $path =~ s,/[^/]*$,,r;
	open(my $fh, '>>', $path) or die "can't open lock file '$path' - $!\n";
	my $end = uptime() + conf('lock-timeout', 10);
	while (!flock($fh, LOCK_EX | LOCK_NB)) {
		die "can't lock file '$path' - got timeout\n" if uptime() > $end;
		select(undef, undef, undef, 0.02);
	}
	local $held{$path} = 1;
	return $code->();
}

sub check_lock {
	my ($c) = @_;
	my $lock = $c->{keys}{lock} or return;
	die(($c->{kind} eq 'lxc' ? 'CT' : 'VM') . " is locked ($lock)\n");
}

# Disks that vzdump would include.
sub vm_disks {
	my ($c) = @_;
	return grep {
		/^(?:(?:ide|sata|scsi|virtio|efidisk|tpmstate)\d+)$/
		    && $c->{keys}{$_} !~ /\bmedia=cdrom\b/
		    && $c->{keys}{$_} !~ /\bbackup=(?:0|no|off|false)\b/
		    && $c->{keys}{$_} !~ /^none\b/
	} sort keys %{$c->{keys}};
}

# ---- who runs ---------------------------------------------------------------

# As PVE looks: pid file, argv[0], its -pidfile argument, no zombie.
sub vm_pid {
	my ($id) = @_;
	my $file = "/var/run/qemu-server/$id.pid";
	my ($pid) = (slurp($file) // '') =~ /^(\d+)/ or return 0;
	my @argv = split /\0/, slurp("/proc/$pid/cmdline") // '';
	return 0 if !@argv || $argv[0] !~ m,(?:kvm|(?:^|/)qemu-[^/]*)$,;
	my ($i) = grep { $argv[$_] eq '-pidfile' } 0 .. $#argv;
	return 0 if !defined $i || ($argv[$i + 1] // '') ne $file;
	return 0 if (slurp("/proc/$pid/stat") // '') =~ /\) Z/;
	return $pid;
}

# running, prelaunch (started paused), paused, shutdown (kept by a backup), stopped
sub vm_state {
	my ($id) = @_;
	return 'stopped' if !vm_pid($id);
	my $state = slurp("$S/state/$id") // 'running';
	$state =~ s/\s+$//;
	return $state eq 'gone' ? 'running' : $state;
}

# Done when it returns, as QMP's cont (USR2) and stop (HUP) are.
sub vm_signal {
	my ($id, $sig) = @_;
	my $pid = vm_pid($id) or return 0;
	kill($sig, $pid) or return 0;
	my $want = $sig eq 'USR2' ? qr/^running$/ : qr/^(?:paused|prelaunch|shutdown)$/;
	wait_gone(3600, sub { vm_state($id) =~ $want || !vm_pid($id) });
	return 1;
}

sub ct_running {
	my ($id) = @_;
	return (slurp('/proc/net/unix') // '') =~ m,\@/var/lib/lxc/$id/command$,m;
}

sub ct_pid {
	my ($id) = @_;
	return ct_running($id) ? (slurp("$S/state/$id.pid") // 0) + 0 : 0;
}

sub is_running {
	my ($id) = @_;
	return (guest_kind($id) // '') eq 'lxc' ? ct_running($id) : vm_pid($id) != 0;
}

# Until $gone->(), at most simulated seconds; says whether it came.
sub wait_gone {
	my ($seconds, $gone) = @_;
	my $left = $seconds / conf('speed', 60);
	my $last = uptime();
	until ($gone->()) {
		return 0 if $left <= 0;
		select(undef, undef, undef, 0.01);
		# Where we wait for the processor, so does whom we wait for.
		my $step = uptime() - $last;
		$left -= $step < 0.02 ? $step : 0.02;
		$last += $step;
	}
	return 1;
}

# ---- property strings and mappings -------------------------------------------

my $BOOL = qr/^(?:1|on|yes|true|0|off|no|false)$/i;
sub is_true { return ($_[0] // '') =~ /^(?:1|on|yes|true)$/i }

sub propstr {
	my ($text, $schema, $default) = @_;
	my %out;
	for my $part (split /,/, $text) {
		next if $part =~ /^\s*$/;
		my ($key, $value);
		if ($part =~ /^([^=]+)=(.+)$/) {
			($key, $value) = ($1, $2);
		} elsif ($part !~ /=/ && defined $default) {
			($key, $value) = ($default, $part);
		} else {
			die "missing key in comma-separated list property\n";
		}
		my $pattern = $schema->{$key} or die "invalid key '$key'\n";
		die "duplicate key '$key'\n" if exists $out{$key};
		die "invalid value of '$key'\n" if $value !~ $pattern;
		$out{$key} = $value;
	}
	return \%out;
}

my $ADDR = qr/(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\.[a-f0-9])?/;
my $HEX = qr/^0x[0-9a-fA-F]{4}$/;
my $HOSTPCI = {
	host => qr/^$ADDR(?:;$ADDR)*$/, mapping => qr/^[a-z][a-z0-9_-]+$/i,
	pcie => $BOOL, rombar => $BOOL, 'x-vga' => $BOOL, 'legacy-igd' => $BOOL,
	romfile => qr/^[^,;]+$/, mdev => qr,^[^/.:]+$,, driver => qr/^(?:vfio|keep)$/,
	'vendor-id' => $HEX, 'device-id' => $HEX, 'sub-vendor-id' => $HEX, 'sub-device-id' => $HEX,
};
sub parse_hostpci { return propstr($_[0], $HOSTPCI, 'host') }

sub mapping_lines {
	my ($name) = @_;
	my ($section, $ignore, @maps, $found, %scalar);
	for my $line (split /\n/, slurp('/etc/pve/mapping/pci.cfg') // '') {
		next if $line =~ /^\s*#/;
		if ($line eq '') {
			undef $section;
		} elsif (!defined $section) {
			$section = $line =~ /^([a-z][a-z0-9_-]+)\s*$/i ? $1 : '';
			$found = 1 if $section eq $name;
		} elsif ($section eq $name && $line =~ /^\s+(\S+)\s+(.*?)\s*$/) {
			if ($1 eq 'map') {
				push @maps, $2;
			} else {
				$scalar{$1} //= $2;
			}
		}
	}
	return ($found, \%scalar, @maps);
}

my $MAP = {
	node => qr/./, id => qr/^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}$/, iommugroup => qr/^\d+$/,
	path => qr/^(?:[a-f0-9]{4,}:[a-f0-9]{2}:[a-f0-9]{2}(?:.[a-f0-9])?)(?:;[a-f0-9]{4,}:[a-f0-9]{2}:[a-f0-9]{2}(?:.[a-f0-9])?)*$/,
	'subsystem-id' => qr/^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}$/, description => qr/./,
};

sub sysfs {
	my ($path) = @_;
	my $text = slurp($path) // return undef;
	$text =~ s/\s+$//;
	return $text;
}

sub hex_pair {
	my ($dir, $a, $b) = @_;
	my ($x, $y) = (sysfs("$dir/$a"), sysfs("$dir/$b"));
	return undef if !defined $x || !defined $y;
	return ($x . ':' . $y) =~ s/0x//gr;
}

sub iommu_group {
	my ($addr) = @_;
	my $group = readlink("$PCI/$addr/iommu_group") // return undef;
	return $group =~ s,.*/,,r;
}

# Mapping against hardware, function by function; the first difference kills the start.
sub mapping_check {
	my ($name, $scalar, $map) = @_;
	my $first = 1;
	for my $path (split /;/, $map->{path}) {
		my $addr = $path =~ /\.[a-f0-9]$/ ? $path : "$path.0";
		my $dir = "$PCI/$addr";
		-e $dir or die "pci device '$path' not found\n";
		my %want = (id => $map->{id}, 'subsystem-id' => $map->{'subsystem-id'},
			    mdev => is_true($scalar->{mdev}) ? 1 : undef);
		my %is = (id => hex_pair($dir, 'vendor', 'device'),
			  'subsystem-id' => hex_pair($dir, 'subsystem_vendor', 'subsystem_device'),
			  mdev => -d "$dir/mdev_supported_types" || -d "$dir/nvidia" ? 1 : undef);
		if ($first) {
			$want{iommugroup} = $map->{iommugroup};
			$is{iommugroup} = iommu_group($addr);
		}
		$first = 0;
		for my $key (sort keys %want) {
			my ($w, $i) = ($want{$key}, $is{$key});
			next if $key eq 'mdev' && ($w // 0) eq ($i // 0);
			next if !defined $w && !defined $i;
			my $why = !defined $w ? "missing expected property '$key' for '$name'"
			    : !defined $i ? "unexpected property '$key' configured for device '$name'"
			    : $w ne $i ? "'$key' does not match for '$name' ($w != $i)" : next;
			die "PCI device mapping invalid (hardware probably changed): $why\n";
		}
	}
}

# ---- PVE's choice of devices -------------------------------------------------

sub functions_of {
	my ($element) = @_;
	opendir(my $dh, $PCI) or return;
	return sort grep { /^(?:0000:)?\Q$element\E/ } grep { !/^\./ } readdir $dh;
}

# Every hostpciN as {n, alternatives [[addr..]..], mdev, nvidia, driver}.
sub resolve_hostpci {
	my ($c) = @_;
	my @devices;
	for my $n (0 .. 15) {
		my $value = $c->{keys}{"hostpci$n"} // next;
		my $h = parse_hostpci($value);
		my @alts;
		die "Cannot set both 'host' and 'mapping'.\n" if $h->{host} && $h->{mapping};
		if (my $name = $h->{mapping}) {
			my ($found, $scalar, @lines) = mapping_lines($name);
			my @maps = grep { $_->{node} eq $NODE } map { propstr($_, $MAP) } @lines;
			die "PCI device mapping not found for '$name'\n" if !@maps;
			for my $map (@maps) {
				mapping_check($name, $scalar, $map);
				push @alts, [split /;/, $map->{path}];
			}
		} elsif ($h->{host}) {
			@alts = [split /;/, $h->{host}];
		} else {
			die "Either 'host' or 'mapping' must be set.\n";
		}
		for my $alt (@alts) {
			my @functions;
			for my $element (@$alt) {
				my @found = functions_of($element);
				die "no PCI device found for '$element'\n" if !@found;
				push @functions, @found;
			}
			$alt = \@functions;
			die "cannot use mediated device with multifunction device\n"
			    if defined $h->{mdev} && @functions > 1;
		}
		my $nvidia = ($h->{mdev} // '') =~ /^nvidia-(\d+)$/ && -d "$PCI/$alts[0][0]/nvidia" ? $1 : undef;
		die "q35 machine model is not enabled\n"
		    if is_true($h->{pcie}) && ($c->{keys}{machine} // '') !~ /q35/;
		push @devices, { n => $n, alts => \@alts, nvidia => $nvidia,
				 mdev => defined $nvidia ? undef : $h->{mdev},
				 driver => $h->{driver} // 'vfio' };
	}
	return @devices;
}

sub reservations {
	my %r;
	for (split /\n/, slurp("$RUN/pci-id-reservations") // '') {
		/^([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]) (\d+) (time|pid):(\d+)$/
		    and $r{$1} = { vmid => $2, kind => $3, value => $4 };
	}
	return \%r;
}

sub with_reservations {
	my ($code) = @_;
	open(my $fh, '>>', "$RUN/pci-id-reservations.lock") or die "can't open lock file - $!\n";
	flock($fh, LOCK_EX);
	my $r = reservations();
	$code->($r);
	spew("$RUN/pci-id-reservations", join('', map {
		"$_ $r->{$_}{vmid} $r->{$_}{kind}:$r->{$_}{value}\n" } sort keys %$r));
}

# All of @addrs or none.
sub reserve {
	my ($vmid, $timeout, $pid, @addrs) = @_;
	return if !@addrs;
	with_reservations(sub {
		my ($r) = @_;
		for my $addr (@addrs) {
			my $old = $r->{$addr} or next;
			my $owner = $old->{vmid};
			my $running = vm_pid($owner);
			if ($owner != $vmid) {
				die "PCI device '$addr' is currently reserved for use by VMID '$owner'\n"
				    if $old->{kind} eq 'time' && $old->{value} > time();
				die "PCI device '$addr' already in use by VMID '$owner'\n"
				    if $old->{kind} eq 'pid' && $running && $running == $old->{value};
				warn "leftover PCI reservation found for $addr, lets take it...\n";
			} elsif ($old->{kind} eq 'pid' && $running && $running == $old->{value}
				 && (!$pid || $pid != $running)) {
				die "PCI device '$addr' already in use by running VMID '$owner'\n";
			}
		}
		for my $addr (@addrs) {
			$r->{$addr} = $pid ? { vmid => $vmid, kind => 'pid', value => $pid }
			    : { vmid => $vmid, kind => 'time', value => time() + $timeout + 5 };
		}
	});
}

sub unreserve {
	my ($vmid) = @_;
	return if !-e "$RUN/pci-id-reservations";
	with_reservations(sub {
		my ($r) = @_;
		delete @$r{grep { $r->{$_}{vmid} == $vmid } keys %$r};
	});
}

# One alternative for each hostpciN: in file order, not used by this VM yet, reservable.
sub choose_devices {
	my ($vmid, @devices) = @_;
	my %used;
	for my $d (@devices) {
		next if defined $d->{mdev};
		if (@{$d->{alts}} == 1) {
			$d->{chosen} = $d->{alts}[0];
		} else {
			for my $alt (@{$d->{alts}}) {
				next if grep { $used{$_} } @$alt;
				next if !eval { reserve($vmid, 10, 0, @$alt); 1 };
				$d->{chosen} = $alt;
				last;
			}
			$d->{chosen} or die "could not find a free device for 'hostpci$d->{n}'\n";
		}
		for my $addr (@{$d->{chosen}}) {
			die "device '$addr' assigned more than once\n" if $used{$addr}++;
		}
	}
}

sub sysfs_write {
	my ($path, $text) = @_;
	sysopen(my $fh, $path, O_WRONLY) or return 0;
	return defined syswrite($fh, $text);
}

# Everything of the IOMMU group goes to vfio-pci, whoever uses it. PVE does not ask.
sub bind_group {
	my ($addr) = @_;
	my $vfio = '/sys/bus/pci/drivers/vfio-pci';
	-d $vfio or die "Cannot find vfio-pci module!\n";
	opendir(my $dh, "$PCI/$addr/iommu_group/devices") or die "Cannot open iommu_group: $!\n";
	for my $member (sort grep { !/^\./ } readdir $dh) {
		next if -e "$PCI/$member/pci_bus" || -e "$vfio/$member";
		my ($vendor, $device) = map { (sysfs("$PCI/$member/$_") // '') =~ s/^0x//r } qw(vendor device);
		sysfs_write("$vfio/new_id", "$vendor $device") || $!{EEXIST}
		    or die "Cannot bind $addr to vfio\n";
		next if -e "$vfio/$member";
		if (my $driver = readlink("$PCI/$member/driver")) {
			$driver =~ s,.*/,,;
			note_torn($member, $driver);
			sysfs_write("$PCI/$member/driver/unbind", $member) or die "Cannot bind $addr to vfio\n";
		}
		sysfs_write("$vfio/bind", $member) or die "Cannot bind $addr to vfio\n";
	}
}

# A container that used the function through its host driver has lost it.
sub note_torn {
	my ($addr, $driver) = @_;
	my %nodes = map { /^(\S+) \Q$addr\E$/ ? ($1 => 1) : () } split /\n/, slurp("$S/nodes") // '';
	for my $id (guest_list('lxc')) {
		next if !ct_running($id);
		event('harmed', "lxc/$id", "$addr torn off $driver")
		    if grep { $nodes{$_} } ct_nodes(read_conf('lxc', $id));
	}
}

sub mdev_uuid { return sprintf('%08d-0000-0000-0000-%012d', @_) }

sub mdev_create {
	my ($vmid, $d) = @_;
	my $uuid = mdev_uuid($d->{n}, $vmid);
	my ($err, $dir) = ('');
	for my $addr (map { @$_ } @{$d->{alts}}) {
		$dir = "$PCI/$addr/mdev_supported_types/$d->{mdev}";
		if (-e "/sys/bus/mdev/devices/$uuid") {
			my $type = readlink("/sys/bus/mdev/devices/$uuid/mdev_type") // '';
			return $uuid if $type =~ m,/\Q$d->{mdev}\E$,;
			die "mdev instance '$uuid' already exists and has a different type\n";
		}
		if (!-d $dir) {
			$err = "pci device '$addr' has no type '$d->{mdev}'\n";
		} elsif ((sysfs("$dir/available_instances") // 0) < 1) {
			$err = "pci device '$addr' has no available instances of '$d->{mdev}'\n";
		} elsif (!sysfs_write("$dir/create", $uuid)) {
			$err = "could not create '$d->{mdev}' for pci devices '$addr': $!\n";
		} else {
			return $uuid;
		}
	}
	print STDERR $err;
	die "could not create mediated device\n";
}

sub vgpu_set {
	my ($addr, $type) = @_;
	my $file = "$PCI/$addr/nvidia/current_vgpu_type";
	my $now = sysfs($file) // die "no such vgpu device '$addr'\n";
	return if $now eq $type;
	sysfs_write($file, '0') if $now ne '0';
	sysfs_write($file, $type) or die "unable to set vgpu type '$type' for '$addr': $!\n";
}

# vfio hands a group to one user: QEMU of the second one fails.
sub check_groups {
	my ($vmid, @addrs) = @_;
	my %group = map { $_ => iommu_group($_) } @addrs;
	for my $id (guest_list('qemu')) {
		next if $id == $vmid;
		my $pid = vm_pid($id) or next;
		for my $held (slurp("/proc/$pid/cmdline") =~ /vfio-pci,host=([0-9a-f:.]+)/g) {
			my $theirs = iommu_group($held) // next;
			my ($addr) = grep { ($group{$_} // '') eq $theirs } @addrs or next;
			die "kvm: -device vfio-pci,host=$addr,id=hostpci0,bus=pci.0,addr=0x10: vfio $addr: "
			    . "failed to open /dev/vfio/$theirs: Device or resource busy\n"
			    . "start failed: QEMU exited with code 1\n";
		}
	}
}

# ---- storages and hookscripts --------------------------------------------------

# The file of a snippet, on storages that have files.
sub volume_path {
	my ($volid) = @_;
	my ($id, $name) = $volid =~ m,^([a-z][a-z0-9_.-]*[a-z0-9]):(.+)$,i
	    or die "unable to parse volume ID '$volid'\n";
	my %path = (local => '/var/lib/vz');
	my $now;
	for (split /\n/, slurp('/etc/pve/storage.cfg') // '') {
		if (/^(\S+):\s*(\S+)\s*$/) {
			$now = $2;
			$path{$now} //= "/mnt/pve/$now";
		} elsif (defined $now && /^\s+path\s+(\S+)/) {
			$path{$now} = $1;
		}
	}
	$path{$id} // die "storage '$id' does not exist\n";
	$name =~ m,^snippets/[^/]+$, or die "'$volid' is not in the snippets directory\n";
	return "$path{$id}/$name";
}

sub check_hookscript {
	my ($volid) = @_;
	my $path = volume_path($volid);
	-f $path or die "script '$volid' does not exist\n";
	-x $path or die "script '$volid' is not executable\n";
	return $path;
}

# Run while the guest's configuration is locked; a failing pre-start ends the start.
sub run_guest_hook {
	my ($c, $phase, $may_fail) = @_;
	my $volid = $c->{keys}{hookscript} // return;
	my $ok = eval {
		my $path = check_hookscript($volid);
		local $ENV{LC_ALL} = 'C';
		event('guest-hook', "$c->{kind}/$c->{id}", $phase);
		system($path, $c->{id}, $phase);
		die "command '$path $c->{id} $phase' failed: exit code " . ($? >> 8) . "\n" if $?;
		1;
	};
	return if $ok;
	my $msg = "hookscript error for $c->{id} on $phase: $@\n";
	die $msg if !$may_fail;
	print STDERR $msg;
}

# What qmeventd's "qm cleanup" does on PVE 8: later, and not when the VM runs again.
sub late_post_stop {
	my ($id) = @_;
	with_config_lock('qemu', $id, sub {
		die "vm still running\n" if vm_pid($id);
		run_guest_hook(read_conf('qemu', $id), 'post-stop', 1);
	});
}

# ---- virtual machines --------------------------------------------------------

# o: skiplock, skiptemplate, paused, fast
sub vm_start {
	my ($id, %o) = @_;
	return with_config_lock('qemu', $id, sub {
		my $c = read_conf('qemu', $id);
		die "you can't start a vm if it's a template\n" if $c->{keys}{template} && !$o{skiptemplate};
		my $lock = $c->{keys}{lock} // '';
		if ($lock eq 'backup' && vm_pid($id) && !$o{paused}) {
			return vm_signal($id, 'USR2');	# the backup's own kvm is let run
		}
		check_lock($c) if $lock && $lock ne 'suspended' && !$o{skiplock};
		die "VM $id already running\n" if vm_pid($id);
		if (%{$c->{pending}} || @{$c->{delete}}) {
			delete @{$c->{keys}}{@{$c->{delete}}};
			$c->{keys} = { %{$c->{keys}}, %{$c->{pending}} };
			($c->{pending}, $c->{delete}) = ({}, []);
			write_conf($c);
		}
		run_guest_hook($c, 'pre-start');
		vm_launch($c, %o);
		run_guest_hook($c, 'post-start', 1);
		return 1;
	});
}

sub vm_launch {
	my ($c, %o) = @_;
	my $id = $c->{id};
	my (@args, @held);
	nap(guest_attr($id, 'start', 2)) if !$o{fast};
	my $ok = eval {
		die faults("qemu-fails $id") . "\n" if defined faults("qemu-fails $id");
		if (!$c->{keys}{template}) {
			my @devices = resolve_hostpci($c);
			choose_devices($id, @devices);
			@held = map { @{$_->{chosen} // []} } @devices;
			my ($mem) = ($c->{keys}{memory} // 512) =~ /(\d+)/;
			my $timeout = ($mem > 30 * 1024 ? int($mem / 1024) : 30) * (@devices ? 4 : 1);
			reserve($id, $timeout, 0, @held);
			mark("reserved-$id");
			die "cannot prepare PCI pass-through, IOMMU not present\n"
			    if @devices && !(() = glob('/sys/class/iommu/*'));
			for my $d (@devices) {
				push @args, prepare_device($id, $d);
			}
			check_groups($id, map { @{$_->{chosen}} } grep { !defined $_->{nvidia} && $_->{chosen} } @devices);
		}
		my @cmd = ('/usr/bin/kvm', '-id', $id, '-name', guest_name($c) . ',debug-threads=on',
			   '-no-shutdown', '-pidfile', "/var/run/qemu-server/$id.pid", '-daemonize',
			   ($o{paused} ? '-S' : ()), '-m', $c->{keys}{memory} // 512, @args);
		system { $cmd[0] } @cmd;
		die "start failed: QEMU exited with code " . ($? >> 8) . "\n" if $?;
		1;
	};
	if (!$ok) {
		my $err = $@;
		vm_cleanup($id);
		die $err;
	}
	mark("launched-$id");
	reserve($id, 0, vm_pid($id), @held);
}

# Bind, reset or create; gives QEMU's arguments.
sub prepare_device {
	my ($id, $d) = @_;
	my $name = "hostpci$d->{n}";
	if (defined $d->{mdev}) {
		my $uuid = mdev_create($id, $d);
		return ('-device', "vfio-pci,sysfsdev=/sys/bus/mdev/devices/$uuid,id=$name");
	}
	my @addrs = @{$d->{chosen}};
	if (defined $d->{nvidia}) {
		vgpu_set($_, $d->{nvidia}) for @addrs;
		return ('-device', "vfio-pci,sysfsdev=$PCI/$addrs[0],id=$name");
	}
	my @args;
	for my $j (0 .. $#addrs) {
		my $addr = $addrs[$j];
		-e "$PCI/$addr/vendor" or die "no pci device info for device '$addr'\n";
		if ($d->{driver} ne 'keep') {
			bind_group($addr);
			if (-e "$PCI/$addr/reset" && !sysfs_write("$PCI/$addr/reset", '1')) {
				print STDERR "error writing '1' to '$PCI/$addr/reset': $!\n"
				    . "failed to reset PCI device '$addr', but trying to continue as not all devices need a reset\n";
			}
		}
		push @args, '-device', "vfio-pci,host=$addr,id=$name" . (@addrs > 1 ? ".$j" : '')
		    . ",bus=pci.0,addr=0x1$d->{n}" . (@addrs > 1 ? ".$j" : '')
		    . (@addrs > 1 && $j == 0 ? ',multifunction=on' : '');
	}
	return @args;
}

# After the end of a VM: mdevs, vGPU types, reservations. Never a host driver.
sub vm_cleanup {
	my ($id) = @_;
	my $c = eval { read_conf('qemu', $id) };
	for my $path (glob('/sys/bus/mdev/devices/*-0000-0000-0000-*')) {
		sysfs_write("$path/remove", '1') if $path =~ /-0*$id$/;
	}
	my $r = reservations();
	for my $addr (grep { $r->{$_}{vmid} == $id } keys %$r) {
		sysfs_write("$PCI/$addr/nvidia/current_vgpu_type", '0') if -e "$PCI/$addr/nvidia";
	}
	unreserve($id);
	unlink("$RUN/$id.pid") if !vm_pid($id);
	my $stopped = unlink("$S/state/$id");
	return if !$c || !$stopped;
	return run_guest_hook($c, 'post-stop', 1) if conf('pve', 9) >= 9;
	return if !$c->{keys}{hookscript} || fork();
	POSIX::setsid();
	open(STDIN, '<', '/dev/null');
	exec('/usr/lib/pve-sim/simctl', 'post-stop', $id) or POSIX::_exit(1);
}

# Quit, then SIGTERM, then SIGKILL.
sub vm_stop {
	my ($id, %o) = @_;
	return with_config_lock('qemu', $id, sub {
		my $c = read_conf('qemu', $id);
		check_lock($c) if !$o{skiplock};
		my $pid = vm_pid($id) or return 1;
		run_guest_hook($c, 'pre-stop', 1);
		kill('TERM', $pid);
		if (!wait_gone($o{timeout} // 60, sub { !vm_pid($id) })) {
			my $state = vm_state($id);
			kill('KILL', $pid);
			wait_gone(600, sub { !vm_pid($id) }) or die "VM quit/powerdown failed - got timeout\n";
			event('down', "qemu/$id", 'killed') if $state ne 'prelaunch';
		}
		vm_cleanup($id);
		return 1;
	});
}

sub vm_shutdown {
	my ($id, %o) = @_;
	return with_config_lock('qemu', $id, sub {
		my $c = read_conf('qemu', $id);
		check_lock($c) if !$o{skiplock};
		my $pid = vm_pid($id) or return 1;
		if (vm_state($id) =~ /^(?:paused|prelaunch)$/) {
			die "VM is paused - cannot shutdown\n" if !$o{forceStop};
			return vm_stop($id, %o);
		}
		run_guest_hook($c, 'pre-stop', 1);
		kill('USR1', $pid);
		mark("told-$id");
		my ($down) = ($c->{keys}{startup} // '') =~ /\bdown=(\d+)/;
		my $timeout = $o{timeout} // $down // 60;
		if (!wait_gone($timeout, sub { !vm_pid($id) })) {
			die "VM quit/powerdown failed - got timeout\n" if !$o{forceStop};
			print "VM quit/powerdown failed - terminating now with SIGTERM\n";
			return vm_stop($id, %o);
		}
		vm_cleanup($id);
		return 1;
	});
}

# ---- containers --------------------------------------------------------------

# The device nodes it is given: devN and bind mounts.
sub ct_nodes {
	my ($c) = @_;
	my @nodes;
	for my $key (sort grep { /^dev\d+$/ } keys %{$c->{keys}}) {
		my ($path) = $c->{keys}{$key} =~ m{^(?:path=)?(/dev/[^,]+)};
		push @nodes, $path if $path;
	}
	for (@{$c->{raw}}) {
		push @nodes, $1 if m,^lxc\.mount\.entry\s*[:=]\s*(/dev/\S+),;
	}
	return @nodes;
}

sub ct_start {
	my ($id, %o) = @_;
	return with_config_lock('lxc', $id, sub {
		my $c = read_conf('lxc', $id);
		die "you can't start a CT if it's a template\n" if $c->{keys}{template};
		check_lock($c) if !$o{skiplock};
		die "CT $id already running\n" if ct_running($id);
		if (%{$c->{pending}} || @{$c->{delete}}) {
			delete @{$c->{keys}}{@{$c->{delete}}};
			$c->{keys} = { %{$c->{keys}}, %{$c->{pending}} };
			($c->{pending}, $c->{delete}) = ({}, []);
			write_conf($c);
		}
		my %optional = map { m{:\s*(/dev/\S+).*\boptional\b} ? ($1 => 1) : () } @{$c->{raw}};
		my @nodes = ct_nodes($c);
		for my $node (@nodes) {
			next if -e $node || $optional{$node};
			die "Device $node does not exist\n";
		}
		run_guest_hook($c, 'pre-start');
		nap(guest_attr($id, 'start', 2)) if !$o{fast};
		my @cmd = ("[lxc monitor] /var/lib/lxc $id", $id, grep { -c $_ && sysopen(my $fh, $_, O_RDONLY) } @nodes);
		system { '/usr/lib/pve-sim/ct' } @cmd;
		die "startup for container '$id' failed\n" if $?;
		ct_root_start($id) if defined guest_attr($id, 'root');
		run_guest_hook($c, 'post-start', 1);
		return 1;
	});
}

# The process that is in the container's own file system, for those that have one.
sub ct_root_start {
	my ($id) = @_;
	ct_root_end($id);
	my $pid = fork();
	if (!$pid) {
		POSIX::setsid();
		exec('unshare', '--mount', '/usr/lib/pve-sim/ct-init', $id) or POSIX::_exit(1);
	}
	until (-e "$S/state/$id.init") {
		if (waitpid($pid, POSIX::WNOHANG()) != 0) {
			kill('KILL', ct_pid($id));
			wait_gone(600, sub { !ct_running($id) });
			event('down', "lxc/$id", 'killed');
			die "startup for container '$id' failed\n";
		}
		select(undef, undef, undef, 0.01);
	}
}

sub ct_root_end {
	my ($id) = @_;
	my $pid = (slurp("$S/state/$id.init") // 0) + 0;
	kill('KILL', $pid) if $pid > 1;
	unlink("$S/state/$id.init");
}

sub ct_end {
	my ($id, $sig, $timeout, %o) = @_;
	return with_config_lock('lxc', $id, sub {
		my $c = read_conf('lxc', $id);
		check_lock($c) if !$o{skiplock};
		my $pid = ct_pid($id) or die "CT $id not running\n";
		run_guest_hook($c, 'pre-stop', 1);
		kill($sig, $pid);
		mark("told-$id");
		if (wait_gone($timeout, sub { !ct_running($id) })) {
			ct_root_end($id);
			return 1;
		}
		die "command 'lxc-stop -n $id --nokill --timeout $timeout' failed: exit code 1\n"
		    if $sig ne 'KILL' && !$o{forceStop};
		kill('KILL', $pid);
		wait_gone(600, sub { !ct_running($id) });
		ct_root_end($id);
		event('down', "lxc/$id", 'killed');
		return 1;
	});
}

sub ct_stop { my ($id, %o) = @_; return ct_end($id, 'TERM', 60, %o, forceStop => 1) }

sub ct_shutdown {
	my ($id, %o) = @_;
	my ($down) = (slurp(conf_path('lxc', $id)) // '') =~ /^startup:.*\bdown=(\d+)/m;
	return ct_end($id, 'USR1', $o{timeout} // $down // 60, %o);
}

# A service of the host itself that has GPU nodes open.
sub unit_start {
	my ($unit) = @_;
	my @nodes = split ' ', keys_of(slurp("$S/unit/$unit"))->{nodes} // '';
	for my $node (@nodes) {
		next if -c $node;
		print STDERR "Job for $unit.service failed: $node is not there.\n";
		return 0;
	}
	my @cmd = ("[unit] $unit.service", "$unit.service", @nodes);
	system { '/usr/lib/pve-sim/ct' } @cmd;
	return $? == 0;
}

# ---- HA ----------------------------------------------------------------------

my $HA = '/etc/pve/ha/resources.cfg';

# Requested state of vm:ID or ct:ID; undef when it is no resource.
sub ha_state {
	my ($id) = @_;
	my $text = slurp($HA) // return undef;
	$text =~ /^(?:vm|ct): $id\n((?:[ \t]+\S.*\n?)*)/m or return undef;
	return $1 =~ /^\s+state\s+(\S+)/m ? $1 : 'started';
}

sub ha_managed {
	my ($id) = @_;
	my $state = ha_state($id);
	return defined $state && $state ne 'ignored';
}

sub ha_request {
	my ($id, $state) = @_;
	need_quorum();
	my $text = slurp($HA) // '';
	$text =~ s/^((?:vm|ct): $id\n)((?:[ \t]+\S.*\n?)*)/my ($h, $b) = ($1, $2);
		$b =~ s,^\s+state\s+\S+\n,,m; "$h$b\tstate $state\n"/me
	    or die "no such resource '$id'\n";
	spew($HA, $text);
}

1;
