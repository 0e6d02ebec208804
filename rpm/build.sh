#!/usr/bin/env bash
# Builds the packages and a yum repository in dist/: RPMs and SRPMs, signed.
# usage: rpm/build.sh [DIST]      (or `make rpm`); on Debian, as root for the sources' own apt lists
#
# RPM_KEY      name of the key in your gpg keyring to sign with; without it one is made in build/rpm/gnupg
# RPM_WORK     where it builds (default: build/rpm)
# RPM_OFFLINE  1: ask nobody for newer sources; tools, sources and crates are there from an earlier build
#
# On an EL machine the SRPMs build by themselves: docs/packaging.md.
set -euo pipefail
umask 022
root=$(cd "$(dirname "$0")/.." && pwd)
dist=$(realpath -m "${1:-$root/dist}")
work=$(realpath -m "${RPM_WORK:-$root/build/rpm}")
mkdir -p "$work"/{bin,log}
[ "${RPM_OFFLINE:-0}" != 1 ] || export CARGO_NET_OFFLINE=true
lap() { printf 'rpm: %4d s  %s\n' "$SECONDS" "$*" >&2; }

. "$root/rpm/lib.sh"

# A step: its output goes to a file, whose end is shown if it fails.
step() {
    local name=$1 failed
    shift
    # Not in an `if`: its first failing command would not end it there.
    set +e
    (set -e && "$@") >"$work/log/$name" 2>&1
    failed=$?
    set -e
    if [ $failed != 0 ]; then
        tail -30 "$work/log/$name" >&2
        echo "rpm: $name failed: $work/log/$name" >&2
        return 1
    fi
    lap "$name"
}

toolchain() {
    # Copied last: what is there is whole, and as asked for.
    if ! cmp -s "$root/rpm/requirements.txt" "$work/venv/requirements.txt"; then
        python3 -m venv --clear "$work/venv"
        "$work/venv/bin/pip" -q install -r "$root/rpm/requirements.txt"
        cp "$root/rpm/requirements.txt" "$work/venv/"
    fi
    # The program itself: starting Python for each of a thousand files takes longer than most of them.
    local tool args zig
    zig=$(echo "$work"/venv/lib/python3*/site-packages/ziglang/zig)
    for tool in cc ar ranlib; do
        args=$tool
        [ $tool != cc ] || args='cc -target x86_64-linux-gnu.2.17'
        printf '#!/bin/sh\nexec %s %s "$@"\n' "$zig" "$args" >"$work/bin/z$tool"
        chmod +x "$work/bin/z$tool"
    done
    # The C library's stubs are made once; two compilers at the same time would both make them.
    echo 'int main(void) { return 0; }' >"$work/t.c"
    "$work/bin/zcc" "$work/t.c" -o "$work/t"
}

sources() {
    if [ "${RPM_OFFLINE:-0}" != 1 ]; then
        "$root/rpm/sources.sh" "$work/haproxy"
    elif [ ! -s "$work/haproxy/sources" ]; then
        echo "rpm: RPM_OFFLINE: $work/haproxy has no sources of an earlier build" >&2
        return 1
    fi
    rm -rf "$work/SOURCES" && mkdir "$work/SOURCES"
    cp "$work"/haproxy/*.tar "$work/haproxy/sources" "$work/SOURCES/"
    "${pack[@]}" -C "$root" -cf "$work/SOURCES/baton-packaging-$version.tar" packaging
    # What git knows, so that nothing that lies about gets in.
    git -C "$root" ls-files -z -- . ':!:.ci' | "${pack[@]}" -C "$root" --no-recursion --null \
        --transform "s,^,baton-$version/," -cf "$work/SOURCES/baton-$version.tar" -T -
}

vendor() {
    rm -rf "$work/vendor" && mkdir "$work/vendor"
    (cd "$root" && cargo vendor --locked --versioned-dirs "$work/vendor/vendor" >"$work/vendor/vendor.toml")
    # Other systems' crates are named by Cargo.lock but never compiled: half of it all.
    local alien
    for alien in "$work"/vendor/vendor/windows* "$work"/vendor/vendor/{web,js}-sys-*; do
        find "$alien" -type f ! -name Cargo.toml ! -name .cargo-checksum.json -delete
        mkdir -p "$alien/src"
        : >"$alien/src/lib.rs"
    done
    sed -i 's,^directory = .*,directory = "vendor",' "$work/vendor/vendor.toml"
    "${pack[@]}" -C "$work/vendor" -cf "$work/SOURCES/baton-$version-vendor.tar" vendor vendor.toml
}

sign() {
    rm -rf "$dist.new" && mkdir -p "$dist.new"/{x86_64,SRPMS}
    find "$work/RPMS" -name '*.rpm' -exec cp {} "$dist.new/x86_64/" \;
    cp "$work"/SRPMS/*.src.rpm "$dist.new/SRPMS/"
    rpmsign --define "_gpg_name $RPM_KEY" --define "__gpg /usr/bin/gpg" --addsign "$dist.new"/*/*.rpm
    gpg --armor --export "$RPM_KEY" >"$dist.new/RPM-GPG-KEY-baton"
    gpgconf --kill gpg-agent || true
    # yum 3 (EL7) reads gzip only.
    createrepo_c -q --general-compress-type=gz "$dist.new"
    rm -rf "$dist" && mv "$dist.new" "$dist"
}

failed=0
step toolchain toolchain & toolchain=$!
{ step sources sources; step vendor vendor; } & sources=$!
wait $toolchain || failed=1
wait $sources || failed=1
[ $failed = 0 ] || exit 1
rm -rf "$work/RPMS" "$work/SRPMS" "$work/BUILD"
# Made here: two rpmbuilds that both find one missing both make it, and one of them fails.
mkdir -p "$work"/{RPMS/x86_64,SRPMS,BUILDROOT} "$work/BUILD"/{baton,baton-haproxy,baton-selinux}
step haproxy haproxy & haproxy=$!
step daemon daemon & daemon=$!
wait $haproxy || failed=1
wait $daemon || failed=1
[ $failed = 0 ] || exit 1
step selinux selinux
key >"$work/log/key" 2>&1
step sign sign
ls -l "$dist/x86_64" | awk 'NR > 1 { printf "rpm: %s %d kB\n", $9, $5 / 1024 }' >&2
newer=$(grep -vxFf "$root/rpm/versions" "$work/haproxy/sources" || true)
if [ -n "$newer" ]; then
    echo "rpm: the archive has other sources than rpm/versions names. The packages are made of them, with a higher release." >&2
    echo "rpm: Once they are tested, write into rpm/versions:" >&2
    echo "$newer" >&2
fi
