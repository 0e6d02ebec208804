//! What `baton` may and must be able to do to move addresses: as root, and as its unit starts it.

#![allow(clippy::unwrap_used, reason = "tests; clippy exempts `#[test]` functions only")]

mod vip;

use std::os::unix::fs::PermissionsExt as _;

use e2e::lab::lan::wait_for;
use e2e::lab::node::Node;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, User, chown};
use std::fs::Permissions;

use crate::vip::scene::{PATIENCE, Scene, first, router};

#[test]
fn a_missing_capability_is_named_with_the_line_that_grants_it() {
    let scene = Scene::new(1);
    let mut node = Node::prepare(&scene.hosts[0], vec![router()], "").unwrap();
    node.start_haproxy().unwrap();
    for (lost, name) in [("-net_raw", "CAP_NET_RAW"), ("-net_admin", "CAP_NET_ADMIN")] {
        node.wrap(&["setpriv", "--bounding-set", lost, "--inh-caps", lost]);
        let why = node.resume().unwrap_err().to_string();
        assert!(why.contains(&format!("AmbientCapabilities={name}")), "{why}");
        assert!(!scene.hosts[0].holds(first()));
    }
}

#[test]
fn an_unprivileged_baton_keeps_its_capabilities_for_itself() {
    let scene = Scene::new(1);
    let host = &scene.hosts[0];
    let told = host.dir().join("told");
    let script = host.dir().join("notify");
    std::fs::write(&script, format!("#!/bin/sh\ngrep Cap /proc/self/status >> {}\n", told.display())).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let mut node = Node::prepare(host, vec![router()], &format!("notify = [{script:?}]\n")).unwrap();
    // As tmpfiles and the packages lay it out: the group is how the two processes meet.
    let nobody = User::from_name("nobody").unwrap().unwrap();
    for name in ["", "state", "state/first", "state/current"] {
        chown(&host.dir().join(name), Some(nobody.uid), Some(nobody.gid)).unwrap();
    }
    chown(&host.dir().join("run"), None, Some(nobody.gid)).unwrap();
    std::fs::set_permissions(host.dir().join("run"), Permissions::from_mode(0o2770)).unwrap();
    // Whose the first boot's ports are cannot be seen across users.
    let boot = "listen first\n  mode http\n  bind 127.0.0.1:9\n  timeout client 1s\n  timeout server 1s\n  timeout connect 1s\n";
    std::fs::write(host.dir().join("state/first/haproxy.cfg"), boot).unwrap();
    node.start_haproxy().unwrap();
    let caps = "+net_admin,+net_raw,+net_bind_service,+sys_nice,+ipc_lock";
    let (user, group) = (nobody.uid.to_string(), nobody.gid.to_string());
    let as_user = ["setpriv", "--reuid", &user, "--regid", &group, "--clear-groups"];
    node.wrap(&[&as_user[..], &["--inh-caps", caps, "--ambient-caps", caps]].concat());
    node.resume().unwrap();
    node.until_state("active").unwrap();
    node.serves().unwrap();
    assert!(host.holds(first()));
    let pid = node.pids().0.unwrap();
    assert_eq!(effective(pid), 0x0080_7400, "what it was given");
    let text = || std::fs::read_to_string(&told).unwrap_or_default();
    wait_for("a notification", PATIENCE, || text().contains("CapAmb")).unwrap();
    for line in text().lines().filter(|line| !line.starts_with("CapBnd") && !line.starts_with("CapInh")) {
        assert!(line.ends_with("0000000000000000"), "a script has {line}");
    }
    // `haproxy -c` is short-lived: the ambient set is what a child would have.
    let started = node.status().unwrap()["started_at"].clone();
    assert_eq!(ambient(pid), 0);
    node.signal(Signal::SIGUSR2).unwrap();
    node.until("runs anew", |status| status["started_at"].is_number() && status["started_at"] != started).unwrap();
    assert_eq!(
        node.until_state("active").unwrap()["reason"],
        "goes on where it was before an upgrade or a new configuration"
    );
    assert_eq!((effective(pid), ambient(pid)), (0x0080_7400, 0), "the same, and still for itself");
}

fn effective(pid: Pid) -> u64 {
    capabilities(pid, "CapEff:")
}

/// Of all threads: each has its own set.
fn ambient(pid: Pid) -> u64 {
    capabilities(pid, "CapAmb:")
}

fn capabilities(pid: Pid, which: &str) -> u64 {
    let of = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap().trim().to_owned();
        u64::from_str_radix(&line, 16).unwrap()
    };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    threads.map(of).fold(0, |all, one| all | one)
}
