#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-or-later
# mkmodules.pl DIR KVER < LIST - make DIR/lib/modules/KVER: module files that
# hold nothing but their .modinfo, and the real depmod's indexes of them.
#
# LIST: a module a line, "NAME KEY=VALUE..."; keys as modinfo(8) shows them
# (alias=, softdep=, depends=; a blank in a value is written "~"). A NAME with
# "+" before it is built into the kernel.
use strict;
use warnings;

my ($dir, $kver) = @ARGV;
die "usage: mkmodules.pl DIR KVER < LIST\n" if @ARGV != 2;
my $base = "$dir/lib/modules/$kver";
system('mkdir', '-p', "$base/kernel") == 0 or die "$base: no folder\n";

# A relocatable ELF file for x86-64 with these sections; as little as depmod reads.
sub elf {
	my @sections = @_;
	my ($names, $body, @heads) = ("\0", '');
	my $start = 64;
	for my $s (@sections, ['.shstrtab', 3, undef]) {
		my ($name, $type, $data) = @$s;
		my $at = length $names;
		$names .= "$name\0";
		$data = $names if !defined $data;
		$body .= "\0" x (-length($body) % 8);
		push @heads, pack('L<L<Q<Q<Q<Q<L<L<Q<Q<', $at, $type, 0, 0, $start + length $body,
			length $data, $type == 2 ? 2 : 0, 0, 8, $type == 2 ? 24 : 0);
		$body .= $data;
	}
	$body .= "\0" x (-length($body) % 8);
	return "\x7fELF\x02\x01\x01" . "\0" x 9
		. pack('S<S<L<Q<Q<Q<L<S<S<S<S<S<S<', 1, 62, 1, 0, 0, $start + length $body, 0, 64, 0, 0,
			64, @heads + 1, scalar @heads)
		. $body . "\0" x 64 . join '', @heads;
}

sub write_file {
	my ($path, $data) = @_;
	open(my $fh, '>:raw', $path) or die "$path: $!\n";
	print $fh $data;
	close($fh) or die "$path: $!\n";
}

my ($order, $builtin, $builtin_info) = ('', '', '');
while (my $line = <STDIN>) {
	chomp $line;
	next if $line =~ /^\s*(#|$)/;
	my ($name, @pairs) = split ' ', $line;
	my $is_builtin = $name =~ s/^\+//;
	(my $file = $name) =~ tr/_/-/;
	my @info = map { s/~/ /gr } @pairs;
	if ($is_builtin) {
		$builtin .= "kernel/$file.ko\n";
		$builtin_info .= "$name.$_\0" for "name=$name", @info;
		next;
	}
	my @needs = map { split /,/, $_ =~ s/^depends=//r } grep { /^depends=/ } @info;
	# depmod takes dependencies from symbols: each module has one.
	my $versions = join '', map { pack('Q<a56', 1, s/-/_/gr . '_symbol') } @needs;
	write_file("$base/kernel/$file.ko", elf(
		['.symtab', 2, "\0" x 24],
		['.strtab', 3, "\0"],
		['.modinfo', 1, join '', map { "$_\0" } "name=$name", @info],
		['__ksymtab_strings', 1, "${name}_symbol\0"],
		['__versions', 1, $versions || "\0" x 64]));
	$order .= "kernel/$file.ko\n";
}
write_file("$base/modules.order", $order);
write_file("$base/modules.builtin", $builtin);
write_file("$base/modules.builtin.modinfo", $builtin_info);
$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
exec('depmod', '-b', $dir, $kver) or die "depmod: $!\n";
