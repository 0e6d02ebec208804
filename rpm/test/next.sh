#!/usr/bin/env bash
# The next release of the daemon and of HAProxy as a repository: the same programs, the daemon with another default
# configuration, HAProxy with other bytes.
# usage: rpm/test/next.sh OUT      after rpm/build.sh, whose work it uses
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(realpath -m "$1")
work=$(realpath -m "${RPM_WORK:-$root/build/rpm}")
next=$work/next
. "$root/rpm/lib.sh"
rm -rf "$next" "$out"
mkdir -p "$next"/{SOURCES,BUILD/baton,BUILD/baton-haproxy,tree} "$out"
cp "$work/SOURCES/baton-$version-vendor.tar" "$next/SOURCES/"
tar -C "$next/tree" -xf "$work/SOURCES/baton-$version.tar"
tree=$next/tree/baton-$version
echo '# A line that the release before did not have.' >>"$tree/packaging/etc/baton.toml"
"${pack[@]}" -C "$next/tree" -cf "$next/SOURCES/baton-$version.tar" "baton-$version"
log() { "$@" >>"$next/log" 2>&1 || { tail -30 "$next/log" >&2; exit 1; }; }

# What was compiled is there already.
RPM_TOP=$next RPM_STAGE=-bb log daemon --define 'baton_release 2' --define 'baton_cargo true'

# HAProxy: its package's programs, with a section that they did not have, by its spec with nothing to compile.
haproxy_version=$(sed -n 's/^%global haproxy_version //p' "$work/haproxy/head")
source=haproxy-$haproxy_version
programs=$next/BUILD/baton-haproxy/baton-$source
mkdir -p "$next/built" "$programs/$source/admin/halog"
rpm2cpio "$work"/RPMS/baton-haproxy-*.rpm | (cd "$next/built" && cpio -idm --quiet)
echo 2 >"$next/release"
objcopy --add-section .baton.release="$next/release" "$next/built/usr/libexec/baton/haproxy" "$programs/$source/haproxy"
cp "$next/built/usr/libexec/baton/halog" "$programs/$source/admin/halog/"
tar -C "$programs" -xf "$work/SOURCES/$source.tar" "$source/LICENSE"
tar -C "$programs" -xf "$work/SOURCES/baton-packaging-$version.tar"
cp "$next"/built/usr/share/doc/baton-haproxy/* "$programs/"
ln -sf "$work"/SOURCES/{haproxy,openssl,pcre2,lua,libxcrypt,baton-packaging}-*.tar "$work/SOURCES/sources" "$next/SOURCES/"
sed -i -e 's/^Release:.*/Release: 2/' -e '/^%prep$/,/^%install$/{/^%install$/!d}' "$tree/rpm/baton-haproxy.spec"
sed -i 's/^%install$/%prep\n%setup -q -D -T\n\n%build\n\n%install/' "$tree/rpm/baton-haproxy.spec"
RPM_TOP=$next RPM_STAGE=-bb root=$tree log haproxy

key
cp "$next"/RPMS/baton-*.rpm "$out/"
rpmsign --define "_gpg_name $RPM_KEY" --define "__gpg /usr/bin/gpg" --addsign "$out"/*.rpm >/dev/null
createrepo_c -q --general-compress-type=gz "$out"
echo "rpm: next: $SECONDS s"
