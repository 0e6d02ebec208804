#!/usr/bin/env bash
# Hosts with a real systemd as pid 1, on a bridge of their own. Sourced by the tests beside it.
#
# SUITE=bullseye|bookworm|trixie stand in for EL8, EL9 and EL10: close in systemd, glibc, firewalld, dnf.
# CGROUP=v2|v1, HOSTS=N, SEED=directory copied into the guests' /, LAB=where they live
# hosts_lock, hosts_up, hosts_down, host_start N, host_gone N, on N COMMAND..., outside COMMAND... (in the network of
# the bridge, 10.99.0.254)
#
# Nothing of this machine's network is touched; what a killed run left is swept by the next hosts_up. The names are
# the same in every checkout: one test at a time, by hosts_lock.
set -euo pipefail
SUITE=${SUITE:-bookworm} CGROUP=${CGROUP:-v2} HOSTS=${HOSTS:-1}
NET=10.99.0 BRIDGE=baton-rpm
ROOT=$LAB/base-$SUITE KEY=$LAB/id
PACKAGES=systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,firewalld,python3,rpm,dnf,iproute2,iputils-ping,procps
PACKAGES+=,nftables,iptables,netbase,curl,ca-certificates,rsyslog,logrotate,selinux-utils
locked=

# Held by this shell alone: what it leaves running does not keep others from the lock.
hosts_lock() {
    exec 9>/run/lock/baton-rpm-hosts.lock
    if ! flock -n 9; then
        echo "rpm: another test has the hosts: waiting, at most 20 min"
        flock -w 1200 9 || { echo "rpm: another test still has the hosts" >&2; exit 1; }
    fi
    locked=1
}

hosts_base() {
    [ "$(cat "$ROOT/.done" 2>/dev/null)" != "$PACKAGES" ] || return 0
    rm -rf "$ROOT"
    mkdir -p "$LAB"
    local archive
    archive=$("$here/../../tools/debian-archive")
    mmdebstrap -q --variant=minbase --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include=$PACKAGES \
        "$SUITE" "$ROOT" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $SUITE main" >"$LAB/mmdebstrap-$SUITE.log" 2>&1 \
        || { tail -5 "$LAB/mmdebstrap-$SUITE.log" >&2; echo "rpm: no $SUITE: $LAB/mmdebstrap-$SUITE.log" >&2; return 1; }
    [ -e "$KEY" ] || ssh-keygen -q -t ed25519 -N '' -f "$KEY"
    install -d -m700 "$ROOT/root/.ssh"
    install -m600 "$KEY.pub" "$ROOT/root/.ssh/authorized_keys"
    # EL's /lib is /usr/lib; Debian 11's need not be.
    [ -e "$ROOT/usr/lib/systemd/systemd-sysctl" ] || ln -s /lib/systemd/systemd-sysctl "$ROOT/usr/lib/systemd/systemd-sysctl"
    echo 'UseDNS no' >>"$ROOT/etc/ssh/sshd_config"
    : >"$ROOT/etc/resolv.conf"
    : >"$ROOT/etc/machine-id"
    rm -f "$ROOT/etc/hostname"
    mkdir -p "$ROOT/etc/systemd/journald.conf.d" "$ROOT/etc/rpm" "$ROOT/etc/yum.repos.d"
    printf '[Journal]\nStorage=persistent\n' >"$ROOT/etc/systemd/journald.conf.d/lab.conf"
    echo '%_dbpath /var/lib/rpm' >"$ROOT/etc/rpm/macros"
    local timer
    for timer in apt-daily apt-daily-upgrade e2scrub_all fstrim dpkg-db-backup logrotate; do ln -sf /dev/null "$ROOT/etc/systemd/system/$timer.timer"; done
    echo "$PACKAGES" >"$ROOT/.done"
}

# A machine without cgroup v1 may have its kernel part all the same: systemd needs no more than a named tree.
V1='mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd'
hosts_cgroup() {
    [ "$CGROUP" = v1 ] && [ ! -d /sys/fs/cgroup/systemd ] || return 0
    unshare -m --propagation private bash -c "$V1" 2>/dev/null && return
    echo "rpm: skipped: cgroup v1, which this machine does not have; v2 instead"
    CGROUP=v2
}

hosts_up() {
    [ -n "$locked" ] || hosts_lock
    hosts_base
    hosts_cgroup
    hosts_down
    rm -rf "$LAB"/failed-host*
    ip netns add $BRIDGE
    ip -n $BRIDGE link set lo up
    ip -n $BRIDGE link add br0 type bridge mcast_snooping 0
    ip -n $BRIDGE addr add $NET.254/24 dev br0
    ip -n $BRIDGE link set br0 up
    local i name dir
    for i in $(seq "$HOSTS"); do
        name=baton-rpm-$i dir=$LAB/host$i
        mkdir -p "$dir"/{upper,work,root}
        mount -t overlay "$name" -o "lowerdir=$ROOT,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
        [ -z "${SEED:-}" ] || cp -a "$SEED/." "$dir/root/"
        ip netns add "$name"
        ip -n $BRIDGE link add "host$i" type veth peer name eth0 netns "$name"
        ip -n $BRIDGE link set "host$i" master br0 up
        ip -n "$name" link set lo up
        ip -n "$name" addr add "$NET.$i/24" dev eth0
        ip -n "$name" link set eth0 up
        ip -n "$name" route add default via $NET.254
        host_start "$i"
    done
    for i in $(seq "$HOSTS"); do host_booted "$i"; done
}

host_start() {
    local name=baton-rpm-$1 dir=$LAB/host$1
    # A mount namespace of its own: its own /run/systemd/nspawn, and the cgroup tree that the guest shall see.
    setsid unshare -m --propagation private bash -c '
        name=$1 dir=$2 cgroup=$3
        mkdir -p /run/systemd/nspawn; mount -t tmpfs tmpfs /run/systemd/nspawn
        trees="/sys/fs/cgroup/*"
        if [ "$cgroup" = v2 ]; then
            umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; trees=/sys/fs/cgroup
        elif [ ! -d /sys/fs/cgroup/systemd ]; then
            eval "$5"
        fi
        for tree in $trees; do mkdir -p $tree/$name; echo $$ >$tree/$name/cgroup.procs 2>/dev/null || true; done
        export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=$([ "$cgroup" = v2 ] && echo 1 || echo 0)
        exec systemd-nspawn -q -D "$dir/root" -M "$name" --hostname="lb$4" --register=no --keep-unit -b --console=read-only \
            --network-namespace-path=/run/netns/"$name" --capability=CAP_NET_ADMIN,CAP_IPC_LOCK --resolv-conf=off --timezone=off --link-journal=no
    ' _ "$name" "$dir" "$CGROUP" "$1" "$V1" >>"$dir/console" 2>&1 </dev/null 9>&- &
    echo $! >"$dir/pid"
}

# Within 90 s, or the test ends here.
host_booted() {
    local until=$((SECONDS + 90))
    while [ $SECONDS -lt $until ] && kill -0 "$(cat "$LAB/host$1/pid")" 2>/dev/null; do
        case $(on "$1" systemctl is-system-running 2>/dev/null) in
            running) return ;;
            degraded) on "$1" systemctl --failed --no-legend; return ;;
        esac
        sleep 0.2
    done
    echo "rpm: lb$1 ($SUITE) does not boot; the last lines of its console:" >&2
    tail -n 20 "$LAB/host$1/console" >&2
    exit 1
}

# Until it has powered off, or is to be started again; at most 60 s.
host_gone() {
    for _ in $(seq 300); do kill -0 "$(cat "$LAB/host$1/pid")" 2>/dev/null || return 0; sleep 0.2; done
    echo "lb$1 still runs"
    return 1
}

# ours FILE WORD: prints the pid in FILE, if it is still that of a program with WORD among its arguments.
ours() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && grep -qaF -- "$2" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid" || true
}

# ended_by_now FILE WORD: waits at most 10 s for it to end, and ends it then.
ended_by_now() {
    local pid
    for _ in $(seq 100); do [ -n "$(ours "$1" "$2")" ] || return 0; sleep 0.1; done
    pid=$(ours "$1" "$2")
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
}

hosts_down() {
    [ -n "$locked" ] || return 0
    local dir pid i name
    for dir in "$LAB"/host*; do
        # nspawn powers its guest off.
        pid=$(ours "$dir/pid" "$dir")
        [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    done
    for dir in "$LAB"/host*; do
        [ -d "$dir" ] || continue
        i=${dir##*host}
        ended_by_now "$dir/pid" "$dir"
        [ "${bad:-0}" = 0 ] || host_kept "$i"
        umount -R "$dir/root" 2>/dev/null || true
        rm -rf "$dir"
        find /sys/fs/cgroup -depth -type d -path "*/baton-rpm-$i*" -exec rmdir {} + 2>/dev/null || true
    done
    for name in $(ip netns list | awk '$1 ~ /^baton-rpm(-[0-9]+)?$/ { print $1 }'); do ip netns del "$name"; done
}

# What a failed test's host said, where it can be read: in LAB, and its end here.
host_kept() {
    local kept=$LAB/failed-host$1
    mkdir -p "$kept"
    cp "$LAB/host$1/console" "$kept/" || true
    cp -r "$LAB/host$1/root/var/log/journal" "$kept/" 2>/dev/null || true
    echo "rpm: lb$1: console and journal are in $kept; the last lines of baton and baton-haproxy:"
    journalctl -D "$kept/journal" -u baton -u baton-haproxy --no-pager 2>&1 | grep -v ' HTTP/[12]' | tail -n 40 | sed 's/^/        /' || true
}

on() {
    local i=$1 code=0
    shift
    timeout --foreground -k 5 120 ip netns exec $BRIDGE ssh -q -i "$KEY" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
        -o ConnectTimeout=2 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 root@$NET."$i" "$@" || code=$?
    [ $code != 124 ] || echo "not done within 120 s: $*" >&2
    return $code
}

outside() { ip netns exec $BRIDGE "$@"; }
