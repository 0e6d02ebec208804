#!/usr/bin/env bash
# Hosts with a real systemd as pid 1, on a bridge of their own. Sourced by the tests beside it.
#
# SUITE=bullseye|bookworm|trixie stand in for EL8, EL9 and EL10: close in systemd, glibc, firewalld, dnf.
# CGROUP=v2|v1, HOSTS=N, SEED=directory copied into the guests' /, LAB=where they live
# hosts_up, hosts_down, on N COMMAND..., outside COMMAND... (in the network of the bridge, 10.99.0.254)
#
# Nothing of this machine's network is touched; what a killed run left is swept by the next hosts_up.
set -euo pipefail
SUITE=${SUITE:-bookworm} CGROUP=${CGROUP:-v2} HOSTS=${HOSTS:-1}
NET=10.99.0 BRIDGE=baton-rpm
ROOT=$LAB/base-$SUITE KEY=$LAB/id

hosts_base() {
    [ ! -e "$ROOT/.done" ] || return 0
    rm -rf "$ROOT"
    mkdir -p "$LAB"
    local archive
    archive=$("$here/../../tools/debian-archive")
    mmdebstrap -q --variant=minbase --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include=systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,firewalld,python3,rpm,dnf,iproute2,iputils-ping,procps,nftables,netbase,curl,ca-certificates \
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
    for timer in apt-daily apt-daily-upgrade e2scrub_all fstrim dpkg-db-backup; do ln -sf /dev/null "$ROOT/etc/systemd/system/$timer.timer"; done
    touch "$ROOT/.done"
}

hosts_up() {
    hosts_base
    hosts_down
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
        # A mount namespace of its own: its own /run/systemd/nspawn, and the cgroup tree that the guest shall see.
        setsid unshare -m --propagation private bash -c '
            name=$1 dir=$2 cgroup=$3
            mkdir -p /run/systemd/nspawn; mount -t tmpfs tmpfs /run/systemd/nspawn
            trees="/sys/fs/cgroup/*"
            if [ "$cgroup" = v2 ]; then umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; trees=/sys/fs/cgroup; fi
            for tree in $trees; do mkdir -p $tree/$name; echo $$ >$tree/$name/cgroup.procs 2>/dev/null || true; done
            export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
            export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=$([ "$cgroup" = v2 ] && echo 1 || echo 0)
            exec systemd-nspawn -q -D "$dir/root" -M "$name" --hostname="lb$4" --register=no --keep-unit -b --console=read-only \
                --network-namespace-path=/run/netns/"$name" --capability=CAP_NET_ADMIN,CAP_IPC_LOCK --resolv-conf=off --timezone=off --link-journal=no
        ' _ "$name" "$dir" "$CGROUP" "$i" >"$dir/console" 2>&1 </dev/null &
        echo $! >"$dir/pid"
    done
    for i in $(seq "$HOSTS"); do
        for _ in $(seq 150); do on "$i" true 2>/dev/null && break; sleep 0.2; done
        on "$i" 'systemctl is-system-running --wait >/dev/null || systemctl --failed --no-legend'
    done
}

hosts_down() {
    local pids=() dir pid i
    for dir in "$LAB"/host*; do
        [ -e "$dir/pid" ] || continue
        pid=$(cat "$dir/pid")
        # Only if it is still ours: a pid may have been given to another process since.
        if grep -q "baton-rpm-" "/proc/$pid/cmdline" 2>/dev/null; then
            kill "$pid" 2>/dev/null || true
            pids+=("$pid")
        fi
    done
    for pid in "${pids[@]}"; do
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
    done
    for dir in "$LAB"/host*; do
        [ -d "$dir" ] || continue
        i=${dir##*host}
        umount -R "$dir/root" 2>/dev/null || true
        rm -rf "$dir"
        ip netns del "baton-rpm-$i" 2>/dev/null || true
        find /sys/fs/cgroup -depth -type d -path "*/baton-rpm-$i*" -exec rmdir {} + 2>/dev/null || true
    done
    ip netns del $BRIDGE 2>/dev/null || true
}

on() {
    local i=$1
    shift
    ip netns exec $BRIDGE ssh -q -i "$KEY" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=2 root@$NET.$i "$@"
}

outside() { ip netns exec $BRIDGE "$@"; }
