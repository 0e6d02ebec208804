//! Hosts on a switch, for tests: network namespaces without names, joined by a bridge.
//!
//! Everything vanishes with the last handle on it, however the test ends. As root.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several tests")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use vrrp::config::{Delivery, RouterConfig};
use vrrp::linux::engine::{Engine, Order, Reports, Setup};
use vrrp::linux::report::{Report, RouterStatus, Saved};
use vrrp::machine::io::{Health, Phase, Transition};
use vrrp::types::{Centiseconds, Priority, Vrid};

/// Hosts `0..n`, each with `eth0`: 10.88.0.(n+1)/24, fd88::(n+1)/64 and fe80::(n+1)/64.
pub struct Lab {
    switch: File,
    hosts: Vec<File>,
}

impl Lab {
    /// Runs a test with so many hosts, on a thread of its own whose namespace ends with it.
    pub fn test<T: Send + 'static>(hosts: u8, test: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        thread::spawn(move || test(&Self::new(hosts))).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn new(hosts: u8) -> Self {
        let namespace = |_| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (these tests run as root)");
            fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        let lab = Self { switch: namespace(0), hosts: (0..hosts).map(namespace).collect() };
        lab.on_switch(|| {
            ip("link add br0 type bridge forward_delay 0 mcast_snooping 0");
            ip("link set br0 up");
        });
        for host in 0..hosts {
            lab.plug(usize::from(host));
        }
        lab
    }

    /// Gives a host its `eth0`, new or again.
    pub fn plug(&self, host: usize) {
        let there = format!("/proc/{}/fd/{}", std::process::id(), self.hosts[host].as_raw_fd());
        let last = host + 1;
        self.on_switch(|| {
            ip(&format!("link add p{last} type veth peer name eth0 address 02:00:00:00:00:0{last} netns {there}"));
            ip(&format!("link set p{last} master br0 up"));
        });
        self.on(host, || {
            ip("link set lo up");
            ip("link set eth0 addrgenmode none up");
            for address in [format!("10.88.0.{last}/24"), format!("fd88::{last}/64"), format!("fe80::{last}/64")] {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                ip(&format!("address add {address} dev eth0{nodad}"));
            }
        });
        within(2000, "a carrier", || self.on(host, || ip("link show dev eth0").contains("state UP")).then_some(()));
    }

    /// Does something as a host; what it opens stays there.
    pub fn on<T>(&self, host: usize, act: impl FnOnce() -> T) -> T {
        setns(&self.hosts[host], CloneFlags::CLONE_NEWNET).unwrap();
        act()
    }

    /// Does something where the bridge is.
    pub fn on_switch<T>(&self, act: impl FnOnce() -> T) -> T {
        setns(&self.switch, CloneFlags::CLONE_NEWNET).unwrap();
        act()
    }

    /// Whether an address is on a host.
    pub fn has(&self, host: usize, address: &str) -> bool {
        let wanted = format!(" {address}/");
        self.on(host, || ip("address show")).contains(&wanted)
    }

    /// Starts an engine on a host.
    pub fn start(&self, host: usize, routers: Vec<RouterConfig>) -> Node {
        self.resume(host, routers, Vec::new())
    }

    /// Starts an engine that takes over from a predecessor.
    pub fn resume(&self, host: usize, routers: Vec<RouterConfig>, resume: Vec<Saved>) -> Node {
        let setup = Setup { routers, resume, health: fit(), realtime: true };
        let (engine, reports) = self.on(host, || Engine::start(setup)).unwrap();
        Node { engine, reports }
    }
}

/// A running engine and what it told.
pub struct Node {
    pub engine: Engine,
    pub reports: Reports,
}

impl Node {
    /// The first report that `wanted` makes something of, within so many milliseconds.
    pub fn wait<T>(&self, milliseconds: u64, what: &str, mut wanted: impl FnMut(&Report) -> Option<T>) -> T {
        let until = now() + Duration::from_millis(milliseconds);
        let mut seen = Vec::new();
        while let Some(left) = until.checked_duration_since(now()) {
            match self.reports.recv_timeout(left) {
                Ok(report) => {
                    if let Some(found) = wanted(&report) {
                        return found;
                    }
                    seen.push(report);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the engine ended before {what}"),
            }
        }
        let seen: Vec<String> = seen.iter().map(summary).collect();
        panic!("no {what} within {milliseconds} ms, only {seen:#?}");
    }

    /// Waits for a move into a state.
    pub fn until(&self, phase: Phase) -> Transition {
        self.wait(8000, &format!("{phase:?}"), |report| match report {
            Report::Moved { transition, .. } if transition.to == phase => Some(*transition),
            _ => None,
        })
    }

    /// Waits for a status that is as wanted.
    pub fn status(&self, what: &str, wanted: impl Fn(&RouterStatus) -> bool) -> RouterStatus {
        self.wait(5000, what, |report| match report {
            Report::Status(status) if wanted(status) => Some(RouterStatus::clone(status)),
            _ => None,
        })
    }

    pub fn order(&self, order: Order) {
        self.engine.order(order).unwrap();
    }

    /// Everything told so far.
    pub fn drain(&self) -> Vec<Report> {
        std::iter::from_fn(|| self.reports.try_recv().ok()).collect()
    }
}

fn summary(report: &Report) -> String {
    match report {
        Report::Status(status) => format!("{status}, {} sent, remarks {:?}", status.sent, status.remarks),
        other => format!("{other:?}"),
    }
}

pub fn fit() -> Health {
    Health { ready: true, ..Health::default() }
}

/// A router with one address of the hosts' IPv4 subnet: version 3, multicast, 100 ms.
pub fn router(vrid: u8, priority: u8) -> RouterConfig {
    let vip = format!("10.88.0.{}/24", 100 + vrid).parse().unwrap();
    let name = format!("r{vrid}");
    RouterConfig {
        interval: Centiseconds::new(10).unwrap(),
        ..RouterConfig::new(&name, "eth0", Vrid::new(vrid).unwrap(), Priority(priority), vec![vip])
    }
}

/// The same with IPv6 addresses: a link-local one first, as the RFC wants.
pub fn router_v6(vrid: u8, priority: u8) -> RouterConfig {
    let addresses =
        vec![format!("fe80::100:{vrid}/64").parse().unwrap(), format!("fd88::100:{vrid}/64").parse().unwrap()];
    RouterConfig { addresses, ..router(vrid, priority) }
}

pub fn unicast(router: RouterConfig, peer: &str) -> RouterConfig {
    RouterConfig { delivery: Delivery::Unicast(vec![peer.parse().unwrap()]), ..router }
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Tries every few milliseconds, at most so long.
pub fn within<T>(milliseconds: u64, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = now() + Duration::from_millis(milliseconds);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(now() < until, "no {what} within {milliseconds} ms");
        thread::sleep(Duration::from_millis(5));
    }
}

#[allow(clippy::disallowed_methods, reason = "tests measure")]
pub fn now() -> Instant {
    Instant::now()
}
