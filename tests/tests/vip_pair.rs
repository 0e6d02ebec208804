//! Two hosts with `baton`: whatever becomes of the Active one, the address is with one host, and clients hardly notice.

#![allow(clippy::unwrap_used, reason = "tests; clippy exempts `#[test]` functions only")]
#![allow(clippy::disallowed_methods, reason = "measures")]

mod vip;

use std::time::{Duration, Instant};

use e2e::lab::dissect::{Advert, Checksum, dissect};
use e2e::lab::heard::Ear;
use e2e::lab::lan::{mac, wait_for};
use e2e::lab::node::Node;
use e2e::lab::router::Router;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::vip::scene::{PATIENCE, Scene, first, router};
use crate::vip::{Watched, own, told};

#[test]
fn a_dead_host_is_followed_after_the_down_interval() {
    let (scene, _one, _two) = Scene::pair(&router(), "");
    let probes = scene.probe(0);
    let dead = &scene.hosts[0];
    scene.lan.kill(dead, &dead.pids()).unwrap();
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    let log = probes.finish();
    let down = router().down_interval();
    let least = down - router().interval * 3 / 2;
    assert!(
        log.outage() >= least && log.outage() <= down + BUSY + log.disturbed,
        "{least:?} to {down:?}, {}",
        told(&log)
    );
}

#[test]
fn a_planned_stop_and_the_return_lose_no_client() {
    let (scene, mut one, two) = Scene::pair(&router(), "");
    let probes = scene.probe(0);
    one.stop().unwrap();
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    unnoticed(&probes.finish(), &["lb1", "lb2"]);
    assert_eq!(two.router().unwrap()["reason"], "the Active router resigned");
    let probes = scene.probe(1);
    one.resume().unwrap();
    probes.until_answered_by("lb1", 50, PATIENCE).unwrap();
    unnoticed(&probes.finish(), &["lb2", "lb1"]);
    scene.only(0);
    assert_eq!(two.router().unwrap()["reason"], "another router outranks this one");
}

#[test]
fn a_killed_daemon_is_fenced_and_comes_back_as_backup() {
    let router = Router { preempt: false, ..router() };
    let (scene, mut one, _two) = Scene::pair(&router, "");
    let probes = scene.probe(0);
    let killed = Instant::now();
    one.kill();
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    assert!(scene.hosts[0].holds(first()), "its HAProxy still serves whoever has not heard of the other one");
    scene.hosts[0].until_holds(first(), false, PATIENCE).unwrap();
    let fenced = killed.elapsed();
    assert!(fenced <= Duration::from_millis(3_500), "{fenced:?}");
    let log = probes.finish();
    assert!(log.outage() <= BUSY + log.disturbed, "{}", told(&log));
    assert_eq!(names(&log), ["lb1", "lb2"]);
    one.resume().unwrap();
    assert_eq!(one.until_state("backup").unwrap()["reason"], "started");
    scene.only(1);
}

#[test]
fn a_killed_daemon_that_is_back_in_time_goes_on_alone() {
    let slow = Router { interval: Duration::from_secs(1), ..router() };
    let scene = Scene::new(2);
    let mut one = Node::start(&scene.hosts[0], Router { priority: 254, ..slow.clone() }, "").unwrap();
    one.until_state("active").unwrap();
    let two = Node::start(&scene.hosts[1], Router { priority: 1, ..slow }, "").unwrap();
    scene.only(0);
    let probes = scene.probe(0);
    let ear = Ear::open(&scene.hosts[1], first()).unwrap();
    ear.next(PATIENCE, |heard| heard.priority > 0).unwrap();
    one.kill();
    let killed = Instant::now();
    one.resume().unwrap();
    let found = |status: &Value| status["vrrp"]["routers"][0]["reason"] == "found its addresses after a crash";
    one.until("finds its addresses", found).unwrap();
    while killed.elapsed() < Duration::from_millis(4_500) {
        assert_eq!(scene.holders(), [true, false], "after {:?}", killed.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(one.router().unwrap()["state"], "active");
    assert_eq!(two.router().unwrap()["counters"]["became_active"], 0);
    unnoticed(&probes.finish(), &["lb1"]);
}

#[test]
fn a_frozen_daemon_is_fenced_and_thaws_as_backup() {
    let router = Router { preempt: false, ..router() };
    let (scene, one, _two) = Scene::pair(&router, "");
    let probes = scene.probe(0);
    let frozen = Instant::now();
    one.signal(Signal::SIGSTOP).unwrap();
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    scene.hosts[0].until_holds(first(), false, PATIENCE).unwrap();
    assert!(frozen.elapsed() <= Duration::from_millis(3_500), "{:?}", frozen.elapsed());
    std::thread::sleep(Duration::from_millis(200));
    one.signal(Signal::SIGCONT).unwrap();
    let thawed = Instant::now();
    while thawed.elapsed() < Duration::from_secs(1) {
        assert_eq!(scene.holders(), [false, true], "after {:?}", thawed.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    let log = probes.finish();
    assert!(log.outage() <= BUSY + log.disturbed, "{}", told(&log));
    assert_eq!(names(&log), ["lb1", "lb2"]);
    let status = one.router().unwrap();
    assert_eq!((&status["state"], &status["counters"]["late"]), (&json!("backup"), &json!(1)), "{status:#}");
}

#[test]
fn an_upgrade_in_place_is_a_new_process_that_nobody_notices() {
    let (scene, one, two) = Scene::pair(&router(), "");
    let before = one.status().unwrap();
    let probes = scene.probe(0);
    one.signal(Signal::SIGUSR2).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(scene.holders(), [true, false], "after {:?}\n{}", began.elapsed(), one.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let after = anew(&one, &before);
    let resumed = &after["vrrp"]["routers"][0];
    assert_eq!(
        (&resumed["state"], &resumed["reason"]),
        (&json!("active"), &json!("goes on where it was before an upgrade or a new configuration"))
    );
    unnoticed(&probes.finish(), &["lb1"]);
    assert_eq!(two.router().unwrap()["counters"]["became_active"], 0);
}

/// Two packages in one transaction send two signals; the second must not meet a program that does not listen yet.
#[test]
fn upgrades_in_a_row_end_nothing() {
    let (scene, one, two) = Scene::pair(&router(), "");
    let before = one.status().unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        one.signal(Signal::SIGUSR2).unwrap();
        std::thread::sleep(Duration::from_micros(700));
        assert_eq!(scene.holders(), [true, false], "after {:?}\n{}", began.elapsed(), one.log());
    }
    anew(&one, &before);
    scene.only(0);
    assert_eq!(two.router().unwrap()["counters"]["became_active"], 0);
}

/// As an upgrade of HAProxy's package: its master executes itself, and baton just then. A master that is away for that is
/// not dead.
#[test]
fn an_upgrade_beside_haproxys_own_moves_nothing() {
    let (scene, one, two) = Scene::pair(&router(), "");
    let master = one.pids().1.unwrap();
    for step in 0..16 {
        let before = one.status().unwrap();
        kill(master, Signal::SIGUSR2).unwrap();
        std::thread::sleep(Duration::from_millis(4) * step);
        one.signal(Signal::SIGUSR2).unwrap();
        anew(&one, &before);
        assert_eq!(scene.holders(), [true, false], "{}", one.log());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(!one.log().contains("unfit"), "{}", one.log());
    assert_eq!(two.router().unwrap()["counters"]["became_active"], 0);
}

/// As `systemctl stop` just after a package's upgrade.
#[test]
fn a_stop_that_meets_an_upgrade_is_obeyed() {
    for wait in [0, 5, 20, 60, 120] {
        let (scene, mut one, _two) = Scene::pair(&router(), "");
        one.signal(Signal::SIGUSR2).unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        one.signal(Signal::SIGTERM).unwrap();
        wait_for("the end", PATIENCE, || !one.running().0).unwrap();
        scene.only(1);
    }
}

#[test]
fn a_program_that_would_not_start_is_not_executed() {
    let (scene, one, two) = Scene::pair(&router(), "");
    let before = one.status().unwrap();
    let file = scene.hosts[0].dir().join("baton.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("[haproxy]\n", "[haproxy]\nteleport = true\n")).unwrap();
    one.signal(Signal::SIGUSR2).unwrap();
    wait_for("the refusal", PATIENCE, || one.log().contains("no upgrade, baton goes on as it is")).unwrap();
    assert!(one.log().contains("teleport"), "{}", one.log());
    let after = one.status().unwrap();
    assert_eq!((&after["pid"], &after["started_at"]), (&before["pid"], &before["started_at"]));
    std::fs::write(&file, good).unwrap();
    one.signal(Signal::SIGUSR2).unwrap();
    anew(&one, &before);
    scene.only(0);
    assert_eq!(two.router().unwrap()["counters"]["became_active"], 0);
}

#[test]
fn haproxys_end_moves_the_address_within_milliseconds_and_its_return_brings_it_back() {
    let (scene, mut one, _two) = Scene::pair(&Router { interval: Duration::from_millis(10), ..router() }, "");
    let probes = scene.probe(0);
    one.kill_haproxy();
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    let log = probes.finish();
    assert!(log.outage() <= Duration::from_millis(50) + log.disturbed, "{}", told(&log));
    let status = one.until_state("fault").unwrap();
    assert_eq!((&status["reason"], &status["faults"]), (&json!("HAProxy is unfit"), &json!(["HAProxy does not run"])));
    let probes = scene.probe(1);
    one.start_haproxy().unwrap();
    let began = Instant::now();
    probes.until_answered_by("lb1", 50, PATIENCE).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(5), "it must prove itself first: {:?}", began.elapsed());
    unnoticed(&probes.finish(), &["lb2", "lb1"]);
}

#[test]
fn a_frozen_haproxy_moves_the_address() {
    let (scene, one, two) = Scene::pair(&router(), "");
    let began = Instant::now();
    one.signal_haproxy(Signal::SIGSTOP);
    scene.hosts[1].until_holds(first(), true, PATIENCE).unwrap();
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
    scene.only(1);
    assert_eq!(two.router().unwrap()["state"], "active");
    let status = one.router().unwrap();
    assert_eq!((&status["state"], &status["faults"]), (&json!("backup"), &json!(["HAProxy does not answer"])));
    one.signal_haproxy(Signal::SIGCONT);
    scene.only(0);
}

#[test]
fn a_hold_lasts_through_restarts_until_its_release() {
    let (scene, mut one, two) = Scene::pair(&router(), "");
    let probes = scene.probe(0);
    let said = one.ask(&["vip", "hold"]).unwrap();
    assert!(said.contains("public: fault now, 10.77.0.12 has it"), "{said}");
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    unnoticed(&probes.finish(), &["lb1", "lb2"]);
    one.stop().unwrap();
    one.resume().unwrap();
    scene.only(1);
    one.signal(Signal::SIGUSR2).unwrap();
    scene.only(1);
    let status = one.router().unwrap();
    assert!(status["hold"]["by"].is_string() && status["hold"]["since"].is_number(), "{status:#}");
    let text = one.ask(&["vip", "status"]).unwrap();
    assert!(text.contains("held out by"), "{text}");
    one.ask(&["vip", "release"]).unwrap();
    scene.only(0);
    two.until_state("backup").unwrap();
}

#[test]
fn a_handover_ends_at_the_peer_and_stays_there() {
    let (scene, one, _two) = Scene::pair(&router(), "");
    let probes = scene.probe(0);
    let said = one.ask(&["vip", "handover"]).unwrap();
    assert!(said.contains("public: backup now, 10.77.0.12 has it"), "{said}");
    probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    unnoticed(&probes.finish(), &["lb1", "lb2"]);
    scene.only(1);
}

#[test]
fn announcements_come_as_designed() {
    let (scene, mut one, _two) = Scene::pair(&router(), "");
    let capture = scene.lan.capture(&scene.client, "arp or proto 112").unwrap();
    one.stop().unwrap();
    scene.only(1);
    std::thread::sleep(Duration::from_millis(5_200));
    one.resume().unwrap();
    scene.only(0);
    let dead = &scene.hosts[0];
    scene.lan.kill(dead, &dead.pids()).unwrap();
    scene.hosts[1].until_holds(first(), true, PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(5_200));
    let seen = dissect(&capture.finish().unwrap(), Checksum::PseudoHeader).unwrap();
    assert_eq!(seen.faults(), Vec::<String>::new());
    let mac = mac(own(1));
    let bursts: Vec<Vec<Duration>> = [0, 1]
        .map(|which| {
            // A reign begins with an advertisement after another's.
            let all: Vec<_> =
                seen.adverts.windows(2).filter(|pair| pair[0].mac != pair[1].mac && pair[1].mac == mac).collect();
            let began = all.iter().filter(|pair| is_reign(&seen.adverts, pair[1].at, &mac)).nth(which).unwrap()[1].at;
            let rows =
                seen.announcements.iter().filter(|row| row.mac == mac && row.address == first() && row.at >= began);
            let rows = rows.filter(|row| row.at < began + Duration::from_millis(5_150));
            let (requests, answers): (Vec<_>, Vec<_>) = rows.partition(|row| row.request);
            assert_eq!(requests.len(), answers.len(), "both forms, each time");
            requests.iter().map(|row| row.at - began).collect()
        })
        .into();
    after_a_resignation(&bursts[0]);
    after_silence(&bursts[1]);
}

/// Waits for the same process to be another program; its status.
#[track_caller]
fn anew(one: &Node, before: &Value) -> Value {
    let other = |status: &Value| status["started_at"].is_number() && status["started_at"] != before["started_at"];
    let after = one.until("runs anew", other).unwrap();
    assert_eq!(after["pid"], before["pid"]);
    after
}

/// At 0, 20 ms, 100 ms, 500 ms, 2 s and 5 s.
fn after_a_resignation(found: &[Duration]) {
    near(found, &[0, 20, 100, 500, 2_000, 5_000]);
}

/// Every 250 ms until 4 s besides: who was there before may still answer.
fn after_silence(found: &[Duration]) {
    let mut wanted: Vec<u64> = (0..=16).map(|number| number * 250).chain([20, 100, 5_000]).collect();
    wanted.sort_unstable();
    near(found, &wanted);
}

#[track_caller]
fn near(found: &[Duration], wanted: &[u64]) {
    let close = |(found, wanted): (&Duration, &u64)| found.abs_diff(Duration::from_millis(*wanted)).as_millis() <= 15;
    assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(close), "{found:?} instead of {wanted:?}");
}

/// Whether the sender goes on from then, and has not just lost an election.
fn is_reign(adverts: &[Advert], from: Duration, mac: &str) -> bool {
    let mut next = adverts.iter().filter(|advert| advert.at >= from).take(4);
    next.all(|advert| advert.mac == mac)
}

/// Nothing was lost; the connection that is just being made as the address moves may be refused.
#[track_caller]
fn unnoticed(log: &Watched, turns: &[&str]) {
    assert_eq!(names(log), turns, "{}", told(log));
    assert!(log.outage() <= SLACK + log.disturbed * 2, "{}", told(log));
}

fn names(log: &Watched) -> Vec<String> {
    log.turns().iter().map(|name| name.to_string()).collect()
}

/// What a probing client cannot see.
const SLACK: Duration = Duration::from_millis(8);

/// What a busy machine may add.
const BUSY: Duration = Duration::from_millis(120);
