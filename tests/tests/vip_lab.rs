//! The lab that the VRRP tests stand on, shown with keepalived: hosts on a LAN, a virtual address that moves, a client
//! that counts, a capture that is dissected, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "tests; clippy exempts `#[test]` functions only")]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use e2e::lab::dissect::{Checksum, dissect};
use e2e::lab::front::PORT;
use e2e::lab::host::Host;
use e2e::lab::keepalived::Keepalived;
use e2e::lab::lan::{Lan, mac, wait_for};
use e2e::lab::marathon::Marathon;
use e2e::lab::probe::{Client, Probing};
use e2e::lab::router::Router;
use e2e::sim::Personality;

/// Two load balancers and a client.
struct Scene {
    lan: Lan,
    one: Keepalived,
    two: Keepalived,
    client: Arc<Host>,
}

fn scene() -> Scene {
    let lan = Lan::new().unwrap();
    let host = |name: &str, address: &str| lan.host(name, &[address]).unwrap();
    let one = Keepalived::start(&host("lb1", "10.77.0.11/24"), Router::new(200, &[VIRTUAL])).unwrap();
    let two = Keepalived::start(&host("lb2", "10.77.0.12/24"), Router::new(100, &[VIRTUAL])).unwrap();
    let client = host("client", "10.77.0.50/24");
    one.host().until_holds(address(), true, PATIENCE).unwrap();
    two.host().until_holds(address(), false, PATIENCE).unwrap();
    Scene { lan, one, two, client }
}

#[test]
fn a_planned_stop_of_keepalived_moves_the_address_and_costs_its_skew_time() {
    let Scene { lan, mut one, two, client } = scene();
    let capture = lan.capture(two.host(), "proto 112 or arp").unwrap();
    let probes = Client::start(&client, Probing::warm(target())).unwrap();
    probes.until_answered_by("lb1", 100, PATIENCE).unwrap();
    one.stop().unwrap();
    probes.until_answered_by("lb2", 100, PATIENCE).unwrap();
    let log = probes.finish();
    assert_eq!(log.turns().iter().map(|name| &**name).collect::<Vec<_>>(), ["lb1", "lb2"]);
    // Skew_Time of priority 100 at 100 ms is 60.9 ms; the machine may be slow.
    let outage = log.outage().as_millis();
    assert!((55..=160).contains(&outage), "{outage} ms; the client was late by {:?}", log.latest);
    // Who was in the middle of a request may be reset.
    assert!(log.lost() >= 20 && log.failures().len() <= 1, "{} lost, {:?}", log.lost(), log.failures());
    assert!(two.host().holds(address()) && !one.host().holds(address()));

    let file = capture.finish().unwrap();
    let seen = dissect(&file, Checksum::PseudoHeader).unwrap();
    assert_eq!(seen.faults(), Vec::<String>::new());
    let otherwise = dissect(&file, Checksum::MessageOnly).unwrap();
    assert_eq!(otherwise.faults().len(), seen.adverts.len(), "keepalived sends one of the two forms");
    let (old, new): (IpAddr, IpAddr) = ("10.77.0.11".parse().unwrap(), "10.77.0.12".parse().unwrap());
    let resigned = seen.adverts_from(old).last().unwrap();
    assert_eq!((resigned.priority, resigned.version, resigned.vrid), (0, 3, 51));
    let first = seen.adverts_from(new).next().unwrap();
    assert_eq!((first.priority, first.interval), (100, Duration::from_millis(100)));
    assert_eq!((&first.addresses[..], &first.mac), (&[address()][..], &mac(new)));
    let announced = seen.announcements.iter().filter(|row| row.address == address() && row.mac == mac(new));
    assert_eq!(announced.filter(|row| row.request).count(), 5, "{:?}", seen.announcements);
}

#[test]
fn a_killed_keepalived_keeps_the_address_and_the_client_follows_the_announcement() {
    let Scene { lan, mut one, two, client } = scene();
    let probes = Client::start(&client, Probing::warm(target())).unwrap();
    probes.until_answered_by("lb1", 100, PATIENCE).unwrap();
    one.kill();
    probes.until_answered_by("lb2", 100, PATIENCE).unwrap();
    assert!(one.host().holds(address()), "nobody took it away");
    let neighbours = client.neighbours().unwrap();
    let entry = neighbours.iter().find(|entry| entry.address == address()).unwrap();
    assert_eq!(entry.mac, Some(mac("10.77.0.12".parse().unwrap())));
    assert_eq!(lan.mac_table().unwrap()[&mac("10.77.0.12".parse().unwrap())], "lb2");
    drop((probes, two));
}

#[test]
fn cables_can_be_pulled_and_die_one_way() {
    let Scene { lan, one, two, client } = scene();
    let fresh = Client::start(&client, Probing::fresh(target())).unwrap();
    fresh.until_answered_by("lb1", 2, PATIENCE).unwrap();
    lan.block(one.host(), two.host()).unwrap();
    two.host().until_holds(address(), true, PATIENCE).unwrap();
    assert!(one.host().holds(address()), "it hears a lower priority only");
    lan.heal().unwrap();
    two.host().until_holds(address(), false, PATIENCE).unwrap();
    fresh.until_answered_by("lb1", 2, PATIENCE).unwrap();
    lan.unplug(one.host()).unwrap();
    fresh.until_answered_by("lb2", 2, PATIENCE).unwrap();
    lan.plug(one.host()).unwrap();
    fresh.until_answered_by("lb1", 2, PATIENCE).unwrap();
    lan.kill(one.host(), &one.host().pids()).unwrap();
    assert!(one.host().pids().is_empty());
    fresh.until_answered_by("lb2", 2, PATIENCE).unwrap();
}

#[test]
fn nothing_is_left_behind() {
    let Scene { lan, one, two, client } = scene();
    let probes = Client::start(&client, Probing::warm(target())).unwrap();
    let capture = lan.capture(two.host(), "proto 112").unwrap();
    probes.until_answered_by("lb1", 10, PATIENCE).unwrap();
    let hosts = [one.host(), two.host(), &client];
    let dirs: Vec<_> = hosts.iter().map(|host| host.dir().to_owned()).collect();
    let namespaces: Vec<_> = hosts.iter().map(|host| host.identity().to_owned()).collect();
    assert!(namespaces.iter().all(|namespace| users(namespace) > 0) && dirs.iter().all(|dir| dir.exists()));
    drop((probes, capture, one, two, client, lan));
    // A process that is just being started elsewhere may hold a copy for a moment.
    let unused = || namespaces.iter().all(|namespace| users(namespace) == 0);
    wait_for("the end of the namespaces", Duration::from_secs(1), unused).unwrap();
    assert!(!dirs.iter().any(|dir| dir.exists()), "{dirs:?}");
}

#[test]
fn what_a_killed_run_left_is_gone_with_the_next() {
    let mut run = Command::new(std::env::current_exe().unwrap());
    run.args(["--exact", "cables_can_be_pulled_and_die_one_way"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = run.spawn().unwrap();
    let prefix = format!("baton-lan-{}-", run.id());
    let written = |name: &str| {
        let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        ours.filter(|entry| entry.path().join(name).exists()).count()
    };
    let dirs = || written("");
    let running = || {
        let lines = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
        let texts = lines.filter_map(|line| std::fs::read_to_string(line).ok().map(|text| text.replace('\0', " ")));
        texts.filter(|text| text.contains(&prefix)).collect::<Vec<_>>()
    };
    // Two load balancers: an HAProxy and two processes of keepalived on each.
    wait_for("the other run's processes", PATIENCE, || running().len() >= 6).unwrap();
    // By then keepalived's child is to end with its parent.
    wait_for("what keepalived's children write", PATIENCE, || written("vrrp.pid") == 2).unwrap();
    assert!(dirs() > 0);
    run.kill().unwrap();
    run.wait().unwrap();
    let ended = wait_for("the kernel's end of them", PATIENCE, || running().is_empty());
    assert!(ended.is_ok(), "{:#?}", running());
    let _lan = Lan::new().unwrap();
    assert_eq!(dirs(), 0);
}

#[test]
fn a_simulated_marathon_is_a_host_with_its_agents() {
    let lan = Lan::new().unwrap();
    let marathon = Marathon::start(&lan, Personality::V1_8, 2).unwrap();
    let client = lan.host("client", &["10.77.0.50/24"]).unwrap();
    let app = serde_json::json!({
        "id": "/web", "cmd": "serve", "cpus": 0.1, "mem": 32, "instances": 2, "portDefinitions": [{"port": 0}],
    });
    let tasks = marathon.ask(move |sim| async move {
        sim.post_app(&app).unwrap();
        assert!(sim.wait_settled(PATIENCE).await);
        sim.instances("/web")
    });
    assert_eq!(tasks.len(), 2);
    let url = format!("{}/v2/apps//web?embed=app.tasks", marathon.url());
    let answer = client.command("curl", &["--silent", "--fail", &url]).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    for task in answer["app"]["tasks"].as_array().unwrap() {
        let url = format!("http://{}:{}/", task["host"].as_str().unwrap(), task["ports"][0]);
        let said = client.command("curl", &["--silent", "--fail", &url]).unwrap();
        assert!(said.contains(task["id"].as_str().unwrap()), "{said}");
    }
}

/// How many threads are in a network namespace and how many files hold it.
fn users(namespace: &str) -> usize {
    let links = |dir: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let is = |link: &Path| std::fs::read_link(link).is_ok_and(|to| to.as_os_str() == namespace);
    let processes = links(Path::new("/proc")).into_iter().filter(|dir| dir.join("task").exists());
    let of = |dir: std::path::PathBuf| {
        let threads = links(&dir.join("task")).into_iter().filter(|thread| is(&thread.join("ns/net"))).count();
        threads + links(&dir.join("fd")).into_iter().filter(|file| is(file)).count()
    };
    processes.map(of).sum()
}

fn address() -> IpAddr {
    VIRTUAL.split('/').next().unwrap().parse().unwrap()
}

fn target() -> SocketAddr {
    SocketAddr::new(address(), PORT)
}

const VIRTUAL: &str = "10.77.0.100/24";
const PATIENCE: Duration = Duration::from_secs(8);
