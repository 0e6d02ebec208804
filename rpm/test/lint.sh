#!/usr/bin/env bash
# What can be said about the packages without installing them.
# usage: rpm/test/lint.sh DIST
#
# Symbols no newer than glibc 2.17's, nothing that EL7's rpm does not read, source packages that need no macro of
# ours, rpmlint, units without a complaint and hardened as far as promised.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
dist=$(realpath "$1")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
fail() { echo "rpm: $*" >&2; bad=1; }

for rpm in "$dist"/x86_64/*.rpm; do
    mkdir -p "$tmp/root"
    rpm2cpio "$rpm" | (cd "$tmp/root" && cpio -idum --quiet)
done

echo "rpm: symbols"
count=0
while read -r file; do
    newest=$(objdump -T "$file" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
    [ "$(printf '%s\nGLIBC_2.17\n' "$newest" | sort -V | tail -1)" = GLIBC_2.17 ] || fail "${file#"$tmp/root"} needs $newest"
    needed=$(objdump -p "$file" | awk '$1 == "NEEDED" { print $2 }' | grep -Ev '^(libc\.so\.6|libm\.so\.6|libdl\.so\.2|libpthread\.so\.0|librt\.so\.1|libutil\.so\.1|ld-linux-x86-64\.so\.2)$' || true)
    [ -z "$needed" ] || fail "${file#"$tmp/root"} needs $(echo $needed)"
    echo "rpm:   ${file#"$tmp/root"} up to $newest"
    count=$((count + 1))
done < <(find "$tmp/root" -type f -perm /111 -exec sh -c 'head -c4 "$1" | grep -q ELF' _ {} \; -print)
[ "$count" -ge 3 ] || fail "only $count programs found"

echo "rpm: what rpm 4.11 reads"
# What its releases up to that one brought; rich dependencies, large files and zstd came later.
known='BuiltinLuaScripts CompressedFileNames ConcurrentAccess ExplicitPackageProvide FileCaps FileDigests
    HeaderLoadSortsTags PartialHardlinkSets PayloadFilesHavePrefix PayloadIsBzip2 PayloadIsLzma PayloadIsXz
    ScriptletExpansion ScriptletInterpreterArgs TildeInVersions VersionedDependencies'
for rpm in "$dist"/x86_64/*.rpm; do
    asked=$(rpm -qp --nosignature --requires "$rpm" | sed -n 's/^rpmlib(\(.*\)).*/\1/p')
    [ -n "$asked" ] || fail "$(basename "$rpm") asks nothing of rpm: this test proves nothing"
    for feature in $asked; do
        echo $known | grep -qw -- "$feature" || fail "$(basename "$rpm") needs rpmlib($feature)"
    done
done

echo "rpm: source packages without our macros"
for srpm in "$dist"/SRPMS/*.src.rpm; do
    name=$(rpm -qp --nosignature --qf '%{name}' "$srpm")
    mkdir -p "$tmp/srpm"
    rpm2cpio "$srpm" | (cd "$tmp/srpm" && cpio -idum --quiet "$name.spec")
    if ! HOME=/nonexistent rpmspec -P "$tmp/srpm/$name.spec" >"$tmp/spec" 2>"$tmp/said"; then
        cat "$tmp/said" >&2
        fail "$name.spec is not understood"
    fi
    left=$(grep -nE '%\{|%_' "$tmp/spec" || true)
    [ -z "$left" ] || fail "$name.spec needs macros that it does not bring: $left"
done
if ! HOME=/nonexistent rpmbuild --rebuild --define "_topdir $tmp/el" "$dist"/SRPMS/baton-selinux-*.src.rpm >"$tmp/said" 2>&1; then
    cat "$tmp/said" >&2
    fail "baton-selinux does not build from its source package"
fi
[ "$(rpm -qpl "$tmp"/el/RPMS/noarch/*.rpm)" = "$(rpm -qpl --nosignature "$dist"/x86_64/baton-selinux-*.rpm)" ] ||
    fail "baton-selinux holds other files when built from its source package"

echo "rpm: the SELinux module with an old policy"
# Of what came after EL7's, or is called otherwise elsewhere.
later='map watch process2 nnp_transition nosuid_transition haproxy_t haproxy_exec_t locale_t cert_t net_conf_t
    syslogd_runtime_t init_runtime_t sysctl_net_t cgroup_t systemd_tmpfiles_t'
modules=$tmp/root/usr/share/selinux/packages
python3 "$here/old-policy.py" "$modules/baton.cil" $later >"$tmp/old.cil"
secilc -o "$tmp/policy" -f "$tmp/contexts" "$tmp/old.cil" "$modules/baton.cil" "$modules/baton-permissive.cil" 2>"$tmp/said" ||
    { cat "$tmp/said" >&2; fail "baton.cil needs what an old policy does not have"; }

echo "rpm: rpmlint"
rpmlint -c "$here/rpmlint.toml" "$dist"/x86_64/*.rpm >"$tmp/lint" 2>&1 || { cat "$tmp/lint" >&2; fail "rpmlint"; }

echo "rpm: units"
# verify wants the programs: it looks in the root that is given.
units="$tmp/root/usr/lib/systemd/system"
for unit in baton baton-haproxy; do
    mkdir -p "$units/$unit.service.d"
    for hardened in no yes; do
        rm -f "$units/$unit.service.d"/*
        [ $hardened = no ] || cp "$tmp/root/usr/share/baton/hardening/$unit-2"*.conf "$units/$unit.service.d/"
        said=$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify --man=no --recursive-errors=no "$units/$unit.service" 2>&1 | grep -v "is not executable" || true)
        [ -z "$said" ] || fail "systemd-analyze verify $unit (hardening: $hardened): $said"
    done
done
exposure() {
    local level
    level=$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze security --offline=true --no-pager "$units/$1.service" | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    echo "rpm:   $1 exposure $level, promised $2"
    [ -n "$level" ] && awk "BEGIN { exit !($level <= $2) }" || fail "$1 is exposed by ${level:-?}, more than $2"
}
exposure baton 2.5
exposure baton-haproxy 3.1
exit $bad
