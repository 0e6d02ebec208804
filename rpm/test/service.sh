# The daemon as a service of one host: its mistakes, its messages, an old kernel. Sourced by install.sh.

refuses_unsigned() {
    local said
    ! said=$(on 1 "$DNF --disablerepo=baton --enablerepo=unsigned install baton" 2>&1) || return 1
    echo "$said"
    grep -qi 'is not signed' <<<"$said" && on 1 '! rpm -q baton'
}

quiet_units() {
    local said
    said=$(on 1 'systemd-analyze verify --man=no baton.service baton-haproxy.service 2>&1')
    [ -z "$said" ] || { echo "$said"; return 1; }
}

explains_itself() {
    ! on 1 systemctl start baton || return 1
    sleep 2
    on 1 'systemctl status baton --no-pager -n 5; systemctl show -p NRestarts --value baton' >"$LAB/said" || true
    cat "$LAB/said"
    grep -q 'marathon.urls' "$LAB/said" && [ "$(tail -1 "$LAB/said")" = 0 ]
}

names_the_squatter() {
    local said code=0
    on 1 'systemd-run -q --unit=squatter python3 -m http.server 80 && sleep 1'
    said=$(on 1 baton check) || code=$?
    on 1 systemctl stop squatter
    echo "$code: $said"
    [ $code = 1 ] && grep -q 'WRONG cannot listen on .*80.*python3.* has the port' <<<"$said"
}

# As root writes it on a host with a strict umask: root reads it, the daemon would not.
names_the_unreadable() {
    local said code=0
    on 1 'umask 077; echo "[log]" >/etc/baton/conf.d/mine.toml'
    said=$(on 1 'stat -c %U:%G:%a /etc/baton/conf.d/mine.toml; baton check') || code=$?
    on 1 rm /etc/baton/conf.d/mine.toml
    echo "$code: $said"
    [ $code = 1 ] && grep -qx 'root:baton:600' <<<"$said" && grep -q 'WRONG .*mine.toml: user baton cannot read it; chgrp baton' <<<"$said"
}

# future CODE COMMAND...: with a key that nobody knows, the command ends with CODE and names the key.
future() {
    local wanted=$1 said code=0
    shift
    on 1 'printf "[haproxy]\nteleport = true\n" >/etc/baton/conf.d/later.toml'
    said=$(on 1 "$@" 2>&1) || code=$?
    on 1 rm /etc/baton/conf.d/later.toml
    echo "$code: $said"
    [ $code = "$wanted" ] && grep -q 'teleport' <<<"$said" && grep -q 'later.toml' <<<"$said"
}
refuses_the_future() { future 2 baton check; }
keeps_running() { future 1 baton reload && until_answers "http://$NET.1/" Host: web.example.com; }

# System calls newer than EL7's kernel end with ENOSYS. OpenSSL believes the kernel's version more than the call's
# failure, so that is an old one, too.
old_kernel() {
    local unit calls
    calls='getrandom memfd_create statx copy_file_range renameat2 execveat preadv2 pwritev2 rseq clone3 close_range openat2'
    calls+=' faccessat2 pidfd_open pidfd_send_signal epoll_pwait2 membarrier mlock2 seccomp bpf userfaultfd'
    calls+=' io_uring_setup io_uring_enter io_uring_register'
    for unit in baton baton-haproxy; do
        on 1 "mkdir -p /etc/systemd/system/$unit.service.d && {
            printf '[Service]\nSystemCallFilter=\nSystemCallFilter=~$calls\nSystemCallErrorNumber=ENOSYS\nLockPersonality=no\nExecStart=\n'
            sed -n 's,^ExecStart=,ExecStart=/usr/bin/setarch x86_64 --uname-2.6 ,p' /usr/lib/systemd/system/$unit.service
        } >/etc/systemd/system/$unit.service.d/old-kernel.conf"
    done
    on 1 'systemctl daemon-reload && systemctl restart baton-haproxy baton' && sleep 1 &&
        on 1 'grep -q "^Seccomp:.*2" /proc/$(systemctl show -p MainPID --value baton)/status && baton reload' &&
        until_answers "http://$NET.1/" Host: web.example.com && until_answers "http://$VIP/" Host: web.example.com || return 1
    on 1 'rm -r /etc/systemd/system/baton.service.d /etc/systemd/system/baton-haproxy.service.d; systemctl daemon-reload && systemctl restart baton-haproxy baton'
}

journal_fields() {
    on 1 'journalctl -u baton -o json --no-pager' >"$LAB/journal"
    grep -q '"VRRP":"public"' "$LAB/journal" && grep -q '"REASON":' "$LAB/journal" && ! grep -qi panicked "$LAB/journal"
}

# Told to systemd a moment after the start.
status_line() {
    local line
    for _ in $(seq 50); do
        line=$(on 1 systemctl show -p StatusText --value baton)
        [[ $line != *'apps from http'* ]] || return 0
        sleep 0.2
    done
    echo "$line"
    return 1
}
