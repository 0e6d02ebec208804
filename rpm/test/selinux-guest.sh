#!/bin/bash
# Runs in the emulated machine of selinux.sh; what begins with "selinux: " is its result.
check() {
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "selinux: ok    $text"
    else
        echo "selinux: FAIL  $text"
        sed 's/^/    /' <<<"$said" | tail -30
    fi
}
domain() { [ "$(tr -d '\0' <"/proc/$(systemctl show -p MainPID --value "$1")/attr/current")" = "system_u:system_r:$2:s0" ] || { cat "/proc/$(systemctl show -p MainPID --value "$1")/attr/current"; return 1; }; }
answers() {
    local _
    for _ in $(seq 20); do
        curl -sf -m 1 -o /dev/null -H 'Host: web.example.com' "$1" && return
        sleep 0.5
    done
    curl -sv -m 2 -H 'Host: web.example.com' "$1"
}
active() {
    local _
    for _ in $(seq 20); do
        ip -4 addr show dev eth0 | grep -q 192.0.2.100 && return
        sleep 0.5
    done
    baton vip status
}
# As CLASS SOURCE TARGET PERMISSION EXAMPLE, each once.
denials() {
    journalctl --no-pager -o cat | grep -a 'avc:  denied' | grep -aE 'context=[^ ]*:(baton|baton_[a-z_]*)_t:' | python3 -c '
import re, sys
seen = {}
for line in sys.stdin:
    perms = re.search(r"\{ (.*?) \}", line)[1].split()
    source, target = (re.search(rf"{end}context=[^:]*:[^:]*:([^:]*)", line)[1] for end in "st")
    what = re.search(r"tclass=(\S+)", line)[1]
    example = re.search(r"(?:path|name|capability|src|dest)=\S+", line)
    for perm in perms:
        seen.setdefault((what, source, target, perm), example[0] if example else "")
for key, example in sorted(seen.items()):
    print(*key, example)'
}

sysctl -q kernel.printk_ratelimit=0
ip link add eth0 type dummy
ip addr add 192.0.2.1/24 dev eth0
ip link set eth0 multicast on up
sysctl -q -p /usr/lib/sysctl.d/50-baton.conf >/dev/null 2>&1
systemd-tmpfiles --create baton.conf
/root/marathon-sim --listen 127.0.0.1:8080 --agent 127.0.0.1=127.0.0.1 --load /root/app.json >/root/marathon.log 2>&1 &

check "enforcing" test "$(getenforce)" = Enforcing
check "HAProxy starts" systemctl start baton-haproxy
check "in its domain" domain baton-haproxy baton_haproxy_t
check "baton starts" systemctl start baton
check "in its domain" domain baton baton_t
check "traffic" answers http://127.0.0.1/
check "the floating address" active
check "it serves" answers http://192.0.2.100/
check "a script is told" grep -q MASTER /var/lib/baton/notified
check "reload" baton reload
check "check" baton check
check "baton executes itself in place" systemctl kill -s USR2 --kill-who=main baton
sleep 3
check "it goes on in its domain" domain baton baton_t
check "traffic" answers http://192.0.2.100/
check "HAProxy executes itself in place" systemctl reload baton-haproxy
sleep 2
check "it goes on in its domain" domain baton-haproxy baton_haproxy_t
check "restart" systemctl restart baton
check "traffic" answers http://192.0.2.100/
check "stop" systemctl stop baton baton-haproxy
said=$(denials)
if [ -n "$said" ]; then
    echo "selinux: FAIL  denied:"
    sed 's/^/selinux:   /' <<<"$said"
else
    echo "selinux: ok    nothing was denied"
fi
journalctl -u baton -u baton-haproxy --no-pager | tail -40
echo "selinux: end"
