#!/usr/bin/env bash
# Two hosts that share a floating address: it moves, it stays through upgrades, a frozen daemon is ended, a host
# that is rebooted hands over and comes back.
# usage: rpm/test/pair.sh DIST NEXT      NEXT: a repository with the next release of the daemon and of HAProxy
here=$(cd "$(dirname "$0")" && pwd)
DIST=$(realpath "$1") NEXT=$(realpath "$2")
LAB=$(realpath -m "${LAB:-$here/../../build/rpm/lab}")
HOSTS=2
. "$here/hosts.sh"
. "$here/common.sh"
. "$here/upgrades.sh"

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
    check "firewalld runs on lb$host" on $host firewall-cmd --state
done

state() { on "$1" baton vip status --json 2>/dev/null | python3 -c 'import json, sys; print(json.load(sys.stdin)["routers"][0]["state"])' 2>/dev/null; }
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
# powered_off HOST OTHER: the OTHER one hears it resign, and answers.
powered_off() {
    local since
    since=$(on "$2" date +%s)
    on "$1" 'systemctl reboot' || true
    until_state "$2" active && until_answers "http://$VIP/" Host: web.example.com || return 1
    on "$2" "journalctl -u baton --since @$since --no-pager -o cat" | tee "$LAB/said"
    grep -q 'the Active router resigned' "$LAB/said" || return 1
    host_gone "$1"
}
started_again() {
    host_start "$1"
    host_booted "$1"
    on "$1" systemctl is-active baton baton-haproxy firewalld && one_active && until_answers "http://$NET.$1/" Host: web.example.com
}

check "exactly one is Active, through firewalld" one_active
active=1 standby=2
swap() { local was=$active; active=$standby standby=$was; }
# After a check that failed it may be another one than it should.
look() { [ "$(state $active)" = active ] || swap; }
look
check "traffic" until_answers "http://$VIP/" Host: web.example.com
check "handover" on $active baton vip handover
check "the other one is Active" until_state $standby active
swap
check "a disk that is full during the upgrade leaves a working node" full_disk $standby
check "still Active" until_state $active active
check "both daemons are upgraded under load, and nothing moves" under_load both_daemons
check "the edited configuration stays, the new one beside it" on $active 'grep -q "^urls" /etc/baton/baton.toml && test -e /etc/baton/baton.toml.rpmnew'
check "HAProxy is upgraded in place, under load" under_load in_place $active 2 'upgrade baton-haproxy' baton-haproxy
look
check "both packages are downgraded under load, and nothing moves" under_load in_place $active 1 'downgrade baton baton-haproxy' baton baton-haproxy
look
check "both packages are upgraded in one transaction, under load" under_load in_place $active 2 upgrade baton baton-haproxy
check "a frozen daemon is ended and comes back" watchdog $active
check "the other one has taken over" until_state $standby active
swap
check "a stop hands over" on $active systemctl stop baton
check "the other one is Active" until_state $standby active
check "a start takes its part again" on $active systemctl start baton
check "exactly one is Active" one_active
look
check "a host that is rebooted resigns, and the other one serves" powered_off $active $standby
check "it comes back, and both run" started_again $active
check "the floating address serves" until_answers "http://$VIP/" Host: web.example.com
ended
