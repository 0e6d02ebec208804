#!/usr/bin/env bash
# The reloads and the change table with the HAProxy of the packages.
# usage: rpm/test/shipped.sh DIST        as root
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
package=$(realpath "$1"/x86_64/baton-haproxy-*.rpm)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
rpm2cpio "$package" | (cd "$out" && cpio -idm --quiet)
export PATH="$out/usr/libexec/baton:$PATH" TEST_HAPROXY="$out/usr/libexec/baton/haproxy"
cd "$root"
"${CARGO:-cargo}" test -p haproxy --test reload --test runtime
"${CARGO:-cargo}" test -p e2e --test follow --test reload --test 'change_*'
