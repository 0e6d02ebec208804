#!/usr/bin/env bash
# The packages on booted hosts: installed from the signed repository, started, served from, erased.
# usage: rpm/test/install.sh DIST        SUITE, CGROUP, LAB as in hosts.sh
#
# One host of a suite; pair.sh has two and what concerns both. Ends with 1 and the line that failed.
here=$(cd "$(dirname "$0")" && pwd)
DIST=$(realpath "$1")
LAB=$(realpath -m "${LAB:-$here/../../build/rpm/lab}")
HOSTS=1
. "$here/hosts.sh"
. "$here/common.sh"
. "$here/service.sh"
. "$here/pieces.sh"
. "$here/leftovers.sh"

seed
hosts_up
outside_marathon
say "$SUITE, cgroup $CGROUP: systemd $(on 1 systemctl --version | awk 'NR == 1 { print $2 }'), $(on 1 rpm --version)"

remember_host
check "an unsigned package is refused" refuses_unsigned
check "install" on 1 "$DNF install baton"
check "units without a complaint" quiet_units
check "users and groups" on 1 'id -nG haproxy | grep -qw baton && test "$(stat -c %U:%G:%a /etc/baton/baton.toml)" = root:baton:640'
check "systemd-sysusers makes the same users" sysusers_takes_it
check "the drop-in fits this systemd" on 1 'systemctl cat baton | grep -q "^SystemCallFilter=@system-service"'
check "HAProxy starts before there is a configuration" on 1 systemctl start baton-haproxy
check "baton says what is missing, and does not flap" explains_itself
two_keys 1
check "the default configuration and two keys are enough" on 1 baton check
configure 1 150
check "check" on 1 baton check
check "another service on port 80 is named" names_the_squatter
check "a file that the daemon could not read is named" names_the_unreadable
check "a key of a later release is refused by name" refuses_the_future
check "start" on 1 systemctl enable -q --now baton-haproxy baton
check "firewalld runs" on 1 firewall-cmd --state
check "traffic" until_answers "http://$NET.1/" Host: web.example.com
check "the floating address serves" until_answers "http://$VIP/" Host: web.example.com
check "a key of a later release does not end the running one" keeps_running
check "both do without what Linux 3.10 lacks" old_kernel
check "journal fields" journal_fields
check "status line" status_line
check "no capability for children" on 1 'grep -q "CapAmb:.*0000000000000000" /proc/$(systemctl show -p MainPID --value baton)/status'
check "firewalld lets the ports in" on 1 'firewall-cmd -q --query-service=baton-vrrp && firewall-cmd -q --query-service=baton-lb && ! firewall-cmd -q --query-service=baton-admin'
check "nftables takes the snippet" nftables_takes_it
check "iptables and ip6tables take theirs" iptables_takes_it
check "rsyslog takes its piece" rsyslog_takes_it
check "HAProxy's requests are in a log of their own" logged /before-rotation
check "logrotate turns it" rotates
check "halog reads it" halog_counts
check "sysctls" on 1 'test "$(sysctl -n net.ipv4.ip_nonlocal_bind)" = 1 && sysctl -n net.ipv4.ip_local_reserved_ports | grep -q 9090-9094'
check "the policy's package does nothing where SELinux is off" selinux_stays_out
check "our services in another zone" in_another_zone
check "erase" on 1 "$DNF remove baton baton-haproxy"
check "nothing is left but state and the edited configuration" leaves_little
check "no directory, address or link is left" leaves_no_more
check "no process is left" nobody_is_left
check "the default zone is as it was" default_zone_is_clean
check "every zone is whole" every_zone_is_whole
on 1 'echo net.ipv4.tcp_fin_timeout = 29 >/etc/sysctl.d/60-mine.conf'
check "install again" on 1 "$DNF install baton && mv /etc/baton/baton.toml.rpmsave /etc/baton/baton.toml && systemctl enable -q --now baton-haproxy baton"
check "an administrator's sysctl has the last word" on 1 'test "$(sysctl -n net.ipv4.tcp_fin_timeout)" = 29'
check "traffic again" until_answers "http://$NET.1/" Host: web.example.com
ended
