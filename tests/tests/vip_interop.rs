//! `baton` and the real keepalived as one pair, in both roles: neither notices that the other is no peer of its kind.
//!
//! The table of cases is told by [`vip::play`], the same story that two keepalived go through; three nodes and lists of
//! addresses that differ have stories of their own.

#![allow(clippy::unwrap_used, reason = "tests; clippy exempts `#[test]` functions only")]

mod vip;

use std::net::IpAddr;
use std::time::Duration;

use e2e::lab::dissect::{Checksum, dissect};
use e2e::lab::router::Router;
use serde_json::json;

use crate::vip::scene::{FIRST, PATIENCE, Scene, first, router};
use crate::vip::{Balancer, Case, Kind, own, play, told};

/// A test for each case, ours preferred and keepalived preferred.
macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {
        mod ours_is_preferred {
            use super::*;
            $(#[test] fn $name() { play(&$case, [Kind::Baton, Kind::Keepalived]); })*
        }
        mod keepalived_is_preferred {
            use super::*;
            $(#[test] fn $name() { play(&$case, [Kind::Keepalived, Kind::Baton]); })*
        }
    };
}

cases! {
    v3_multicast_at_100_ms: Case::new(router());
    v3_multicast_at_10_ms: Case::new(Router { interval: Duration::from_millis(10), ..router() });
    v3_multicast_at_1_s: Case::new(Router { interval: SECOND, ..router() });
    v3_unicast: Case { unicast: true, ..Case::new(router()) };
    v3_without_preemption: Case::new(Router { preempt: false, ..router() });
    v2: Case::new(second());
    v2_with_a_password: Case::new(Router { auth_pass: Some("secret".to_owned()), ..second() });
    ipv6: Case::new(Router { addresses: SIX.map(str::to_owned).to_vec(), ..router() });
    ipv6_unicast: Case {
        unicast: true,
        ..Case::new(Router { addresses: SIX.map(str::to_owned).to_vec(), ..router() })
    };
}

#[test]
fn three_nodes_of_which_keepalived_is_the_one_between() {
    three([Kind::Baton, Kind::Keepalived, Kind::Baton]);
}

#[test]
fn three_nodes_of_which_ours_is_the_one_between() {
    three([Kind::Keepalived, Kind::Baton, Kind::Keepalived]);
}

#[test]
fn a_peer_that_advertises_other_addresses_is_named_and_nothing_flaps() {
    let scene = Scene::new(2);
    let capture = scene.lan.capture(&scene.hosts[1], "proto 112").unwrap();
    let ours = Router { priority: 200, addresses: vec![FIRST.to_owned(), OTHER.to_owned()], ..router() };
    let ours = scene.start(0, Kind::Baton, ours);
    let theirs = scene.start(1, Kind::Keepalived, Router { priority: 100, ..router() });
    // keepalived before 2.3.3 drops an advertisement with another list, so it hears nobody; ours drops none.
    scene.hosts[1].until_holds(first(), true, PATIENCE).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(scene.hosts.iter().all(|host| host.holds(first())), "two Actives");
    let Balancer::Baton(node) = &ours else { panic!("the first is ours") };
    let router = node.router().unwrap();
    assert_eq!(router["differing"], json!({"10.77.0.12": ["10.77.0.100"]}));
    assert_eq!((&router["state"], &router["counters"]["became_active"]), (&json!("active"), &json!(1)));
    assert_eq!(router["peer"]["address"], "10.77.0.12");
    let text = node.ask(&["vip", "status"]).unwrap();
    for part in ["10.77.0.12 advertises other addresses: 10.77.0.100", "both are Active", "excluded_addresses"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let seen = dissect(&capture.finish().unwrap(), Checksum::PseudoHeader).unwrap();
    assert_eq!(seen.faults(), Vec::<String>::new());
    for (number, priority) in [(1, 200), (2, 100)] {
        let own = IpAddr::from([10, 77, 0, 10 + number]);
        assert!(seen.adverts_from(own).all(|advert| advert.priority == priority), "nobody resigns: {}", theirs.log());
    }
    // keepalived begins its interval anew with whatever it hears, and so is nearly silent; ours is not.
    let told = seen.adverts_from(own(0)).collect::<Vec<_>>();
    let longest = told.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(longest < Duration::from_millis(200), "silent for {longest:?}");
    assert_eq!(theirs.log().matches("Entering MASTER STATE").count(), 1, "{}", theirs.log());
}

#[test]
fn addresses_beyond_the_peers_are_held_without_being_advertised() {
    let scene = Scene::new(2);
    let ours = Router { priority: 200, excluded: vec![OTHER.to_owned()], ..router() };
    let mut ours = scene.start(0, Kind::Baton, ours);
    scene.hosts[0].until_holds(first(), true, PATIENCE).unwrap();
    let _theirs = scene.start(1, Kind::Keepalived, Router { priority: 100, ..router() });
    std::thread::sleep(Duration::from_secs(1));
    assert!(scene.hosts[0].holds(first()) && scene.hosts[0].holds(other()));
    assert!(!scene.hosts[1].holds(first()), "one Active");
    ours.stop();
    scene.hosts[1].until_holds(first(), true, PATIENCE).unwrap();
    assert!(!scene.hosts[0].holds(first()) && !scene.hosts[0].holds(other()));
}

#[test]
fn a_resignation_forced_by_haproxys_end_reaches_keepalived() {
    let scene = Scene::new(2);
    let mut ours = scene.start(0, Kind::Baton, Router { priority: 200, ..router() });
    scene.hosts[0].until_holds(first(), true, PATIENCE).unwrap();
    let _theirs = scene.start(1, Kind::Keepalived, Router { priority: 100, ..router() });
    let probes = scene.probe(0);
    let Balancer::Baton(node) = &mut ours else { panic!("the first is ours") };
    node.kill_haproxy();
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    let log = probes.finish();
    assert!(log.outage() < Duration::from_millis(200) + log.disturbed, "{}", told(&log));
    let router = node.until_state("fault").unwrap();
    assert_eq!(router["faults"], json!(["HAProxy does not run"]));
}

/// The first dies, the second one dies, both come back: the address is always with the best of those that live.
fn three(kinds: [Kind; 3]) {
    let scene = Scene::new(3);
    let capture = scene.lan.capture(&scene.hosts[2], "proto 112").unwrap();
    let mut all: Vec<Balancer> = Vec::new();
    for (number, kind) in kinds.into_iter().enumerate() {
        let priority = [200, 150, 100][number];
        all.push(scene.start(number, kind, Router { priority, ..router() }));
        scene.only(0);
    }
    let probes = scene.probe(0);
    all[0].stop();
    scene.only(1);
    all[1].stop();
    scene.only(2);
    all[1].resume();
    scene.only(1);
    all[0].resume();
    scene.only(0);
    let dead = &scene.hosts[0];
    scene.lan.kill(dead, &dead.pids()).unwrap();
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    let log = probes.finish();
    let turns = log.turns();
    let turns: Vec<&str> = turns.iter().map(|name| &**name).collect();
    assert_eq!(turns, ["lb1", "lb2", "lb3", "lb2", "lb1", "lb2"], "{}", told(&log));
    let seen = dissect(&capture.finish().unwrap(), Checksum::PseudoHeader).unwrap();
    assert_eq!(seen.faults(), Vec::<String>::new());
}

fn second() -> Router {
    Router { version: 2, interval: SECOND, ..router() }
}

fn other() -> IpAddr {
    OTHER.split('/').next().unwrap().parse().unwrap()
}

const OTHER: &str = "10.77.0.101/24";
/// Of IPv6 the first one is link-local: RFC 9568, section 5.2.9.
const SIX: [&str; 2] = ["fe80::100/64", "fd77::100/64"];
const SECOND: Duration = Duration::from_secs(1);
