# What the tests on booted hosts share. Sourced after hosts.sh.
VIP=$NET.100
SEED=$LAB/seed
DNF='dnf -q -y --setopt=install_weak_deps=0'
bad=0

say() { echo "rpm: $*"; }

# check TEXT COMMAND...: says how it went; the output of what failed follows.
check() {
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then
        say "  ok    $text"
    else
        say "  FAIL  $text: $*"
        sed 's/^/        /' <<<"$said" | tail -40
        bad=1
    fi
}

ended() {
    hosts_down
    trap - EXIT
    rm -rf "$SEED"
    [ -z "${MARATHON:-}" ] || kill "$MARATHON" 2>/dev/null || true
    exit $bad
}
trap 'bad=1; [ -z "${MARATHON:-}" ] || kill "$MARATHON" 2>/dev/null || true; hosts_down' EXIT

# The repository, our key, and a stand-in for what EL itself provides.
seed() {
    rm -rf "$SEED"
    mkdir -p "$SEED/srv/base" "$SEED/srv/unsigned" "$SEED/etc/yum.repos.d" "$SEED/etc/dnf"
    cp -r "$DIST" "$SEED/srv/baton"
    rm -rf "$SEED/srv/baton/SRPMS"
    rpmbuild --load="$here/../macros.baton" -bb --quiet --define "_topdir $LAB/stub" --define 'el 9' \
        --define 'glibc 2.28' --define 'systemd_version 239' "$here/el-stub.spec" >/dev/null 2>&1
    cp "$LAB"/stub/RPMS/*.rpm "$SEED/srv/base/"
    createrepo_c -q "$SEED/srv/base"
    # The daemon's package without its signature.
    cp "$DIST"/x86_64/*.rpm "$SEED/srv/unsigned/"
    rpmsign --delsign "$SEED"/srv/unsigned/*.rpm >/dev/null 2>&1
    createrepo_c -q "$SEED/srv/unsigned"
    cat >"$SEED/etc/yum.repos.d/lab.repo" <<REPO
[base]
name=base
baseurl=file:///srv/base
gpgcheck=0
[baton]
name=baton
baseurl=file:///srv/baton
gpgcheck=1
gpgkey=file:///srv/baton/RPM-GPG-KEY-baton
[unsigned]
name=unsigned
baseurl=file:///srv/unsigned
enabled=0
gpgcheck=1
gpgkey=file:///srv/baton/RPM-GPG-KEY-baton
REPO
}

# A Marathon and its tasks on the bridge, with one app.
outside_marathon() {
    cat >"$LAB/app.json" <<APP
{"id": "/web", "instances": 3, "cpus": 0.1, "mem": 32,
 "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "web.example.com"},
 "container": {"type": "DOCKER", "docker": {"image": "web", "network": "BRIDGE",
  "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10001, "protocol": "tcp"}]}}}
APP
    ip netns exec $BRIDGE "${CARGO_TARGET_DIR:-$here/../../target}/debug/marathon-sim" --listen $NET.254:8080 --agent $NET.254=$NET.254 --load "$LAB/app.json" \
        >"$LAB/marathon.log" 2>&1 &
    MARATHON=$!
}

# configure HOST PRIORITY: as an administrator would, the two keys and a floating address.
configure() {
    on "$1" "sed -i 's,^#urls = .*,urls = [\"http://$NET.254:8080\"],;s,^#groups = .*,groups = [\"external\"],;s,^health_check = .*,health_check = false,' /etc/baton/baton.toml
cat >/etc/baton/conf.d/vip.toml" <<TOML
[[vrrp]]
name = "public"
interface = "eth0"
virtual_router_id = 51
priority = $2
advertisement_interval = "100ms"
addresses = ["$VIP/24"]
TOML
}

# until_answers URL HEADER VALUE: 200 within 20 s.
until_answers() {
    for _ in $(seq 100); do
        outside curl -sf -m 2 -o /dev/null -H "$2 $3" "$1" && return
        sleep 0.2
    done
    outside curl -sv -m 2 -H "$2 $3" "$1"
}

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

leaves_little() {
    on 1 'find / -xdev \( -path /proc -o -path /sys -o -path /srv -o -path "/var/cache/*" -o -path "/var/log/*" -o -path "/var/lib/rpm/*" -o -path "/var/lib/dnf/*" -o -path "/tmp/*" \) -prune -o -iname "*baton*" -print' >"$LAB/left"
    cat "$LAB/left"
    ! grep -Ev '^/(etc/baton(/baton.toml.rpmsave|/conf.d.*)?|var/lib/baton.*|run/baton.*|etc/(firewalld|gpg|pki).*|var/lib/systemd/.*|root/.*)$' "$LAB/left"
}
