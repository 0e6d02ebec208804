#!/usr/bin/env bash
# The daemon's next release as a repository: the same program, another default configuration.
# usage: rpm/test/next.sh OUT      after rpm/build.sh, whose work it uses
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(realpath -m "$1")
work=$(realpath -m "${RPM_WORK:-$root/build/rpm}")
next=$work/next
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
rm -rf "$next" "$out"
mkdir -p "$next/SOURCES" "$next/BUILD/baton" "$next/tree" "$out"
cp "$work/SOURCES/baton-$version-vendor.tar" "$next/SOURCES/"
tar -C "$next/tree" -xf "$work/SOURCES/baton-$version.tar"
echo '# A line that the release before did not have.' >>"$next/tree/baton-$version/packaging/etc/baton.toml"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1 -C "$next/tree" -cf "$next/SOURCES/baton-$version.tar" "baton-$version"
. "$root/rpm/lib.sh"
# What was compiled is there already.
RPM_TOP=$next RPM_STAGE=-bb daemon --define 'baton_release 2' --define 'baton_cargo true' >"$next/log" 2>&1 || { tail -30 "$next/log" >&2; exit 1; }
key
cp "$next"/RPMS/baton-*.rpm "$out/"
rpmsign --define "_gpg_name $RPM_KEY" --define "__gpg /usr/bin/gpg" --addsign "$out"/*.rpm >/dev/null
createrepo_c -q --general-compress-type=gz "$out"
