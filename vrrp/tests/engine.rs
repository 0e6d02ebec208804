//! One engine on one host: its addresses, their lease, and what happens to its interface. As root.

#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;

use std::fs;
use std::thread;
use std::time::Duration;

use lab::{Lab, address, ip, now, router, router_v6, within};
use vrrp::config::RouterConfig;
use vrrp::linux::engine::Order;
use vrrp::linux::remark::Remark;
use vrrp::linux::report::Report;
use vrrp::machine::io::{Command, Count, Phase, Reason};

/// The lease of a router with 100 ms is three seconds.
const LEASE: u64 = 3000;

#[test]
fn addresses_vanish_soon_after_the_thread_stops() {
    for (router, addresses) in
        [(router(1, 100), vec!["10.88.0.101"]), (router_v6(1, 100), vec!["fe80::100:1", "fd88::100:1"])]
    {
        Lab::test(1, move |lab| {
            let node = lab.start(0, vec![router]);
            node.until(Phase::Active);
            within(500, "addresses", || addresses.iter().all(|address| lab.has(0, address)).then_some(()));
            thread::sleep(Duration::from_millis(700));
            drop(node);
            let stopped = now();
            assert!(addresses.iter().all(|address| lab.has(0, address)), "the kernel keeps them for the lease");
            within(LEASE + 300, "end of the addresses", || {
                (!addresses.iter().any(|address| lab.has(0, address))).then_some(())
            });
            println!("{addresses:?} gone {} ms after the engine stopped", stopped.elapsed().as_millis());
        });
    }
}

#[test]
fn the_thread_is_a_real_time_one() {
    Lab::test(1, |lab| {
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        let stats = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            text.contains("(vrrp)").then_some(text)
        });
        let stats: Vec<String> = stats.collect();
        assert!(!stats.is_empty());
        // Fields 40 and 41: the priority, and SCHED_RR (2).
        let of = |text: &String| text.split(' ').skip(39).take(2).map(str::to_owned).collect::<Vec<_>>();
        assert!(stats.iter().all(|text| of(text) == ["10", "2"]), "{stats:?}");
        let locked = fs::read_to_string("/proc/self/status").unwrap();
        assert!(locked.lines().any(|line| line.starts_with("VmLck:") && !line.ends_with(" 0 kB")), "{locked}");
        let warned = node.drain().into_iter().find(|report| matches!(report, Report::Warning(_)));
        assert_eq!(warned, None);
    });
}

#[test]
fn refreshing_never_removes() {
    Lab::test(1, |lab| {
        let node = lab.start(0, vec![router(1, 100), router_v6(2, 100)]);
        node.until(Phase::Active);
        node.until(Phase::Active);
        within(500, "addresses", || (lab.has(0, "10.88.0.101") && lab.has(0, "fd88::100:2")).then_some(()));
        let deleted = lab.on(0, || {
            let output =
                std::process::Command::new("timeout").args("4 ip -o monitor address".split(' ')).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        assert!(deleted.contains("10.88.0.101/32"), "refreshes are seen: {deleted}");
        assert!(!deleted.contains("Deleted"), "{deleted}");
        let shown = lab.on(0, || ip("address show dev eth0"));
        for wanted in ["inet 10.88.0.101/32 scope global", "inet6 fd88::100:2/128", "noprefixroute", "deprecated"] {
            assert!(shown.contains(wanted), "{wanted} in {shown}");
        }
        assert!(!shown.contains("tentative"), "{shown}");
    });
}

#[test]
fn an_address_removed_by_hand_is_back_within_milliseconds() {
    for (router, lost) in [(router(1, 100), "10.88.0.101"), (router_v6(1, 100), "fd88::100:1")] {
        Lab::test(1, move |lab| {
            let node = lab.start(0, vec![router]);
            node.until(Phase::Active);
            within(500, "address", || lab.has(0, lost).then_some(()));
            let prefix = if lost.contains(':') { 128 } else { 32 };
            lab.on(0, || ip(&format!("address del {lost}/{prefix} dev eth0")));
            within(50, "address again", || lab.has(0, lost).then_some(()));
            let status = node.status("a count", |status| status.counts.contains_key(&Count::AddressRestored));
            assert_eq!(status.phase, Phase::Active);
            assert_eq!(status.counts[&Count::AddressRestored], 1);
        });
    }
}

#[test]
fn own_removals_are_not_losses() {
    Lab::test(1, |lab| {
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        node.order(Order::Command(Command::Hold { force: true }));
        node.until(Phase::Fault);
        within(500, "removal", || (!lab.has(0, "10.88.0.101")).then_some(()));
        node.order(Order::Command(Command::Release));
        node.until(Phase::Active);
        let status = node.status("an active status", |status| status.phase == Phase::Active && status.sent > 20);
        assert_eq!(status.counts.get(&Count::AddressRestored), None);
    });
}

#[test]
fn an_interface_that_is_down_is_waited_for() {
    Lab::test(1, |lab| {
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        lab.on(0, || ip("link set eth0 down"));
        assert_eq!(node.until(Phase::Fault).reason, Reason::Link);
        within(500, "removal", || (!lab.has(0, "10.88.0.101")).then_some(()));
        node.status("a remark", |status| status.remarks.contains(&Remark::LinkDown));
        lab.on(0, || ip("link set eth0 up"));
        node.until(Phase::Backup);
        node.until(Phase::Active);
        assert!(lab.has(0, "10.88.0.101"));
        // The other end of the cable.
        lab.on_switch(|| ip("link set p1 down"));
        assert_eq!(node.until(Phase::Fault).reason, Reason::Link);
        lab.on_switch(|| ip("link set p1 up"));
        node.until(Phase::Active);
    });
}

#[test]
fn a_link_that_was_down_is_listened_on_again() {
    Lab::test(2, |lab| {
        let routers = |priority| vec![router(1, priority), router_v6(2, priority)];
        let active = lab.start(0, routers(200));
        active.until(Phase::Active);
        active.until(Phase::Active);
        let node = lab.start(1, routers(100));
        node.status("a peer", |status| status.name == "r2" && status.peer.is_some());
        lab.on(1, || ip("link set eth0 down"));
        node.until(Phase::Fault);
        node.until(Phase::Fault);
        lab.on(1, || {
            ip("link set eth0 up");
            ip("address add fe80::2/64 dev eth0 nodad")
        });
        node.until(Phase::Backup);
        node.until(Phase::Backup);
        thread::sleep(Duration::from_secs(3));
        let moved = node.drain().into_iter().find(|report| matches!(report, Report::Moved { .. }));
        assert_eq!(moved, None, "the Active router is heard in both families");
    });
}

#[test]
fn the_virtual_mac_needs_settings_of_the_interface() {
    Lab::test(1, |lab| {
        let node = lab.start(0, vec![RouterConfig { virtual_mac: true, ..router(1, 100) }]);
        node.status("a remark", |status| status.remarks.contains(&Remark::ArpSettings));
        node.until(Phase::Active);
        within(500, "address", || lab.on(0, || ip("address show")).contains("10.88.0.101/32").then_some(()));
        // Somebody removes the macvlan: it is made again.
        let name = || {
            let links = lab.on(0, || ip("-o link show"));
            links
                .split(' ')
                .find(|word| word.starts_with("vrrp4."))
                .map(|word| word.split('@').next().unwrap().to_owned())
        };
        lab.on(0, || ip(&format!("link del {}", name().unwrap())));
        within(3000, "address again", || lab.on(0, || ip("address show")).contains("10.88.0.101/32").then_some(()));
        // The next engine is without: nothing of it stays.
        drop(node);
        assert!(name().is_some());
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        assert_eq!(name(), None);
    });
}

#[test]
fn an_interface_that_is_made_again_gets_new_sockets() {
    Lab::test(2, |lab| {
        let node = lab.start(0, vec![router(1, 200), router_v6(2, 200)]);
        node.until(Phase::Active);
        node.until(Phase::Active);
        lab.on(0, || ip("link del eth0"));
        node.wait(2000, "a remark", |report| {
            matches!(report, Report::Remark { remark: Remark::NoInterface, .. }).then_some(())
        });
        lab.plug(0);
        node.until(Phase::Active);
        node.until(Phase::Active);
        within(500, "addresses", || (lab.has(0, "10.88.0.101") && lab.has(0, "fd88::100:2")).then_some(()));
        // Advertisements reach others again.
        let peer = lab.start(1, vec![router(1, 100), router_v6(2, 100)]);
        peer.status("a peer", |status| status.name == "r1" && status.peer.is_some());
        peer.status("a peer", |status| status.name == "r2" && status.peer.is_some());
    });
}

#[test]
fn an_interface_that_does_not_exist_yet_is_waited_for() {
    Lab::test(1, |lab| {
        lab.on(0, || ip("link set eth0 down"));
        lab.on(0, || ip("link set eth0 name wait0"));
        let node = lab.start(0, vec![router(1, 100)]);
        let status = node.status("a remark", |status| status.remarks.contains(&Remark::NoInterface));
        assert_eq!(status.phase, Phase::Fault);
        lab.on(0, || ip("link set wait0 name eth0"));
        lab.on(0, || ip("link set eth0 up"));
        node.until(Phase::Active);
        assert!(lab.has(0, "10.88.0.101"));
    });
}

#[test]
fn the_source_follows_the_primary_address() {
    Lab::test(2, |lab| {
        let node = lab.start(0, vec![router(1, 200)]);
        let peer = lab.start(1, vec![router(1, 100)]);
        node.until(Phase::Active);
        peer.status("the first source", |status| status.peer.is_some_and(|peer| peer.address == address("10.88.0.1")));
        lab.on(0, || {
            fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1").unwrap();
            ip("address add 10.88.0.77/24 dev eth0");
            ip("address del 10.88.0.1/24 dev eth0")
        });
        peer.status("the new source", |status| status.peer.is_some_and(|peer| peer.address == address("10.88.0.77")));
    });
}

#[test]
fn a_predecessors_addresses_are_kept_until_somebody_is_heard() {
    Lab::test(1, |lab| {
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        within(500, "address", || lab.has(0, "10.88.0.101").then_some(()));
        drop(node);
        let node = lab.start(0, vec![router(1, 100)]);
        let moved = node.until(Phase::Backup);
        assert_eq!(moved.reason, Reason::Leftover);
        let gone = within(2000, "takeover", || {
            let gone = !lab.has(0, "10.88.0.101");
            let active = node
                .drain()
                .iter()
                .any(|report| matches!(report, Report::Moved { transition, .. } if transition.to == Phase::Active));
            (gone || active).then_some(gone)
        });
        assert!(!gone, "the address stayed all the time");
    });
}

#[test]
fn a_suspended_engine_is_resumed_by_its_successor() {
    Lab::test(2, |lab| {
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        let peer = lab.start(1, vec![router(1, 200)]);
        peer.status("the active one", |status| status.peer.is_some());
        node.order(Order::Command(Command::Suspend));
        let saved = node.wait(500, "an end", |report| match report {
            Report::Finished(saved) => Some(saved.clone()),
            _ => None,
        });
        assert!(saved.active);
        drop(node);
        thread::sleep(Duration::from_millis(700));
        assert!(lab.has(0, "10.88.0.101"));
        peer.drain();
        let node = lab.resume(0, vec![router(1, 100)], vec![saved]);
        assert_eq!(node.until(Phase::Active).reason, Reason::Resumed);
        thread::sleep(Duration::from_millis(1500));
        let moved = peer.drain().into_iter().find(|report| matches!(report, Report::Moved { .. }));
        assert_eq!(moved, None, "the peer noticed nothing");
    });
}

#[test]
fn prefix_lengths_follow_the_subnets_of_the_interface() {
    Lab::test(1, |lab| {
        let foreign = RouterConfig { addresses: vec!["192.0.2.10/24".parse().unwrap()], ..router(1, 100) };
        let mixed = RouterConfig {
            excluded: vec!["fd88::77/64".parse().unwrap(), "fd99::77/64".parse().unwrap()],
            ..router(2, 100)
        };
        let node = lab.start(0, vec![foreign, mixed]);
        node.until(Phase::Active);
        node.until(Phase::Active);
        let outside = Remark::OutsideSubnets(address("192.0.2.10"));
        let status = node.status("addresses", |status| status.name == "r1" && !status.held.is_empty());
        assert!(status.remarks.contains(&outside), "{:?}", status.remarks);
        let shown = lab.on(0, || ip("address show dev eth0"));
        for wanted in ["192.0.2.10/24", "10.88.0.102/32", "fd88::77/128", "fd99::77/64"] {
            assert!(shown.contains(wanted), "{wanted} in {shown}");
        }
    });
}

#[test]
fn a_static_address_is_left_alone() {
    Lab::test(1, |lab| {
        lab.on(0, || ip("address add 10.88.0.101/32 dev eth0"));
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        let remark = Remark::StaticAddress(address("10.88.0.101"));
        node.status("a remark", |status| status.remarks.contains(&remark));
        node.order(Order::Command(Command::Hold { force: true }));
        node.until(Phase::Fault);
        thread::sleep(Duration::from_millis(100));
        assert!(lab.has(0, "10.88.0.101"));
    });
}
