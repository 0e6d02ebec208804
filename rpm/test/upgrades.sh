# Upgrades on two hosts, under load, and on a full disk. Sourced by pair.sh.

# under_load COMMAND...: meanwhile no request through the floating address fails: neither on connections that are kept,
# nor on those that are new for each request. The load takes what the packages' installation leaves it.
under_load() {
    local done=0 pids=() kind
    for kind in keep-alive close; do
        nice -n 10 ip netns exec $BRIDGE wrk -t1 -c8 -d120 -H 'Host: web.example.com' -H "Connection: $kind" "http://$VIP/" >"$LAB/wrk-$kind" 2>&1 9>&- &
        pids+=($!)
    done
    sleep 2
    "$@" || done=1
    kill -INT "${pids[@]}" || done=1
    wait "${pids[@]}"
    for kind in keep-alive close; do
        cat "$LAB/wrk-$kind"
        ! grep -q 'Socket errors\|Non-2xx' "$LAB/wrk-$kind" && grep -q '[0-9]\{4,\} requests in' "$LAB/wrk-$kind" || done=1
    done
    return $done
}

main_pid() { on "$1" systemctl show -p MainPID --value "$2"; }
# How often each host took over, and who runs on one of them: the same before and after what disturbs nobody.
standing() { echo "takeovers $(takeovers 1)/$(takeovers 2), baton $(main_pid "$1" baton), haproxy $(main_pid "$1" baton-haproxy)"; }
executions() { on "$1" 'journalctl -u baton --no-pager | grep -c "SIGUSR2: executing /usr/bin/baton in place"' || true; }
# The newest child of the master.
worker() { on "$1" 'pgrep -n -P $(systemctl show -p MainPID --value baton-haproxy)'; }

# in_place HOST RELEASE DNF PACKAGES...: afterwards each of PACKAGES is of RELEASE (its first number), and its process,
# the same as before, runs what is installed; nothing else was started anew, and the address stayed.
in_place() {
    local host=$1 release=$2 dnf=$3 before executed child now package
    shift 3
    before=$(standing "$host") executed=$(executions "$host") child=$(worker "$host")
    # shellcheck disable=SC2086
    on "$host" "$DNF --enablerepo=next $dnf" && sleep 5 || return 1
    now=$(standing "$host")
    [ "$before" = "$now" ] || { echo "before: $before; now: $now"; return 1; }
    for package in "$@"; do
        on "$host" "rpm -q $package; rpm -q --qf '%{RELEASE}.' $package | grep -q '^$release[.]'" || return 1
        on "$host" "readlink /proc/$(main_pid "$host" "$package")/exe" | tee "$LAB/exe"
        ! grep -q deleted "$LAB/exe" || return 1
    done
    now=$(($(executions "$host") - executed))
    [[ " $* " != *" baton "* ]] || [ $now -ge 1 ] || { echo "the daemon was not executed anew"; return 1; }
    [[ " $* " != *" baton-haproxy "* ]] || [ "$child" != "$(worker "$host")" ] || { echo "HAProxy's worker is still $child"; return 1; }
}

both_daemons() { in_place 1 2 'upgrade baton' baton && in_place 2 2 'upgrade baton' baton; }

# The daemon's package does not fit: rpm is told not to look beforehand, and trips over it.
full_disk() {
    local host=$1 pid
    pid=$(main_pid "$host" baton)
    on "$host" 'mkdir /mnt/full && mount -t tmpfs -o size=$(($(du -sm /usr/bin | cut -f1) + 4))m full /mnt/full && cp -a /usr/bin/. /mnt/full/ && mount --bind /mnt/full /usr/bin &&
        { head -c 1G /dev/zero >/usr/bin/filler; rpm -U --nodeps --ignoresize /srv/next/baton-0*.rpm >/tmp/said 2>&1; code=$?; cat /tmp/said; test $code != 0; } &&
        grep -q "No space left\|cpio: write failed" /tmp/said' || return 1
    on "$host" 'df /usr/bin; rpm -q baton; ls -l /usr/bin/baton*; baton --version' || return 1
    [ "$pid" = "$(main_pid "$host" baton)" ] || { echo "another process"; return 1; }
    # Also the next start works.
    on "$host" systemctl restart baton && until_answers "http://$VIP/" Host: web.example.com || return 1
    on "$host" 'umount -l /usr/bin && umount -l /mnt/full && rmdir /mnt/full && systemctl restart baton && rpm -q baton && baton status >/dev/null'
}
