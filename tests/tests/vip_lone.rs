//! One host with `baton` and nobody to take over: what happens on it is mended, and a limping node is better than none.

#![allow(clippy::unwrap_used, reason = "tests; clippy exempts `#[test]` functions only")]
#![allow(clippy::disallowed_methods, reason = "measures")]

mod vip;

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::lab::dissect::{Advert, Checksum, dissect};
use e2e::lab::lan::{INTERFACE, wait_for};
use e2e::lab::router::Router;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::vip::scene::{PATIENCE, Scene, first, router};

#[test]
fn a_handover_without_a_peer_fails_and_changes_nothing() {
    let (scene, node) = Scene::lone(&router(), "");
    let why = node.ask(&["vip", "handover"]).unwrap_err().to_string();
    assert!(why.contains("public: nobody took over, it stays Active here"), "{why}");
    assert_eq!(node.router().unwrap()["state"], "active");
    let why = node.ask(&["vip", "hold"]).unwrap_err().to_string();
    assert!(why.contains("--force gives the addresses up"), "{why}");
    let status = node.router().unwrap();
    assert!(status["state"] == "active" && status["hold"].is_null() && scene.hosts[0].holds(first()), "{status:#}");
    node.ask(&["vip", "hold", "--force"]).unwrap();
    scene.hosts[0].until_holds(first(), false, PATIENCE).unwrap();
}

#[test]
fn a_node_that_limps_alone_stays_active() {
    let (scene, node) = Scene::lone(&router(), "");
    node.signal_haproxy(Signal::SIGSTOP);
    let limping = |status: &serde_json::Value| status["vrrp"]["routers"][0]["faults"] != json!([]);
    node.until("limps", limping).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        assert!(scene.hosts[0].holds(first()), "a lone limping node beats none");
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = node.until_state("active").unwrap();
    assert_eq!(
        (&status["reason"], &status["faults"]),
        (&json!("nobody else took over"), &json!(["HAProxy does not answer"]))
    );
    node.signal_haproxy(Signal::SIGCONT);
    node.until("is well again", |status| !limping(status)).unwrap();
}

#[test]
fn an_address_that_somebody_deletes_is_restored_and_counted() {
    let (scene, node) = Scene::lone(&router(), "");
    let host = &scene.hosts[0];
    host.command("ip", &["addr", "del", "10.77.0.100/32", "dev", INTERFACE]).unwrap();
    let took = host.until_holds(first(), true, Duration::from_secs(1)).unwrap();
    let counted = |status: &serde_json::Value| status["vrrp"]["routers"][0]["counters"]["addresses_restored"] == 1;
    node.until("counts it", counted).unwrap();
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert_eq!(node.router().unwrap()["state"], "active");
}

#[test]
fn an_interface_that_goes_down_takes_the_router_out_until_it_is_up() {
    let (scene, node) = Scene::lone(&router(), "");
    let host = &scene.hosts[0];
    host.command("ip", &["link", "set", INTERFACE, "down"]).unwrap();
    let status = node.until_state("fault").unwrap();
    assert_eq!(status["reason"], "the interface cannot be used");
    assert!(status["remarks"][0].as_str().unwrap().contains("down"), "{status:#}");
    host.command("ip", &["link", "set", INTERFACE, "up"]).unwrap();
    node.until_state("active").unwrap();
    assert!(host.holds(first()));
}

#[test]
fn notifications_have_keepalived_s_arguments_and_come_in_order() {
    let dir = shared();
    let told = dir.path().join("told");
    let script = program(
        dir.path(),
        "notify",
        &format!("echo \"$*\" >> {0}\ngrep CapEff /proc/self/status > {0}.caps", told.display()),
    );
    let (_scene, mut node) = Scene::lone(&router(), &format!("notify = [{script:?}, \"first\"]\n"));
    node.stop().unwrap();
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    wait_for("the last notification", PATIENCE, || lines().contains("STOP"))
        .unwrap_or_else(|why| panic!("{why}: {}", lines()));
    let lines: Vec<String> = lines().lines().map(str::to_owned).collect();
    let expected = ["BACKUP", "MASTER", "STOP"].map(|state| format!("first INSTANCE public {state} 100"));
    assert_eq!(lines, expected);
    let caps = std::fs::read_to_string(told.with_extension("caps")).unwrap();
    assert_eq!(caps.trim(), "CapEff:\t0000000000000000");
}

#[test]
fn tracked_scripts_and_interfaces_count() {
    let dir = shared();
    let well = dir.path().join("well");
    std::fs::write(&well, "").unwrap();
    let script = program(dir.path(), "check", &format!("exec test -e {}", well.display()));
    let scene = Scene::new(1);
    let host = &scene.hosts[0];
    host.command("ip", &["link", "add", "up1", "type", "veth", "peer", "name", "up2"]).unwrap();
    for name in ["up1", "up2"] {
        host.command("ip", &["link", "set", name, "up"]).unwrap();
    }
    let more = format!(
        "track_interface = [{{ name = \"up1\", weight = -30 }}]\n\
         [[vrrp.track_script]]\nname = \"check\"\ncommand = [{script:?}]\ninterval = \"100ms\"\nfall = 2\n"
    );
    let node = e2e::lab::node::Node::start(host, router(), &more).unwrap();
    assert_eq!(node.until_state("active").unwrap()["priority"], 100);
    host.command("ip", &["link", "set", "up2", "down"]).unwrap();
    node.until("is worth less", |status| status["vrrp"]["routers"][0]["priority"] == 70).unwrap();
    host.command("ip", &["link", "set", "up2", "up"]).unwrap();
    node.until("is worth as much again", |status| status["vrrp"]["routers"][0]["priority"] == 100).unwrap();
    std::fs::remove_file(&well).unwrap();
    let status = node.until_state("fault").unwrap();
    assert_eq!(
        (&status["reason"], &status["faults"]),
        (&json!("something tracked has failed"), &json!(["script check"]))
    );
    assert!(!host.holds(first()));
    std::fs::write(&well, "").unwrap();
    node.until_state("active").unwrap();
}

#[test]
fn routers_come_and_go_while_others_go_on() {
    let (scene, mut node) = Scene::lone(&router(), "");
    let since = node.router().unwrap()["since"].clone();
    let capture = scene.lan.capture(&scene.hosts[0], "proto 112").unwrap();
    let other = Router { name: "other".to_owned(), vrid: 52, ..Router::new(100, &["10.77.0.101/24"]) };
    let held = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 101));
    node.routers_mut().push(other);
    node.reload().unwrap();
    scene.hosts[0].until_holds(held, true, PATIENCE).unwrap();
    node.routers_mut().pop();
    node.reload().unwrap();
    scene.hosts[0].until_holds(held, false, PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let seen = dissect(&capture.finish().unwrap(), Checksum::PseudoHeader).unwrap();
    assert_eq!(seen.faults(), Vec::<String>::new());
    steady(seen.adverts.iter().filter(|advert| advert.vrid == 51), 5);
    let last = seen.adverts.iter().rfind(|advert| advert.vrid == 52).unwrap();
    assert_eq!(last.priority, 0, "it resigns");
    assert_eq!(node.router().unwrap()["since"], since);
}

#[test]
fn advertisements_are_in_time_while_the_rest_of_the_daemon_starves() {
    let (scene, node) = Scene::lone(&router(), "");
    let host = &scene.hosts[0];
    let pid = node.pids().0.unwrap();
    // Everything but the VRRP thread comes last on one processor, and others want all of it.
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap();
        let id = thread.file_name().into_string().unwrap();
        host.command("taskset", &["--pid", "1", &id]).unwrap();
        if name.trim() != "vrrp" {
            host.command("chrt", &["--idle", "--pid", "0", &id]).unwrap();
        }
    }
    let busy = || host.spawn("busy", "taskset", &["1", "sh", "-c", "while :; do :; done"]).unwrap();
    let loops: Vec<_> = (0..4).map(|_| busy()).collect();
    let capture = scene.lan.capture(host, "proto 112").unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let seen = dissect(&capture.finish().unwrap(), Checksum::PseudoHeader).unwrap();
    drop(loops);
    steady(seen.adverts.iter(), 45);
    let status = node.until_state("active").unwrap();
    assert_eq!(status["counters"]["late"], 0);
}

/// At least so many advertisements, none of them late by more than a few milliseconds.
#[track_caller]
fn steady<'a>(adverts: impl Iterator<Item = &'a Advert>, least: usize) {
    let times: Vec<Duration> = adverts.map(|advert| advert.at).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(times.len() >= least && longest < Duration::from_millis(110), "{} of them, {longest:?}", times.len());
}

/// A directory that an unprivileged program may use.
fn shared() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("baton-vip-").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// A shell script; its path.
fn program(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}
