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
    marathon_down
    trap - EXIT
    rm -rf "$SEED"
    say "$(basename "$0" .sh), $SUITE: $SECONDS s"
    exit $bad
}
# From here on the directories are ours, too.
hosts_lock
SECONDS=0
trap 'bad=1; hosts_down; marathon_down' EXIT

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
    local program=${CARGO_TARGET_DIR:-$here/../../target}/debug/marathon-sim
    [ -x "$program" ] || { echo "rpm: no $program: cargo build -p e2e --bin marathon-sim" >&2; exit 1; }
    marathon_down
    cat >"$LAB/app.json" <<APP
{"id": "/web", "instances": 3, "cpus": 0.1, "mem": 32,
 "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "web.example.com"},
 "container": {"type": "DOCKER", "docker": {"image": "web", "network": "BRIDGE",
  "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10001, "protocol": "tcp"}]}}}
APP
    ip netns exec $BRIDGE "$program" --listen $NET.254:8080 --agent $NET.254=$NET.254 --load "$LAB/app.json" >"$LAB/marathon.log" 2>&1 9>&- &
    echo $! >"$LAB/marathon.pid"
}

marathon_down() {
    [ -n "$locked" ] || return 0
    local pid
    pid=$(ours "$LAB/marathon.pid" "$LAB/app.json")
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    ended_by_now "$LAB/marathon.pid" "$LAB/app.json"
    rm -f "$LAB/marathon.pid"
}

# two_keys HOST: those that must be set.
two_keys() {
    on "$1" "sed -i 's,^#urls = .*,urls = [\"http://$NET.254:8080\"],;s,^#groups = .*,groups = [\"external\"],' /etc/baton/baton.toml"
}

# configure HOST PRIORITY: the two keys, a floating address, and tasks without health checks.
configure() {
    two_keys "$1"
    on "$1" "sed -i 's,^health_check = .*,health_check = false,' /etc/baton/baton.toml
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
