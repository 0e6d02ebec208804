//! Tests of the machine: the tables, the rules, properties, and all ways of two small nodes.

mod explore;
mod faults;
mod groups;
mod props;
mod rules;
mod table;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Machine;
use super::io::{Action, Fault, Health, Heard, Input, Link, Phase, Reason, Start};
use crate::config::{Preempt, RouterConfig};
use crate::types::{Centiseconds, Priority, Version, Vrid};

/// Some instant, the same for all tests of a process.
#[allow(clippy::disallowed_methods, reason = "an Instant can be had from the clock only; the tests count from it")]
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn at_us(micros: u64) -> Instant {
    epoch() + Duration::from_micros(micros)
}
#[allow(clippy::unwrap_used, reason = "constants")]
fn cs(value: u16) -> Centiseconds {
    Centiseconds::new(value).unwrap()
}

fn host(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// Version 3, 100 ms, priority 100, preempting at once.
#[allow(clippy::unwrap_used, reason = "constants")]
fn config() -> RouterConfig {
    let vip = "192.0.2.10/24".parse().unwrap();
    RouterConfig {
        interval: cs(10),
        preempt: Preempt::After(Duration::ZERO),
        ..RouterConfig::new("public", "eth0", Vrid::new(51).unwrap(), Priority(100), vec![vip])
    }
}

const OWN: u8 = 5;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn health(faults: &[Fault], delta: i16, ready: bool) -> Input {
    Input::Health(Health { faults: faults.iter().cloned().collect(), delta, ready })
}

fn down() -> Fault {
    Fault::Down("haproxy".to_owned())
}

fn limping() -> Fault {
    Fault::Limping("haproxy".to_owned())
}

fn link_up() -> Input {
    Input::Link(Link { up: true, source: Some(host(OWN)) })
}

fn link_down() -> Input {
    Input::Link(Link::default())
}

/// An advertisement of 192.0.2.`last`, version 3, 100 ms.
fn advert(priority: u8, last: u8) -> Input {
    Input::Advert(Heard { source: host(last), priority: Priority(priority), interval: cs(10), version: Version::V3 })
}

fn with(preempt: Preempt) -> RouterConfig {
    RouterConfig { preempt, ..config() }
}

/// Adverts of `priority` from 192.0.2.9 each 100 ms for `times`; everything that was done.
fn hear(bench: &mut Bench, priority: u8, times: u32) -> Vec<Action> {
    let mut all = Vec::new();
    for _ in 0..times {
        all.extend(bench.run(ms(100)));
        all.extend(bench.give(advert(priority, 9)));
    }
    all
}

fn moves(actions: &[Action]) -> Vec<(Phase, Phase, Reason)> {
    let moved = |action: &Action| match action {
        Action::Moved(moved) => Some((moved.from, moved.to, moved.reason)),
        _ => None,
    };
    actions.iter().filter_map(moved).collect()
}

fn adverts(actions: &[Action]) -> Vec<u8> {
    let sent = |action: &Action| match action {
        Action::Advertise { priority, .. } => Some(priority.0),
        _ => None,
    };
    actions.iter().filter_map(sent).collect()
}

/// A machine, the time in milliseconds, and all that it did.
struct Bench {
    machine: Machine,
    now: Instant,
    done: Vec<(Duration, Action)>,
}

impl Bench {
    fn new(config: &RouterConfig) -> Self {
        Self { machine: Machine::new(config), now: epoch(), done: Vec::new() }
    }

    /// In Backup since 0 ms.
    fn backup(config: &RouterConfig) -> Self {
        let mut bench = Self::new(config);
        bench.give(link_up());
        bench.give(Input::Start(Start::Fresh));
        assert_eq!(bench.machine.phase(), Phase::Backup);
        bench
    }

    /// Active at the time returned by `now`, after silence.
    fn active(config: &RouterConfig) -> Self {
        let mut bench = Self::backup(config);
        bench.wake();
        assert_eq!(bench.machine.phase(), Phase::Active);
        bench.done.clear();
        bench
    }

    fn give(&mut self, input: Input) -> Vec<Action> {
        let actions = self.machine.handle(input, self.now);
        let since = self.now.saturating_duration_since(epoch());
        self.done.extend(actions.iter().map(|action| (since, action.clone())));
        actions
    }

    /// Jumps to the deadline and wakes.
    fn wake(&mut self) -> Vec<Action> {
        self.now = self.machine.deadline().unwrap_or(self.now);
        self.give(Input::Wake)
    }

    /// Wakes at each deadline for `wait`; returns what was done meanwhile.
    fn run(&mut self, wait: Duration) -> Vec<Action> {
        let end = self.now + wait;
        let from = self.done.len();
        for _ in 0..100_000 {
            let Some(at) = self.machine.deadline().filter(|at| *at <= end) else { break };
            assert!(at > self.now || self.done.len() == from, "a deadline that does not move: {:?}", self.machine);
            self.now = self.now.max(at);
            self.give(Input::Wake);
        }
        self.now = end;
        self.done[from..].iter().map(|(_, action)| action.clone()).collect()
    }

    /// Sleeps without waking.
    fn sleep(&mut self, wait: Duration) {
        self.now += wait;
    }
}
