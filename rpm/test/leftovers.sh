# What an erase leaves on a host, measured against the host before the first install. Sourced by install.sh.

# Directories, addresses and links of the host, for later.
remember_host() { on 1 "$SURVEY" >"$LAB/before"; }
SURVEY='find / -xdev \( -path /proc -o -path /sys -o -path /run/systemd -o -path /run/user -o -path /tmp -o -path /var/tmp -o -path /var/cache -o -path "/var/log/journal" \) -prune -o -type d -print
    ip -o addr show | awk "{ print \"address\", \$2, \$4 }"; ip -o link show | awk "{ print \"link\", \$2 }"'

# Files and directories with our name, but for state and what the administrator changed.
leaves_little() {
    on 1 'find / -xdev \( -path /proc -o -path /sys -o -path /srv -o -path "/var/cache/*" -o -path "/var/log/*" -o -path "/var/lib/rpm/*" -o -path "/var/lib/dnf/*" -o -path "/tmp/*" \) -prune -o -iname "*baton*" -print' >"$LAB/left"
    cat "$LAB/left"
    ! grep -Ev '^/(etc/baton(/baton.toml.rpmsave|/conf.d.*)?|var/lib/baton.*|run/baton.*|etc/(gpg|pki).*|var/lib/systemd/.*|root/.*)$' "$LAB/left"
}

# Directories that were made on the way and that no package takes along (EL's own packages have some that Debian's have
# not); addresses and links.
leaves_no_more() {
    local left
    on 1 "$SURVEY" >"$LAB/after" || return 1
    left=$(grep -Fxv -f "$LAB/before" "$LAB/after" | grep -Ev '^/(etc/baton|var/lib/baton|run/baton|var/log/baton|var/lib/dnf|var/lib/rpm)(/|$)' |
        grep -Ev '^/usr/share/(man/man1|licenses|selinux|selinux/packages)$|^/usr/lib/systemd/system$') || return 0
    echo "$left"
    return 1
}

nobody_is_left() { on 1 '! pgrep -l -u baton,haproxy'; }

default_zone_is_clean() {
    on 1 'zone=$(firewall-cmd --get-default-zone); ! grep baton /etc/firewalld/zones/$zone.xml && ! firewall-cmd --list-services | grep baton && ! firewall-cmd --permanent --list-services | grep baton'
}

# An administrator's zone: firewalld gives up one that names a service it does not know, and everything with it.
in_another_zone() {
    on 1 'firewall-cmd -q --permanent --zone=internal --add-service=baton-admin --add-service=baton-vrrp && firewall-cmd -q --reload && firewall-cmd --zone=internal --query-service=baton-admin'
}
every_zone_is_whole() {
    on 1 'firewall-cmd --check-config && firewall-cmd --reload && firewall-cmd --zone=internal --list-all | tee /tmp/zone && grep -q "services:.*ssh" /tmp/zone && ! grep baton /tmp/zone &&
        ! grep -r --include="*.xml" baton /etc/firewalld/zones'
}
