#!/usr/bin/env bash
# Fetches the sources of baton-haproxy into DIR, as a tar file each with Debian's security patches applied.
# usage: sources.sh DIR; as root, on Debian
#
# apt checks the archive's signature, that its index and that the files' digests.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(realpath -m "$1")
archive=$("$here/../tools/debian-archive")
mkdir -p "$dir/apt/lists/partial" "$dir/unpacked"
cd "$dir"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in $(grep -v '^#' "$here/versions" | cut -d' ' -f3 | sort -u); do
    echo "deb-src [signed-by=$keyring] $archive $suite main"
done >apt/sources.list
apt=(apt-get -q -o "Dir::Etc::sourcelist=$dir/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$dir/apt/lists"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0)
if ! "${apt[@]}" update >apt/log 2>&1; then
    tail -5 apt/log >&2
    echo "rpm: apt cannot read the archive's list of sources ($dir/apt/log)" >&2
    exit 1
fi

# One form for every tree: sorted, without owners and times, so that the same source gives the same file.
pack() {
    tar --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw --mtime=@1 -C unpacked -cf "$2" "$1"
}

: >versions.new
: >sources.new
grep -v '^#' "$here/versions" | while read -r name version suite; do
    dsc_name=$name
    # Debian's patch of Lua wants its own headers: the untouched source instead.
    only=()
    [ "$name" != lua5.4 ] || only=(--download-only)
    if ! "${apt[@]}" source "${only[@]}" "$name/$suite" >>apt/log 2>&1; then
        tail -5 apt/log >&2
        echo "rpm: the source of $name cannot be fetched ($dir/apt/log)" >&2
        exit 1
    fi
    found=$(find . -maxdepth 1 -name "${name}_*.dsc" -printf '%f\n' | sed "s/^${name}_\([^-]*\)-.*/\1/;s/+.*//" | sort -V | tail -1)
    if [ "$found" != "$version" ]; then
        echo "rpm: $name is $found in $suite by now, not $version: taking it; adapt rpm/versions" >&2
    fi
    if [ "$name" = lua5.4 ]; then
        mkdir -p "unpacked/lua-$found"
        tar -C "unpacked/lua-$found" --strip-components=1 -xf lua5.4_*.orig.tar.gz
        name=lua
    else
        mv "$name-$found" unpacked/ 2>/dev/null || mv "$(find . -maxdepth 1 -type d -name "$name-*" | head -1)" "unpacked/$name-$found"
        rm -rf "unpacked/$name-$found/.pc"
    fi
    dsc=$(ls "${dsc_name}"_*.dsc | tail -1)
    echo "$name ${dsc#*_}" | sed 's/\.dsc$//' >>sources.new
    pack "$name-$found" "$name-$found.tar"
    echo "$name $found" >>versions.new
done
rm -rf unpacked
mv sources.new sources
mv versions.new versions
