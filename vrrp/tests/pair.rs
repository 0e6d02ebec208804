//! Two engines on one network: who holds the addresses, and what a client notices. As root.

#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;
mod probe;

use std::thread;
use std::time::Duration;

use lab::{Lab, Node, address, fit, ip, now, router, router_v6, unicast, within};
use probe::Probe;
use vrrp::config::{Preempt, RouterConfig};
use vrrp::linux::engine::Order;
use vrrp::linux::report::Report;
use vrrp::machine::io::{Command, Fault, Health, Phase, Reason};
use vrrp::types::{Centiseconds, Version};

/// What two engines are tried with: the routers of host 0 and of host 1, and an address.
fn pairs() -> Vec<(&'static str, RouterConfig, RouterConfig, &'static str)> {
    let v2 = |priority| RouterConfig {
        version: Version::V2,
        interval: Centiseconds::new(100).unwrap(),
        auth_pass: Some(*b"secret\0\0"),
        ..router(4, priority)
    };
    vec![
        ("IPv4", router(1, 200), router(1, 100), "10.88.0.101"),
        ("IPv6", router_v6(2, 200), router_v6(2, 100), "fd88::100:2"),
        ("unicast", unicast(router(3, 200), "10.88.0.2"), unicast(router(3, 100), "10.88.0.1"), "10.88.0.103"),
        ("version 2", v2(200), v2(100), "10.88.0.104"),
        ("IPv6 unicast", unicast(router_v6(5, 200), "fe80::2"), unicast(router_v6(5, 100), "fe80::1"), "fd88::100:5"),
    ]
}

#[test]
fn one_of_two_holds_the_addresses() {
    for (name, first, second, vip) in pairs() {
        Lab::test(2, move |lab| {
            let a = lab.start(0, vec![first]);
            a.until(Phase::Active);
            let b = lab.start(1, vec![second]);
            b.status("a peer", |status| status.peer.is_some());
            within(500, "address", || lab.has(0, vip).then_some(()));
            // Silence: the other one, by its own clock, and then the first is not let back.
            drop(a);
            let began = now();
            b.until(Phase::Active);
            println!("{name}: silence noticed after {} ms", began.elapsed().as_millis());
            within(500, "address", || lab.has(1, vip).then_some(()));
            within(8000, "end of the lease", || (!lab.has(0, vip)).then_some(()));
            assert!(lab.has(1, vip));
        });
    }
}

#[test]
fn a_handover_loses_nothing() {
    Lab::test(3, |lab| {
        let (a, b) = active_and_backup(lab);
        let probe = Probe::start(lab, 2, &[0, 1], "10.88.0.101");
        for (from, to) in [(&a, &b), (&b, &a)] {
            from.order(Order::Command(Command::HandOver));
            assert_eq!(from.until(Phase::Leaving).reason, Reason::HandOver);
            to.until(Phase::Active);
            assert_eq!(from.until(Phase::Backup).reason, Reason::Taken);
            thread::sleep(Duration::from_millis(300));
        }
        let result = probe.stop();
        println!("handover there and back: {result:?}");
        assert_eq!(result.lost, 0, "{result:?}");
        assert_eq!(result.servers, 3, "first one, then the other, then the first: {result:?}");
    });
}

#[test]
fn a_planned_stop_loses_nothing() {
    Lab::test(3, |lab| {
        let (a, b) = active_and_backup(lab);
        let probe = Probe::start(lab, 2, &[0, 1], "10.88.0.101");
        a.order(Order::Command(Command::Shutdown));
        a.wait(2000, "an end", |report| matches!(report, Report::Finished(saved) if !saved.active).then_some(()));
        drop(a);
        b.until(Phase::Active);
        assert!(!lab.has(0, "10.88.0.101"));
        thread::sleep(Duration::from_millis(300));
        let result = probe.stop();
        println!("planned stop: {result:?}");
        assert_eq!((result.lost, result.servers), (0, 2), "{result:?}");
    });
}

#[test]
fn an_unfit_node_gives_the_addresses_away() {
    Lab::test(2, |lab| {
        let (a, b) = active_and_backup(lab);
        let faults = [Fault::Down("the service".to_owned())].into();
        a.order(Order::Health(Health { faults, ..fit() }));
        assert_eq!(a.until(Phase::Leaving).reason, Reason::Unfit);
        b.until(Phase::Active);
        assert_eq!(a.until(Phase::Fault).reason, Reason::Unfit);
        within(500, "removal", || (!lab.has(0, "10.88.0.101")).then_some(()));
    });
}

#[test]
fn a_configuration_is_changed_in_place() {
    Lab::test(3, |lab| {
        let (a, b) = active_and_backup(lab);
        let other = lab.start(1, vec![router(2, 100)]);
        a.order(Order::Config(vec![router(1, 200), router(2, 200)]));
        a.wait(3000, "the new router Active", |report| {
            matches!(report, Report::Moved { router, transition } if router == "r2" && transition.to == Phase::Active)
                .then_some(())
        });
        let probe = Probe::start(lab, 2, &[0, 1], "10.88.0.101");
        // Another priority, interval and one address more: Active all the time.
        let changed = RouterConfig {
            priority: vrrp::types::Priority(150),
            interval: Centiseconds::new(20).unwrap(),
            addresses: vec!["10.88.0.101/24".parse().unwrap(), "10.88.0.150/24".parse().unwrap()],
            ..router(1, 200)
        };
        a.drain();
        a.order(Order::Config(vec![changed.clone(), router(2, 200)]));
        within(500, "the new address", || lab.has(0, "10.88.0.150").then_some(()));
        b.status("the new priority", |status| status.peer.is_some_and(|peer| peer.priority.0 == 150));
        let moved: Vec<Report> = a
            .drain()
            .into_iter()
            .filter(|report| matches!(report, Report::Moved { router, .. } if router == "r2"))
            .collect();
        assert_eq!(moved, [], "the other router was not touched");
        // One address less: it is gone; the router itself goes on.
        a.order(Order::Config(vec![RouterConfig { addresses: changed.addresses[..1].to_vec(), ..changed }]));
        within(500, "removal", || (!lab.has(0, "10.88.0.150")).then_some(()));
        // A router that is no longer there resigns, and nobody misses it.
        a.wait(2000, "its end", |report| matches!(report, Report::Removed { router } if router == "r2").then_some(()));
        other.until(Phase::Active);
        within(500, "removal", || (!lab.has(0, "10.88.0.102")).then_some(()));
        let result = probe.stop();
        assert_eq!((result.lost, result.servers), (0, 1), "{result:?}");
    });
}

#[test]
fn a_configuration_that_contradicts_itself_changes_nothing() {
    Lab::test(1, |lab| {
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        node.order(Order::Config(vec![router(1, 100), router(1, 120)]));
        node.wait(500, "a warning", |report| matches!(report, Report::Warning(_)).then_some(()));
        node.status("an active status", |status| status.sent > 5 && status.phase == Phase::Active);
    });
}

#[test]
fn a_group_moves_together() {
    Lab::test(2, |lab| {
        let group = |config: RouterConfig| RouterConfig { group: Some("both".to_owned()), ..config };
        let a = lab.start(0, vec![group(router(1, 200)), group(router_v6(2, 200))]);
        a.until(Phase::Active);
        a.until(Phase::Active);
        let b = lab.start(1, vec![group(router(1, 100)), group(router_v6(2, 100))]);
        b.status("a peer", |status| status.name == "r2" && status.peer.is_some());
        a.order(Order::CommandTo("r1".to_owned(), Command::HandOver));
        b.until(Phase::Active);
        b.until(Phase::Active);
        within(1000, "removal", || (!lab.has(0, "10.88.0.101") && !lab.has(0, "fd88::100:2")).then_some(()));
        assert!(lab.has(1, "10.88.0.101") && lab.has(1, "fd88::100:2"));
    });
}

#[test]
fn a_rival_is_answered() {
    Lab::test(2, |lab| {
        let node = lab.start(0, vec![router(1, 200)]);
        node.until(Phase::Active);
        let before = node.status("announcements", |status| status.announced >= 3);
        lab.on(1, || {
            ip("address add 10.88.0.101/32 dev eth0");
            let socket = std::net::UdpSocket::bind("10.88.0.101:0").unwrap();
            // To somebody unknown, so that an ARP request with the address goes out.
            socket.send_to(b"x", "10.88.0.99:9").unwrap();
        });
        let after = node.status("a rival", |status| !status.counts.is_empty());
        assert!(after.counts.contains_key(&vrrp::machine::io::Count::Rival), "{:?}", after.counts);
        assert!(after.announced > before.announced);
    });
}

#[test]
fn the_virtual_mac_carries_the_addresses() {
    for (config, vip, mac, name) in [
        (router(51, 200), "10.88.0.151", "00:00:5e:00:01:33", "vrrp4."),
        (router_v6(51, 200), "fd88::100:51", "00:00:5e:00:02:33", "vrrp6."),
    ] {
        Lab::test(3, move |lab| {
            let config = RouterConfig { virtual_mac: true, ..config };
            let second = RouterConfig { priority: vrrp::types::Priority(100), ..config.clone() };
            for host in [0, 1] {
                for (setting, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
                    let path = format!("/proc/sys/net/ipv4/conf/eth0/{setting}");
                    lab.on(host, || std::fs::write(path, value).unwrap());
                }
            }
            let a = lab.start(0, vec![config]);
            a.until(Phase::Active);
            let b = lab.start(1, vec![second]);
            let link = |host| lab.on(host, || ip("link show up"));
            within(500, "a macvlan", || (link(0).contains(name) && link(0).contains(mac)).then_some(()));
            assert!(!link(1).contains(name), "a Backup has none that is up");
            let probe = Probe::start(lab, 2, &[0, 1], vip);
            let neighbour = || lab.on(2, || ip("neighbour show dev eth0"));
            within(2000, "an answer", || neighbour().contains(mac).then_some(()));
            b.status("a peer", |status| status.peer.is_some());
            a.order(Order::Command(Command::HandOver));
            b.until(Phase::Active);
            a.until(Phase::Backup);
            within(1000, "its end", || (!link(0).contains(name)).then_some(()));
            thread::sleep(Duration::from_millis(300));
            assert!(neighbour().contains(mac), "the same MAC at another host: {}", neighbour());
            let result = probe.stop();
            println!("virtual MAC {vip}: {result:?}");
            assert_eq!(result.servers, 2, "{result:?}");
            // The macvlan of an engine that died outlives its addresses; the next one takes it.
            drop(b);
            let b = lab.start(
                1,
                vec![RouterConfig {
                    virtual_mac: true,
                    preempt: Preempt::Never,
                    ..if vip.contains(':') { router_v6(51, 100) } else { router(51, 100) }
                }],
            );
            b.until(Phase::Backup);
        });
    }
}

fn active_and_backup(lab: &Lab) -> (Node, Node) {
    let a = lab.start(0, vec![router(1, 200)]);
    a.until(Phase::Active);
    let b = lab.start(1, vec![router(1, 100)]);
    b.status("a peer", |status| status.peer.is_some_and(|peer| peer.address == address("10.88.0.1")));
    (a, b)
}
