#!/usr/bin/env bash
# Fetches the sources of baton-haproxy into DIR, as a tar file each with Debian's security patches applied.
# usage: sources.sh DIR; as root, on Debian
#
# DIR/sources   what the archive had, in the form of rpm/versions
# DIR/head      the same for the spec
#
# apt checks the archive's signature, that its index and that the files' digests; it downloads what DIR/download
# does not have yet.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
dir=$(realpath -m "$1")
archive=$("$root/tools/debian-archive")
. "$root/rpm/lib.sh"
mkdir -p "$dir/apt/lists/partial" "$dir/download"
cd "$dir"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in $(grep -v '^#' "$root/rpm/versions" | cut -d' ' -f3 | sort -u); do
    at=$archive
    [ "$suite" = "${suite%-security}" ] || at=$archive-security
    echo "deb-src [signed-by=$keyring] $at $suite main"
done >apt/sources.list
apt=(apt-get -q -o "Dir::Etc::sourcelist=$dir/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$dir/apt/lists"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0)
# Without `any`, apt is content with last month's list when it cannot read today's.
if ! "${apt[@]}" -o APT::Update::Error-Mode=any update >apt/log 2>&1; then
    tail -5 apt/log >&2
    echo "rpm: apt cannot read the archive's list of sources ($dir/apt/log)" >&2
    exit 1
fi

rm -rf unpacked download/*.dsc ./*.tar head sources sources.new
mkdir unpacked
written=0
while read -r name _ suite; do
    if ! (cd download && "${apt[@]}" source --download-only "$name/$suite") >>apt/log 2>&1; then
        tail -5 apt/log >&2
        echo "rpm: the source of $name cannot be fetched ($dir/apt/log)" >&2
        exit 1
    fi
    dsc=$(echo download/"${name}"_*.dsc)
    debian=${dsc#*_}
    debian=${debian%.dsc}
    upstream=${debian%-*}
    # A macro's name has no dot.
    short=${name%5.4}
    tree=unpacked/$short-$upstream
    if [ "$short" = lua ]; then
        # Two of Debian's patches put Lua where Debian's libraries are; any other is a fix.
        dpkg-source --no-check --skip-patches -x "$dsc" "$tree" >>apt/log 2>&1
        for patch in $(grep -Ev '^#|build-system|modules-paths' "$tree/debian/patches/series" || true); do
            patch -d "$tree" -p1 <"$tree/debian/patches/$patch" >>apt/log
        done
    else
        dpkg-source --no-check -x "$dsc" "$tree" >>apt/log 2>&1
        rm -rf "$tree/.pc"
    fi
    written=$((written + $(dpkg-parsechangelog -l "$tree/debian/changelog" -S Timestamp)))
    "${pack[@]}" -C unpacked -cf "$short-$upstream.tar" "$short-$upstream"
    echo "%global ${short}_version $upstream" >>head
    echo "$name $debian $suite" >>sources.new
done < <(grep -v '^#' "$root/rpm/versions")
rm -rf unpacked
# The times of their last changes, added up: whichever source is renewed, the sum grows.
echo "%global sources_written $written" >>head
mv sources.new sources
