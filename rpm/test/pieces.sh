# Pieces that the daemon does not read itself: firewalls without firewalld, HAProxy's log, users, SELinux. Each is given
# to the program that it is made for. Sourced by install.sh.

nftables_takes_it() {
    on 1 'cat >/tmp/input.nft && nft -c -f /tmp/input.nft' <<'NFT'
table inet baton_test {
    chain input {
        type filter hook input priority 0; policy drop;
        include "/usr/share/baton/firewall/baton.nft"
        reject
    }
}
NFT
}

iptables_takes_it() {
    on 1 'for restore in iptables-restore ip6tables-restore; do $restore --test --noflush </usr/share/baton/firewall/baton.iptables || exit 1; done'
}

# Without a word: an error in an included file does not change how rsyslogd ends.
rsyslog_takes_it() {
    local said
    said=$(on 1 'rsyslogd -N1 2>&1') || { echo "$said"; return 1; }
    ! grep -v 'config validation run\|End of config validation' <<<"$said"
}

# logged PATH: a request for PATH comes to HAProxy's log, and to no other.
logged() {
    outside curl -s -m 2 -o /dev/null -H 'Host: web.example.com' "http://$NET.1$1"
    for _ in $(seq 50); do on 1 grep -q -- "$1" /var/log/baton/haproxy.log 2>/dev/null && break; sleep 0.2; done
    on 1 "ls -l /var/log/baton; tail -n 3 /var/log/baton/haproxy.log; grep -q -- '$1' /var/log/baton/haproxy.log && ! cat /var/log/syslog /var/log/messages 2>/dev/null | grep -- '$1'"
}

rotates() {
    on 1 'touch /var/lib/logrotate/status; logrotate -d /etc/logrotate.d/baton 2>&1 | tee /tmp/said; ! grep -i "error" /tmp/said && grep -q "considering log /var/log/baton/haproxy.log" /tmp/said &&
        logrotate -f /etc/logrotate.d/baton && test -s /var/log/baton/haproxy.log.1' && logged /after-rotation && on 1 '! grep after-rotation /var/log/baton/haproxy.log.1'
}

halog_counts() {
    on 1 '/usr/libexec/baton/halog -st </var/log/baton/haproxy.log 2>&1' | tee "$LAB/halog"
    grep -q '^200 [1-9]' "$LAB/halog" && grep -q ' 0 parsing errors' "$LAB/halog"
}

# In a root of its own, with nothing but the file.
sysusers_takes_it() {
    on 1 'rm -rf /tmp/users && mkdir -p /tmp/users/etc /tmp/users/usr/lib/sysusers.d && cp /usr/lib/sysusers.d/baton.conf /tmp/users/usr/lib/sysusers.d/ && systemd-sysusers --root=/tmp/users || exit 1
        cat /tmp/users/etc/passwd /tmp/users/etc/group
        group=$(sed -n "s/^baton:[^:]*:\([0-9]*\):.*/\1/p" /tmp/users/etc/group)
        grep -q "^baton:[^:]*:[0-9]*:$group:.*:/var/lib/baton:/sbin/nologin" /tmp/users/etc/passwd && grep -q "^baton:.*:haproxy$" /tmp/users/etc/group'
}

# SELinux is off here: the policy's package loads nothing and does not fail.
selinux_stays_out() {
    on 1 "printf '#!/bin/sh\necho \"\$@\" >>/root/semodule-called\n' >/usr/sbin/semodule && chmod +x /usr/sbin/semodule
        $DNF install baton-selinux 2>&1 | tee /tmp/said && test -e /usr/share/selinux/packages/baton.cil && $DNF remove baton-selinux 2>&1 | tee -a /tmp/said
        rm /usr/sbin/semodule
        ! grep -i 'scriptlet\|error\|warning' /tmp/said && ! test -e /usr/share/selinux/packages/baton.cil && ! cat /root/semodule-called"
}
