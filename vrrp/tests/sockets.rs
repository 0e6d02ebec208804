//! The sockets on a real wire: two network namespaces and a veth pair between them. As root.
//!
//! Each test makes its own wire; it vanishes with the last handle on it, however the test ends.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use vrrp::config::{Delivery, RouterConfig};
use vrrp::linux::announce::{Announcer, Watcher};
use vrrp::linux::socket::AdvertSocket;
use vrrp::types::{Centiseconds, Family, Mac, Priority, Vrid};
use vrrp::wire::Carrier;
use vrrp::wire::advert::Advert;
use vrrp::wire::announce::Claim;
use vrrp::wire::receive::{Accepted, receive};
use vrrp::wire::reject::Reject;

/// Two hosts, each one a namespace: interface `va` with 10.77.0.1 and fe80::1, `vb` with 10.77.0.2
/// and fe80::2.
struct Wire {
    a: File,
    b: File,
}

#[derive(Clone, Copy)]
enum Host {
    A,
    B,
}

impl Wire {
    /// Runs the test on a thread of its own, whose namespaces end with it.
    fn test(test: impl FnOnce(Self) + Send + 'static) {
        thread::spawn(move || test(Self::new())).join().unwrap();
    }

    fn new() -> Self {
        let namespace = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (these tests run as root)");
            fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        let wire = Self { a: namespace(), b: namespace() };
        let there = format!("/proc/{}/fd/{}", std::process::id(), wire.b.as_raw_fd());
        wire.on(Host::A, || {
            ip("link add va address 02:00:00:00:00:01 type veth peer name vb address 02:00:00:00:00:02");
            ip(&format!("link set vb netns {there}"));
        });
        for (host, name, last) in [(Host::A, "va", 1), (Host::B, "vb", 2)] {
            wire.on(host, || {
                ip(&format!("link set {name} addrgenmode none up"));
                ip(&format!("address add 10.77.0.{last}/24 dev {name}"));
                ip(&format!("address add fe80::{last}/64 dev {name} nodad"));
            });
        }
        wire.wait_for_carrier();
        wire
    }

    /// The kernel drops silently what is sent before it has noticed that both ends are up.
    fn wait_for_carrier(&self) {
        let up = |host, name| self.on(host, || ip(&format!("link show dev {name}")).contains("state UP"));
        let noticed = (0..200).any(|_| {
            let both = up(Host::A, "va") && up(Host::B, "vb");
            thread::sleep(Duration::from_millis(10));
            both
        });
        assert!(noticed, "no carrier within two seconds");
    }

    /// Does something as one of the hosts; what it opens stays there.
    fn on<T>(&self, host: Host, act: impl FnOnce() -> T) -> T {
        let namespace = match host {
            Host::A => &self.a,
            Host::B => &self.b,
        };
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        act()
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn wait(socket: impl AsFd, milliseconds: u16) -> bool {
    poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], milliseconds).unwrap() > 0
}

/// A capture sees a frame a moment before the kernel has acted on it.
fn settle() {
    thread::sleep(Duration::from_millis(50));
}

/// Every frame that passes the interfaces of a host.
struct Capture(OwnedFd);

impl Capture {
    fn start() -> Self {
        let flags = SockFlag::SOCK_NONBLOCK;
        Self(socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap())
    }

    /// The next frame that `wanted` accepts, within two seconds and a hundred frames.
    fn next(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut buffer = [0; 2048];
        for _ in 0..100 {
            assert!(wait(&self.0, 2000), "no such frame");
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
            if wanted(&buffer[..length]) {
                return buffer[..length].to_vec();
            }
        }
        panic!("no such frame among a hundred")
    }
}

fn router(family: Family, delivery: Delivery) -> RouterConfig {
    let vip = match family {
        Family::V4 => "10.77.0.100/24",
        Family::V6 => "fe80::100/64",
    };
    RouterConfig {
        interval: Centiseconds::new(10).unwrap(),
        delivery,
        ..RouterConfig::new("public", "vb", Vrid::new(51).unwrap(), Priority(100), vec![vip.parse().unwrap()])
    }
}

fn address(family: Family, host: Host) -> IpAddr {
    match (family, host) {
        (Family::V4, Host::A) => "10.77.0.1",
        (Family::V4, Host::B) => "10.77.0.2",
        (Family::V6, Host::A) => "fe80::1",
        (Family::V6, Host::B) => "fe80::2",
    }
    .parse()
    .unwrap()
}

/// What the first packet that arrives within two seconds is judged to be; none if none does.
fn next_verdict(socket: &mut AdvertSocket, own: IpAddr, config: &RouterConfig) -> Option<Result<Accepted, Reject>> {
    let mut verdict = None;
    wait(&*socket, 2000);
    socket
        .drain(1, |incoming| {
            let found = |vrid| (vrid == config.vrid).then_some(config);
            verdict = Some(incoming.map_err(Reject::from).and_then(|incoming| receive(&incoming, &[own], found)));
        })
        .unwrap();
    verdict
}

fn check_delivery(family: Family, unicast: bool) {
    Wire::test(move |wire| {
        let (us, peer) = (address(family, Host::A), address(family, Host::B));
        let (carrier, delivery) = match unicast {
            true => (Carrier::new(us, peer).unwrap(), Delivery::Unicast(vec![us])),
            false => (Carrier::multicast(us), Delivery::Multicast),
        };
        let config = router(family, delivery);
        let mut ours = wire.on(Host::A, || AdvertSocket::open("va", family).unwrap());
        let (mut theirs, capture) = wire.on(Host::B, || (AdvertSocket::open("vb", family).unwrap(), Capture::start()));
        let advert = Advert::new(&config, Priority(200), config.interval);
        ours.send(&advert.emit(&carrier, config.checksum), &carrier).unwrap();

        let accepted = next_verdict(&mut theirs, peer, &config).expect("an advertisement").unwrap();
        assert_eq!((accepted.source, &accepted.advert), (us, &advert));

        // Traffic class and hop limit as they stand on the wire, and the group's hardware address.
        let protocol_at = if family == Family::V4 { 14 + 9 } else { 14 + 6 };
        let frame = capture.next(|frame| frame.get(protocol_at) == Some(&112));
        let (class, hop_limit) = match family {
            Family::V4 => (frame[14 + 1], frame[14 + 8]),
            Family::V6 => (frame[14] << 4 | frame[14 + 1] >> 4, frame[14 + 7]),
        };
        assert_eq!((class, hop_limit), (0xc0, 255));
        let destination = match (unicast, family) {
            (true, _) => [2, 0, 0, 0, 0, 2],
            (false, Family::V4) => [1, 0, 0x5e, 0, 0, 0x12],
            (false, Family::V6) => [0x33, 0x33, 0, 0, 0, 0x12],
        };
        assert_eq!(frame[..6], destination);

        // It left long ago, and did not come back to us.
        assert_eq!(ours.drain(16, |_| ()).unwrap(), 0);
    });
}

#[test]
fn multicast_over_ipv4_arrives() {
    check_delivery(Family::V4, false);
}

#[test]
fn multicast_over_ipv6_arrives() {
    check_delivery(Family::V6, false);
}

#[test]
fn unicast_over_ipv4_arrives() {
    check_delivery(Family::V4, true);
}

#[test]
fn unicast_over_ipv6_arrives() {
    check_delivery(Family::V6, true);
}

#[test]
fn the_source_is_the_one_asked_for() {
    Wire::test(|wire| {
        for (family, second) in [(Family::V4, "10.77.0.7"), (Family::V6, "fe80::7")] {
            let (prefix, nodad) = if family == Family::V4 { (24, "") } else { (64, " nodad") };
            let second: IpAddr = second.parse().unwrap();
            let config = router(family, Delivery::Multicast);
            let ours = wire.on(Host::A, || {
                ip(&format!("address add {second}/{prefix} dev va{nodad}"));
                AdvertSocket::open("va", family).unwrap()
            });
            let mut theirs = wire.on(Host::B, || AdvertSocket::open("vb", family).unwrap());
            let send = |source| {
                let carrier = Carrier::multicast(source);
                ours.send(
                    &Advert::new(&config, Priority(200), config.interval).emit(&carrier, config.checksum),
                    &carrier,
                )
            };
            for source in [second, address(family, Host::A), second] {
                send(source).unwrap();
                let accepted = next_verdict(&mut theirs, address(family, Host::B), &config).expect("one").unwrap();
                assert_eq!(accepted.source, source);
            }
            // An address that is not ours is an error, not a lie.
            send(address(family, Host::B)).unwrap_err();
        }
    });
}

#[test]
fn a_link_that_is_down_is_an_error_and_passes() {
    Wire::test(|wire| {
        for family in [Family::V4, Family::V6] {
            let us = address(family, Host::A);
            let (carrier, config) = (Carrier::multicast(us), router(family, Delivery::Multicast));
            let mut ours = wire.on(Host::A, || AdvertSocket::open("va", family).unwrap());
            let mut theirs = wire.on(Host::B, || AdvertSocket::open("vb", family).unwrap());
            let message = Advert::new(&config, Priority(200), config.interval).emit(&carrier, config.checksum);
            wire.on(Host::A, || ip("link set va down"));
            ours.send(&message, &carrier).unwrap_err();
            let _ = ours.drain(16, |_| ());
            wire.on(Host::A, || ip("link set va up"));
            wire.wait_for_carrier();
            if family == Family::V6 {
                wire.on(Host::A, || ip("address replace fe80::1/64 dev va nodad"));
            }
            wire.on(Host::A, || ours.send(&message, &carrier)).unwrap();
            next_verdict(&mut theirs, address(family, Host::B), &config).expect("one").unwrap();
        }
    });
}

#[test]
fn an_interface_that_is_missing_is_named_as_the_step_that_failed() {
    Wire::test(|wire| {
        wire.on(Host::A, || {
            let error = AdvertSocket::open("nowhere", Family::V4).unwrap_err();
            assert_eq!(error.to_string(), "cannot find the interface");
            assert_eq!(error.source.raw_os_error(), Some(Errno::ENODEV as i32));
            assert_eq!(Announcer::open("nowhere").unwrap_err().to_string(), "cannot find the interface");
            assert_eq!(Watcher::open("nowhere").unwrap_err().to_string(), "cannot find the interface");
            assert_eq!(Announcer::open("lo").unwrap().mac(), Mac([0; 6]));
        });
    });
}

/// A host that knew the address at another place finds it at the new one.
#[test]
fn announcements_move_the_neighbours() {
    Wire::test(|wire| {
        let announcer = wire.on(Host::A, || Announcer::open("va").unwrap());
        assert_eq!(announcer.mac(), Mac([2, 0, 0, 0, 0, 1]));
        let virtual_mac = Mac::of_router(Family::V4, Vrid::new(51).unwrap());
        for (vip, mac) in
            [("10.77.0.100", announcer.mac()), ("fe80::100", announcer.mac()), ("10.77.0.100", virtual_mac)]
        {
            let neighbour = || wire.on(Host::B, || ip(&format!("neighbour show {vip} dev vb")));
            wire.on(Host::B, || ip(&format!("neighbour replace {vip} lladdr 02:00:00:00:00:99 nud stale dev vb")));
            assert!(neighbour().contains("02:00:00:00:00:99"));
            let capture = wire.on(Host::B, Capture::start);
            announcer.announce(mac, vip.parse().unwrap(), false).unwrap();
            capture.next(|frame| frame[6..12] == mac.0);
            let moved = (0..40).any(|_| {
                settle();
                neighbour().contains(&mac.to_string())
            });
            assert!(moved, "{}", neighbour());
        }
    });
}

#[test]
fn somebody_else_who_claims_a_watched_address_is_reported() {
    Wire::test(|wire| {
        let vip = Ipv4Addr::new(10, 77, 0, 100);
        let other = Ipv4Addr::new(10, 77, 0, 101);
        let (mut watcher, ours, capture) =
            wire.on(Host::A, || (Watcher::open("va").unwrap(), Announcer::open("va").unwrap(), Capture::start()));
        let theirs = wire.on(Host::B, || Announcer::open("vb").unwrap());
        // Who claims what, and how many of the two frames of an announcement are to be heard.
        let mut check = |watched: &[Ipv4Addr], mac: Mac, claimed: Ipv4Addr, heard: usize| {
            watcher.watch(watched.iter().copied()).unwrap();
            ours.announce(ours.mac(), vip.into(), false).unwrap();
            theirs.announce(mac, claimed.into(), false).unwrap();
            for _ in 0..2 {
                capture.next(|frame| {
                    Claim::parse(frame) == Some(Claim { mac, address: claimed }) && frame[6..12] == mac.0
                });
            }
            settle();
            let mut claims = Vec::new();
            let read = watcher.drain(16, |claim| claims.push(claim)).unwrap();
            assert_eq!(claims, vec![Claim { mac, address: claimed }; heard]);
            read
        };
        let many: Vec<_> = (0..1000).map(|n| Ipv4Addr::from(u32::from(vip) - n)).collect();
        assert_eq!(check(&[], theirs.mac(), vip, 0), 0);
        assert_eq!(check(&[vip], theirs.mac(), vip, 2), 2);
        assert_eq!(check(&[vip], theirs.mac(), other, 0), 0, "the kernel drops what is not for us");
        assert_eq!(check(&many, theirs.mac(), vip, 2), 2);
        assert_eq!(check(&[other], theirs.mac(), vip, 0), 0);
        // Our own frame, sent back by something between.
        assert_eq!(check(&[vip, other], ours.mac(), other, 0), 2);
    });
}

/// A flood is read in portions, and the rest is still there.
#[test]
fn draining_is_bounded() {
    Wire::test(|wire| {
        let us = address(Family::V4, Host::A);
        let (carrier, config) = (Carrier::multicast(us), router(Family::V4, Delivery::Multicast));
        let ours = wire.on(Host::A, || AdvertSocket::open("va", Family::V4).unwrap());
        let mut theirs = wire.on(Host::B, || AdvertSocket::open("vb", Family::V4).unwrap());
        let capture = wire.on(Host::B, Capture::start);
        let message = Advert::new(&config, Priority(200), config.interval).emit(&carrier, config.checksum);
        for _ in 0..40 {
            ours.send(&message, &carrier).unwrap();
        }
        for _ in 0..40 {
            capture.next(|frame| frame.get(14 + 9) == Some(&112));
        }
        settle();
        let counts: Vec<usize> = (0..4).map(|_| theirs.drain(16, |_| ()).unwrap()).collect();
        assert_eq!(counts, [16, 16, 8, 0]);
    });
}
