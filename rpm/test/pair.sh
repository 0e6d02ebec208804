#!/usr/bin/env bash
# Two hosts that share a floating address: it moves, it stays through an upgrade, a frozen daemon is ended.
# usage: rpm/test/pair.sh DIST NEXT      NEXT: a repository with the next release of the daemon
here=$(cd "$(dirname "$0")" && pwd)
DIST=$(realpath "$1") NEXT=$(realpath "$2")
LAB=$(realpath -m "${LAB:-$here/../../build/rpm/lab}")
HOSTS=2
. "$here/hosts.sh"
. "$here/common.sh"

seed
mkdir -p "$SEED/srv/next"
cp -r "$NEXT"/. "$SEED/srv/next/"
printf '[next]\nname=next\nbaseurl=file:///srv/next\nenabled=0\ngpgcheck=1\ngpgkey=file:///srv/baton/RPM-GPG-KEY-baton\n' >>"$SEED/etc/yum.repos.d/lab.repo"
hosts_up
outside_marathon
for host in 1 2; do
    check "install on lb$host" on $host "$DNF install baton"
    configure $host $((160 - host * 10))
    check "start on lb$host" on $host 'baton check && systemctl enable -q --now baton-haproxy baton'
done

state() { on "$1" baton vip status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["routers"][0]["state"])'; }
until_state() {
    for _ in $(seq 100); do [ "$(state "$1")" = "$2" ] && return; sleep 0.2; done
    on "$1" baton vip status
    return 1
}
# Counted by each host: how often it took over.
takeovers() { on "$1" baton vip status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["routers"][0]["counters"].get("became_active", 0))'; }

one_active() {
    local sum
    for _ in $(seq 100); do
        sum=$(printf '%s\n' "$(state 1)" "$(state 2)" | sort | paste -sd' ')
        [ "$sum" = "active backup" ] && return
        sleep 0.2
    done
    echo "$sum"
    return 1
}
# under_load COMMAND...: meanwhile, and for 20 s in all, no request through the floating address fails.
under_load() {
    local wrk done=0
    outside wrk -t1 -c16 -d20 -H 'Host: web.example.com' "http://$VIP/" >"$LAB/wrk" 2>&1 &
    wrk=$!
    sleep 3
    "$@" || done=1
    wait $wrk
    cat "$LAB/wrk"
    [ $done = 0 ] && ! grep -q 'Socket errors\|Non-2xx' "$LAB/wrk" && grep -q '[1-9][0-9][0-9][0-9] requests in' "$LAB/wrk"
}
both_daemons() {
    local active=$1 before pid
    before=$(takeovers 1)/$(takeovers 2) pid=$(on "$active" systemctl show -p MainPID --value baton)
    on 1 "$DNF --enablerepo=next upgrade baton" && on 2 "$DNF --enablerepo=next upgrade baton" && sleep 5 || return 1
    [ "$before" = "$(takeovers 1)/$(takeovers 2)" ] || { echo "the address moved: $before, now $(takeovers 1)/$(takeovers 2)"; return 1; }
    [ "$pid" = "$(on "$active" systemctl show -p MainPID --value baton)" ] || { echo "another process"; return 1; }
    on "$active" 'journalctl -u baton --no-pager | grep -q "SIGUSR2: executing /usr/bin/baton in place"' || { echo "not executed anew"; return 1; }
    on "$active" 'rpm -q --qf "%{RELEASE}\n" baton' | grep -qx 2
}
# The same release once more: a package is replaced all the same.
haproxy_in_place() {
    local active=$1 pid worker
    pid=$(on "$active" systemctl show -p MainPID --value baton-haproxy)
    worker=$(workers "$active")
    on "$active" "$DNF reinstall baton-haproxy" && sleep 2 || return 1
    [ "$pid" = "$(on "$active" systemctl show -p MainPID --value baton-haproxy)" ] || { echo "another master"; return 1; }
    [ "$worker" != "$(workers "$active")" ] || { echo "the same worker: $worker"; return 1; }
}
# The newest child of the master.
workers() { on "$1" 'pgrep -n -P $(systemctl show -p MainPID --value baton-haproxy)'; }
watchdog() {
    local host=$1 before
    before=$(on "$host" systemctl show -p NRestarts --value baton)
    on "$host" 'kill -STOP $(systemctl show -p MainPID --value baton)'
    for _ in $(seq 100); do
        if [ "$(on "$host" systemctl show -p NRestarts --value baton)" -gt "$before" ]; then
            until_state "$host" backup
            return
        fi
        sleep 0.3
    done
    on "$host" journalctl -u baton -n 20 --no-pager
    return 1
}

# The daemon's package does not fit: rpm is told not to look beforehand, and trips over it.
full_disk() {
    local host=$1 pid
    pid=$(on "$host" systemctl show -p MainPID --value baton)
    on "$host" 'mkdir /mnt/full && mount -t tmpfs -o size=$(($(du -sm /usr/bin | cut -f1) + 4))m full /mnt/full && cp -a /usr/bin/. /mnt/full/ && mount --bind /mnt/full /usr/bin &&
        { head -c 1G /dev/zero >/usr/bin/filler; rpm -U --nodeps --ignoresize /srv/next/baton-0*.rpm; test $? != 0; }' || return 1
    on "$host" 'df /usr/bin; rpm -q baton; ls -l /usr/bin/baton*; baton --version' || return 1
    [ "$pid" = "$(on "$host" systemctl show -p MainPID --value baton)" ] || { echo "another process"; return 1; }
    # Also the next start works.
    on "$host" systemctl restart baton && until_answers "http://$VIP/" Host: web.example.com || return 1
    on "$host" 'umount -l /usr/bin && umount -l /mnt/full && rmdir /mnt/full && systemctl restart baton && rpm -q baton && baton status >/dev/null'
}

check "exactly one is Active, through firewalld" one_active
active=1 standby=2
[ "$(state 1)" = active ] || { active=2 standby=1; }
check "traffic" until_answers "http://$VIP/" Host: web.example.com
check "handover" on $active baton vip handover
check "the other one is Active" until_state $standby active
swap=$active active=$standby standby=$swap
check "a disk that is full during the upgrade leaves a working node" full_disk $standby
check "still Active" until_state $active active
check "both daemons are upgraded under load, and nothing moves" under_load both_daemons $active
check "the edited configuration stays, the new one beside it" on $active 'grep -q "^urls" /etc/baton/baton.toml && test -e /etc/baton/baton.toml.rpmnew'
check "HAProxy is upgraded in place, under load" under_load haproxy_in_place $active
check "traffic" until_answers "http://$VIP/" Host: web.example.com
check "a frozen daemon is ended and comes back" watchdog $active
check "the other one has taken over" until_state $standby active
check "downgrade" on $active "$DNF downgrade baton"
check "traffic" until_answers "http://$VIP/" Host: web.example.com
check "a stop hands over" on $standby systemctl stop baton
check "the other one is Active" until_state $active active
ended
