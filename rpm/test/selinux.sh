#!/usr/bin/env bash
# The SELinux module in force: both programs in their domains do their work, and nothing is denied.
# usage: rpm/test/selinux.sh DIST        as root; some minutes: the machine is emulated, as this one's kernel may lack SELinux
#
# The policy around the module is Debian's reference policy, not EL's. ENFORCING=0 denies nothing and lists all that
# would be denied: for work on the module.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dist=$(realpath "$1")
root=$(realpath "$here/../..")
lab=$(realpath -m "${LAB:-$root/build/rpm/selinux}")
archive=$("$root/tools/debian-archive")
mkdir -p "$lab"
cd "$lab"
say() { echo "rpm: $*"; }

# Debian's kernel for clouds, with the modules that reach the disk, and an interface that needs no wire.
kernel() {
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends/ { print $2; exit }')
    version=${package#linux-image-}
    modules=kernel/lib/modules/$version/kernel
    if [ ! -e "kernel/boot/vmlinuz-$version" ]; then
        apt-get -q -o APT::Sandbox::User=root download "$package" >/dev/null
        dpkg -x "$package"_*.deb kernel
    fi
    local drivers='virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk dummy' driver
    rm -rf initrd && mkdir -p initrd/{bin,lib,dev,proc,new}
    cp /bin/busybox initrd/bin/
    for driver in $drivers; do find "$modules" -name "$driver.ko" -exec cp {} initrd/lib/ \;; done
    cat >initrd/init <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc p /proc
/bin/busybox mount -t devtmpfs d /dev
for driver in $drivers; do /bin/busybox insmod /lib/\$driver.ko; done
/bin/busybox mount -t ext4 /dev/vda /new
exec /bin/busybox switch_root /new /sbin/init
INIT
    chmod +x initrd/init
    (cd initrd && find . | cpio -o -H newc 2>/dev/null | gzip -1 >../initrd.gz)
}

base() {
    [ ! -e base/.done ] || return 0
    rm -rf base
    mmdebstrap -q --variant=minbase --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include=systemd,systemd-sysv,dbus,selinux-policy-default,policycoreutils,selinux-utils,procps,iproute2,curl,rpm,kmod,python3 \
        bookworm base "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive bookworm main" >mmdebstrap.log 2>&1
    # Its file contexts are in another module's way in Debian's own policy.
    chroot base semodule -n -s default -d spamassassin
    touch base/.done
}

# The packages, without a package manager's questions; the modules of this tree, put in force as an administrator does.
guest() {
    rm -rf guest && cp -a base guest
    local package
    for package in "$dist"/x86_64/*.rpm; do rpm2cpio "$package" | (cd guest && cpio -idmu --quiet); done
    cp "$root"/packaging/selinux/*.cil guest/root/
    chroot guest sh -e <<'SETUP'
groupadd -r baton
useradd -r -g baton -d /var/lib/baton -s /usr/sbin/nologin baton
useradd -r -G baton -d /var/lib/haproxy -s /usr/sbin/nologin haproxy
chown -R root:baton /etc/baton
install -d -o baton -g baton -m 750 /var/lib/baton
mkdir -p /usr/lib/systemd/system/baton.service.d /usr/lib/systemd/system/baton-haproxy.service.d
cp /usr/share/baton/hardening/baton-2* /usr/lib/systemd/system/baton.service.d/
cp /usr/share/baton/hardening/baton-haproxy-2* /usr/lib/systemd/system/baton-haproxy.service.d/
semodule -n -s default -X 400 -i /root/baton.cil -i /root/baton-permissive.cil
semodule -n -s default -X 400 -r baton-permissive
sed -i 's,^#urls = .*,urls = ["http://localhost:8080"],;s,^#groups = .*,groups = ["external"],;s,^health_check = .*,health_check = false,' /etc/baton/baton.toml
SETUP
    cat >guest/etc/baton/conf.d/vip.toml <<'TOML'
[[vrrp]]
name = "public"
interface = "eth0"
virtual_router_id = 51
advertisement_interval = "100ms"
addresses = ["192.0.2.100/24"]
notify = ["/etc/baton/notify.sh"]
TOML
    printf '#!/bin/sh\necho "$@" >>/var/lib/baton/notified\n' >guest/etc/baton/notify.sh
    chmod 755 guest/etc/baton/notify.sh
    echo '127.0.0.1 localhost' >guest/etc/hosts
    cat >guest/root/app.json <<'APP'
{"id": "/web", "instances": 2, "cpus": 0.1, "mem": 32,
 "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "web.example.com"},
 "container": {"type": "DOCKER", "docker": {"image": "web", "network": "BRIDGE",
  "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10001, "protocol": "tcp"}]}}}
APP
    cp "${CARGO_TARGET_DIR:-$root/target}/debug/marathon-sim" guest/root/
    cp "$here/selinux-guest.sh" guest/root/test.sh
    printf 'SELINUX=%s\nSELINUXTYPE=default\n' "$([ "${ENFORCING:-1}" = 1 ] && echo enforcing || echo permissive)" >guest/etc/selinux/config
    cat >guest/etc/systemd/system/test.service <<'UNIT'
[Unit]
After=dbus.service
[Service]
Type=oneshot
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
ExecStart=/bin/bash /root/test.sh
ExecStopPost=/bin/systemctl poweroff --force --force
UNIT
    mkdir -p guest/etc/systemd/system/multi-user.target.wants
    ln -sf ../test.service guest/etc/systemd/system/multi-user.target.wants/
    # Labels are written here, without a kernel that knows them.
    setfiles -r "$PWD/guest" guest/etc/selinux/default/contexts/files/file_contexts "$PWD/guest"
    rm -f disk.img
    mke2fs -q -t ext4 -d guest disk.img 1800M >/dev/null
}

run() {
    timeout "${LIMIT:-240}" qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -m 1536 -smp 2 -nographic -no-reboot -nic none \
        -kernel "kernel/boot/vmlinuz-$version" -initrd initrd.gz -drive file=disk.img,if=virtio,format=raw \
        -append "console=ttyS0 root=/dev/vda rw panic=-1 audit=1 security=selinux enforcing=${ENFORCING:-1} systemd.unit=multi-user.target systemd.mask=serial-getty@ttyS0.service" \
        </dev/null >console.log 2>&1 || true
    rm -rf guest disk.img
    tr -d '\r' <console.log | grep -a '^selinux: ' || true
}

say "a kernel and a system with SELinux"
kernel
base
guest
say "in force, in an emulated machine"
said=$(run)
sed 's/^selinux: /rpm:   /' <<<"$said"
grep -q '^selinux: end$' <<<"$said" || { tail -20 console.log >&2; say "the guest did not finish: $lab/console.log" >&2; exit 1; }
! grep -q '^selinux: FAIL' <<<"$said"
