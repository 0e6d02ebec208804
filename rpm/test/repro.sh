#!/usr/bin/env bash
# Builds the packages a second time, from nothing and in another directory, and compares what is in them.
# usage: rpm/test/repro.sh DIST        as root, after rpm/build.sh
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dist=$(realpath "$1")
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
# The tools and the sources are the same; everything compiled is made anew, by another user's habits.
mkdir -p "$again/build"
cp -r "$root/build/rpm/haproxy" "$root/build/rpm/venv" "$again/build/"
(
    # Where cargo and its crates are, HOME says unless these do.
    export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
    export HOME=$again/home ZIG_GLOBAL_CACHE_DIR=$again/zig TZ=Asia/Tokyo RPM_OFFLINE=1 RPM_WORK=$again/build
    unset RPM_KEY XDG_CACHE_HOME
    umask 077
    mkdir "$HOME"
    "$root/rpm/build.sh" "$again/dist"
)
bad=0
for rpm in "$dist"/x86_64/*.rpm; do
    name=$(basename "$rpm")
    # Two keys sign two repositories: the signature is the one thing that may differ.
    for file in "$rpm" "$again/dist/x86_64/$name"; do
        cp "$file" "$again/$name"
        rpmsign --delsign "$again/$name" >/dev/null 2>&1
        sha256sum <"$again/$name"
    done | sort -u >"$again/digests"
    if [ "$(wc -l <"$again/digests")" = 1 ]; then
        echo "rpm: $name is the same, bit for bit"
    else
        echo "rpm: $name differs" >&2
        bad=1
    fi
done
exit $bad
