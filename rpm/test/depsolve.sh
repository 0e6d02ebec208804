#!/usr/bin/env bash
# Whether dnf finds everything that the packages need on EL7, 8, 9 and 10, and refuses what needs more.
# usage: rpm/test/depsolve.sh DIST
set -euo pipefail
# It reads what dnf says.
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
dist=$(realpath "$1")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/native"

# A package like ours whose program is linked by this machine's compiler, for its newer glibc.
cat >"$tmp/native.spec" <<'SPEC'
Name: native
Version: 1
Release: 1
Summary: Linked for this machine
License: MIT
%description
For tests.
%install
mkdir -p %{buildroot}/usr/bin
printf '#include <pthread.h>\nint main(void) { return pthread_create(0, 0, 0, 0); }\n' | gcc -xc - -o %{buildroot}/usr/bin/native
%files
/usr/bin/native
SPEC
macros=(--load="$here/../macros.baton")
rpmbuild "${macros[@]}" -bb --quiet --nodeps --define "_topdir $tmp/build" "$tmp/native.spec" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
cp "$tmp"/build/RPMS/native-*.rpm "$tmp/native/"
createrepo_c -q "$tmp/native"

bad=0
while read -r el glibc systemd; do
    stub="$tmp/stub$el"
    mkdir -p "$stub" "$tmp/root$el"
    rpmbuild "${macros[@]}" -bb --quiet --define "_topdir $tmp/build" --define "el $el" --define "glibc $glibc" \
        --define "systemd_version $systemd" "$here/el-stub.spec" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
    cp "$tmp/build/RPMS/el$el-stub"-*.rpm "$stub/"
    createrepo_c -q "$stub"
    {
        printf '[main]\ngpgcheck=0\nreposdir=/nonexistent\ncachedir=%s/cache%s\n' "$tmp" "$el"
        for repo in "stub=$stub" "baton=$dist" "native=$tmp/native"; do
            printf '[%s]\nname=%s\nbaseurl=file://%s\n' "${repo%%=*}" "${repo%%=*}" "${repo#*=}"
        done
    } >"$tmp/dnf$el.conf"
    resolve() { dnf --assumeno --installroot="$tmp/root$el" -c "$tmp/dnf$el.conf" --setopt=install_weak_deps=0 --releasever="$el" install "$@" >"$tmp/log" 2>&1 || true; }
    resolve baton baton-selinux
    if grep -q 'Operation aborted' "$tmp/log" && grep -q 'baton-haproxy' "$tmp/log"; then
        echo "rpm:   EL$el (glibc $glibc): resolves"
    else
        echo "rpm: the packages do not install on EL$el:" >&2
        cat "$tmp/log" >&2
        bad=1
    fi
    if [ "$el" -le 8 ]; then
        resolve native
        grep -q 'nothing provides' "$tmp/log" || { echo "rpm: EL$el takes a program that needs a newer glibc: this test proves nothing" >&2; bad=1; }
    fi
done <<'HOSTS'
7 2.17 219
8 2.28 239
9 2.34 252
10 2.39 257
HOSTS
exit $bad
